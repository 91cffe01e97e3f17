"""The neck of "YOLOX: Exceeding YOLO Series in 2021" (arXiv 2107.08430)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdet_clone.registry import NECKS

from ..layers.csp_layer import CSP_ACT, CSP_INIT, CSP_NORM, CSPLayer, conv_module_of, one_kernel_act

__all__ = ['YOLOXPAFPN']

NEAREST = dict(scale_factor=2, mode='nearest')


@NECKS.register_module()
class YOLOXPAFPN(BaseModule):
    """A top-down, then a bottom-up pathway (PANet, arXiv 1803.01534) of cross-stage-partial layers.

    Args:
        in_channels: channels of each input level, finest first.
        out_channels: channels of every output level.
        num_csp_blocks: residual blocks of each layer.
        use_depthwise: depthwise separable 3x3 convolutions.
        upsample_cfg: arguments of ``nn.Upsample``.
        conv_cfg, norm_cfg, act_cfg: layer types.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_csp_blocks: int = 3,
        use_depthwise: bool = False,
        upsample_cfg: dict = NEAREST,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = CSP_NORM,
        act_cfg: dict | None = CSP_ACT,
        init_cfg: dict | list | None = CSP_INIT,
    ) -> None:
        super().__init__(init_cfg)
        self.in_channels, self.out_channels = list(in_channels), out_channels
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=one_kernel_act(act_cfg))
        csp = dict(num_blocks=num_csp_blocks, add_identity=False, use_depthwise=use_depthwise, **layers)
        self.upsample = nn.Upsample(**upsample_cfg)
        # coarsest first, as the top-down pathway meets them
        descending = [(self.in_channels[i], self.in_channels[i - 1]) for i in range(len(self.in_channels) - 1, 0, -1)]
        self.reduce_layers = nn.ModuleList(ConvModule(coarse, fine, 1, **layers) for coarse, fine in descending)
        self.top_down_blocks = nn.ModuleList(CSPLayer(fine * 2, fine, **csp) for _, fine in descending)
        # finest first
        ascending = [(fine, coarse) for coarse, fine in reversed(descending)]
        down = conv_module_of(use_depthwise)
        self.downsamples = nn.ModuleList(down(fine, fine, 3, stride=2, padding=1, **layers) for fine, _ in ascending)
        self.bottom_up_blocks = nn.ModuleList(CSPLayer(fine * 2, coarse, **csp) for fine, coarse in ascending)
        self.out_convs = nn.ModuleList(ConvModule(channels, out_channels, 1, **layers) for channels in self.in_channels)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone features, finest first, each half as large as the one before -> levels (N, out_channels, H, W)."""
        if len(inputs) != len(self.in_channels):
            raise ValueError(
                f'YOLOXPAFPN has in_channels for {len(self.in_channels)} levels, got {len(inputs)} features: '
                "compare with the backbone's out_indices"
            )
        *finer, x = inputs
        laterals = []  # coarsest first
        for reduce, block, fine in zip(self.reduce_layers, self.top_down_blocks, reversed(finer), strict=True):
            laterals.append(reduce(x))
            x = block(torch.cat((self.upsample(laterals[-1]), fine), dim=1))
        outs = [x]
        for down, block, lateral in zip(self.downsamples, self.bottom_up_blocks, reversed(laterals), strict=True):
            outs.append(block(torch.cat((down(outs[-1]), lateral), dim=1)))
        return tuple(conv(out) for conv, out in zip(self.out_convs, outs, strict=True))
