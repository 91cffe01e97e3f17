"""Detectors and their parts, and the registries that hold them."""

from __future__ import annotations

from . import backbones, dense_heads, detectors, losses, necks, roi_heads
from .builder import (
    BACKBONES,
    DETECTORS,
    HEADS,
    LOSSES,
    MODELS,
    NECKS,
    ROI_EXTRACTORS,
    SHARED_HEADS,
    build_backbone,
    build_detector,
    build_head,
    build_loss,
    build_neck,
    build_roi_extractor,
    build_shared_head,
)

__all__ = [
    'BACKBONES',
    'DETECTORS',
    'HEADS',
    'LOSSES',
    'MODELS',
    'NECKS',
    'ROI_EXTRACTORS',
    'SHARED_HEADS',
    'backbones',
    'build_backbone',
    'build_detector',
    'build_head',
    'build_loss',
    'build_neck',
    'build_roi_extractor',
    'build_shared_head',
    'dense_heads',
    'detectors',
    'losses',
    'necks',
    'roi_heads',
]
