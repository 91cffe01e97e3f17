"""The loss of VarifocalNet."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mmdet_clone.models.losses.reduction import WeightedLoss
from mmdet_clone.ops.precision import upcast
from mmdet_clone.registry import LOSSES


@LOSSES.register_module()
class VarifocalLoss(WeightedLoss):
    """ "VarifocalNet: An IoU-aware Dense Object Detector" (arXiv:2008.13367), Eq. 2.

    Predictions are logits; targets in their shape, the IoU for the object's class and 0 elsewhere.

    Args:
        use_sigmoid: only the sigmoid form exists.
        alpha: weight of negative examples.
        gamma: how much easy negative examples are weighed down.
        iou_weighted: weigh positive examples by their target.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        alpha: float = 0.75,
        gamma: float = 2.0,
        iou_weighted: bool = True,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if not use_sigmoid:
            raise ValueError('VarifocalLoss has only a sigmoid form: set use_sigmoid=True')
        if alpha < 0:
            raise ValueError(f'alpha must not be negative, got {alpha}')
        self.use_sigmoid = use_sigmoid
        self.alpha = alpha
        self.gamma = gamma
        self.iou_weighted = iou_weighted

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        pred = upcast(pred)
        target = target.to(pred)
        positive = (target > 0).to(pred)
        miss = (pred.sigmoid() - target).abs() ** self.gamma
        weight = (target if self.iou_weighted else 1.0) * positive + self.alpha * miss * (1 - positive)
        return F.binary_cross_entropy_with_logits(pred, target, reduction='none') * weight
