"""The region proposal network of "Faster R-CNN" (arXiv 1506.01497) on its own."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from mmdet_clone.boxes.merge import to_version
from mmdet_clone.registry import DETECTORS

from ..builder import build_backbone, build_head_with, build_neck
from .base import BaseDetector

__all__ = ['RPN']


@DETECTORS.register_module()
class RPN(BaseDetector):
    """Backbone, neck and a proposal head; its results are class-agnostic boxes.

    Args:
        backbone, neck, rpn_head: the configs of the parts; the neck may be absent.
        train_cfg, test_cfg: their ``rpn`` is passed to the head.
        pretrained: a checkpoint of the backbone; the older way to write its ``init_cfg``.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict | None,
        rpn_head: dict,
        train_cfg: dict | None,
        test_cfg: dict | None,
        pretrained: str | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.backbone = build_backbone({**backbone, 'pretrained': pretrained} if pretrained else backbone)
        if neck is not None:
            self.neck = build_neck(neck)
        self.rpn_head = build_head_with(rpn_head, (train_cfg or {}).get('rpn'), (test_cfg or {}).get('rpn'))
        self.train_cfg, self.test_cfg = train_cfg, test_cfg

    def extract_feat(self, img: Tensor) -> Any:
        """Images (N, 3, H, W) -> features, finest level first."""
        x = self.backbone(img)
        return self.neck(x) if self.with_neck else x

    def forward_dummy(self, img: Tensor) -> Any:
        """The head's raw outputs."""
        return self.rpn_head(self.extract_feat(img))

    def forward_train(
        self,
        img: Tensor,
        img_metas: list[dict],
        gt_bboxes: list[Tensor],
        gt_bboxes_ignore: list[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """The losses of a batch (N, 3, H, W) with the boxes (n, 4) of each image."""
        super().forward_train(img, img_metas)
        x = self.extract_feat(img)
        return self.rpn_head.forward_train(x, img_metas, gt_bboxes, gt_bboxes_ignore=gt_bboxes_ignore)

    def simple_test(self, img: Tensor, img_metas: list[dict], rescale: bool = False) -> list[np.ndarray]:
        """The proposals (n, 5) of each image, best first."""
        proposals_per_image = self.rpn_head.simple_test_rpn(self.extract_feat(img), img_metas)
        if rescale:
            for proposals, meta in zip(proposals_per_image, img_metas, strict=True):
                proposals[:, :4] /= proposals.new_tensor(meta['scale_factor'])
        return [proposals.detach().cpu().numpy() for proposals in proposals_per_image]

    def aug_test(self, imgs: list[Tensor], img_metas: list[list[dict]], rescale: bool = False) -> list[np.ndarray]:
        """The proposals of each image merged from several views; in pixels of the first view unless ``rescale``."""
        proposals_per_image = self.rpn_head.aug_test_rpn(self.extract_feats(imgs), img_metas)
        if not rescale:
            for proposals, meta in zip(proposals_per_image, img_metas[0], strict=True):
                proposals[:, :4] = to_version(proposals[:, :4], meta)
        return [proposals.detach().cpu().numpy() for proposals in proposals_per_image]

    def show_result(
        self,
        img: str | np.ndarray,
        result: np.ndarray,
        top_k: int = 20,
        score_thr: float = 0.0,
        bbox_color: Any = None,
        text_color: Any = None,
        mask_color: Any = None,
        thickness: int = 2,
        font_size: int = 13,
        win_name: str = '',
        show: bool = False,
        wait_time: float = 0,
        out_file: str | None = None,
    ) -> np.ndarray:
        """Draw the best ``top_k`` of the proposals (n, 5) on an image; the rest is as in :class:`BaseDetector`."""
        from mmdet_clone.visualization import draw_detections, show_image

        best = np.asarray(result)[:top_k]
        drawn = draw_detections(
            img,
            best,
            np.zeros(len(best), dtype=int),
            class_names=('object',),
            score_thr=score_thr,
            palette=bbox_color,
            text_color=text_color,
            thickness=thickness,
            font_size=font_size,
            out_file=out_file,
        )
        if show:
            show_image(drawn, win_name, wait_time)
        return drawn
