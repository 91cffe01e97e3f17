"""Averaging normalisation layers over processes."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import all_reduce
from torch import nn

from mmdet_clone.engine.checkpoint import unwrap_model
from mmdet_clone.engine.dist import get_dist_info
from mmdet_clone.engine.hooks.hook import HOOKS, Hook

__all__ = ['SyncNormHook', 'average_norms']


@HOOKS.register_module()
class SyncNormHook(Hook):
    """Gives every process the mean of their batch (or instance) normalisations, at the end of epochs.

    Each process trains with statistics of its own images, and only those of one go into evaluations and checkpoints.

    Args:
        num_last_epochs: from this many epochs before the end on, every epoch.
        interval: before that, every so many epochs.
    """

    def __init__(self, num_last_epochs: int = 15, interval: int = 1) -> None:
        self.num_last_epochs, self.interval = num_last_epochs, interval

    def after_train_epoch(self, runner: Any) -> None:
        last = runner.epoch + 1 >= runner.max_epochs - self.num_last_epochs
        if last or self.every_n_epochs(runner, self.interval):
            average_norms(unwrap_model(runner.model))


@torch.no_grad()
def average_norms(model: nn.Module) -> None:
    """Set weights and running statistics of ``model``'s batch and instance normalisations to the processes' means."""
    states = [
        value.detach()
        for module in model.modules()
        if isinstance(module, nn.modules.batchnorm._NormBase)
        for value in (*module.parameters(recurse=False), *module.buffers(recurse=False))
        if value.is_floating_point()  # not the count of batches, which is the same everywhere
    ]
    if not states or get_dist_info()[1] == 1:
        return
    flat = torch.cat([state.flatten().float() for state in states])
    all_reduce(flat, 'mean')
    for state, mean in zip(states, flat.split([state.numel() for state in states])):
        state.copy_(mean.view_as(state))
