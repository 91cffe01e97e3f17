"""Aggregated Residual Transformations for Deep Neural Networks (ResNeXt), arXiv 1611.05431."""

from __future__ import annotations

from mmdet_clone.registry import BACKBONES

from ..layers import ResLayer
from .resnet import ResNet

__all__ = ['ResNeXt']


@BACKBONES.register_module()
class ResNeXt(ResNet):
    """ResNeXt of depth 50, 101 or 152; it takes all arguments of :class:`ResNet`.

    Args:
        groups: the cardinality: groups of the 3x3 convolutions.
        base_width: channels of a group in the first stage.
    """

    arch_settings = {depth: ResNet.arch_settings[depth] for depth in (50, 101, 152)}

    def __init__(self, groups: int = 1, base_width: int = 4, **resnet_args: object) -> None:
        self.groups, self.base_width = groups, base_width
        super().__init__(**resnet_args)

    def make_res_layer(self, **stage_args: object) -> ResLayer:
        return super().make_res_layer(
            groups=self.groups, base_width=self.base_width, base_channels=self.base_channels, **stage_args
        )
