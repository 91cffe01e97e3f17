"""The recipe of detectors that first propose regions, then classify and refine each."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmdet_clone.config.unread_keys import warn_of_unread_keys

from ..builder import DETECTORS, build_backbone, build_head_with, build_neck
from .base import BaseDetector

__all__ = ['TwoStageDetector']

NUM_DUMMY_PROPOSALS = 1000


@DETECTORS.register_module()
class TwoStageDetector(BaseDetector):
    """Backbone, neck, region proposals, RoI head.

    Args:
        backbone, neck, rpn_head, roi_head: config dicts; neck and rpn_head may be absent.
        train_cfg: ``rpn`` and ``rcnn`` for the two heads; ``rpn_proposal``, how proposals are selected while training
            (as ``test_cfg.rpn`` by default).
        test_cfg: ``rpn`` and ``rcnn``.
        pretrained: the backbone's weights; ``init_cfg`` of the backbone is the newer form.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict | None = None,
        rpn_head: dict | None = None,
        roi_head: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        pretrained: str | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.train_cfg, self.test_cfg = train_cfg, test_cfg
        warn_of_unread_keys(self, 'train_cfg', train_cfg, ('rpn', 'rpn_proposal', 'rcnn'))
        warn_of_unread_keys(self, 'test_cfg', test_cfg, ('rpn', 'rcnn'))
        self.backbone = build_backbone({**backbone, 'pretrained': pretrained} if pretrained else backbone)
        if neck is not None:
            self.neck = build_neck(neck)
        if rpn_head is not None:
            self.rpn_head = build_head_with(rpn_head, **self._stage_cfgs('rpn'))
        if roi_head is not None:
            extra = {'pretrained': pretrained} if pretrained else {}
            self.roi_head = build_head_with(roi_head, **self._stage_cfgs('rcnn'), **extra)

    def _stage_cfgs(self, stage: str) -> dict[str, Any]:
        """The ``train_cfg`` and ``test_cfg`` of one stage."""
        return dict(train_cfg=(self.train_cfg or {}).get(stage), test_cfg=(self.test_cfg or {}).get(stage))

    def extract_feat(self, img: Tensor) -> tuple[Tensor, ...]:
        x = self.backbone(img)
        return self.neck(x) if self.with_neck else x

    def forward_dummy(self, img: Tensor) -> tuple:
        """Raw outputs of both stages, the second on random boxes: for counting operations."""
        x = self.extract_feat(img)
        outs = (self.rpn_head(x),) if self.with_rpn else ()
        return (*outs, self.roi_head.forward_dummy(x, torch.randn(NUM_DUMMY_PROPOSALS, 4, device=img.device)))

    def forward_train(
        self,
        img: Tensor,
        img_metas: list[dict],
        gt_bboxes: list[Tensor],
        gt_labels: list[Tensor],
        gt_bboxes_ignore: list[Tensor] | None = None,
        gt_masks: list | None = None,
        proposals: list[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """The losses of both stages.

        Args:
            img: (N, 3, H, W).
            img_metas: one dict an image.
            gt_bboxes: (n, 4) x1y1x2y2 in pixels of ``img``, for each image.
            gt_labels: (n,) in [0, num_classes).
            gt_bboxes_ignore: (m, 4) regions that are neither object nor background.
            gt_masks: ``BitmapMasks`` or ``PolygonMasks`` of ``gt_bboxes``.
            proposals: (k, 4 or more) boxes of each image, for a detector without ``rpn_head``.
        """
        super().forward_train(img, img_metas)
        x = self.extract_feat(img)
        losses: dict[str, Tensor] = {}
        if self.with_rpn:
            rpn_losses, proposals = self.rpn_head.forward_train(
                x,
                img_metas,
                gt_bboxes,
                gt_labels=None,
                gt_bboxes_ignore=gt_bboxes_ignore,
                proposal_cfg=self._proposal_cfg(),
            )
            losses.update(rpn_losses)
        self._check_proposals(proposals)
        roi_losses = self.roi_head.forward_train(
            x, img_metas, proposals, gt_bboxes, gt_labels, gt_bboxes_ignore, gt_masks
        )
        losses.update(roi_losses)
        return losses

    def _proposal_cfg(self) -> dict:
        cfg = (self.train_cfg or {}).get('rpn_proposal') or (self.test_cfg or {}).get('rpn')
        if cfg is None:
            raise ValueError('the model needs train_cfg.rpn_proposal, or test_cfg.rpn, to select proposals')
        return cfg

    def _check_proposals(self, proposals: list[Tensor] | None) -> None:
        if proposals is None:
            raise ValueError(
                f'{type(self).__name__} has no rpn_head, so the batch must hold proposals: give the data set a '
                "proposal_file, add LoadProposals to the pipeline and 'proposals' to the keys of Collect"
            )

    def simple_test(
        self, img: Tensor, img_metas: list[dict], proposals: list[Tensor] | None = None, rescale: bool = False
    ) -> list:
        """The result of each image.

        Args:
            proposals: (k, 4 or more) boxes of each image, in pixels of ``img``, in place of the RPN's.
        """
        x = self.extract_feat(img)
        if proposals is None and self.with_rpn:
            proposals = self.rpn_head.simple_test_rpn(x, img_metas)
        self._check_proposals(proposals)
        return self.roi_head.simple_test(x, proposals, img_metas, rescale=rescale)

    def aug_test(self, imgs: list[Tensor], img_metas: list[list[dict]], rescale: bool = False) -> list:
        """The result of one image from several views; proposals are merged, then boxes, then masks."""
        x = self.extract_feats(imgs)
        proposals = self.rpn_head.aug_test_rpn(x, img_metas)  # in pixels of the original image
        return self.roi_head.aug_test(x, proposals, img_metas, rescale=rescale)
