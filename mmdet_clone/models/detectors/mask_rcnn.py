"""Mask R-CNN."""

from __future__ import annotations

from ..builder import DETECTORS
from .two_stage import TwoStageDetector

__all__ = ['MaskRCNN']


@DETECTORS.register_module()
class MaskRCNN(TwoStageDetector):
    """ "Mask R-CNN" (arXiv 1703.06870): Faster R-CNN with a ``mask_head`` in its RoI head."""
