"""The box loss of Libra R-CNN."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mmdet_clone.models.losses.reduction import WeightedLoss
from mmdet_clone.models.losses.regression_loss import l1_loss
from mmdet_clone.registry import LOSSES


@LOSSES.register_module()
class BalancedL1Loss(WeightedLoss):
    """ "Libra R-CNN: Towards Balanced Learning for Object Detection" (arXiv:1904.02701), Eq. 7-9.

    Args:
        alpha: how much gradient accurate samples get.
        gamma: the gradient of outliers.
        beta: where outliers begin.
    """

    def __init__(
        self,
        alpha: float = 0.5,
        gamma: float = 1.5,
        beta: float = 1.0,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if beta <= 0:
            raise ValueError(f'beta must be positive, got {beta}')
        self.alpha = alpha
        self.gamma = gamma
        self.beta = beta

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        alpha, gamma, beta = self.alpha, self.gamma, self.beta
        diff = l1_loss(pred, target, reduction='none')
        b = math.exp(gamma / alpha) - 1  # makes the gradient continuous at beta
        inlier = alpha / b * (b * diff + 1) * torch.log(b * diff / beta + 1) - alpha * diff
        outlier = gamma * diff + gamma / b - alpha * beta
        return torch.where(diff < beta, inlier, outlier)
