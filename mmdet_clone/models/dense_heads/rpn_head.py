"""The region proposal network of "Faster R-CNN" (arXiv 1506.01497)."""

from __future__ import annotations

from dataclasses import replace

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from mmdet_clone.boxes import (
    PostprocessConfig,
    finish_proposals,
    merge_aug_proposals,
    select_proposals_per_level,
)
from mmdet_clone.registry import HEADS

from .anchor_head import AnchorHead

__all__ = ['RPNHead']


@HEADS.register_module()
class RPNHead(AnchorHead):
    """One hidden layer, then object or not and a box for each anchor.

    Args:
        num_convs: the convolutions of the hidden layer.
        num_classes: 1: an object of any class.

    The other arguments are those of :class:`AnchorHead`. Results are proposals (n, 5), ``x1y1x2y2, score``.
    """

    def __init__(
        self,
        in_channels: int,
        init_cfg: dict | list | None = None,
        num_convs: int = 1,
        num_classes: int = 1,
        feat_channels: int = 256,
        anchor_generator: dict | None = None,
        bbox_coder: dict | None = None,
        reg_decoded_bbox: bool = False,
        loss_cls: dict | None = None,
        loss_bbox: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
    ) -> None:
        if num_classes != 1:
            raise ValueError(
                f'{type(self).__name__} tells objects from background: num_classes is 1, got {num_classes}'
            )
        self.num_convs = num_convs
        super().__init__(
            1,
            in_channels,
            feat_channels=feat_channels,
            anchor_generator=anchor_generator,
            bbox_coder=bbox_coder,
            reg_decoded_bbox=reg_decoded_bbox,
            loss_cls=loss_cls,
            loss_bbox=loss_bbox,
            train_cfg=train_cfg,
            test_cfg=test_cfg,
            init_cfg=init_cfg,
        )

    def _init_layers(self) -> None:
        if self.num_convs > 1:
            channels = [self.in_channels] + [self.feat_channels] * (self.num_convs - 1)
            self.rpn_conv = nn.Sequential(
                *(ConvModule(before, self.feat_channels, 3, padding=1, inplace=False) for before in channels)
            )
        else:
            self.rpn_conv = nn.Conv2d(self.in_channels, self.feat_channels, 3, padding=1)
        self.rpn_cls = nn.Conv2d(self.feat_channels, self.num_base_priors * self.cls_out_channels, 1)
        self.rpn_reg = nn.Conv2d(self.feat_channels, self.num_base_priors * 4, 1)

    def forward_single(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = F.relu(self.rpn_conv(x))
        return self.rpn_cls(x), self.rpn_reg(x)

    def loss(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        gt_bboxes: list[Tensor],
        img_metas: list[dict],
        gt_bboxes_ignore: list[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """``loss_rpn_cls`` and ``loss_rpn_bbox`` of a batch."""
        losses = super().loss(cls_scores, bbox_preds, gt_bboxes, None, img_metas, gt_bboxes_ignore)
        return dict(loss_rpn_cls=losses['loss_cls'], loss_rpn_bbox=losses['loss_bbox'])

    def _image_boxes(
        self,
        scores: list[Tensor],
        fields: list[list[Tensor]],
        img_meta: dict,
        cfg: PostprocessConfig,
        rescale: bool,
        with_nms: bool,
    ) -> Tensor:
        """The proposals (k, 5) of one image, best first."""
        if not with_nms:
            cfg = replace(cfg, nms=None)
        picked = select_proposals_per_level([level[:, 0] for level in scores], cfg, *fields)
        boxes = self.bbox_coder.decode(*picked.fields, max_shape=img_meta['img_shape'])
        proposals = finish_proposals(boxes, picked.scores, picked.levels, cfg)
        if rescale:
            proposals[:, :4] /= proposals.new_tensor(img_meta['scale_factor'])
        return proposals

    def simple_test_rpn(self, x: list[Tensor], img_metas: list[dict]) -> list[Tensor]:
        """The proposals of each image from the features of each level."""
        return self.get_bboxes(*self(x), img_metas=img_metas)

    def aug_test_rpn(self, feats: list[list[Tensor]], img_metas: list[list[dict]]) -> list[Tensor]:
        """The proposals of each image merged from several views of it, in pixels of the original images."""
        proposals_by_view = [self.simple_test_rpn(x, metas) for x, metas in zip(feats, img_metas, strict=True)]
        return [
            merge_aug_proposals(list(proposals), list(metas), self.test_cfg)
            for proposals, metas in zip(zip(*proposals_by_view, strict=True), zip(*img_metas, strict=True), strict=True)
        ]
