"""Boxes as what a network regresses, and back."""

from mmdet_clone.boxes.coders.base import BaseBBoxCoder
from mmdet_clone.boxes.coders.delta_xywh import DeltaXYWHBBoxCoder, bbox2delta, delta2bbox

__all__ = ['BaseBBoxCoder', 'DeltaXYWHBBoxCoder', 'bbox2delta', 'delta2bbox']
