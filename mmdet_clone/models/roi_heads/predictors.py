"""The last layers of heads, whose type a config may choose."""

from __future__ import annotations

from torch import nn

from ..builder import MODELS
from ..layers import build_conv_layer

__all__ = ['build_conv', 'build_linear']


def build_linear(cfg: dict | None, in_features: int, out_features: int) -> nn.Module:
    """A linear layer from ``dict(type='Linear')``, the default, or from a registered type that takes its arguments."""
    args = dict(cfg or dict(type='Linear'), in_features=in_features, out_features=out_features)
    if args['type'] == 'Linear':
        del args['type']
        return nn.Linear(**args)
    return MODELS.build(args)


def build_conv(cfg: dict | None, in_channels: int, out_channels: int) -> nn.Module:
    """A 1x1 convolution from ``dict(type='Conv')``, the default, or from a registered type."""
    return build_conv_layer(cfg, in_channels, out_channels, 1)
