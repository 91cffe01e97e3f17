"""``SyncBatchNorm`` without processes to synchronise, or on a CPU, which it does not support."""

from __future__ import annotations

import logging

from torch import nn

__all__ = ['revert_sync_batchnorm']


class _BatchNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNorm of inputs with any number of dimensions, as ``SyncBatchNorm`` takes them."""

    def _check_input_dim(self, input) -> None:
        pass


def revert_sync_batchnorm(model: nn.Module, logger: logging.Logger | None = None) -> nn.Module:
    """Replace each ``SyncBatchNorm`` by a BatchNorm that holds the same parameters and buffers, and say so."""
    names = [name for name, module in model.named_modules() if isinstance(module, nn.SyncBatchNorm)]
    if isinstance(model, nn.SyncBatchNorm):
        model = _reverted(model)
    for name in filter(None, names):
        parent, _, child = name.rpartition('.')
        owner = model.get_submodule(parent)
        setattr(owner, child, _reverted(getattr(owner, child)))
    if names and logger is not None:
        logger.info(f'{len(names)} SyncBatchNorm layers run as BatchNorm: one process, or no CUDA')
    return model


def _reverted(sync: nn.SyncBatchNorm) -> nn.Module:
    plain = _BatchNorm(sync.num_features, sync.eps, sync.momentum, sync.affine, sync.track_running_stats)
    plain._parameters, plain._buffers = sync._parameters, sync._buffers
    return plain.train(sync.training)
