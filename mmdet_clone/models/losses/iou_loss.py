"""Losses of the overlap of aligned boxes (n, 4), x1 y1 x2 y2, computed in float32 at least."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor

from mmdet_clone.models.losses.reduction import WeightedLoss, weight_reduce_loss, weighted_loss
from mmdet_clone.ops.boxes import bbox_overlaps
from mmdet_clone.ops.precision import upcast
from mmdet_clone.registry import LOSSES


@weighted_loss
def iou_loss(pred: Tensor, target: Tensor, linear: bool = False, mode: str = 'log', eps: float = 1e-6) -> Tensor:
    """(n,) ``-log(IoU)``, ``1 - IoU`` or ``1 - IoU ** 2`` for mode ``'log'``, ``'linear'``, ``'square'``."""
    ious = bbox_overlaps(pred, target, is_aligned=True).clamp(min=eps)
    mode = _iou_mode(linear, mode)
    if mode == 'linear':
        return 1 - ious
    return 1 - ious**2 if mode == 'square' else -ious.log()


def _iou_mode(linear: bool, mode: str) -> str:
    if linear:
        warnings.warn("linear=True is the older spelling of mode='linear'", DeprecationWarning, stacklevel=3)
        mode = 'linear'
    if mode not in ('linear', 'square', 'log'):
        raise ValueError(f"mode must be 'linear', 'square' or 'log', got {mode!r}")
    return mode


@weighted_loss
def bounded_iou_loss(pred: Tensor, target: Tensor, beta: float = 0.2, eps: float = 1e-3) -> Tensor:
    """(n, 4) the losses of x, y, width and height, each with the others taken as right."""
    target = upcast(target.detach())
    p_center, p_size = _center_size(upcast(pred))
    t_center, t_size = _center_size(target)
    offset = 2 * (t_center - p_center).abs()
    centers = 1 - ((t_size - offset) / (t_size + offset + eps)).clamp(min=0)
    sizes = 1 - torch.min(t_size / (p_size + eps), p_size / (t_size + eps))
    loss = torch.cat((centers, sizes), -1)
    return torch.where(loss < beta, 0.5 * loss * loss / beta, loss - 0.5 * beta)


@weighted_loss
def giou_loss(pred: Tensor, target: Tensor, eps: float = 1e-7) -> Tensor:
    """(n,) ``1 - GIoU``."""
    return 1 - bbox_overlaps(pred, target, mode='giou', is_aligned=True, eps=eps)


@weighted_loss
def diou_loss(pred: Tensor, target: Tensor, eps: float = 1e-7) -> Tensor:
    """(n,) ``1 - DIoU``."""
    pred, target = upcast(pred), upcast(target)
    return 1 - (_iou(pred, target, eps) - _distance_penalty(pred, target, eps))


@weighted_loss
def ciou_loss(pred: Tensor, target: Tensor, eps: float = 1e-7) -> Tensor:
    """(n,) ``1 - CIoU``; the aspect ratio counts where the IoU is above 0.5."""
    pred, target = upcast(pred), upcast(target)
    ious = _iou(pred, target, eps)
    v = 4 / math.pi**2 * (_angle(target, eps) - _angle(pred, eps)) ** 2
    with torch.no_grad():
        alpha = (ious > 0.5).to(v.dtype) * v / (1 - ious + v).clamp(min=eps)  # 0 / 0 for equal boxes
    cious = ious - (_distance_penalty(pred, target, eps) + alpha * v)
    return 1 - cious.clamp(min=-1.0, max=1.0)


def _iou(pred: Tensor, target: Tensor, eps: float) -> Tensor:
    """(n,) IoU with ``eps`` added to the union."""
    sides = (torch.min(pred[:, 2:], target[:, 2:]) - torch.max(pred[:, :2], target[:, :2])).clamp(min=0)
    overlap = sides[:, 0] * sides[:, 1]
    areas = [(b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in (pred, target)]
    return overlap / (areas[0] + areas[1] - overlap + eps)


def _distance_penalty(pred: Tensor, target: Tensor, eps: float) -> Tensor:
    """(n,) squared distance of the centres over the squared diagonal of the hull."""
    hull = (torch.max(pred[:, 2:], target[:, 2:]) - torch.min(pred[:, :2], target[:, :2])).clamp(min=0)
    shift = target[:, :2] + target[:, 2:] - pred[:, :2] - pred[:, 2:]
    return (shift**2 / 4).sum(1) / ((hull**2).sum(1) + eps)


def _angle(boxes: Tensor, eps: float) -> Tensor:
    return torch.atan((boxes[:, 2] - boxes[:, 0]) / (boxes[:, 3] - boxes[:, 1] + eps))


def _center_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    return (boxes[:, :2] + boxes[:, 2:]) * 0.5, boxes[:, 2:] - boxes[:, :2]


class _BoxLoss(WeightedLoss):
    """Zero, but connected to the predictions, when no box has a weight; a weight (n, 4) counts by its mean."""

    def __init__(self, eps: float = 1e-6, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        self.eps = eps

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
            pred, target: (n, 4).
            weight: (n,) or (n, 4).
        """
        reduction = reduction_override or self.reduction
        if weight is not None and reduction != 'none' and not (weight > 0).any():
            return (upcast(pred) * (weight[:, None] if weight.dim() < pred.dim() else weight)).sum()
        loss = self.elementwise(pred, target)
        return self.loss_weight * weight_reduce_loss(loss, _fit(weight, loss), reduction, avg_factor)


def _fit(weight: Tensor | None, loss: Tensor) -> Tensor | None:
    """``weight`` in the number of dimensions of ``loss``."""
    if weight is None or weight.dim() == loss.dim():
        return weight
    return weight.mean(-1) if weight.dim() > loss.dim() else weight[:, None]


@LOSSES.register_module()
class IoULoss(_BoxLoss):
    """ "UnitBox: An Advanced Object Detection Network" (arXiv:1608.01471).

    Args:
        linear: the older spelling of ``mode='linear'``.
        mode: ``'log'``, ``'linear'`` or ``'square'``, see :func:`iou_loss`.
    """

    def __init__(
        self,
        linear: bool = False,
        eps: float = 1e-6,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        mode: str = 'log',
    ) -> None:
        super().__init__(eps, reduction, loss_weight)
        self.mode = _iou_mode(linear, mode)

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return iou_loss(pred, target, mode=self.mode, eps=self.eps, reduction='none')


@LOSSES.register_module()
class BoundedIoULoss(_BoxLoss):
    """ "Improving Object Localization with Fitness NMS and Bounded IoU Loss" (arXiv:1711.00164)."""

    def __init__(self, beta: float = 0.2, eps: float = 1e-3, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(eps, reduction, loss_weight)
        self.beta = beta

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return bounded_iou_loss(pred, target, beta=self.beta, eps=self.eps, reduction='none')


@LOSSES.register_module()
class GIoULoss(_BoxLoss):
    """ "Generalized Intersection over Union" (arXiv:1902.09630)."""

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return giou_loss(pred, target, eps=self.eps, reduction='none')


@LOSSES.register_module()
class DIoULoss(_BoxLoss):
    """ "Distance-IoU Loss" (arXiv:1911.08287)."""

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return diou_loss(pred, target, eps=self.eps, reduction='none')


@LOSSES.register_module()
class CIoULoss(_BoxLoss):
    """ "Enhancing Geometric Factors in Model Learning and Inference" (arXiv:2005.03572)."""

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return ciou_loss(pred, target, eps=self.eps, reduction='none')
