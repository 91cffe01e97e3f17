"""MobileNetV2: Inverted Residuals and Linear Bottlenecks, arXiv 1801.04381."""

from __future__ import annotations

from collections.abc import Sequence

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmdet_clone.registry import BACKBONES

from ..layers import InvertedResidual, make_divisible
from .initialization import initialization

__all__ = ['MobileNetV2']

BN, RELU6 = dict(type='BN'), dict(type='ReLU6')


@BACKBONES.register_module()
class MobileNetV2(BaseModule):
    """Seven stages of inverted residuals and a last 1x1 convolution: outputs 0 to 6, and 7.

    Args:
        widen_factor: multiplies the channels of the stages, which stay multiples of 8.
        out_indices: the outputs returned. Their strides are 2, 4, 8, 16, 16, 32, 32, 32; their channels at width 1
            are 16, 24, 32, 64, 96, 160, 320, 1280.
        frozen_stages: the stem and this many stages neither train nor update their statistics; -1 freezes nothing,
            0 the stem alone.
        conv_cfg, norm_cfg, act_cfg: layer types.
        norm_eval: keep batch normalisation in eval mode while training.
        with_cp: save memory by computing blocks again in the backward pass.
        pretrained: a checkpoint's path or URL; the older way to write ``init_cfg``.
    """

    # of each stage: expansion, channels, blocks, stride of the first block (Table 2 of the paper)
    arch_settings = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )

    def __init__(
        self,
        widen_factor: float = 1.0,
        out_indices: Sequence[int] = (1, 2, 4, 7),
        frozen_stages: int = -1,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = BN,
        act_cfg: dict | None = RELU6,
        norm_eval: bool = False,
        with_cp: bool = False,
        pretrained: str | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(initialization(pretrained, init_cfg))
        self._check_stages(out_indices, frozen_stages)
        self.widen_factor, self.out_indices, self.frozen_stages = widen_factor, tuple(out_indices), frozen_stages
        self.norm_eval, self.with_cp = norm_eval, with_cp
        self.layer_args = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        channels = make_divisible(32 * widen_factor, 8)
        self.conv1 = ConvModule(3, channels, 3, stride=2, padding=1, **self.layer_args)
        self.layers = []
        for i, (expansion, width, num_blocks, stride) in enumerate(self.arch_settings):
            out_channels = make_divisible(width * widen_factor, 8)
            self._add(f'layer{i + 1}', self.make_layer(channels, out_channels, num_blocks, stride, expansion))
            channels = out_channels
        self.out_channel = int(1280 * max(widen_factor, 1.0))
        self._add('conv2', ConvModule(channels, self.out_channel, 1, **self.layer_args))
        self._freeze_stages()

    def _check_stages(self, out_indices: Sequence[int], frozen_stages: int) -> None:
        last = len(self.arch_settings)
        if not set(out_indices) <= set(range(last + 1)):
            raise ValueError(f'out_indices of MobileNetV2 lie in 0..{last}, got {tuple(out_indices)}')
        if frozen_stages not in range(-1, last + 1):
            raise ValueError(f'frozen_stages of MobileNetV2 lies in -1..{last}, got {frozen_stages}')

    def _add(self, name: str, layer: nn.Module) -> None:
        self.add_module(name, layer)
        self.layers.append(name)

    def make_layer(
        self, in_channels: int, out_channels: int, num_blocks: int, stride: int, expand_ratio: int
    ) -> nn.Sequential:
        """A stage; its first block strides and changes the channels."""
        blocks = []
        for i in range(num_blocks):
            blocks.append(
                InvertedResidual(
                    in_channels,
                    out_channels,
                    mid_channels=in_channels * expand_ratio,
                    stride=stride if i == 0 else 1,
                    with_expand_conv=expand_ratio != 1,
                    with_cp=self.with_cp,
                    **self.layer_args,
                )
            )
            in_channels = out_channels
        return nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (N, 3, H, W) -> the features in ``out_indices``."""
        x = self.conv1(x)
        outs = []
        for i, name in enumerate(self.layers):
            x = getattr(self, name)(x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def _freeze_stages(self) -> None:
        names = ['conv1', *self.layers[: self.frozen_stages]] if self.frozen_stages >= 0 else []
        for name in names:
            getattr(self, name).eval().requires_grad_(False)

    def train(self, mode: bool = True) -> MobileNetV2:
        """Switch to training; what is frozen, and with ``norm_eval`` the batch statistics, stay as they are."""
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self
