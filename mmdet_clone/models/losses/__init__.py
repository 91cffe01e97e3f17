"""Loss functions. Each is ``weight``-ed by element, summed and divided by ``avg_factor``."""

from mmdet_clone.models.losses.accuracy import Accuracy, accuracy
from mmdet_clone.models.losses.balanced_l1_loss import BalancedL1Loss
from mmdet_clone.models.losses.cross_entropy_loss import (
    CrossEntropyLoss,
    binary_cross_entropy,
    cross_entropy,
    mask_cross_entropy,
)
from mmdet_clone.models.losses.dice_loss import DiceLoss
from mmdet_clone.models.losses.focal_loss import FocalLoss
from mmdet_clone.models.losses.gaussian_focal_loss import GaussianFocalLoss
from mmdet_clone.models.losses.gfocal_loss import DistributionFocalLoss, QualityFocalLoss
from mmdet_clone.models.losses.iou_loss import (
    BoundedIoULoss,
    CIoULoss,
    DIoULoss,
    GIoULoss,
    IoULoss,
    bounded_iou_loss,
    ciou_loss,
    diou_loss,
    giou_loss,
    iou_loss,
)
from mmdet_clone.models.losses.reduction import reduce_loss, weight_reduce_loss, weighted_loss
from mmdet_clone.models.losses.regression_loss import (
    L1Loss,
    MSELoss,
    SmoothL1Loss,
    l1_loss,
    mse_loss,
    smooth_l1_loss,
)
from mmdet_clone.models.losses.varifocal_loss import VarifocalLoss

__all__ = [
    'Accuracy',
    'BalancedL1Loss',
    'BoundedIoULoss',
    'CIoULoss',
    'CrossEntropyLoss',
    'DIoULoss',
    'DiceLoss',
    'DistributionFocalLoss',
    'FocalLoss',
    'GIoULoss',
    'GaussianFocalLoss',
    'IoULoss',
    'L1Loss',
    'MSELoss',
    'QualityFocalLoss',
    'SmoothL1Loss',
    'VarifocalLoss',
    'accuracy',
    'binary_cross_entropy',
    'bounded_iou_loss',
    'ciou_loss',
    'cross_entropy',
    'diou_loss',
    'giou_loss',
    'iou_loss',
    'l1_loss',
    'mask_cross_entropy',
    'mse_loss',
    'reduce_loss',
    'smooth_l1_loss',
    'weight_reduce_loss',
    'weighted_loss',
]
