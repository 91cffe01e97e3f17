"""The second stage of Faster R-CNN and Mask R-CNN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmdet_clone.boxes import build_assigner, build_sampler, merge_aug_bboxes, merge_aug_masks
from mmdet_clone.boxes.merge import to_version
from mmdet_clone.config.unread_keys import warn_of_unread_keys
from mmdet_clone.ops.boxes import bbox2roi
from mmdet_clone.ops.nms import multiclass_nms
from mmdet_clone.structures.results import bbox2result

from ..builder import HEADS, build_head, build_roi_extractor
from .base_roi_head import BaseRoIHead
from .settings import RCNNTestSettings, RCNNTrainSettings

__all__ = ['StandardRoIHead']

NUM_DUMMY_MASK_ROIS = 100


@HEADS.register_module()
class StandardRoIHead(BaseRoIHead):
    """One box branch, and one mask branch beside it.

    "Faster R-CNN: Towards Real-Time Object Detection with Region Proposal Networks" (arXiv 1506.01497),
    "Mask R-CNN" (arXiv 1703.06870).
    """

    def init_assigner_sampler(self) -> None:
        self.bbox_assigner = self.bbox_sampler = None
        warn_of_unread_keys(self, 'train_cfg', self.train_cfg, RCNNTrainSettings.known_keys())
        warn_of_unread_keys(self, 'test_cfg', self.test_cfg, RCNNTestSettings.known_keys())
        if self.train_cfg is not None:
            settings = RCNNTrainSettings.read(self.train_cfg)
            self.bbox_assigner = build_assigner(settings.assigner)
            self.bbox_sampler = build_sampler(settings.sampler, context=self)

    def init_bbox_head(self, bbox_roi_extractor: dict, bbox_head: dict) -> None:
        self.bbox_roi_extractor = build_roi_extractor(bbox_roi_extractor)
        self.bbox_head = build_head(bbox_head)

    def init_mask_head(self, mask_roi_extractor: dict | None, mask_head: dict) -> None:
        self.share_roi_extractor = mask_roi_extractor is None
        if self.share_roi_extractor:
            self.mask_roi_extractor = self.bbox_roi_extractor
        else:
            self.mask_roi_extractor = build_roi_extractor(mask_roi_extractor)
        self.mask_head = build_head(mask_head)

    def forward_dummy(self, x: Sequence[Tensor], proposals: Tensor) -> tuple[Tensor, ...]:
        """Class scores, box deltas and mask logits of the given (k, 4) boxes, taken as boxes of the first image."""
        outs: tuple[Tensor, ...] = ()
        rois = bbox2roi([proposals])
        if self.with_bbox:
            results = self._bbox_forward(x, rois)
            outs += (results['cls_score'], results['bbox_pred'])
        if self.with_mask:
            outs += (self._mask_forward(x, rois[:NUM_DUMMY_MASK_ROIS])['mask_pred'],)
        return outs

    def forward_train(
        self,
        x: Sequence[Tensor],
        img_metas: list[dict],
        proposal_list: list[Tensor],
        gt_bboxes: list[Tensor],
        gt_labels: list[Tensor],
        gt_bboxes_ignore: list[Tensor] | None = None,
        gt_masks: list | None = None,
    ) -> dict[str, Tensor]:
        if self.with_mask and gt_masks is None:
            raise ValueError(
                'the model has a mask_head, but the batch has no gt_masks: set with_mask=True in LoadAnnotations and '
                "add 'gt_masks' to the keys of Collect, or use a model without mask_head (FasterRCNN)"
            )
        samples = self.sample_proposals(x, proposal_list, gt_bboxes, gt_labels, gt_bboxes_ignore)
        losses: dict[str, Tensor] = {}
        bbox_feats = None
        if self.with_bbox:
            bbox_results = self._bbox_forward_train(x, samples, gt_bboxes, gt_labels, img_metas)
            bbox_feats = bbox_results['bbox_feats']
            losses.update(bbox_results['loss_bbox'])
        if self.with_mask:
            losses.update(self._mask_forward_train(x, samples, bbox_feats, gt_masks, img_metas)['loss_mask'])
        return losses

    def sample_proposals(
        self,
        x: Sequence[Tensor],
        proposal_list: list[Tensor],
        gt_bboxes: list[Tensor],
        gt_labels: list[Tensor],
        gt_bboxes_ignore: list[Tensor] | None,
    ) -> list:
        """The ``SamplingResult`` of each image: which proposals are trained on, and for which object."""
        if self.bbox_assigner is None:
            raise ValueError(f'{RCNNTrainSettings.place} is needed for training: give it in the config')
        samples = []
        for i, proposals in enumerate(proposal_list):
            ignored = None if gt_bboxes_ignore is None else gt_bboxes_ignore[i]
            assigned = self.bbox_assigner.assign(proposals[:, :4], gt_bboxes[i], ignored, gt_labels[i])
            feats = [level[i : i + 1] for level in x]
            samples.append(self.bbox_sampler.sample(assigned, proposals, gt_bboxes[i], gt_labels[i], feats=feats))
        return samples

    def simple_test(
        self, x: Sequence[Tensor], proposal_list: list[Tensor], img_metas: list[dict], rescale: bool = False
    ) -> list[Any]:
        if not self.with_bbox:
            raise ValueError(f'{type(self).__name__} needs a bbox_head to be tested')
        det_bboxes, det_labels = self.simple_test_bboxes(x, img_metas, proposal_list, self.test_cfg, rescale)
        bbox_results = self._by_class(det_bboxes, det_labels)
        if not self.with_mask:
            return bbox_results
        segm_results = self.simple_test_mask(x, img_metas, det_bboxes, det_labels, rescale)
        return list(zip(bbox_results, segm_results))

    def aug_test(
        self, x: list[Sequence[Tensor]], proposal_list: list[Tensor], img_metas: list[list[dict]], rescale: bool = False
    ) -> list[Any]:
        det_bboxes, det_labels = self.aug_test_bboxes(x, img_metas, proposal_list, self.test_cfg)
        shown = det_bboxes
        if not rescale:
            scale = det_bboxes.new_tensor([*_scale_factor(img_metas[0][0]), 1.0])
            shown = det_bboxes * scale
        bbox_results = self._by_class([shown], [det_labels])
        if not self.with_mask:
            return bbox_results
        return [(bbox_results[0], self.aug_test_mask(x, img_metas, det_bboxes, det_labels))]

    def _by_class(self, det_bboxes: list[Tensor], det_labels: list[Tensor]) -> list[list]:
        num_classes = self.bbox_head.num_classes
        return [bbox2result(bboxes, labels, num_classes) for bboxes, labels in zip(det_bboxes, det_labels)]

    # ---- the box branch

    def _bbox_forward(self, x: Sequence[Tensor], rois: Tensor) -> dict[str, Tensor]:
        """``cls_score`` (R, C + 1), ``bbox_pred`` (R, 4C) and ``bbox_feats`` of rois (R, 5)."""
        bbox_feats = self.bbox_roi_extractor(x[: self.bbox_roi_extractor.num_inputs], rois)
        if self.with_shared_head:
            bbox_feats = self.shared_head(bbox_feats)
        cls_score, bbox_pred = self.bbox_head(bbox_feats)
        return dict(cls_score=cls_score, bbox_pred=bbox_pred, bbox_feats=bbox_feats)

    def _bbox_forward_train(
        self,
        x: Sequence[Tensor],
        sampling_results: list,
        gt_bboxes: list[Tensor],
        gt_labels: list[Tensor],
        img_metas: list[dict],
    ) -> dict[str, Any]:
        rois = bbox2roi([sample.bboxes for sample in sampling_results])
        results = self._bbox_forward(x, rois)
        targets = self.bbox_head.get_targets(sampling_results, gt_bboxes, gt_labels, self.train_cfg)
        losses = self.bbox_head.loss(results['cls_score'], results['bbox_pred'], rois, *targets)
        return dict(results, loss_bbox=losses)

    def simple_test_bboxes(
        self,
        x: Sequence[Tensor],
        img_metas: list[dict],
        proposals: list[Tensor],
        rcnn_test_cfg: dict | None,
        rescale: bool = False,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Boxes (k, 5) and labels (k,) of each image; without ``rcnn_test_cfg`` every box and score of each roi."""
        rois = bbox2roi(proposals)
        results = self._bbox_forward(x, rois)
        counts = [len(p) for p in proposals]
        deltas = results['bbox_pred']
        detections = [
            self.bbox_head.get_bboxes(
                rois_per_image,
                scores_per_image,
                deltas_per_image,
                meta['img_shape'],
                meta['scale_factor'],
                rescale=rescale,
                cfg=rcnn_test_cfg,
            )
            for rois_per_image, scores_per_image, deltas_per_image, meta in zip(
                rois.split(counts),
                results['cls_score'].split(counts),
                [None] * len(counts) if deltas is None else deltas.split(counts),
                img_metas,
            )
        ]
        return [bboxes for bboxes, _ in detections], [labels for _, labels in detections]

    def aug_test_bboxes(
        self,
        feats: list[Sequence[Tensor]],
        img_metas: list[list[dict]],
        proposal_list: list[Tensor],
        rcnn_test_cfg: dict,
    ) -> tuple[Tensor, Tensor]:
        """Boxes (k, 5), in pixels of the original image, and labels (k,): views are averaged, then NMS."""
        settings = RCNNTestSettings.read(rcnn_test_cfg)
        views = []
        for x, metas in zip(feats, img_metas):
            proposals = to_version(proposal_list[0][:, :4], metas[0])
            bboxes, scores = self.simple_test_bboxes(x, metas, [proposals], None)
            views.append((bboxes[0], scores[0]))
        bboxes, scores = merge_aug_bboxes([b for b, _ in views], [s for _, s in views], img_metas, rcnn_test_cfg)
        return multiclass_nms(bboxes, scores, settings.score_thr, settings.nms, settings.max_per_img)

    # ---- the mask branch

    def _mask_forward(
        self,
        x: Sequence[Tensor],
        rois: Tensor | None = None,
        pos_inds: Tensor | None = None,
        bbox_feats: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """``mask_pred`` (R, C, h, w) and ``mask_feats`` of rois (R, 5), or of ``bbox_feats[pos_inds]``."""
        if rois is not None:
            mask_feats = self.mask_roi_extractor(x[: self.mask_roi_extractor.num_inputs], rois)
            if self.with_shared_head:
                mask_feats = self.shared_head(mask_feats)
        else:
            mask_feats = bbox_feats[pos_inds]
        return dict(mask_pred=self.mask_head(mask_feats), mask_feats=mask_feats)

    def _mask_forward_train(
        self,
        x: Sequence[Tensor],
        sampling_results: list,
        bbox_feats: Tensor | None,
        gt_masks: list,
        img_metas: list[dict],
    ) -> dict[str, Any]:
        if self.share_roi_extractor:
            device = bbox_feats.device
            is_pos = [torch.arange(len(s.bboxes), device=device) < len(s.pos_bboxes) for s in sampling_results]
            results = self._mask_forward(x, pos_inds=torch.cat(is_pos), bbox_feats=bbox_feats)
        else:
            results = self._mask_forward(x, bbox2roi([s.pos_bboxes for s in sampling_results]))
        targets = self.mask_head.get_targets(sampling_results, gt_masks, self.train_cfg)
        labels = torch.cat([s.pos_gt_labels for s in sampling_results])
        return dict(results, loss_mask=self.mask_head.loss(results['mask_pred'], targets, labels), mask_targets=targets)

    def simple_test_mask(
        self,
        x: Sequence[Tensor],
        img_metas: list[dict],
        det_bboxes: list[Tensor],
        det_labels: list[Tensor],
        rescale: bool = False,
    ) -> list[list[list]]:
        """The masks by class of each image, for the boxes (k, 5) that ``simple_test_bboxes`` gave."""
        boxes = [bboxes[:, :4] for bboxes in det_bboxes]
        if rescale:  # back to the pixels of the network's input
            boxes = [b * b.new_tensor(_scale_factor(meta)) for b, meta in zip(boxes, img_metas)]
        mask_pred = self._mask_forward(x, bbox2roi(boxes))['mask_pred']
        return [
            self.mask_head.get_seg_masks(
                mask_pred_per_image,
                boxes[i],
                det_labels[i],
                self.test_cfg,
                img_metas[i]['ori_shape'],
                img_metas[i]['scale_factor'],
                rescale,
            )
            for i, mask_pred_per_image in enumerate(mask_pred.split([len(b) for b in boxes]))
        ]

    def aug_test_mask(
        self, feats: list[Sequence[Tensor]], img_metas: list[list[dict]], det_bboxes: Tensor, det_labels: Tensor
    ) -> list[list]:
        """The masks by class, in the original image, of boxes (k, 5) there: probabilities averaged over views."""
        views = []
        for x, metas in zip(feats, img_metas):
            boxes = to_version(det_bboxes[:, :4], metas[0])
            views.append(self._mask_forward(x, bbox2roi([boxes]))['mask_pred'].detach().float().sigmoid().cpu().numpy())
        probabilities = merge_aug_masks(views, img_metas, self.test_cfg)
        return self.mask_head.get_seg_masks(
            probabilities, det_bboxes, det_labels, self.test_cfg, img_metas[0][0]['ori_shape'], 1.0, False
        )


def _scale_factor(meta: dict) -> list[float]:
    """The factors of x1, y1, x2, y2 from the original image to the network's input."""
    scale = meta['scale_factor']
    return [float(scale)] * 4 if isinstance(scale, int | float) else [float(s) for s in scale]
