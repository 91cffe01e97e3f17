"""SSD: Single Shot MultiBox Detector, arXiv 1512.02325.

Legend:
    N: images in the batch    P: anchors over all levels    K: classes; label K is background
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from torch import Tensor, nn

from mmdet_clone.boxes import build_sampler
from mmdet_clone.registry import HEADS

from .anchor_head import AnchorHead, AnchorTargets

__all__ = ['SSDHead']


@HEADS.register_module(['SSDHead', 'AscendSSDHead'])  # the second: for NPUs, to the same result
class SSDHead(AnchorHead):
    """A convolution each for classes and boxes on every level, none of them shared; hard negatives are mined.

    Args:
        num_classes: the number of classes K; each anchor also scores background.
        in_channels: channels of each level.
        stacked_convs: convolutions of ``feat_channels`` before those that predict.
        use_depthwise: predict by depthwise separable convolutions, as SSDLite does (arXiv 1801.04381).
        conv_cfg, norm_cfg, act_cfg: layer types of all but the last convolutions.
        train_cfg: ``assigner``, ``allowed_border``, ``pos_weight``, ``neg_pos_ratio`` (how many negatives count for
            each positive, 3 by default) and ``smoothl1_beta`` (of the box loss, 1 by default).

    The other arguments are those of :class:`AnchorHead`.
    """

    train_keys = ('allowed_border', 'assigner', 'debug', 'neg_pos_ratio', 'pos_weight', 'smoothl1_beta')

    def __init__(
        self,
        num_classes: int = 80,
        in_channels: Sequence[int] = (512, 1024, 512, 256, 256, 256),
        stacked_convs: int = 0,
        feat_channels: int = 256,
        use_depthwise: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        anchor_generator: dict | None = None,
        bbox_coder: dict | None = None,
        reg_decoded_bbox: bool = False,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        self.stacked_convs, self.use_depthwise = stacked_convs, use_depthwise
        self.conv_cfg, self.norm_cfg, self.act_cfg = conv_cfg, norm_cfg, act_cfg
        self.neg_pos_ratio = (train_cfg or {}).get('neg_pos_ratio', 3)
        super().__init__(
            num_classes,
            tuple(in_channels),
            feat_channels=feat_channels,
            anchor_generator=anchor_generator
            or dict(
                type='SSDAnchorGenerator',
                scale_major=False,
                input_size=300,
                strides=[8, 16, 32, 64, 100, 300],
                ratios=([2], [2, 3], [2, 3], [2, 3], [2], [2]),
                basesize_ratio_range=(0.15, 0.9),
            ),
            bbox_coder=bbox_coder,
            reg_decoded_bbox=reg_decoded_bbox,
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False),
            loss_bbox=dict(type='SmoothL1Loss', beta=(train_cfg or {}).get('smoothl1_beta', 1.0)),
            train_cfg=train_cfg,
            test_cfg=test_cfg,
            init_cfg=init_cfg or dict(type='Xavier', layer='Conv2d', distribution='uniform', bias=0),
        )

    def _read_train_cfg(self, train_cfg: dict | None, loss_type: str) -> None:
        super()._read_train_cfg(train_cfg, loss_type)
        self.sampling, self.sampler = False, build_sampler(dict(type='PseudoSampler'), context=self)

    def _init_layers(self) -> None:
        self.num_base_priors = self.prior_generator.num_base_priors
        if len(self.in_channels) != len(self.num_base_priors):
            raise ValueError(
                f'SSDHead has in_channels for {len(self.in_channels)} levels, its anchor_generator strides for '
                f'{len(self.num_base_priors)}'
            )
        levels = list(zip(self.in_channels, self.num_base_priors, strict=True))
        self.cls_convs = nn.ModuleList(self._predictor(c, a * self.cls_out_channels) for c, a in levels)
        self.reg_convs = nn.ModuleList(self._predictor(c, a * 4) for c, a in levels)

    def _predictor(self, channels: int, out_channels: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        args = dict(padding=1, conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg)
        hidden = DepthwiseSeparableConvModule if self.use_depthwise else ConvModule
        for _ in range(self.stacked_convs):
            layers.append(hidden(channels, self.feat_channels, 3, **args))
            channels = self.feat_channels
        if self.use_depthwise:
            layers.append(ConvModule(channels, channels, 3, groups=channels, **args))
            layers.append(nn.Conv2d(channels, out_channels, 1))
        else:
            layers.append(nn.Conv2d(channels, out_channels, 3, padding=1))
        return nn.Sequential(*layers)

    def forward(self, feats: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Features of each level -> scores (N, A * (K + 1), H, W) and deltas (N, A * 4, H, W) of each level."""
        scores = [conv(x) for conv, x in zip(self.cls_convs, feats, strict=True)]
        return scores, [conv(x) for conv, x in zip(self.reg_convs, feats, strict=True)]

    def classification_loss(self, scores: Tensor, targets: AnchorTargets) -> Tensor:
        """Scores (N, P, K + 1) -> the loss over the positives and the hardest negatives of each image (Sec. 2.2)."""
        labels = targets.labels
        loss = F.cross_entropy(scores.flatten(0, 1), labels.flatten(), reduction='none').view_as(labels)
        loss = loss * targets.label_weights  # (N, P)
        total = loss[targets.positive].sum()
        for loss_of_image, positive in zip(loss, targets.positive, strict=True):
            negatives = loss_of_image[~positive]
            count = min(int(self.neg_pos_ratio * int(positive.sum())), len(negatives))
            total = total + negatives.topk(count).values.sum()
        return total / self.num_samples(targets)
