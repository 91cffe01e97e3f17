"""Whole detectors: how backbone, neck and heads are put together, trained and tested."""

from __future__ import annotations

from .base import BaseDetector
from .fast_rcnn import FastRCNN
from .faster_rcnn import FasterRCNN
from .mask_rcnn import MaskRCNN
from .retinanet import RetinaNet
from .rpn import RPN
from .single_stage import SingleStageDetector
from .two_stage import TwoStageDetector
from .yolox import YOLOX

__all__ = [
    'RPN',
    'YOLOX',
    'BaseDetector',
    'FastRCNN',
    'FasterRCNN',
    'MaskRCNN',
    'RetinaNet',
    'SingleStageDetector',
    'TwoStageDetector',
]
