"""A residual stage applied to each region: the "C4" form of Faster R-CNN."""

from __future__ import annotations

from mmengine.model import BaseModule
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from ...backbones.resnet import ResNet
from ...builder import SHARED_HEADS
from ...layers import ResLayer as ResidualStage

__all__ = ['ResLayer']


@SHARED_HEADS.register_module()
class ResLayer(BaseModule):
    """One stage of a ResNet, as in section 4.1 of "Deep Residual Learning for Image Recognition" (arXiv 1512.03385).

    Args:
        depth: the ResNet's depth.
        stage: which stage, counted from 0.
        style: ``'pytorch'`` or ``'caffe'``, see ``ResNet``.
        norm_eval: keep batch normalisation in eval mode while training.
        with_cp: save memory by computing blocks again in the backward pass.
        pretrained: a checkpoint; the older way to write ``init_cfg``.
    """

    def __init__(
        self,
        depth: int,
        stage: int = 3,
        stride: int = 2,
        dilation: int = 1,
        style: str = 'pytorch',
        norm_cfg: dict | None = None,
        norm_eval: bool = True,
        with_cp: bool = False,
        dcn: dict | None = None,
        pretrained: str | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        if pretrained and init_cfg:
            raise ValueError(f'both init_cfg and pretrained={pretrained!r} are given: keep init_cfg')
        if pretrained:
            init_cfg = dict(type='Pretrained', checkpoint=pretrained)
        super().__init__(
            init_cfg
            or [dict(type='Kaiming', layer='Conv2d'), dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm'])]
        )
        self.norm_eval, self.stage = norm_eval, stage
        block, num_blocks = ResNet.arch_settings[depth]
        res_layer = ResidualStage(
            block,
            inplanes=64 * 2 ** (stage - 1) * block.expansion,
            planes=64 * 2**stage,
            num_blocks=num_blocks[stage],
            stride=stride,
            dilation=dilation,
            style=style,
            with_cp=with_cp,
            norm_cfg=norm_cfg or dict(type='BN', requires_grad=True),
            dcn=dcn,
        )
        self.add_module(f'layer{stage + 1}', res_layer)

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, h, w) -> (R, 2C, h / stride, w / stride)."""
        return getattr(self, f'layer{self.stage + 1}')(x)

    def train(self, mode: bool = True) -> ResLayer:
        super().train(mode)
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self
