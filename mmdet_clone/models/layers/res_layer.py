"""A stage of residual blocks."""

from __future__ import annotations

from typing import Any

from mmengine.model import Sequential
from torch import nn

from .build import build_conv_layer, build_norm_layer

__all__ = ['ResLayer']


class ResLayer(Sequential):
    """``num_blocks`` residual blocks, of which one changes the number of channels and the resolution.

    Args:
        block: the block's class; it has an ``expansion`` and takes ``inplanes, planes, stride, downsample``.
        inplanes: channels of the input.
        planes: channels inside the blocks; the output has ``planes * block.expansion``.
        num_blocks: the number of blocks.
        stride: the resolution's divisor.
        avg_down: pool, then convolve with stride 1 in the short cut: "tweak D" of
            "Bag of Tricks for Image Classification with Convolutional Neural Networks" (arXiv 1812.01187).
        conv_cfg, norm_cfg: layer types.
        downsample_first: whether the first block changes the shape; else the last one does (hourglass networks).
        block_args: further arguments of each block.
    """

    def __init__(
        self,
        block: type[nn.Module],
        inplanes: int,
        planes: int,
        num_blocks: int,
        stride: int = 1,
        avg_down: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        downsample_first: bool = True,
        **block_args: Any,
    ) -> None:
        norm_cfg = norm_cfg or dict(type='BN')
        outplanes = planes * block.expansion
        block_args.update(conv_cfg=conv_cfg, norm_cfg=norm_cfg)
        shortcut = None
        if stride != 1 or inplanes != outplanes:
            shortcut = _projection(inplanes, outplanes, stride, avg_down, conv_cfg, norm_cfg)
        changing = block(inplanes=inplanes, planes=planes, stride=stride, downsample=shortcut, **block_args)
        width, inner = (outplanes, planes) if downsample_first else (inplanes, inplanes // block.expansion)
        same = [block(inplanes=width, planes=inner, stride=1, **block_args) for _ in range(num_blocks - 1)]
        blocks = [changing, *same] if downsample_first else [*same, changing]
        self.block = block
        super().__init__(*blocks)


def _projection(
    inplanes: int, outplanes: int, stride: int, avg_down: bool, conv_cfg: dict | None, norm_cfg: dict
) -> nn.Sequential:
    """The short cut that brings a block's input to its output's shape."""
    layers: list[nn.Module] = []
    if avg_down:
        layers.append(nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False))
        stride = 1
    layers.append(build_conv_layer(conv_cfg, inplanes, outplanes, kernel_size=1, stride=stride, bias=False))
    layers.append(build_norm_layer(norm_cfg, outplanes)[1])
    return nn.Sequential(*layers)
