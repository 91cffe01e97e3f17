"""The two losses of "Generalized Focal Loss" (arXiv:2006.04388)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdet_clone.models.losses.reduction import WeightedLoss
from mmdet_clone.ops.focal import one_hot
from mmdet_clone.ops.precision import upcast
from mmdet_clone.registry import LOSSES


@LOSSES.register_module()
class QualityFocalLoss(WeightedLoss):
    """Classification and quality in one score: the focal loss with a continuous target.

    Args:
        use_sigmoid: only the sigmoid form exists.
        beta: how much easy examples are weighed down.
        activated: predictions are probabilities, not logits.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        beta: float = 2.0,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        activated: bool = False,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if not use_sigmoid:
            raise ValueError('QualityFocalLoss has only a sigmoid form: set use_sigmoid=True')
        self.use_sigmoid = use_sigmoid
        self.beta = beta
        self.activated = activated

    def elementwise(self, pred: Tensor, target: tuple[Tensor, Tensor]) -> Tensor:
        """(n,) summed over classes.

        Args:
            pred: (n, C).
            target: classes (n,), where every value outside 0..C-1 is background, and qualities (n,) in [0, 1].
        """
        pred, (label, score) = upcast(pred), target
        quality = torch.where(one_hot(label, pred.shape[1]), score.to(pred)[:, None], 0.0)  # (n, C)
        prob = pred if self.activated else pred.sigmoid()
        if self.activated:
            log_p, log_1p = prob.log().clamp(min=-100), (1 - prob).log().clamp(min=-100)
            entropy = -(quality * log_p + (1 - quality) * log_1p)
        else:
            entropy = F.binary_cross_entropy_with_logits(pred, quality, reduction='none')
        return (entropy * (quality - prob).abs() ** self.beta).sum(1)


@LOSSES.register_module()
class DistributionFocalLoss(WeightedLoss):
    """A distance as a distribution over whole numbers: raises those on either side of the target."""

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        """(n,).

        Args:
            pred: (n, m + 1) logits of 0..m.
            target: (n,) in [0, m).
        """
        pred, left = upcast(pred), target.long()
        to_right = target - left
        nll_left = F.cross_entropy(pred, left, reduction='none')
        return nll_left * (1 - to_right) + F.cross_entropy(pred, left + 1, reduction='none') * to_right
