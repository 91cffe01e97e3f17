"""The loops of training, and of evaluation between two epochs or iterations."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseModel
from mmengine.runner import BaseLoop
from torch import nn

from mmdet_clone.engine.checkpoint import unwrap_model
from mmdet_clone.engine.dist import broadcast_object, get_dist_info
from mmdet_clone.engine.seed import preserved_rng
from mmdet_clone.engine.testing import run_test, to_device

__all__ = ['EpochLoop', 'EvalLoop', 'IterLoop', 'set_epoch']


class TrainLoop(BaseLoop):
    """Counts epochs and iterations, and runs one iteration.

    ``epoch``, ``iter`` and ``inner_iter`` count what is done, from 0; a checkpoint restores the three.

    Args:
        loaders: one for each flow of ``workflow``.
        workflow: ``[('train', n), ('val', m)]``, with n and m in epochs or in iterations.
    """

    def __init__(self, runner: Any, loaders: Sequence[Any], workflow: Sequence[tuple[str, int]]) -> None:
        super().__init__(runner, next(loader for loader, (mode, _) in zip(loaders, workflow) if mode == 'train'))
        self.loaders, self.workflow = list(loaders), [(mode, int(n)) for mode, n in workflow]
        self.epoch = self.iter = self.inner_iter = 0
        self.stop_training = False  # set by mmengine's EarlyStoppingHook
        self._within = ''  # what hooks are called from: '', 'iter', or 'epoch' at its end

    def done(self) -> dict[str, int]:
        """Epochs, iterations, and iterations of the current epoch that are done: where a resume goes on.

        Hooks are called before the counts move on.
        """
        if self._within == 'iter':
            return dict(epoch=self.epoch, iter=self.iter + 1, inner_iter=self.inner_iter + 1)
        if self._within == 'epoch':
            return dict(epoch=self.epoch + 1, iter=self.iter, inner_iter=0)
        return dict(epoch=self.epoch, iter=self.iter, inner_iter=self.inner_iter)

    def start_mode(self, mode: str, loader: Any) -> None:
        """Training or validation on ``loader`` from here on."""
        if self.runner.mode != mode or self.runner.data_loader is not loader:
            self.runner.mode, self.runner.data_loader = mode, loader
            self.runner.model.train(mode == 'train')

    def run_iter(self, mode: str, batch: dict) -> None:
        if mode == 'train':
            self._within = 'iter'
            self._train_iter(batch)
            self._within = ''
            self.iter += 1
        else:
            self._val_iter(batch)

    def _train_iter(self, batch: dict) -> None:
        runner, model = self.runner, self.runner.model
        context = dict(batch_idx=self.inner_iter, data_batch=batch)
        runner.call_hook('before_train_iter', **context)
        returned = model.train_step(_on_device(model, batch), runner.optim_wrapper)
        runner.outputs = _as_outputs(returned, batch, runner.optim_wrapper.take_pending())
        runner.log_buffer.update(runner.outputs['log_vars'], runner.outputs['num_samples'])
        runner.call_hook('after_train_iter', outputs=runner.outputs['log_vars'], **context)

    def _val_iter(self, batch: dict) -> None:
        runner, model = self.runner, self.runner.model
        context = dict(batch_idx=self.inner_iter, data_batch=batch)
        runner.call_hook('before_val_iter', **context)
        with torch.no_grad(), preserved_rng():  # samplers draw; training must not notice
            runner.outputs = _as_outputs(_losses_of(unwrap_model(model), batch), batch, None)
        runner.log_buffer.update(runner.outputs['log_vars'], runner.outputs['num_samples'])
        runner.call_hook('after_val_iter', outputs=runner.outputs['log_vars'], **context)


class EpochLoop(TrainLoop):
    """Epochs of each flow in turn, until ``max_epochs`` are trained."""

    def __init__(
        self, runner: Any, loaders: Sequence[Any], workflow: Sequence[tuple[str, int]], max_epochs: int
    ) -> None:
        super().__init__(runner, loaders, workflow)
        if len(self.dataloader) == 0:
            raise ValueError(_no_batches(self.dataloader))
        self.max_epochs = max_epochs
        self.max_iters = max_epochs * len(self.dataloader)

    def run(self) -> nn.Module:
        self.runner.call_hook('before_train')
        while self.epoch < self.max_epochs and not self.stop_training:
            for (mode, num_epochs), loader in zip(self.workflow, self.loaders):
                for _ in range(num_epochs):
                    if mode == 'train' and self.epoch >= self.max_epochs:
                        break
                    self.run_epoch(mode, loader)
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self, mode: str, loader: Any) -> None:
        runner = self.runner
        self.start_mode(mode, loader)
        set_epoch(loader, self.epoch)
        runner.call_hook(f'before_{mode}_epoch')
        resumed_at = self.inner_iter if mode == 'train' else 0
        for i, batch in enumerate(_batches(loader, runner.seed, self.epoch, resumed_at), resumed_at):
            self.inner_iter = i
            self.run_iter(mode, batch)
        self._within = 'epoch' if mode == 'train' else ''
        runner.call_hook(f'after_{mode}_epoch')
        self._within, self.inner_iter = '', 0
        self.epoch += mode == 'train'


class IterLoop(TrainLoop):
    """Iterations of each flow in turn, until ``max_iters`` are trained; ``epoch`` counts passes over the data."""

    max_epochs = None

    def __init__(
        self, runner: Any, loaders: Sequence[Any], workflow: Sequence[tuple[str, int]], max_iters: int
    ) -> None:
        super().__init__(runner, loaders, workflow)
        self.max_iters = max_iters

    def run(self) -> nn.Module:
        runner = self.runner
        self.start_mode('train', self.dataloader)
        runner.call_hook('before_train')
        runner.call_hook('before_epoch')
        streams = [_Stream(loader, runner.seed) for loader in self.loaders]
        trained = streams[self.loaders.index(self.dataloader)]
        trained.start(self.epoch, self.inner_iter)
        while self.iter < self.max_iters and not self.stop_training:
            for (mode, num_iters), stream in zip(self.workflow, streams):
                self.start_mode(mode, stream.loader)
                for _ in range(num_iters):
                    if mode == 'train' and self.iter >= self.max_iters:
                        break
                    batch = next(stream)
                    if mode == 'train':
                        self.epoch = stream.epoch
                    self.inner_iter = stream.position - 1
                    self.run_iter(mode, batch)
                    self.inner_iter += mode == 'train'
        runner.call_hook('after_epoch')
        runner.call_hook('after_train')
        return runner.model


class EvalLoop(BaseLoop):
    """Runs the model over the data in test mode and lets the data set evaluate the results.

    Random states are left as they were, so that training goes on as it would have without the evaluation.

    Args:
        eval_kwargs: passed to ``dataset.evaluate``.
        share_statistics: take rank 0's BatchNorm statistics on every rank.
        gathering: ``tmpdir`` and ``gpu_collect`` of ``run_test``.
    """

    def __init__(
        self,
        runner: Any,
        dataloader: Any,
        eval_kwargs: dict,
        share_statistics: bool = True,
        gathering: dict | None = None,
    ) -> None:
        super().__init__(runner, dataloader)
        self.eval_kwargs, self.share_statistics = eval_kwargs, share_statistics
        self.gathering = gathering or {}

    def run(self) -> dict[str, Any]:
        """The metrics, the same on every rank."""
        runner = self.runner
        runner.call_hook('before_val')
        runner.call_hook('before_val_epoch', during_training=True)
        with preserved_rng():
            if self.share_statistics:
                _share_norm_statistics(unwrap_model(runner.model))
            results = run_test(runner.model, self.dataloader, **self.gathering)
            metrics = {}
            if results is not None:
                metrics = dict(self.dataloader.dataset.evaluate(results, logger=runner.logger, **self.eval_kwargs))
            metrics = broadcast_object(metrics)
        runner.call_hook('after_val_epoch', during_training=True, metrics=metrics)
        runner.call_hook('after_val')
        return metrics


class _Stream:
    """Batches without end, pass after pass over a loader."""

    def __init__(self, loader: Any, seed: int | None) -> None:
        self.loader, self.seed = loader, seed
        self.start(0, 0)

    def start(self, epoch: int, position: int) -> None:
        """Begin at a batch of a pass."""
        self.epoch, self.position = epoch, position
        self._batches: Iterator | None = None

    def __next__(self) -> dict:
        if self._batches is None:
            set_epoch(self.loader, self.epoch)
            self._batches = _batches(self.loader, self.seed, self.epoch, self.position)
        batch = next(self._batches, None)
        if batch is None:
            if self.position == 0:
                raise ValueError(_no_batches(self.loader))
            self.start(self.epoch + 1, 0)
            return next(self)
        self.position += 1
        return batch


def set_epoch(loader: Any, epoch: int) -> None:
    """Tell whatever of the loader shuffles by the epoch."""
    batch_sampler = getattr(loader, 'batch_sampler', None)
    parts = (loader, getattr(loader, 'sampler', None), batch_sampler, getattr(batch_sampler, 'sampler', None))
    for part in parts:
        if hasattr(part, 'set_epoch'):
            part.set_epoch(epoch)
            return


def _batches(loader: Any, seed: int | None, epoch: int, skip: int) -> Iterator[dict]:
    """The batches of an epoch from number ``skip`` on.

    A loader draws from torch's generator when it starts, how often depends on its workers: what it draws here follows
    from seed and epoch, and leaves the generator of the training alone.
    """
    skips_itself = skip and hasattr(getattr(loader, 'batch_sampler', None), 'skip')
    if skips_itself:
        loader.batch_sampler.skip(skip)
    with preserved_rng():
        if seed is not None:
            mixed = np.random.SeedSequence([seed, epoch]).generate_state(1)[0]
            random.seed(int(mixed))
            torch.manual_seed(int(mixed))
        batches = iter(loader)
    yield from batches if skips_itself or not skip else itertools.islice(batches, skip, None)


def _as_outputs(returned: dict, batch: dict, pending: torch.Tensor | None) -> dict:
    """``dict(loss, log_vars, num_samples)`` from the return value of mmengine's or MMDetection 2.x's ``train_step``."""
    if 'log_vars' in returned:
        return {'num_samples': _num_samples(batch), **returned}
    loss = pending if pending is not None else returned.get('loss')
    log_vars = {name: value.detach() if torch.is_tensor(value) else value for name, value in returned.items()}
    return {'loss': loss, 'log_vars': log_vars, 'num_samples': _num_samples(batch)}


def _losses_of(model: nn.Module, batch: dict) -> dict:
    if not isinstance(model, BaseModel):
        return model.val_step(_on_device(model, batch))
    losses = model._run_forward(model.data_preprocessor(batch, False), mode='loss')
    return model.parse_losses(losses)[1]


def _on_device(model: nn.Module, batch: Any) -> Any:
    """mmengine's models move their batches themselves."""
    model = unwrap_model(model)
    return batch if isinstance(model, BaseModel) else to_device(batch, next(model.parameters()).device)


def _num_samples(batch: Any) -> int:
    if isinstance(batch, dict):
        metas = batch.get('img_metas')
        batch = metas if metas is not None else next(iter(batch.values()))
    return len(batch)


def _share_norm_statistics(model: nn.Module) -> None:
    """Give every rank the BatchNorm statistics of rank 0; DDP does not share buffers here."""
    if get_dist_info()[1] > 1:
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats:
                torch.distributed.broadcast(module.running_mean, 0)
                torch.distributed.broadcast(module.running_var, 0)


def _no_batches(loader: Any) -> str:
    return (
        f'the loader of {type(loader.dataset).__name__} ({len(loader.dataset)} images) gives no batch: there must be '
        'at least samples_per_gpu images for each process'
    )
