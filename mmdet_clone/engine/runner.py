"""The runners: mmengine's, driven by our loops, with the attributes that mmcv 1.x's hooks read."""

from __future__ import annotations

import inspect
import itertools
import logging
import os
import platform
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import mmengine.runner
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import MMLogger
from mmengine.visualization import Visualizer
from torch import nn

from mmdet_clone.config import config_text, dump_config
from mmdet_clone.engine.checkpoint import (
    complete_meta,
    link_latest,
    load_checkpoint,
    unwrap_model,
    write_checkpoint,
)
from mmdet_clone.engine.dist import broadcast_object, gather_objects, get_dist_info, is_rank_zero, wrap_ddp
from mmdet_clone.engine.hooks.hook import VAL_STAGES, Hook
from mmdet_clone.engine.log_buffer import LogBuffer
from mmdet_clone.engine.loops import EpochLoop, EvalLoop, IterLoop, TrainLoop
from mmdet_clone.engine.process import ensure_writable, prepare_process
from mmdet_clone.engine.resume import restore, snapshot
from mmdet_clone.engine.safe_load import trusted
from mmdet_clone.engine.seed import get_rng_state
from mmdet_clone.engine.sync_bn import revert_sync_batchnorm
from mmdet_clone.registry import HOOKS, RUNNERS

__all__ = ['EpochBasedRunner', 'IterBasedRunner', 'ensure_writable']

_instances = itertools.count()


