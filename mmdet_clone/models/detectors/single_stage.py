"""Detectors that predict from every position of the feature maps at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from mmdet_clone.registry import DETECTORS
from mmdet_clone.structures.results import bbox2result

from ..builder import build_backbone, build_head_with, build_neck
from .base import BaseDetector
from .tta import aug_test_dense

__all__ = ['SingleStageDetector']


@DETECTORS.register_module()
class SingleStageDetector(BaseDetector):
    """Backbone, neck and one dense head.

    Args:
        backbone, neck, bbox_head: the configs of the parts; the neck may be absent.
        train_cfg, test_cfg: the head's; they replace those that stand in ``bbox_head``.
        pretrained: a checkpoint of the backbone; the older way to write its ``init_cfg``.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict | None = None,
        bbox_head: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        pretrained: str | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.backbone = build_backbone({**backbone, 'pretrained': pretrained} if pretrained else backbone)
        if neck is not None:
            self.neck = build_neck(neck)
        self.bbox_head = build_head_with(bbox_head, train_cfg, test_cfg)
        self.train_cfg, self.test_cfg = train_cfg, test_cfg

    def extract_feat(self, img: Tensor) -> Any:
        """Images (N, 3, H, W) -> features, finest level first."""
        x = self.backbone(img)
        return self.neck(x) if self.with_neck else x

    def forward_dummy(self, img: Tensor) -> Any:
        """The head's raw outputs."""
        return self.bbox_head(self.extract_feat(img))

    def forward_train(
        self,
        img: Tensor,
        img_metas: list[dict],
        gt_bboxes: list[Tensor],
        gt_labels: list[Tensor],
        gt_bboxes_ignore: list[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """The head's losses.

        Args:
            img: (N, 3, H, W).
            gt_bboxes: (n, 4) x1y1x2y2 in pixels of ``img``, for each image.
            gt_labels: (n,) in 0..K-1, for each image.
            gt_bboxes_ignore: (m, 4), boxes that are neither objects nor background.
        """
        super().forward_train(img, img_metas)
        x = self.extract_feat(img)
        return self.bbox_head.forward_train(x, img_metas, gt_bboxes, gt_labels, gt_bboxes_ignore)

    def simple_test(self, img: Tensor, img_metas: list[dict], rescale: bool = False) -> list[list[np.ndarray]]:
        """For each image a list over classes of detections (n, 5)."""
        detections = self.bbox_head.simple_test(self.extract_feat(img), img_metas, rescale=rescale)
        return [bbox2result(boxes, labels, self.bbox_head.num_classes) for boxes, labels in detections]

    def aug_test(
        self, imgs: list[Tensor], img_metas: list[list[dict]], rescale: bool = False
    ) -> list[list[np.ndarray]]:
        """The detections of one image merged from several views of it."""
        detections = aug_test_dense(self.bbox_head, self.extract_feats(imgs), img_metas, rescale)
        return [bbox2result(boxes, labels, self.bbox_head.num_classes) for boxes, labels in detections]
