"""Faster R-CNN."""

from __future__ import annotations

from ..builder import DETECTORS
from .two_stage import TwoStageDetector

__all__ = ['FasterRCNN']


@DETECTORS.register_module()
class FasterRCNN(TwoStageDetector):
    """ "Faster R-CNN: Towards Real-Time Object Detection with Region Proposal Networks" (arXiv 1506.01497)."""
