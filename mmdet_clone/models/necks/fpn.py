"""Feature Pyramid Networks for Object Detection (FPN), arXiv 1612.03144."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdet_clone.registry import NECKS

__all__ = ['FPN']

EXTRA_CONV_SOURCES = ('on_input', 'on_lateral', 'on_output')


@NECKS.register_module()
class FPN(BaseModule):
    """A top-down pathway with lateral connections.

    Args:
        in_channels: channels of each input level, finest first.
        out_channels: channels of every output level.
        num_outs: the number of output levels.
        start_level, end_level: the first and the last input level used; -1 is the last one there is.
        add_extra_convs: how levels beyond the inputs are made: ``False``: by subsampling the last output;
            ``'on_input'`` (or ``True``), ``'on_lateral'``, ``'on_output'``: by strided convolutions on the last input,
            the last lateral feature or the last output.
        relu_before_extra_convs: apply a ReLU between these convolutions.
        no_norm_on_lateral: leave ``norm_cfg`` out of the lateral convolutions.
        conv_cfg, norm_cfg, act_cfg: layer types; neither norm nor activation by default.
        upsample_cfg: arguments of ``F.interpolate``; without a ``scale_factor`` to the finer level's size.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int,
        start_level: int = 0,
        end_level: int = -1,
        add_extra_convs: bool | str = False,
        relu_before_extra_convs: bool = False,
        no_norm_on_lateral: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        upsample_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Xavier', layer='Conv2d', distribution='uniform'))
        self.in_channels, self.out_channels, self.num_outs = list(in_channels), out_channels, num_outs
        self.start_level, self.end_level = start_level, end_level
        self.backbone_end_level = self._end_of_inputs(len(self.in_channels), num_outs, start_level, end_level)
        self.add_extra_convs = self._extra_conv_source(add_extra_convs)
        self.relu_before_extra_convs, self.no_norm_on_lateral = relu_before_extra_convs, no_norm_on_lateral
        self.upsample_cfg = dict(upsample_cfg or dict(mode='nearest'))

        used = self.in_channels[start_level : self.backbone_end_level]
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg, inplace=False)
        lateral = dict(layers, norm_cfg=None) if no_norm_on_lateral else layers
        self.lateral_convs = nn.ModuleList(ConvModule(channels, out_channels, 1, **lateral) for channels in used)
        self.fpn_convs = nn.ModuleList(ConvModule(out_channels, out_channels, 3, padding=1, **layers) for _ in used)
        if self.add_extra_convs:
            for i in range(num_outs - len(used)):
                first = used[-1] if i == 0 and self.add_extra_convs == 'on_input' else out_channels
                self.fpn_convs.append(ConvModule(first, out_channels, 3, stride=2, padding=1, **layers))

    @staticmethod
    def _end_of_inputs(num_ins: int, num_outs: int, start_level: int, end_level: int) -> int:
        """The index after the last input level used."""
        if end_level in (-1, num_ins - 1):
            if num_outs < num_ins - start_level:
                raise ValueError(
                    f'FPN uses input levels {start_level} to {num_ins - 1} and so has at least '
                    f'{num_ins - start_level} outputs, got num_outs={num_outs}: raise it, or set end_level'
                )
            return num_ins
        if not start_level <= end_level < num_ins or num_outs != end_level - start_level + 1:
            raise ValueError(
                f'FPN with an end_level below its last input level has one output for each of the levels start_level '
                f'to end_level; got start_level={start_level}, end_level={end_level}, num_outs={num_outs} '
                f'for {num_ins} inputs'
            )
        return end_level + 1

    @staticmethod
    def _extra_conv_source(add_extra_convs: bool | str) -> str | bool:
        if add_extra_convs is True:
            return 'on_input'
        if add_extra_convs and add_extra_convs not in EXTRA_CONV_SOURCES:
            raise ValueError(f'add_extra_convs of FPN is a bool or in {EXTRA_CONV_SOURCES}, got {add_extra_convs!r}')
        return add_extra_convs

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone features, finest first -> ``num_outs`` levels of (N, out_channels, H, W)."""
        if len(inputs) != len(self.in_channels):
            raise ValueError(
                f'FPN has in_channels for {len(self.in_channels)} levels, got {len(inputs)} features: '
                "compare with the backbone's out_indices"
            )
        used = inputs[self.start_level : self.backbone_end_level]
        laterals = [conv(feature) for conv, feature in zip(self.lateral_convs, used, strict=True)]
        for i in range(len(laterals) - 1, 0, -1):
            laterals[i - 1] = laterals[i - 1] + self._upsample(laterals[i], laterals[i - 1])
        outs = [conv(lateral) for conv, lateral in zip(self.fpn_convs, laterals, strict=False)]
        sources = dict(on_input=used[-1], on_lateral=laterals[-1], on_output=outs[-1])
        return tuple(outs + self._extra_levels(outs[-1], sources))

    def _upsample(self, coarse: Tensor, fine: Tensor) -> Tensor:
        if 'scale_factor' in self.upsample_cfg:
            return F.interpolate(coarse, **self.upsample_cfg)
        return F.interpolate(coarse, size=fine.shape[2:], **self.upsample_cfg)

    def _extra_levels(self, last: Tensor, sources: dict[str, Tensor]) -> list[Tensor]:
        extra: list[Tensor] = []
        num_used = len(self.lateral_convs)
        if not self.add_extra_convs:
            for _ in range(self.num_outs - num_used):
                last = F.max_pool2d(last, 1, stride=2)
                extra.append(last)
            return extra
        feature = sources[self.add_extra_convs]
        for i, conv in enumerate(self.fpn_convs[num_used:]):
            feature = conv(F.relu(feature) if self.relu_before_extra_convs and i > 0 else feature)
            extra.append(feature)
        return extra
