"""The sigmoid focal loss, from class indices or from one-hot targets."""

from __future__ import annotations

from typing import Any

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
        target: (n,) class indices, where every value outside 0..C-1 is background; or (n, C) in [0, 1].
        weight: (n,) or (n, C).
        reduction: ``'none'`` (n, C), ``'mean'`` or ``'sum'``.
    """
    pred = upcast(pred)
    target = one_hot(target, pred.shape[1]) if target.ndim < pred.ndim else target
    focal = _of_shares if target.is_floating_point() else _SigmoidFocalLoss.apply
    loss = focal(pred, target, gamma, alpha)
    if weight is not None:
        loss = loss * (weight[:, None] if weight.ndim < loss.ndim else weight)
    if reduction == 'none':
        return loss
    return loss.mean() if reduction == 'mean' and loss.numel() else loss.sum()


class _SigmoidFocalLoss(torch.autograd.Function):
    """The loss of each element, by the formula of its gradient.

    A dense head has millions of logits: they and a mask are kept for the backward pass, not every step in between.
    """

    @staticmethod
    def forward(ctx: Any, pred: Tensor, positive: Tensor, gamma: float, alpha: float) -> Tensor:
        positive = positive.bool()
        ctx.save_for_backward(pred, positive)
        ctx.gamma, ctx.alpha = gamma, alpha
        wrong = torch.where(positive, -pred, pred)  # the logit of being wrong
        return torch.where(positive, alpha, 1 - alpha) * wrong.sigmoid() ** gamma * F.softplus(wrong)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        pred, positive = ctx.saved_tensors
        wrong = torch.where(positive, -pred, pred)
        miss = wrong.sigmoid()
        slope = miss**ctx.gamma * (ctx.gamma * (1 - miss) * F.softplus(wrong) + miss)
        return grad * slope * torch.where(positive, -ctx.alpha, 1 - ctx.alpha), None, None, None


def _of_shares(pred: Tensor, target: Tensor, gamma: float, alpha: float) -> Tensor:
    prob = pred.sigmoid()
    miss = (1 - prob) * target + prob * (1 - target)
    weight = alpha * target + (1 - alpha) * (1 - target)
    return weight * miss**gamma * F.binary_cross_entropy_with_logits(pred, target.to(pred.dtype), reduction='none')


def one_hot(target: Tensor, num_classes: int) -> Tensor:
    """(n,) indices -> (n, C) bool; a row of False for any index outside 0..C-1."""
    return target[:, None] == torch.arange(num_classes, device=target.device)
