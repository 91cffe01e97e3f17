"""Layers between the RoI extractor and the heads."""

from __future__ import annotations

from .res_layer import ResLayer

__all__ = ['ResLayer']
