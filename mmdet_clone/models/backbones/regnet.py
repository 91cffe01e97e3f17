"""Designing Network Design Spaces (RegNet), arXiv 2003.13678."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from mmdet_clone.registry import BACKBONES

from ..layers import ResLayer, build_conv_layer, build_norm_layer
from .residual_blocks import Bottleneck
from .resnet import ResNet

__all__ = ['RegNet']

BN = dict(type='BN', requires_grad=True)


class RegNetBlock(Bottleneck):
    """The "X block" (Fig. 4): a bottleneck with a grouped convolution that ends as wide as its inside."""

    expansion = 1


@dataclass(frozen=True)
class Stages:
    """What the stages are made of, one value each."""

    widths: list[int]
    blocks: list[int]
    groups: list[int]
    inner_widths: list[int]


@BACKBONES.register_module()
class RegNet(ResNet):
    """RegNetX: the stages' widths and depths follow from five numbers.

    Args:
        arch: a name of ``arch_settings``, or such a dict: block ``j`` of ``depth`` is ``w0 + wa * j`` wide before
            rounding to ``w0 * wm ** k`` and to multiples of the group width ``group_w`` (Eq. 2 to 4); ``bot_mul`` is
            the inside's width relative to the block's.
        stem_channels: channels of the stem's output.
        base_channels: read by nothing, as the widths follow from ``arch``.
        strides, dilations: of each stage.
        out_indices: the stages whose outputs are returned.
        deep_stem: RegNet has none: it must be False.

    The other arguments are those of :class:`ResNet`.
    """

    arch_settings = {
        'regnetx_400mf': dict(w0=24, wa=24.48, wm=2.54, group_w=16, depth=22, bot_mul=1.0),
        'regnetx_800mf': dict(w0=56, wa=35.73, wm=2.28, group_w=16, depth=16, bot_mul=1.0),
        'regnetx_1.6gf': dict(w0=80, wa=34.01, wm=2.25, group_w=24, depth=18, bot_mul=1.0),
        'regnetx_3.2gf': dict(w0=88, wa=26.31, wm=2.25, group_w=48, depth=25, bot_mul=1.0),
        'regnetx_4.0gf': dict(w0=96, wa=38.65, wm=2.43, group_w=40, depth=23, bot_mul=1.0),
        'regnetx_6.4gf': dict(w0=184, wa=60.83, wm=2.07, group_w=56, depth=17, bot_mul=1.0),
        'regnetx_8.0gf': dict(w0=80, wa=49.56, wm=2.88, group_w=120, depth=23, bot_mul=1.0),
        'regnetx_12gf': dict(w0=168, wa=73.36, wm=2.37, group_w=112, depth=19, bot_mul=1.0),
    }

    def __init__(
        self,
        arch: str | dict,
        in_channels: int = 3,
        stem_channels: int = 32,
        base_channels: int = 32,
        strides: Sequence[int] = (2, 2, 2, 2),
        dilations: Sequence[int] = (1, 1, 1, 1),
        out_indices: Sequence[int] = (0, 1, 2, 3),
        style: str = 'pytorch',
        deep_stem: bool = False,
        avg_down: bool = False,
        frozen_stages: int = -1,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = BN,
        norm_eval: bool = True,
        dcn: dict | None = None,
        stage_with_dcn: Sequence[bool] = (False, False, False, False),
        plugins: list[dict] | None = None,
        with_cp: bool = False,
        zero_init_residual: bool = True,
        pretrained: str | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        if deep_stem:
            raise ValueError('RegNet has one 3x3 convolution as its stem: leave deep_stem=True out')
        self.arch = arch
        settings = self._settings(arch)
        stages = plan_stages(**settings)
        self.stage_widths, self.groups, self.inner_widths = stages.widths, stages.groups, stages.inner_widths
        self.arch_settings = {settings['depth']: (RegNetBlock, stages.blocks)}
        super().__init__(
            settings['depth'],
            in_channels=in_channels,
            stem_channels=stem_channels,
            base_channels=base_channels,
            num_stages=len(stages.widths),
            strides=strides,
            dilations=dilations,
            out_indices=out_indices,
            style=style,
            avg_down=avg_down,
            frozen_stages=frozen_stages,
            conv_cfg=conv_cfg,
            norm_cfg=norm_cfg,
            norm_eval=norm_eval,
            dcn=dcn,
            stage_with_dcn=stage_with_dcn,
            plugins=plugins,
            with_cp=with_cp,
            zero_init_residual=zero_init_residual,
            pretrained=pretrained,
            init_cfg=init_cfg,
        )
        self.feat_dim = self.stage_widths[-1]

    def _settings(self, arch: str | dict) -> dict:
        if isinstance(arch, dict):
            missing = [key for key in ('w0', 'wa', 'wm', 'group_w', 'depth', 'bot_mul') if key not in arch]
            if missing:
                raise ValueError(f'arch of RegNet lacks {", ".join(missing)}: it has {", ".join(sorted(arch))}')
            return dict(arch)
        if arch not in self.arch_settings:
            raise ValueError(f'arch of RegNet is a dict or one of {", ".join(self.arch_settings)}, got {arch!r}')
        return self.arch_settings[arch]

    def _make_stem_layer(self, in_channels: int, stem_channels: int) -> None:
        """One strided 3x3 convolution; nothing is pooled after it."""
        self.conv1 = build_conv_layer(self.conv_cfg, in_channels, stem_channels, 3, stride=2, padding=1, bias=False)
        self.norm1_name, norm1 = build_norm_layer(self.norm_cfg, stem_channels, postfix=1)
        self.add_module(self.norm1_name, norm1)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity()

    def make_res_layer(self, **stage_args: object) -> ResLayer:
        stage = len(self.res_layers)
        width, groups = self.stage_widths[stage], self.groups[stage]
        stage_args.update(planes=width, inplanes=self.stage_widths[stage - 1] if stage else self.stem_channels)
        return super().make_res_layer(
            groups=groups, base_width=self.inner_widths[stage] // groups, base_channels=width, **stage_args
        )


def plan_stages(w0: int, wa: float, wm: float, group_w: int, depth: int, bot_mul: float) -> Stages:
    """The stages of a network in the paper's design space (Sec. 3.3); see :class:`RegNet` for the arguments."""
    lines = w0 + wa * np.arange(depth)
    powers = np.round(np.log(lines / w0) / np.log(wm))
    per_block = (np.round(w0 * np.power(wm, powers) / 8) * 8).astype(int)
    widths, blocks = np.unique(per_block, return_counts=True)  # they grow with depth, so sorting keeps their order
    inner = (widths * bot_mul).astype(int)
    group_widths = np.minimum(group_w, inner)
    inner = (np.round(inner / group_widths) * group_widths).astype(int)
    return Stages(
        widths=(inner / bot_mul).astype(int).tolist(),
        blocks=blocks.tolist(),
        groups=(inner // group_widths).tolist(),
        inner_widths=inner.tolist(),
    )
