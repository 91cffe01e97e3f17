"""CSPDarknet as YOLOv5 and "YOLOX: Exceeding YOLO Series in 2021" (arXiv 2107.08430) use it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmdet_clone.registry import BACKBONES

from ..layers.csp_layer import CSP_ACT, CSP_INIT, CSP_NORM, CSPLayer, conv_module_of, one_kernel_act

__all__ = ['CSPDarknet', 'Focus', 'SPPBottleneck']


class Focus(nn.Module):
    """Each 2x2 pixels become one with four times the channels, then a convolution.

    Args:
        kernel_size, stride: of the convolution, after the resolution was halved.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        stride: int = 1,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = CSP_NORM,
        act_cfg: dict | None = CSP_ACT,
    ) -> None:
        super().__init__()
        self.conv = ConvModule(
            in_channels * 4,
            out_channels,
            kernel_size,
            stride,
            padding=(kernel_size - 1) // 2,
            conv_cfg=conv_cfg,
            norm_cfg=norm_cfg,
            act_cfg=one_kernel_act(act_cfg),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, out_channels, H / 2, W / 2)."""
        upper, lower = x[..., ::2, :], x[..., 1::2, :]
        return self.conv(torch.cat((upper[..., ::2], lower[..., ::2], upper[..., 1::2], lower[..., 1::2]), dim=1))


class SPPBottleneck(BaseModule):
    """Max pooling over windows of several sizes, side by side (spatial pyramid pooling, arXiv 1406.4729).

    Args:
        kernel_sizes: of the windows.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_sizes: Sequence[int] = (5, 9, 13),
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = CSP_NORM,
        act_cfg: dict | None = CSP_ACT,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        hidden = in_channels // 2
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=one_kernel_act(act_cfg))
        self.conv1 = ConvModule(in_channels, hidden, 1, **layers)
        self.poolings = nn.ModuleList(nn.MaxPool2d(size, stride=1, padding=size // 2) for size in kernel_sizes)
        self.conv2 = ConvModule(hidden * (len(kernel_sizes) + 1), out_channels, 1, **layers)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        return self.conv2(torch.cat((x, *(pooling(x) for pooling in self.poolings)), dim=1))


@BACKBONES.register_module()
class CSPDarknet(BaseModule):
    """A stem and 4 (``arch='P5'``) or 5 (``'P6'``) stages, each of which halves the resolution.

    Args:
        arch: ``'P5'`` or ``'P6'``.
        deepen_factor: scales the number of blocks of each stage.
        widen_factor: scales the number of channels.
        out_indices: the stages whose outputs are returned; 0 is the stem.
        frozen_stages: the stem and this many stages neither train nor update their statistics; -1 freezes nothing.
        use_depthwise: depthwise separable 3x3 convolutions.
        arch_ovewrite: in place of an ``arch``: ``(in_channels, out_channels, num_blocks, add_identity, use_spp)`` for
            each stage.
        spp_kernal_sizes: the windows of :class:`SPPBottleneck`.
        conv_cfg, norm_cfg, act_cfg: layer types.
        norm_eval: keep batch normalisation in eval mode while training.
    """

    # in_channels, out_channels, num_blocks, add_identity, use_spp
    arch_settings = {
        'P5': (
            (64, 128, 3, True, False),
            (128, 256, 9, True, False),
            (256, 512, 9, True, False),
            (512, 1024, 3, False, True),
        ),
        'P6': (
            (64, 128, 3, True, False),
            (128, 256, 9, True, False),
            (256, 512, 9, True, False),
            (512, 768, 3, True, False),
            (768, 1024, 3, False, True),
        ),
    }

    def __init__(
        self,
        arch: str = 'P5',
        deepen_factor: float = 1.0,
        widen_factor: float = 1.0,
        out_indices: Sequence[int] = (2, 3, 4),
        frozen_stages: int = -1,
        use_depthwise: bool = False,
        arch_ovewrite: Sequence[Sequence] | None = None,
        spp_kernal_sizes: Sequence[int] = (5, 9, 13),
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = CSP_NORM,
        act_cfg: dict | None = CSP_ACT,
        norm_eval: bool = False,
        init_cfg: dict | list | None = CSP_INIT,
    ) -> None:
        super().__init__(init_cfg)
        settings = arch_ovewrite or self._settings_of(arch)
        self._check_stages(out_indices, frozen_stages, len(settings))
        self.out_indices, self.frozen_stages = tuple(out_indices), frozen_stages
        self.use_depthwise, self.norm_eval = use_depthwise, norm_eval
        self._layer_types = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=one_kernel_act(act_cfg))

        self.stem = Focus(3, int(settings[0][0] * widen_factor), kernel_size=3, **self._layer_types)
        self.layers = ['stem']
        for i, (before, after, num_blocks, add_identity, use_spp) in enumerate(settings, 1):
            stage = self._stage(
                int(before * widen_factor),
                int(after * widen_factor),
                max(round(num_blocks * deepen_factor), 1),
                add_identity,
                tuple(spp_kernal_sizes) if use_spp else (),
            )
            self.layers.append(f'stage{i}')
            self.add_module(self.layers[-1], stage)
        self._freeze_stages()

    def _settings_of(self, arch: str) -> Sequence[Sequence]:
        if arch not in self.arch_settings:
            raise ValueError(f'CSPDarknet has the architectures {sorted(self.arch_settings)}, got arch={arch!r}')
        return self.arch_settings[arch]

    @staticmethod
    def _check_stages(out_indices: Sequence[int], frozen_stages: int, num_stages: int) -> None:
        if not set(out_indices) <= set(range(num_stages + 1)):
            raise ValueError(
                f'out_indices of CSPDarknet lie between 0 (the stem) and {num_stages}, got {tuple(out_indices)}'
            )
        if frozen_stages not in range(-1, num_stages + 1):
            raise ValueError(f'frozen_stages of CSPDarknet lies between -1 and {num_stages}, got {frozen_stages}')

    def _stage(
        self, in_channels: int, out_channels: int, num_blocks: int, add_identity: bool, spp_sizes: tuple[int, ...]
    ) -> nn.Sequential:
        layers = self._layer_types
        down = conv_module_of(self.use_depthwise)(in_channels, out_channels, 3, stride=2, padding=1, **layers)
        spp = [SPPBottleneck(out_channels, out_channels, spp_sizes, **layers)] if spp_sizes else []
        csp = CSPLayer(
            out_channels,
            out_channels,
            num_blocks=num_blocks,
            add_identity=add_identity,
            use_depthwise=self.use_depthwise,
            **layers,
        )
        return nn.Sequential(down, *spp, csp)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (N, 3, H, W), H and W even -> the features of the stages in ``out_indices``."""
        outs = []
        for i, name in enumerate(self.layers):
            x = getattr(self, name)(x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def _freeze_stages(self) -> None:
        for name in self.layers[: self.frozen_stages + 1]:
            stage = getattr(self, name)
            stage.eval()
            stage.requires_grad_(False)

    def train(self, mode: bool = True) -> CSPDarknet:
        """Switch to training; what is frozen, and with ``norm_eval`` the batch statistics, stay as they are."""
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self