class BaseRunner(mmengine.runner.Runner):
    """Trains a model.

    Args:
        model: the model, moved to the device and wrapped for several processes here.
        work_dir: where logs and checkpoints go.
        loaders: of training batches, one for each flow of ``workflow``.
        workflow: ``[('train', 1)]``, or with ``('val', 1)`` also losses of validation data.
        hooks: hooks or their configs, each with its priority, in the order of registration.
        cfg: the config, which is dumped; ``device, find_unused_parameters, cudnn_benchmark, log_level, seed`` are read.
        distributed: train in the processes of the group that :func:`init_dist` started.
        meta: entries for the log's and each checkpoint's ``meta``.
        timestamp: names the log files; the current time by default.
        load_from: a checkpoint whose weights training starts from.
        resume_from: a checkpoint that training goes on from.
        trust: load checkpoints that carry code.
    """

    counts_epochs = True

    def __init__(
        self,
        model: nn.Module,
        work_dir: str,
        loaders: Sequence[Any],
        workflow: Sequence[tuple[str, int]],
        hooks: Sequence[tuple[Any, int | str]] = (),
        cfg: Config | None = None,
        distributed: bool = False,
        meta: dict | None = None,
        timestamp: str | None = None,
        load_from: str | None = None,
        resume_from: str | None = None,
        trust: bool = False,
    ) -> None:
        if distributed and not torch.distributed.is_initialized():
            raise RuntimeError('distributed=True needs a process group: call init_dist(launcher) first')
        ensure_writable(work_dir)
        self._given_timestamp, self._given_hooks, self._given_meta = timestamp, hooks, meta or {}
        self._train_loop = self._val_loop = None
        self.mode: str | None = None
        self.data_loader: Any = None
        self.outputs: dict = {}
        self.log_buffer = LogBuffer()
        self.load_from, self.resume_from, self.trust = load_from, resume_from, trust
        self._rng_states: tuple[int, list] | None = None  # and the iteration at which they were collected
        cfg = cfg if cfg is not None else Config({})
        super().__init__(
            model=model,
            work_dir=work_dir,
            launcher='pytorch' if distributed else 'none',
            log_level=cfg.get('log_level', 'INFO'),
            default_scope=None,
            randomness=dict(seed=cfg.get('seed'), deterministic=cfg.get('deterministic', False)),
            cfg=cfg,
        )
        self._train_loop = self.build_loop(loaders, workflow)
        self.meta = self._complete_meta(self._given_meta, loaders)

    def build_loop(self, loaders: Sequence[Any], workflow: Sequence[tuple[str, int]]) -> TrainLoop:
        raise NotImplementedError

    # What mmengine's runner does in its constructor, as this toolbox wants it

    @property
    def _log_dir(self) -> str:
        """Logs lie in the work dir itself; mmengine makes a folder named by the time."""
        return self._work_dir

    @_log_dir.setter
    def _log_dir(self, value: str) -> None:
        pass

    def setup_env(self, env_cfg: dict) -> None:
        """Read the process group, which :func:`init_dist` has started; fix the timestamp."""
        prepare_process(self.cfg, self.distributed)
        self._rank, self._world_size = get_dist_info()
        self._timestamp = broadcast_object(self._given_timestamp or time.strftime('%Y%m%d_%H%M%S'))

    def set_randomness(self, seed: int | None, diff_rank_seed: bool = False, deterministic: bool = False) -> None:
        """Remember the seed; it was set before the model was built."""
        self._seed, self._deterministic = seed, deterministic

    def build_logger(self, log_level: int | str = 'INFO', log_file: str | None = None, **kwargs: Any) -> MMLogger:
        log_file = log_file or os.path.join(self.work_dir, f'{self.timestamp}.log')
        name = f'{self.experiment_name}_{next(_instances)}'  # mmengine gives the same logger to the same name
        logger = MMLogger.get_instance(
            name, logger_name='mmdet_clone', log_file=log_file, log_level=log_level, file_mode='a'
        )
        logger.addFilter(_is_not_the_list_of_hooks)
        return logger

    def build_visualizer(self, visualizer: Any = None) -> Visualizer:
        """One without backends: the logger hooks write."""
        return Visualizer.get_instance(f'{self.experiment_name}_{next(_instances)}')

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Move the model to its device; wrap it in DDP for several processes."""
        device = self._device()
        model = model.to(device)
        if device.type == 'cpu' or not self.distributed:
            model = revert_sync_batchnorm(model, self.logger)
        if self.distributed:
            return wrap_ddp(model, self.cfg.get('find_unused_parameters', False))
        if not hasattr(model, 'module'):
            # mmcv 1.x wraps models in every case, so hooks read runner.model.module; this adds no submodule
            model.__dict__['module'] = model
        return model

    def _device(self) -> torch.device:
        kind = str(self.cfg.get('device') or get_device())
        if kind == 'cuda' and self.distributed:
            return torch.device('cuda', torch.cuda.current_device())
        if kind == 'cuda':
            return torch.device('cuda', next(iter(self.cfg.get('gpu_ids') or [0])))
        return torch.device(kind)

    def register_hooks(self, default_hooks: Any = None, custom_hooks: Any = None) -> None:
        for hook, priority in self._given_hooks:
            self.register_hook(hook, priority)

    def register_hook(self, hook: mmengine.hooks.Hook | dict, priority: int | str | None = None) -> None:
        """Insert a hook behind those of the same priority.

        Args:
            hook: a hook, or its config, whose ``priority`` counts where the argument is not given.
        """
        if isinstance(hook, dict):
            hook = dict(hook)
            priority = hook.pop('priority', 'NORMAL') if priority is None else priority
            hook = HOOKS.build(hook, path='custom_hooks')
        super().register_hook(hook, priority)

    def dump_config(self) -> None:
        if is_rank_zero():
            name = Path(self.cfg.filename or self.timestamp).stem
            dump_config(self.cfg, Path(self.work_dir, f'{name}.py'))

    def _log_env(self, env_cfg: dict) -> None:
        """One line of versions, unless ``meta`` tells them; the config's text is in the work dir and in ``meta``."""
        self.config_text = config_text(self.cfg)
        if 'env_info' in self._given_meta:
            return
        versions = complete_meta(nn.Module(), {})['versions']
        listed = ', '.join(f'{name} {version}' for name, version in versions.items())
        python = platform.python_version()
        self.logger.info(f'python {python}, {listed}; {self.world_size} process(es), seed {self.seed}')

    # What mmcv 1.x's runner offers to hooks

    @property
    def inner_iter(self) -> int:
        return self.train_loop.inner_iter if self.train_loop is not None else 0

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        return self.optim_wrapper.optimizer

    @property
    def max_epochs(self) -> int | None:
        return self.train_loop.max_epochs if self.train_loop is not None else None

    @property
    def _max_epochs(self) -> int | None:
        return self.max_epochs

    @property
    def _max_iters(self) -> int:
        return self.max_iters

    @property
    def _epoch(self) -> int:
        return self.epoch

    @property
    def _iter(self) -> int:
        return self.iter

    @property
    def _inner_iter(self) -> int:
        return self.inner_iter

    def current_lr(self) -> list[float]:
        """The learning rate of each parameter group."""
        return [group['lr'] for group in self.optimizer.param_groups]

    def current_momentum(self) -> list[float]:
        """``momentum``, or the first of ``betas``, of each parameter group; 0 where it has none."""
        groups = self.optimizer.param_groups
        return [group.get('momentum', group.get('betas', (0,))[0]) for group in groups]

    def get_hook_info(self) -> str:
        return self.get_hooks_info()

    def call_hook(self, fn_name: str, during_training: bool = False, **kwargs: Any) -> None:
        """Call a method of every hook that has it, with those of ``kwargs`` that it takes.

        Args:
            during_training: this is an evaluation's ``*_val_*`` stage, which mmcv 1.x's hooks do not see.
        """
        for hook in tuple(self._hooks):
            if fn_name in VAL_STAGES and isinstance(hook, Hook) == during_training:
                continue
            method = getattr(hook, fn_name, None)
            if method is not None:
                accepted = _accepted(type(hook), fn_name)
                method(self, **(kwargs if accepted is None else {k: v for k, v in kwargs.items() if k in accepted}))

    # Training

    def set_eval_loop(self, loop: EvalLoop) -> None:
        """``runner.val_loop``, which the evaluation hook runs."""
        self._val_loop = loop

    def run(self) -> nn.Module:
        return self.train()

    def train(self) -> nn.Module:
        """Initialise or load the weights, then train to the end."""
        self._init_model_weights()
        if self.resume_from is not None:
            self.resume(self.resume_from)
        elif self.load_from is not None:
            self.load_checkpoint(self.load_from)
        self.logger.info(
            f'Start running on {platform.node()}, work_dir: {self.work_dir}, workflow: {self.train_loop.workflow}, '
            + (f'max: {self.max_epochs} epochs' if self.counts_epochs else f'max: {self.max_iters} iterations')
        )
        self.call_hook('before_run')
        self.train_loop.run()
        self.call_hook('after_run')
        return self.model

    def _init_model_weights(self) -> None:
        model = unwrap_model(self.model)
        if hasattr(model, 'init_weights') and not getattr(model, 'is_init', False):
            with trusted(self.trust):
                model.init_weights()
        if self.distributed:
            for value in model.state_dict().values():
                torch.distributed.broadcast(value, 0)

    def load_checkpoint(
        self, filename: str, map_location: Any = 'cpu', strict: bool = False, revise_keys: Any = ((r'^module\.', ''),)
    ) -> dict:
        return load_checkpoint(self.model, filename, map_location, strict, self.logger, revise_keys, self.trust)

    def collect_rng_states(self) -> None:
        """Bring every rank's random states to rank 0, for the checkpoint about to be saved; all ranks must call it."""
        states = gather_objects(get_rng_state())
        self._rng_states = (self.iter, states) if states is not None else None

    def save_checkpoint(
        self,
        out_dir: str,
        filename_tmpl: str | None = None,
        save_optimizer: bool = True,
        meta: dict | None = None,
        create_symlink: bool = True,
    ) -> None:
        """Write a checkpoint from this process; call it on rank 0.

        Args:
            filename_tmpl: a name with ``{}`` for the epochs, or of an ``IterBasedRunner`` the iterations, done.
            save_optimizer: also the optimizer and what an exact resume needs.
            meta: more entries for ``meta``.
            create_symlink: point ``latest.pth`` to it.
        """
        done = self.train_loop.done()
        number = max(done['epoch'], 1) if self.counts_epochs else done['iter']
        name = (filename_tmpl or ('epoch_{}.pth' if self.counts_epochs else 'iter_{}.pth')).format(number)
        checkpoint = snapshot(self, {**(meta or {}), **done}, save_optimizer, self._rng_states)
        self.call_hook('before_save_checkpoint', checkpoint=checkpoint)
        path = os.path.join(out_dir, name)
        write_checkpoint(checkpoint, path)
        if create_symlink:
            link_latest(path)

    def resume(self, filename: str, resume_optimizer: bool = True, map_location: Any = 'cpu', **_: Any) -> None:
        """Go on from a checkpoint: weights, optimizer, counts, random states. Its config text is not read."""
        checkpoint = self.load_checkpoint(filename, map_location)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        restore(self, checkpoint, filename, resume_optimizer)
        self.logger.info(f'resumed from {filename} at epoch {self.epoch}, iteration {self.iter}')

    def _complete_meta(self, meta: dict, loaders: Sequence[Any]) -> dict:
        dataset = loaders[0].dataset
        known = {
            'config': self.config_text,
            'seed': self.seed,
            'exp_name': os.path.basename(self.cfg.filename) if self.cfg.filename else self.experiment_name,
            'world_size': self.world_size,
            'hook_msgs': {},
        }
        for name in ('CLASSES', 'PALETTE'):
            if getattr(dataset, name, None) is not None:
                known[name] = getattr(dataset, name)
        return {**known, **meta}


