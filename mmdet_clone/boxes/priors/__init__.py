"""Boxes on a grid that predictions are relative to."""

from mmdet_clone.boxes.priors.anchor_generator import AnchorGenerator
from mmdet_clone.boxes.priors.inside import anchor_inside_flags, unmap

__all__ = ['AnchorGenerator', 'anchor_inside_flags', 'unmap']
