"""How the features of a region are cut out of a feature pyramid."""

from __future__ import annotations

from .base_roi_extractor import BaseRoIExtractor
from .single_level_roi_extractor import SingleRoIExtractor

__all__ = ['BaseRoIExtractor', 'SingleRoIExtractor']
