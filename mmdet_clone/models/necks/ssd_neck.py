"""The extra feature layers of "SSD: Single Shot MultiBox Detector" (arXiv 1512.02325)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdet_clone.ops.precision import upcast
from mmdet_clone.registry import NECKS

__all__ = ['L2Norm', 'SSDNeck']

RELU = dict(type='ReLU')


class L2Norm(nn.Module):
    """Brings the channels at each position to length 1, then scales each channel by a learned factor.

    "ParseNet: Looking Wider to See Better" (arXiv 1506.04579), Sec. 3.3.

    Args:
        n_dims: the number of channels.
        scale: where the factors start.
        eps: added to the length.
    """

    def __init__(self, n_dims: int, scale: float = 20.0, eps: float = 1e-10) -> None:
        super().__init__()
        self.n_dims, self.scale, self.eps = n_dims, scale, eps
        self.weight = nn.Parameter(torch.full((n_dims,), float(scale)))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape and type, computed in float32 at least."""
        dense = upcast(x)
        length = dense.pow(2).sum(1, keepdim=True).sqrt() + self.eps
        return (upcast(self.weight)[:, None, None] * dense / length).to(x.dtype)


@NECKS.register_module()
class SSDNeck(BaseModule):
    """Levels beyond the backbone's, each by a 1x1 convolution to half the channels and a second one, strided or not.

    Args:
        in_channels: channels of the backbone's levels, finest first.
        out_channels: channels of all levels: those of ``in_channels``, then those of the extra levels.
        level_strides, level_paddings: of the second convolution of each extra level.
        l2_norm_scale: where the factors of the first level's normalisation start; ``None`` leaves it out.
        last_kernel_size: of the last level's second convolution; the others have 3.
        use_depthwise: make the second convolutions depthwise separable, as SSDLite does (arXiv 1801.04381).
        conv_cfg, norm_cfg, act_cfg: layer types; an ``act_cfg`` of ``None`` leaves activations out.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: Sequence[int],
        level_strides: Sequence[int],
        level_paddings: Sequence[int],
        l2_norm_scale: float | None = 20.0,
        last_kernel_size: int = 3,
        use_depthwise: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = RELU,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(
            init_cfg
            or [
                dict(type='Xavier', distribution='uniform', layer='Conv2d'),
                dict(type='Constant', val=1, layer='BatchNorm2d'),
            ]
        )
        in_channels, out_channels = list(in_channels), list(out_channels)
        self._check_levels(in_channels, out_channels, level_strides, level_paddings)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.l2_norm = L2Norm(in_channels[0], l2_norm_scale) if l2_norm_scale else None
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        second_conv = DepthwiseSeparableConvModule if use_depthwise else ConvModule
        kernel_sizes = [3] * (len(level_strides) - 1) + [last_kernel_size]
        befores, afters = out_channels[len(in_channels) - 1 : -1], out_channels[len(in_channels) :]
        self.extra_layers = nn.ModuleList()
        for before, after, kernel_size, stride, padding in zip(
            befores, afters, kernel_sizes, level_strides, level_paddings, strict=True
        ):
            half = after // 2
            self.extra_layers.append(
                nn.Sequential(
                    ConvModule(before, half, 1, **layers),
                    second_conv(half, after, kernel_size, stride=stride, padding=padding, **layers),
                )
            )

    @staticmethod
    def _check_levels(
        in_channels: list[int], out_channels: list[int], level_strides: Sequence[int], level_paddings: Sequence[int]
    ) -> None:
        if len(out_channels) <= len(in_channels) or out_channels[: len(in_channels)] != in_channels:
            raise ValueError(
                'out_channels of SSDNeck begin with in_channels and go on with those of one extra level or more, '
                f'got in_channels={in_channels}, out_channels={out_channels}'
            )
        num_extra = len(out_channels) - len(in_channels)
        if not len(level_strides) == len(level_paddings) == num_extra:
            raise ValueError(
                f'SSDNeck has {num_extra} extra levels, so it needs as many level_strides and level_paddings, '
                f'got {tuple(level_strides)} and {tuple(level_paddings)}'
            )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The backbone's levels -> all levels, finest first."""
        outs = list(inputs)
        if len(outs) != len(self.in_channels):
            raise ValueError(
                f'SSDNeck has in_channels for {len(self.in_channels)} levels, got {len(outs)} features: '
                "compare with the backbone's outputs"
            )
        if self.l2_norm is not None:
            outs[0] = self.l2_norm(outs[0])
        for layer in self.extra_layers:
            outs.append(layer(outs[-1]))
        return tuple(outs)
