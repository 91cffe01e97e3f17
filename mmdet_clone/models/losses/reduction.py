"""From a loss for each element to one number."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

REDUCTIONS = ('none', 'mean', 'sum')
EPS = torch.finfo(torch.float32).eps  # keeps the mean over an avg_factor of 0 finite


def check_reduction(reduction: str) -> str:
    """``reduction``, or ValueError."""
    if reduction not in REDUCTIONS:
        raise ValueError(f'reduction must be one of {", ".join(map(repr, REDUCTIONS))}, got {reduction!r}')
    return reduction


def reduce_loss(loss: Tensor, reduction: str) -> Tensor:
    """``'none'`` as it is, ``'sum'``, or ``'mean'``, which is 0 (and not NaN) for no elements."""
    check_reduction(reduction)
    if reduction == 'none':
        return loss
    return loss.mean() if reduction == 'mean' and loss.numel() else loss.sum()


def weight_reduce_loss(
    loss: Tensor, weight: Tensor | None = None, reduction: str = 'mean', avg_factor: float | Tensor | None = None
) -> Tensor:
    """Weight each element, then reduce.

    Args:
        loss: for each element.
        weight: broadcast against ``loss``.
        avg_factor: what the sum is divided by for ``'mean'``, instead of the number of elements.
    """
    if weight is not None:
        loss = loss * weight
    if avg_factor is None:
        return reduce_loss(loss, reduction)
    if check_reduction(reduction) == 'sum':
        raise ValueError("avg_factor is for reduction='mean', not 'sum'")
    return loss if reduction == 'none' else loss.sum() / (avg_factor + EPS)


def weighted_loss(loss_func: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Give ``loss_func(pred, target, **options)`` the arguments ``weight``, ``reduction`` and ``avg_factor``.

    Example::

        @weighted_loss
        def l1_loss(pred, target):
            return (pred - target).abs()

        l1_loss(pred, target, weight, reduction='mean', avg_factor=num_pos)
    """

    @functools.wraps(loss_func)
    def wrapper(
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        reduction: str = 'mean',
        avg_factor: float | Tensor | None = None,
        **options: Any,
    ) -> Tensor:
        return weight_reduce_loss(loss_func(pred, target, **options), weight, reduction, avg_factor)

    return wrapper


class WeightedLoss(nn.Module):
    """A loss whose subclass says in ``elementwise`` what one element costs."""

    def __init__(self, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__()
        self.reduction = check_reduction(reduction)
        self.loss_weight = loss_weight

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        """The loss of each element, or of each row."""
        raise NotImplementedError(f'{type(self).__name__} must define elementwise(pred, target)')

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """The loss times ``loss_weight``.

        Args:
            weight: of each element.
            avg_factor: what the sum is divided by, instead of the number of elements.
            reduction_override: in place of the ``reduction`` given at construction.
        """
        reduction = reduction_override or self.reduction
        return self.loss_weight * weight_reduce_loss(self.elementwise(pred, target), weight, reduction, avg_factor)
