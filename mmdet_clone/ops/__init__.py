"""Functions on tensors, nothing learned: box arithmetic, non-maximum suppression, RoI pooling, mask pasting."""

from mmdet_clone.ops.boxes import (
    bbox2distance,
    bbox2roi,
    bbox_cxcywh_to_xyxy,
    bbox_flip,
    bbox_mapping,
    bbox_mapping_back,
    bbox_overlaps,
    bbox_rescale,
    bbox_xyxy_to_cxcywh,
    clip_boxes,
    distance2bbox,
    find_inside_bboxes,
    roi2bbox,
)
from mmdet_clone.ops.deform_conv import (
    DeformConv2d,
    DeformConv2dPack,
    ModulatedDeformConv2d,
    ModulatedDeformConv2dPack,
    deform_conv2d,
    modulated_deform_conv2d,
)
from mmdet_clone.ops.deform_roi import (
    DeformRoIPool,
    DeformRoIPoolPack,
    ModulatedDeformRoIPoolPack,
    deform_roi_pool,
)
from mmdet_clone.ops.focal import sigmoid_focal_loss
from mmdet_clone.ops.levels import flatten_levels
from mmdet_clone.ops.masks import paste_masks
from mmdet_clone.ops.nms import batched_nms, fast_nms, multiclass_nms, nms, soft_nms
from mmdet_clone.ops.precision import upcast
from mmdet_clone.ops.reduce import reduce_mean
from mmdet_clone.ops.roi import RoIAlign, RoIPool

__all__ = [
    'DeformConv2d',
    'DeformConv2dPack',
    'DeformRoIPool',
    'DeformRoIPoolPack',
    'ModulatedDeformConv2d',
    'ModulatedDeformConv2dPack',
    'ModulatedDeformRoIPoolPack',
    'RoIAlign',
    'RoIPool',
    'batched_nms',
    'bbox2distance',
    'bbox2roi',
    'bbox_cxcywh_to_xyxy',
    'bbox_flip',
    'bbox_mapping',
    'bbox_mapping_back',
    'bbox_overlaps',
    'bbox_rescale',
    'bbox_xyxy_to_cxcywh',
    'clip_boxes',
    'deform_conv2d',
    'deform_roi_pool',
    'distance2bbox',
    'fast_nms',
    'find_inside_bboxes',
    'flatten_levels',
    'modulated_deform_conv2d',
    'multiclass_nms',
    'nms',
    'paste_masks',
    'reduce_mean',
    'roi2bbox',
    'sigmoid_focal_loss',
    'soft_nms',
    'upcast',
]
