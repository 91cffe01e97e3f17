"""How ground truth meets predictions: priors, coders, assigners, samplers, and the way back to detections."""

from mmdet_clone.boxes.assigners import AssignResult, BaseAssigner, MaxIoUAssigner, SimOTAAssigner
from mmdet_clone.boxes.builder import (
    build_anchor_generator,
    build_assigner,
    build_bbox_coder,
    build_iou_calculator,
    build_prior_generator,
    build_sampler,
)
from mmdet_clone.boxes.coders import BaseBBoxCoder, DeltaXYWHBBoxCoder, bbox2delta, delta2bbox
from mmdet_clone.boxes.iou_calculators import BboxOverlaps2D
from mmdet_clone.boxes.merge import merge_aug_bboxes, merge_aug_masks, merge_aug_proposals, merge_aug_scores
from mmdet_clone.boxes.postprocess import (
    Candidates,
    PostprocessConfig,
    detections_from_levels,
    filter_scores_and_topk,
    finish_detections,
    finish_proposals,
    select_per_level,
    select_proposals_per_level,
)
from mmdet_clone.boxes.priors import (
    AnchorGenerator,
    MlvlPointGenerator,
    PointGenerator,
    SSDAnchorGenerator,
    anchor_inside_flags,
    unmap,
)
from mmdet_clone.boxes.samplers import BaseSampler, OHEMSampler, PseudoSampler, RandomSampler, SamplingResult

__all__ = [
    'AnchorGenerator',
    'AssignResult',
    'BaseAssigner',
    'BaseBBoxCoder',
    'BaseSampler',
    'BboxOverlaps2D',
    'Candidates',
    'DeltaXYWHBBoxCoder',
    'MaxIoUAssigner',
    'MlvlPointGenerator',
    'OHEMSampler',
    'PointGenerator',
    'PostprocessConfig',
    'PseudoSampler',
    'RandomSampler',
    'SSDAnchorGenerator',
    'SamplingResult',
    'SimOTAAssigner',
    'anchor_inside_flags',
    'bbox2delta',
    'build_anchor_generator',
    'build_assigner',
    'build_bbox_coder',
    'build_iou_calculator',
    'build_prior_generator',
    'build_sampler',
    'delta2bbox',
    'detections_from_levels',
    'filter_scores_and_topk',
    'finish_detections',
    'finish_proposals',
    'merge_aug_bboxes',
    'merge_aug_masks',
    'merge_aug_proposals',
    'merge_aug_scores',
    'select_per_level',
    'select_proposals_per_level',
    'unmap',
]
