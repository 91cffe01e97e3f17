"""Focal Loss for Dense Object Detection (RetinaNet), arXiv 1708.02002."""

from __future__ import annotations

from itertools import pairwise

from mmcv.cnn import ConvModule
from torch import Tensor, nn

from mmdet_clone.registry import HEADS

from .anchor_head import AnchorHead

__all__ = ['RetinaHead']


@HEADS.register_module(['RetinaHead', 'AscendRetinaHead'])  # the second: for NPUs, to the same result
class RetinaHead(AnchorHead):
    """Two towers of convolutions, shared by all levels, then one convolution each for classes and boxes.

    Args:
        stacked_convs: the convolutions of each tower.
        conv_cfg, norm_cfg: their layer types.

    The other arguments are those of :class:`AnchorHead`.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        stacked_convs: int = 4,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        feat_channels: int = 256,
        anchor_generator: dict | None = None,
        bbox_coder: dict | None = None,
        reg_decoded_bbox: bool = False,
        loss_cls: dict | None = None,
        loss_bbox: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        self.stacked_convs = stacked_convs
        self.conv_cfg, self.norm_cfg = conv_cfg, norm_cfg
        super().__init__(
            num_classes,
            in_channels,
            feat_channels=feat_channels,
            anchor_generator=anchor_generator
            or dict(
                type='AnchorGenerator',
                octave_base_scale=4,
                scales_per_octave=3,
                ratios=[0.5, 1.0, 2.0],
                strides=[8, 16, 32, 64, 128],
            ),
            bbox_coder=bbox_coder,
            reg_decoded_bbox=reg_decoded_bbox,
            loss_cls=loss_cls,
            loss_bbox=loss_bbox,
            train_cfg=train_cfg,
            test_cfg=test_cfg,
            init_cfg=init_cfg
            or dict(
                type='Normal',
                layer='Conv2d',
                std=0.01,
                # a rare foreground at the start keeps the loss stable: Sec. 3.3 of the paper
                override=dict(type='Normal', name='retina_cls', std=0.01, bias_prob=0.01),
            ),
        )

    def _init_layers(self) -> None:
        self.relu = nn.ReLU(inplace=True)
        self.cls_convs, self.reg_convs = self._tower(), self._tower()
        outs = self.num_base_priors * self.cls_out_channels
        self.retina_cls = nn.Conv2d(self.feat_channels, outs, 3, padding=1)
        self.retina_reg = nn.Conv2d(self.feat_channels, self.num_base_priors * 4, 3, padding=1)

    def _tower(self) -> nn.ModuleList:
        channels = [self.in_channels] + [self.feat_channels] * self.stacked_convs
        return nn.ModuleList(
            ConvModule(before, after, 3, padding=1, conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg)
            for before, after in pairwise(channels)
        )

    def forward_single(self, x: Tensor) -> tuple[Tensor, Tensor]:
        cls_feat = reg_feat = x
        for cls_conv, reg_conv in zip(self.cls_convs, self.reg_convs, strict=True):
            cls_feat, reg_feat = cls_conv(cls_feat), reg_conv(reg_feat)
        return self.retina_cls(cls_feat), self.retina_reg(reg_feat)
