"""Necks: from a backbone's features to those that the heads see."""

from __future__ import annotations

from .fpn import FPN

__all__ = ['FPN']
