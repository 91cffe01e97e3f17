"""Boxes on a grid that predictions are relative to."""

from mmdet_clone.boxes.priors.anchor_generator import AnchorGenerator
from mmdet_clone.boxes.priors.inside import anchor_inside_flags, unmap
from mmdet_clone.boxes.priors.point_generator import MlvlPointGenerator, PointGenerator
from mmdet_clone.boxes.priors.ssd_anchor_generator import SSDAnchorGenerator

__all__ = [
    'AnchorGenerator',
    'MlvlPointGenerator',
    'PointGenerator',
    'SSDAnchorGenerator',
    'anchor_inside_flags',
    'unmap',
]
