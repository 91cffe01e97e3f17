"""The overlap loss of masks."""

from __future__ import annotations

from torch import Tensor

from mmdet_clone.models.losses.reduction import WeightedLoss
from mmdet_clone.ops.precision import upcast
from mmdet_clone.registry import LOSSES


@LOSSES.register_module()
class DiceLoss(WeightedLoss):
    """ "V-Net: Fully Convolutional Neural Networks for Volumetric Medical Image Segmentation" (arXiv:1606.04797).

    Args:
        use_sigmoid: only the sigmoid form exists.
        activate: predictions are logits; else probabilities.
        naive_dice: sums in the denominator in place of V-Net's sums of squares.
        eps: keeps the quotient of empty masks finite.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        activate: bool = True,
        reduction: str = 'mean',
        naive_dice: bool = False,
        loss_weight: float = 1.0,
        eps: float = 1e-3,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if activate and not use_sigmoid:
            raise ValueError('DiceLoss activates by a sigmoid: set use_sigmoid=True, or activate=False')
        self.use_sigmoid = use_sigmoid
        self.activate = activate
        self.naive_dice = naive_dice
        self.eps = eps

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        """(n,) from (n, ...) predictions and targets."""
        prob = upcast(pred).sigmoid() if self.activate else upcast(pred)
        prob, target = prob.flatten(1), target.to(prob).flatten(1)
        common = (prob * target).sum(1)
        if self.naive_dice:
            return 1 - (2 * common + self.eps) / (prob.sum(1) + target.sum(1) + self.eps)
        return 1 - 2 * common / ((prob**2).sum(1) + self.eps + (target**2).sum(1) + self.eps)
