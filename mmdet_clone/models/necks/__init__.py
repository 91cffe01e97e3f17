"""Necks: from a backbone's features to those that the heads see."""

from __future__ import annotations

from .fpn import FPN
from .ssd_neck import SSDNeck
from .yolox_pafpn import YOLOXPAFPN

__all__ = ['FPN', 'YOLOXPAFPN', 'SSDNeck']
