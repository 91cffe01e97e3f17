"""The block of MobileNetV2: narrow, wide, narrow."""

from __future__ import annotations

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor
from torch.utils.checkpoint import checkpoint

__all__ = ['InvertedResidual', 'make_divisible']

BN, RELU = dict(type='BN'), dict(type='ReLU')


def make_divisible(value: float, divisor: int, min_value: int | None = None, min_ratio: float = 0.9) -> int:
    """The multiple of ``divisor`` nearest to ``value``: one more where that would lose over 10 % of it.

    Args:
        min_value: the least result; ``divisor`` by default.
        min_ratio: the least result relative to ``value``.
    """
    rounded = max(min_value or divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < min_ratio * value else rounded


class InvertedResidual(BaseModule):
    """Expand by a 1x1 convolution, filter each channel, project to few channels, add the input where shapes allow.

    "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (arXiv 1801.04381), Sec. 3.3 and Table 1.

    Args:
        in_channels, out_channels: of the narrow ends.
        mid_channels: of the wide middle.
        kernel_size: of the depthwise convolution.
        stride: of the depthwise convolution, 1 or 2.
        with_expand_conv: whether there is a first 1x1 convolution; without it ``mid_channels == in_channels``.
        conv_cfg, norm_cfg, act_cfg: layer types; the projection has no activation.
        with_cp: trade time for memory: compute the block again in the backward pass.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        mid_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        with_expand_conv: bool = True,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = BN,
        act_cfg: dict | None = RELU,
        with_cp: bool = False,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if stride not in (1, 2):
            raise ValueError(f'stride of InvertedResidual is 1 or 2, got {stride}')
        if not with_expand_conv and mid_channels != in_channels:
            raise ValueError(
                f'without an expanding convolution mid_channels={mid_channels} must equal in_channels={in_channels}'
            )
        self.with_cp, self.with_expand_conv = with_cp, with_expand_conv
        self.with_res_shortcut = stride == 1 and in_channels == out_channels
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg)
        active = dict(layers, act_cfg=act_cfg)
        if with_expand_conv:
            self.expand_conv = ConvModule(in_channels, mid_channels, 1, **active)
        self.depthwise_conv = ConvModule(
            mid_channels,
            mid_channels,
            kernel_size,
            stride=stride,
            padding=kernel_size // 2,
            groups=mid_channels,
            **active,
        )
        self.linear_conv = ConvModule(mid_channels, out_channels, 1, act_cfg=None, **layers)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride)."""
        if self.with_cp and torch.is_grad_enabled() and x.requires_grad:
            return checkpoint(self._block, x, use_reentrant=False)
        return self._block(x)

    def _block(self, x: Tensor) -> Tensor:
        wide = self.expand_conv(x) if self.with_expand_conv else x
        narrow = self.linear_conv(self.depthwise_conv(wide))
        return x + narrow if self.with_res_shortcut else narrow
