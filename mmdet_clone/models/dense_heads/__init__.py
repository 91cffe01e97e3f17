"""Heads that predict at every position of a feature map."""

from __future__ import annotations

from .anchor_head import AnchorHead
from .base import BaseDenseHead
from .retina_head import RetinaHead
from .rpn_head import RPNHead
from .ssd_head import SSDHead
from .yolox_head import YOLOXHead

__all__ = ['AnchorHead', 'BaseDenseHead', 'RPNHead', 'RetinaHead', 'SSDHead', 'YOLOXHead']
