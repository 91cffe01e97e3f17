"""Building blocks that several architectures share."""

from __future__ import annotations

from .build import build_conv_layer, build_norm_layer, build_plugin_layer
from .csp_layer import CSPLayer, DarknetBottleneck
from .inverted_residual import InvertedResidual, make_divisible
from .res_layer import ResLayer
from .sync_bn import MMSyncBN

__all__ = [
    'CSPLayer',
    'DarknetBottleneck',
    'InvertedResidual',
    'MMSyncBN',
    'ResLayer',
    'build_conv_layer',
    'build_norm_layer',
    'build_plugin_layer',
    'make_divisible',
]
