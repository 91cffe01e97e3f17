"""Focal Loss for Dense Object Detection (RetinaNet), arXiv 1708.02002."""

from __future__ import annotations

from mmdet_clone.registry import DETECTORS

from .single_stage import SingleStageDetector

__all__ = ['RetinaNet']


@DETECTORS.register_module()
class RetinaNet(SingleStageDetector):
    """RetinaNet: a single stage with a :class:`RetinaHead` on an FPN."""
