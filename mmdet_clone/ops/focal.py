"""The sigmoid focal loss, from class indices or from one-hot targets."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdet_clone.ops.precision import upcast


def sigmoid_focal_loss(
    pred: Tensor,
    target: Tensor,
    gamma: float = 2.0,
    alpha: float = 0.25,
    weight: Tensor | None = None,
    reduction: str = 'none',
) -> Tensor:
    """ "Focal Loss for Dense Object Detection" (arXiv:1708.02002).

    Args:
        pred: (n, C) logits.
        target: (n,) class indices, where every value outside 0..C-1 is background; or (n, C) with values 0 and 1.
        weight: (n,) or (n, C).
        reduction: ``'none'`` (n, C), ``'mean'`` or ``'sum'``.
    """
    pred = upcast(pred)
    target = one_hot(target, pred.shape[1]) if target.ndim < pred.ndim else target
    target = target.to(pred.dtype)
    prob = pred.sigmoid()
    miss = (1 - prob) * target + prob * (1 - target)
    modulator = (alpha * target + (1 - alpha) * (1 - target)) * miss**gamma
    loss = F.binary_cross_entropy_with_logits(pred, target, reduction='none') * modulator
    if weight is not None:
        loss = loss * (weight[:, None] if weight.ndim < loss.ndim else weight)
    if reduction == 'none':
        return loss
    return loss.mean() if reduction == 'mean' and loss.numel() else loss.sum()


def one_hot(target: Tensor, num_classes: int) -> Tensor:
    """(n,) indices -> (n, C) bool; a row of False for any index outside 0..C-1."""
    return target[:, None] == torch.arange(num_classes, device=target.device)