@RUNNERS.register_module()
class EpochBasedRunner(BaseRunner):
    """Trains ``max_epochs`` epochs. The other arguments are those of ``BaseRunner``."""

    def __init__(self, max_epochs: int, **common: Any) -> None:
        self._goal = _positive('max_epochs', max_epochs)
        super().__init__(**common)

    def build_loop(self, loaders: Sequence[Any], workflow: Sequence[tuple[str, int]]) -> TrainLoop:
        return EpochLoop(self, loaders, workflow, self._goal)


@RUNNERS.register_module()
class IterBasedRunner(BaseRunner):
    """Trains ``max_iters`` iterations. The other arguments are those of ``BaseRunner``."""

    counts_epochs = False

    def __init__(self, max_iters: int, **common: Any) -> None:
        self._goal = _positive('max_iters', max_iters)
        super().__init__(**common)

    def build_loop(self, loaders: Sequence[Any], workflow: Sequence[tuple[str, int]]) -> TrainLoop:
        return IterLoop(self, loaders, workflow, self._goal)


@cache
def _accepted(cls: type, method: str) -> frozenset[str] | None:
    """The arguments that a hook's method names, ``None`` if it takes any."""
    parameters = inspect.signature(getattr(cls, method)).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return frozenset(p.name for p in parameters)


def _is_not_the_list_of_hooks(record: logging.LogRecord) -> bool:
    """mmengine lists each hook at each of its stages, fifty lines; ``runner.get_hook_info()`` gives them."""
    return not str(record.msg).startswith('Hooks will be executed')


def _positive(name: str, value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError(f'runner.{name} must be a whole number, got {value!r}')
    return value
