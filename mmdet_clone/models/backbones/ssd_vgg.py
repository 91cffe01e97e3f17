"""The backbone of "SSD: Single Shot MultiBox Detector" (arXiv 1512.02325).

It is VGG of "Very Deep Convolutional Networks for Large-Scale Image Recognition" (arXiv 1409.1556), whose fully
connected layers became convolutions.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdet_clone.registry import BACKBONES

from .initialization import initialization

__all__ = ['SSDVGG']

STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
WIDTHS = (64, 128, 256, 512, 512)


@BACKBONES.register_module()
class SSDVGG(BaseModule):
    """VGG without batch normalisation, its fc6 as a dilated 3x3 and its fc7 as a 1x1 convolution (Sec. 3 of the paper).

    Args:
        depth: 11, 13, 16 or 19.
        with_last_pool: keep the fifth stage's pooling before the 3x3 one with stride 1 that SSD puts there.
        ceil_mode: round the size up in pooling.
        out_indices: read by nothing: ``out_feature_indices`` says what is returned.
        out_feature_indices: indices among the single layers; (22, 34) of VGG-16 are conv4_3 and fc7 after their ReLU.
        pretrained: a checkpoint's path or URL; the older way to write ``init_cfg``.
        input_size, l2_norm_scale: of older configs, where the extra layers were part of the backbone; not used.
    """

    def __init__(
        self,
        depth: int,
        with_last_pool: bool = False,
        ceil_mode: bool = True,
        out_indices: Sequence[int] = (3, 4),
        out_feature_indices: Sequence[int] = (22, 34),
        pretrained: str | None = None,
        init_cfg: dict | list | None = None,
        input_size: int | None = None,
        l2_norm_scale: float | None = None,
    ) -> None:
        default = (dict(type='Kaiming', layer='Conv2d'),)
        super().__init__(initialization(pretrained, init_cfg, default))
        if depth not in STAGES:
            raise ValueError(f'SSDVGG has depths {sorted(STAGES)}, got depth={depth!r}')
        for name, value in (('input_size', input_size), ('l2_norm_scale', l2_norm_scale)):
            if value is not None:
                warnings.warn(f'SSDVGG does not use {name}: it belongs to the neck, SSDNeck', stacklevel=2)
        self.out_indices, self.out_feature_indices = tuple(out_indices), tuple(out_feature_indices)
        self.features = nn.Sequential(*_vgg(depth, with_last_pool, ceil_mode), *_former_classifier())
        if max(self.out_feature_indices) >= len(self.features):
            raise ValueError(
                f'out_feature_indices={self.out_feature_indices} names a layer beyond the {len(self.features)} of '
                f'VGG-{depth} (they count from 0)'
            )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (N, 3, H, W) -> the outputs of the layers in ``out_feature_indices``."""
        outs = []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in self.out_feature_indices:
                outs.append(x)
        return tuple(outs)


def _vgg(depth: int, with_last_pool: bool, ceil_mode: bool) -> list[nn.Module]:
    layers: list[nn.Module] = []
    channels = 3
    for width, num_convs in zip(WIDTHS, STAGES[depth], strict=True):
        for _ in range(num_convs):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
        layers.append(nn.MaxPool2d(2, stride=2, ceil_mode=ceil_mode))
    return layers if with_last_pool else layers[:-1]


def _former_classifier() -> list[nn.Module]:
    return [
        nn.MaxPool2d(3, stride=1, padding=1),
        nn.Conv2d(WIDTHS[-1], 1024, 3, padding=6, dilation=6),
        nn.ReLU(inplace=True),
        nn.Conv2d(1024, 1024, 1),
        nn.ReLU(inplace=True),
    ]
