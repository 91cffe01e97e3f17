"""The second stage of two-stage detectors: what is done with each proposed region (RoI)."""

from __future__ import annotations

from .base_roi_head import BaseRoIHead
from .bbox_heads import BBoxHead, ConvFCBBoxHead, Shared2FCBBoxHead, Shared4Conv1FCBBoxHead
from .mask_heads import FCNMaskHead
from .roi_extractors import BaseRoIExtractor, SingleRoIExtractor
from .shared_heads import ResLayer
from .standard_roi_head import StandardRoIHead

__all__ = [
    'BBoxHead',
    'BaseRoIExtractor',
    'BaseRoIHead',
    'ConvFCBBoxHead',
    'FCNMaskHead',
    'ResLayer',
    'Shared2FCBBoxHead',
    'Shared4Conv1FCBBoxHead',
    'SingleRoIExtractor',
    'StandardRoIHead',
]
