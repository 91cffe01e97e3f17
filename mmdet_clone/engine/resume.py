"""What a checkpoint of a training holds beyond its weights, and how a training goes on from it."""

from __future__ import annotations

import copy
from typing import Any

from mmdet_clone.engine.checkpoint import complete_meta, unwrap_model, weights_to_cpu
from mmdet_clone.engine.seed import get_rng_state, set_rng_state

__all__ = ['restore', 'snapshot']


def snapshot(runner: Any, meta: dict, with_optimizer: bool, rng_states: tuple[int, list] | None) -> dict:
    """The content of a checkpoint: ``meta, state_dict``, and for a resume ``optimizer, loss_scaler, rng_states``.

    Args:
        meta: entries beside those of ``runner.meta``: ``epoch``, ``iter`` and ``inner_iter`` that are done.
        rng_states: the iteration at which every rank's random states were collected, and these; those of this
            process are taken if they are older.
    """
    model = unwrap_model(runner.model)
    checkpoint = {
        'meta': complete_meta(model, {**runner.meta, **meta}),
        'state_dict': weights_to_cpu(model.state_dict()),
    }
    if with_optimizer:
        checkpoint['optimizer'] = runner.optimizer.state_dict()
        if hasattr(runner.optim_wrapper, 'loss_scaler'):
            checkpoint['loss_scaler'] = runner.optim_wrapper.loss_scaler.state_dict()
        fresh = rng_states is not None and rng_states[0] == runner.iter
        checkpoint['rng_states'] = rng_states[1] if fresh else [get_rng_state()]
    return checkpoint


def restore(runner: Any, checkpoint: dict, filename: str, with_optimizer: bool = True) -> None:
    """Set the counts, the optimizer and the random states of ``runner``; its weights are loaded already.

    The config text of the checkpoint is not read: it is Python source.
    """
    meta, loop = checkpoint.get('meta', {}), runner.train_loop
    if 'epoch' not in meta or 'iter' not in meta:
        raise ValueError(
            f'{filename} does not say at which epoch and iteration it was saved, so training cannot go on from it: '
            'use load_from to start from its weights'
        )
    loop.epoch, loop.iter, loop.inner_iter = meta['epoch'], meta['iter'], meta.get('inner_iter', 0)
    if runner.counts_epochs:
        _check_epoch_length(runner)
    runner.meta.setdefault('hook_msgs', {}).update(meta.get('hook_msgs') or {})
    if with_optimizer and 'optimizer' not in checkpoint:
        runner.logger.warning(f'{filename} has no optimizer state: its momenta start anew')
    elif with_optimizer:
        _restore_optimizer(runner, checkpoint, filename)
    states = checkpoint.get('rng_states', [])
    if len(states) == runner.world_size:
        set_rng_state(states[runner.rank])


def _restore_optimizer(runner: Any, checkpoint: dict, filename: str) -> None:
    try:
        runner.optimizer.load_state_dict(copy.copy(checkpoint['optimizer']))
    except (ValueError, KeyError) as error:
        raise ValueError(
            f'the optimizer state in {filename} is of another optimizer, paramwise_cfg or model than the config has '
            f'({error}): go on with the config that it was trained with, or use load_from to start from its weights'
        ) from error
    if 'loss_scaler' in checkpoint and hasattr(runner.optim_wrapper, 'loss_scaler'):
        runner.optim_wrapper.loss_scaler.load_state_dict(checkpoint['loss_scaler'])


def _check_epoch_length(runner: Any) -> None:
    """Where an epoch has another number of iterations than it had, count by its length now."""
    loop, length = runner.train_loop, len(runner.train_loop.dataloader)
    if loop.epoch * length + loop.inner_iter != loop.iter:
        saved_at, loop.iter, loop.inner_iter = loop.iter, loop.epoch * length, 0
        runner.logger.warning(
            f'the checkpoint was saved at epoch {loop.epoch}, iteration {saved_at}, but an epoch has {length} '
            f'iterations now (another batch size, number of processes or data set): going on at iteration {loop.iter}'
        )
