"""The two blocks of "Deep Residual Learning for Image Recognition" (arXiv 1512.03385), with their later variations.

Grouped convolutions make the bottleneck that of "Aggregated Residual Transformations for Deep Neural Networks"
(ResNeXt, arXiv 1611.05431).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmdet_clone.ops.deform_conv import adopt_old_offset_names

from ..layers import build_conv_layer, build_norm_layer, build_plugin_layer

__all__ = ['BasicBlock', 'Bottleneck', 'ResidualBlock']


class ResidualBlock(BaseModule):
    """What both blocks share: ``relu(x' + residual(x))``, where ``x'`` is ``x`` or its projection.

    A subclass adds its layers and defines ``residual``.
    """

    expansion = 1

    def __init__(self, with_cp: bool = False, init_cfg: dict | list | None = None) -> None:
        super().__init__(init_cfg)
        self.with_cp = with_cp
        self.downsample: nn.Module | None = None
        self.relu = nn.ReLU(inplace=True)

    def add_norm(self, index: int, norm_cfg: dict, channels: int) -> None:
        """Add the ``index``-th normalisation under the name that its type gives it: ``bn1``, ``gn1``."""
        name, layer = build_norm_layer(norm_cfg, channels, postfix=index)
        setattr(self, f'norm{index}_name', name)
        self.add_module(name, layer)

    @property
    def norm1(self) -> nn.Module:
        return getattr(self, self.norm1_name)

    @property
    def norm2(self) -> nn.Module:
        return getattr(self, self.norm2_name)

    def residual(self, x: Tensor) -> Tensor:
        """(N, inplanes, H, W) -> (N, planes * expansion, H / stride, W / stride), before the sum."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        if self.with_cp and torch.is_grad_enabled() and x.requires_grad:
            return self.relu(checkpoint(self._sum, x, use_reentrant=False))
        return self.relu(self._sum(x))

    def _sum(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.residual(x) + shortcut


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions (Fig. 5, left). ``style``, ``dcn`` and ``plugins`` do not apply to it."""

    expansion = 1

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        dilation: int = 1,
        downsample: nn.Module | None = None,
        style: str = 'pytorch',
        with_cp: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        dcn: dict | None = None,
        plugins: list[dict] | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(with_cp, init_cfg)
        if dcn is not None or plugins:
            raise ValueError(
                'the basic blocks of ResNet-18 and -34 take neither `dcn` nor `plugins`: leave them out, '
                'or use a depth of 50 or more'
            )
        norm_cfg = norm_cfg or dict(type='BN')
        self.stride, self.dilation = stride, dilation
        self.conv1 = build_conv_layer(
            conv_cfg, inplanes, planes, 3, stride=stride, padding=dilation, dilation=dilation, bias=False
        )
        self.add_norm(1, norm_cfg, planes)
        self.conv2 = build_conv_layer(conv_cfg, planes, planes, 3, padding=1, bias=False)
        self.add_norm(2, norm_cfg, planes)
        self.downsample = downsample

    def residual(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm1(self.conv1(x)))
        return self.norm2(self.conv2(x))


class Bottleneck(ResidualBlock):
    """1x1, 3x3 and 1x1 convolutions (Fig. 5, right).

    Args:
        inplanes: channels of the input.
        planes: a quarter of the output's channels.
        stride: of the 3x3 convolution, or of the first 1x1 one in the caffe style.
        dilation: of the 3x3 convolution.
        downsample: the short cut's projection.
        style: ``'pytorch'`` or ``'caffe'``.
        with_cp: trade time for memory: compute the block again in the backward pass.
        dcn: the type and arguments of the convolution that replaces the 3x3 one.
        plugins: ``dict(cfg=dict(type=...), position='after_conv1' | 'after_conv2' | 'after_conv3')`` each.
        groups, base_width, base_channels: with more than one group the 3x3 convolution is grouped, and
            ``base_width`` channels wide per group where ``planes == base_channels``.
    """

    expansion = 4

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        dilation: int = 1,
        downsample: nn.Module | None = None,
        style: str = 'pytorch',
        with_cp: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        dcn: dict | None = None,
        plugins: list[dict] | None = None,
        init_cfg: dict | list | None = None,
        groups: int = 1,
        base_width: int = 4,
        base_channels: int = 64,
    ) -> None:
        super().__init__(with_cp, init_cfg)
        norm_cfg = norm_cfg or dict(type='BN')
        self.inplanes, self.planes = inplanes, planes
        self.stride, self.dilation, self.style = stride, dilation, style
        width = planes if groups == 1 else int(planes * (base_width / base_channels)) * groups
        first_stride, second_stride = (stride, 1) if style == 'caffe' else (1, stride)
        deformable = dict(dcn or {})
        plain = dcn is None or deformable.pop('fallback_on_stride', False)
        middle_cfg = conv_cfg if plain else deformable

        self.conv1 = build_conv_layer(conv_cfg, inplanes, width, 1, stride=first_stride, bias=False)
        self.add_norm(1, norm_cfg, width)
        spatial = dict(stride=second_stride, padding=dilation, dilation=dilation, bias=False)
        self.conv2 = build_conv_layer(middle_cfg, width, width, 3, groups=groups, **spatial)
        self.add_norm(2, norm_cfg, width)
        self.conv3 = build_conv_layer(conv_cfg, width, planes * self.expansion, 1, bias=False)
        self.add_norm(3, norm_cfg, planes * self.expansion)
        self.downsample = downsample
        channels = dict(after_conv1=width, after_conv2=width, after_conv3=planes * self.expansion)
        self.plugin_names = {place: self._add_plugins(place, plugins or (), n) for place, n in channels.items()}

    @property
    def norm3(self) -> nn.Module:
        return getattr(self, self.norm3_name)

    def residual(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm1(self.conv1(x)))
        x = self._apply_plugins('after_conv1', x)
        x = self.relu(self.norm2(self.conv2(x)))
        x = self._apply_plugins('after_conv2', x)
        x = self.norm3(self.conv3(x))
        return self._apply_plugins('after_conv3', x)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        adopt_old_offset_names(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _add_plugins(self, place: str, plugins: Sequence[dict], channels: int) -> list[str]:
        names = []
        for plugin in plugins:
            if plugin['position'] != place:
                continue
            name, layer = build_plugin_layer(plugin['cfg'], in_channels=channels)
            if hasattr(self, name):
                raise ValueError(f'two plugins of a block are named {name!r}: give one of their cfg a postfix="_2"')
            self.add_module(name, layer)
            names.append(name)
        return names

    def _apply_plugins(self, place: str, x: Tensor) -> Tensor:
        for name in self.plugin_names[place]:
            x = getattr(self, name)(x)
        return x
