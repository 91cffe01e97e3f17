"""Losses of a difference, computed in float32 at least."""

from __future__ import annotations

import torch
from torch import Tensor

from mmdet_clone.models.losses.reduction import WeightedLoss, weighted_loss
from mmdet_clone.ops.precision import upcast
from mmdet_clone.registry import LOSSES


@weighted_loss
def l1_loss(pred: Tensor, target: Tensor) -> Tensor:
    """``|pred - target|``."""
    return _distance(pred, target)


@weighted_loss
def smooth_l1_loss(pred: Tensor, target: Tensor, beta: float = 1.0) -> Tensor:
    """A parabola below ``beta``, ``|pred - target|`` less a constant above."""
    if beta <= 0:
        raise ValueError(f'beta must be positive, got {beta}: use L1Loss for 0')
    diff = _distance(pred, target)
    return torch.where(diff < beta, 0.5 * diff * diff / beta, diff - 0.5 * beta)


@weighted_loss
def mse_loss(pred: Tensor, target: Tensor) -> Tensor:
    """``(pred - target) ** 2``."""
    return (upcast(pred) - target) ** 2


def _distance(pred: Tensor, target: Tensor) -> Tensor:
    if pred.shape != target.shape:
        if target.numel() == 0:  # no targets: a zero that still depends on every prediction
            return upcast(pred).sum() * 0
        raise ValueError(f'pred {tuple(pred.shape)} and target {tuple(target.shape)} must have one shape')
    return (upcast(pred) - target).abs()


@LOSSES.register_module()
class L1Loss(WeightedLoss):
    """The absolute difference."""

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return l1_loss(pred, target, reduction='none')


@LOSSES.register_module()
class SmoothL1Loss(WeightedLoss):
    """The loss of "Fast R-CNN" (arXiv:1504.08083), Sec. 2.3; ``beta`` is where its two pieces meet."""

    def __init__(self, beta: float = 1.0, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        self.beta = beta

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return smooth_l1_loss(pred, target, beta=self.beta, reduction='none')


@LOSSES.register_module()
class MSELoss(WeightedLoss):
    """The squared difference."""

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return mse_loss(pred, target, reduction='none')
