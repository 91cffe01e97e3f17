"""The focal loss of RetinaNet."""

from __future__ import annotations

from torch import Tensor

from mmdet_clone.models.losses.reduction import WeightedLoss, weight_reduce_loss
from mmdet_clone.ops.focal import one_hot, sigmoid_focal_loss
from mmdet_clone.ops.precision import upcast
from mmdet_clone.registry import LOSSES


@LOSSES.register_module()
class FocalLoss(WeightedLoss):
    """ "Focal Loss for Dense Object Detection" (arXiv:1708.02002).

    Args:
        use_sigmoid: only the sigmoid form exists.
        gamma: how much easy examples are weighed down.
        alpha: weight of the positive examples, ``1 - alpha`` of the negative ones.
        activated: predictions are probabilities, not logits.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        gamma: float = 2.0,
        alpha: float = 0.25,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        activated: bool = False,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if not use_sigmoid:
            raise ValueError('FocalLoss has only a sigmoid form: set use_sigmoid=True')
        self.use_sigmoid = use_sigmoid
        self.gamma = gamma
        self.alpha = alpha
        self.activated = activated

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        if not self.activated:
            return sigmoid_focal_loss(pred, target, self.gamma, self.alpha)
        return _focal_loss_of_probabilities(upcast(pred), target, self.gamma, self.alpha)

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
            pred: (n, C) logits, or probabilities if ``activated``.
            target: (n,) classes in 0..C-1, C for background; or (n, C) one-hot.
            weight: (n,) or (n, C).
        """
        loss = self.elementwise(pred, target)
        if weight is not None and weight.shape != loss.shape:
            # one for each row; or for each element, in a row
            weight = weight[:, None] if len(weight) == len(loss) else weight.reshape(loss.shape)
        return self.loss_weight * weight_reduce_loss(loss, weight, reduction_override or self.reduction, avg_factor)


def _focal_loss_of_probabilities(prob: Tensor, target: Tensor, gamma: float, alpha: float) -> Tensor:
    target = one_hot(target, prob.shape[1]) if target.ndim < prob.ndim else target
    target = target.to(prob.dtype)
    miss = (1 - prob) * target + prob * (1 - target)
    modulator = (alpha * target + (1 - alpha) * (1 - target)) * miss**gamma
    # binary_cross_entropy itself refuses to run under autocast
    log_p, log_1p = prob.log().clamp(min=-100), (1 - prob).log().clamp(min=-100)
    return -(target * log_p + (1 - target) * log_1p) * modulator
