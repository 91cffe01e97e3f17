"""Building blocks that several architectures share."""

from __future__ import annotations

from .build import build_conv_layer, build_norm_layer, build_plugin_layer
from .res_layer import ResLayer

__all__ = ['ResLayer', 'build_conv_layer', 'build_norm_layer', 'build_plugin_layer']
