"""The heatmap loss of CornerNet and CenterNet."""

from __future__ import annotations

from torch import Tensor

from mmdet_clone.models.losses.reduction import WeightedLoss
from mmdet_clone.ops.precision import upcast
from mmdet_clone.registry import LOSSES

EPS = 1e-12


@LOSSES.register_module()
class GaussianFocalLoss(WeightedLoss):
    """The focal loss of "CornerNet" (arXiv:1808.01244), Eq. 1: less is asked near a keypoint than far from one.

    Predictions are probabilities; targets are 1 at keypoints, falling off around them.

    Args:
        alpha: how much easy pixels are weighed down.
        gamma: how fast the demand grows away from a keypoint.
    """

    def __init__(
        self, alpha: float = 2.0, gamma: float = 4.0, reduction: str = 'mean', loss_weight: float = 1.0
    ) -> None:
        super().__init__(reduction, loss_weight)
        self.alpha = alpha
        self.gamma = gamma

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        prob = upcast(pred)
        keypoint = -(prob + EPS).log() * (1 - prob) ** self.alpha * (target == 1)
        around = -(1 - prob + EPS).log() * prob**self.alpha * (1 - target) ** self.gamma
        return keypoint + around
