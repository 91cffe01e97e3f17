"""Cross entropy over classes, over independent classes (sigmoid), and over the pixels of a mask."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdet_clone.models.losses.reduction import WeightedLoss, weight_reduce_loss
from mmdet_clone.ops.focal import one_hot
from mmdet_clone.ops.precision import upcast
from mmdet_clone.registry import LOSSES

IGNORE = -100


def cross_entropy(
    pred: Tensor,
    label: Tensor,
    weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: float | Tensor | None = None,
    class_weight: Tensor | None = None,
    ignore_index: int | None = IGNORE,
    avg_non_ignore: bool = False,
) -> Tensor:
    """Softmax cross entropy.

    Args:
        pred: (n, C, ...) logits.
        label: (n, ...) classes in 0..C-1 or ``ignore_index``.
        weight: as ``label``.
        class_weight: (C,).
        avg_non_ignore: the mean is over the elements that are not ignored, where no ``avg_factor`` is given.
    """
    ignore_index = IGNORE if ignore_index is None else ignore_index
    loss = F.cross_entropy(upcast(pred), label, weight=class_weight, reduction='none', ignore_index=ignore_index)
    if avg_factor is None and avg_non_ignore and reduction == 'mean':
        avg_factor = (label != ignore_index).sum()
    return weight_reduce_loss(loss, weight if weight is None else weight.float(), reduction, avg_factor)


def binary_cross_entropy(
    pred: Tensor,
    label: Tensor,
    weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: float | Tensor | None = None,
    class_weight: Tensor | None = None,
    ignore_index: int | None = IGNORE,
    avg_non_ignore: bool = False,
) -> Tensor:
    """Sigmoid cross entropy, each class by itself.

    Args:
        pred: (n, C) logits.
        label: (n,) classes in 0..C-1, C for background; or values in [0, 1] in the shape of ``pred``. Negative labels
            and ``ignore_index`` are left out.
        weight: (n,) for (n,) labels, else in the shape of ``pred``.
        class_weight: (C,) weight of the positive elements.
        avg_non_ignore: as in :func:`cross_entropy`.
    """
    ignore_index = IGNORE if ignore_index is None else ignore_index
    valid = ((label >= 0) & (label != ignore_index)).float()
    if pred.dim() != label.dim():
        label = one_hot(label, pred.shape[-1])
        valid = valid[:, None].expand_as(label)
        weight = None if weight is None else weight.reshape(-1, 1)
    weight = valid if weight is None else weight.float() * valid
    if avg_factor is None and avg_non_ignore and reduction == 'mean':
        avg_factor = valid.sum()
    pred = upcast(pred)
    loss = F.binary_cross_entropy_with_logits(pred, label.to(pred), pos_weight=class_weight, reduction='none')
    return weight_reduce_loss(loss, weight, reduction, avg_factor)


def mask_cross_entropy(
    pred: Tensor,
    target: Tensor,
    label: Tensor,
    reduction: str = 'mean',
    avg_factor: float | Tensor | None = None,
    class_weight: Tensor | None = None,
) -> Tensor:
    """Sigmoid cross entropy of the pixels of each object's own class: the mask loss of "Mask R-CNN" (arXiv:1703.06870).

    Args:
        pred: (n, C, h, w) logits.
        target: (n, h, w) in [0, 1].
        label: (n,) the class whose mask is looked at.
        class_weight: broadcast against ``target``.
    """
    if reduction != 'mean' or avg_factor is not None:
        raise ValueError("the mask loss is a mean over pixels: use reduction='mean' and no avg_factor")
    own = upcast(pred[torch.arange(len(pred), device=pred.device), label])
    loss = F.binary_cross_entropy_with_logits(own, target.to(own), weight=class_weight, reduction='none')
    return weight_reduce_loss(loss, reduction='mean')


@LOSSES.register_module()
class CrossEntropyLoss(WeightedLoss):
    """Cross entropy in one of three forms.

    Args:
        use_sigmoid: classes are independent (:func:`binary_cross_entropy`).
        use_mask: pixels of a mask (:func:`mask_cross_entropy`); else softmax (:func:`cross_entropy`).
        class_weight: of each class.
        ignore_index: a label that is left out, -100 by default.
        avg_non_ignore: the mean is over the elements that are not ignored, where no ``avg_factor`` is given.
    """

    def __init__(
        self,
        use_sigmoid: bool = False,
        use_mask: bool = False,
        reduction: str = 'mean',
        class_weight: Sequence[float] | None = None,
        ignore_index: int | None = None,
        loss_weight: float = 1.0,
        avg_non_ignore: bool = False,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if use_sigmoid and use_mask:
            raise ValueError('use_sigmoid and use_mask exclude each other: the mask loss is a sigmoid loss already')
        if ignore_index is not None and not avg_non_ignore and reduction == 'mean':
            warnings.warn(
                'ignored elements count in the mean; set avg_non_ignore=True to leave them out of it', stacklevel=2
            )
        self.use_sigmoid = use_sigmoid
        self.use_mask = use_mask
        self.class_weight = class_weight
        self.ignore_index = ignore_index
        self.avg_non_ignore = avg_non_ignore

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
        ignore_index: int | None = None,
    ) -> Tensor:
        """The loss times ``loss_weight``.

        Args:
            cls_score: logits, see the function of the form chosen.
            label: targets; with ``use_mask`` those of the pixels.
            weight: of the elements; with ``use_mask`` the class (n,) of each object.
            ignore_index: in place of the one given at construction.
        """
        reduction = reduction_override or self.reduction
        class_weight = None
        if self.class_weight is not None:
            class_weight = upcast(cls_score[:0]).new_tensor(self.class_weight)
        if self.use_mask:
            loss = mask_cross_entropy(cls_score, label, weight, reduction, avg_factor, class_weight)
        else:
            criterion = binary_cross_entropy if self.use_sigmoid else cross_entropy
            ignore_index = self.ignore_index if ignore_index is None else ignore_index
            loss = criterion(
                cls_score, label, weight, reduction, avg_factor, class_weight, ignore_index, self.avg_non_ignore
            )
        return self.loss_weight * loss

    def extra_repr(self) -> str:
        return f'use_sigmoid={self.use_sigmoid}, use_mask={self.use_mask}, loss_weight={self.loss_weight}'
