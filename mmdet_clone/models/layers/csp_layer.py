"""The residual block of Darknet and the cross-stage-partial layer around it: CSPNet, arXiv 1911.11929."""

from __future__ import annotations

import math

import torch
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

__all__ = ['CSP_ACT', 'CSP_INIT', 'CSP_NORM', 'CSPLayer', 'DarknetBottleneck', 'conv_module_of', 'one_kernel_act']

# What the networks of the YOLOX family are built of unless a config says otherwise
CSP_NORM = dict(type='BN', momentum=0.03, eps=0.001)
CSP_ACT = dict(type='Swish')
CSP_INIT = dict(
    type='Kaiming', layer='Conv2d', a=math.sqrt(5), distribution='uniform', mode='fan_in', nonlinearity='leaky_relu'
)  # PyTorch's own initialisation of convolutions


def conv_module_of(use_depthwise: bool) -> type[nn.Module]:
    """The k x k convolution to use: a whole one, or a depthwise one and a 1x1 one."""
    return DepthwiseSeparableConvModule if use_depthwise else ConvModule


def one_kernel_act(act_cfg: dict | None) -> dict | None:
    """``act_cfg`` with PyTorch's SiLU for Swish: the same function in one kernel, which keeps one tensor, not two."""
    return dict(type='SiLU') if act_cfg is not None and act_cfg['type'] == 'Swish' else act_cfg


class DarknetBottleneck(BaseModule):
    """A 1x1 and a 3x3 convolution, added to their input where the shapes agree.

    Args:
        expansion: the channels in between as a part of ``out_channels``.
        add_identity: whether to add the input.
        use_depthwise: a depthwise separable 3x3 convolution.
        conv_cfg, norm_cfg, act_cfg: layer types.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        expansion: float = 0.5,
        add_identity: bool = True,
        use_depthwise: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = CSP_NORM,
        act_cfg: dict | None = CSP_ACT,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        hidden = int(out_channels * expansion)
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=one_kernel_act(act_cfg))
        self.conv1 = ConvModule(in_channels, hidden, 1, **layers)
        self.conv2 = conv_module_of(use_depthwise)(hidden, out_channels, 3, padding=1, **layers)
        self.add_identity = add_identity and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(self.conv1(x))
        return out + x if self.add_identity else out


class CSPLayer(BaseModule):
    """Half of the channels go through residual blocks, half past them, then both are mixed.

    Args:
        expand_ratio: the channels of each half as a part of ``out_channels``.
        num_blocks: how many residual blocks.
        add_identity, use_depthwise: of the blocks.
        conv_cfg, norm_cfg, act_cfg: layer types.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        expand_ratio: float = 0.5,
        num_blocks: int = 1,
        add_identity: bool = True,
        use_depthwise: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = CSP_NORM,
        act_cfg: dict | None = CSP_ACT,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        half = int(out_channels * expand_ratio)
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=one_kernel_act(act_cfg))
        self.main_conv = ConvModule(in_channels, half, 1, **layers)
        self.short_conv = ConvModule(in_channels, half, 1, **layers)
        self.final_conv = ConvModule(2 * half, out_channels, 1, **layers)
        self.blocks = nn.Sequential(
            *(DarknetBottleneck(half, half, 1.0, add_identity, use_depthwise, **layers) for _ in range(num_blocks))
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.final_conv(torch.cat((self.blocks(self.main_conv(x)), self.short_conv(x)), dim=1))
