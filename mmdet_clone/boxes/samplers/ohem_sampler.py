"""Samples of the highest loss: "Training Region-based Object Detectors with Online Hard Example Mining"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmdet_clone.boxes.assigners.assign_result import AssignResult
from mmdet_clone.boxes.samplers.base import BaseSampler
from mmdet_clone.ops.boxes import bbox2roi
from mmdet_clone.registry import BBOX_SAMPLERS


@BBOX_SAMPLERS.register_module()
class OHEMSampler(BaseSampler):
    """Keeps the regions that the head as it is now classifies worst (arXiv:1604.03540).

    Where there are no more regions than asked for, all are taken. Regions are not de-duplicated by NMS first, which
    the paper does.

    Args:
        num, pos_fraction, neg_pos_ub, add_gt_as_proposals: see :class:`BaseSampler`.
        context: the RoI head, whose box branch is run; of a cascade, the stage that is being trained.
        loss_key: which entry of the box head's losses tells how hard a region is.
    """

    def __init__(
        self,
        num: int,
        pos_fraction: float,
        context: Any,
        neg_pos_ub: float = -1,
        add_gt_as_proposals: bool = True,
        loss_key: str = 'loss_cls',
    ) -> None:
        super().__init__(num, pos_fraction, neg_pos_ub, add_gt_as_proposals, context)
        if not hasattr(context, 'bbox_head'):
            raise ValueError(
                'OHEMSampler looks at the losses of a RoI head, so it is for train_cfg.rcnn of a two-stage detector, '
                f'not for {type(context).__name__}'
            )
        self.loss_key = loss_key

    def _sample_pos(self, assign_result: AssignResult, num_expected: int, **kwargs: Any) -> Tensor:
        inds = (assign_result.gt_inds > 0).nonzero().squeeze(1)
        if inds.numel() <= num_expected:
            return inds
        return self._hardest(inds, num_expected, assign_result.labels[inds], **kwargs)

    def _sample_neg(self, assign_result: AssignResult, num_expected: int, **kwargs: Any) -> Tensor:
        inds = (assign_result.gt_inds == 0).nonzero().squeeze(1)
        if inds.numel() <= num_expected:
            return inds
        background = torch.full_like(inds, self._box_branch()[0].num_classes)
        return self._hardest(inds, num_expected, background, **kwargs)

    def _hardest(
        self, inds: Tensor, num_expected: int, labels: Tensor, bboxes: Tensor, feats: Sequence[Tensor] | None
    ) -> Tensor:
        if feats is None:
            raise ValueError('OHEMSampler needs the feature maps: pass feats to sample()')
        return self.hard_mining(inds, num_expected, bboxes[inds], labels, feats)

    @torch.no_grad()
    def hard_mining(
        self, inds: Tensor, num_expected: int, bboxes: Tensor, labels: Tensor, feats: Sequence[Tensor]
    ) -> Tensor:
        """The ``num_expected`` of ``inds`` (n,) with the highest loss.

        Args:
            bboxes: (n, 4) these.
            labels: (n,) what they should be classified as.
            feats: the feature maps of the image, each (1, C, H, W).
        """
        bbox_head, stage = self._box_branch()
        rois = bbox2roi([bboxes])
        cls_score = self.context._bbox_forward(*stage, feats, rois)['cls_score']
        losses = bbox_head.loss(
            cls_score=cls_score,
            bbox_pred=None,
            rois=rois,
            labels=labels,
            label_weights=cls_score.new_ones(len(cls_score)),
            bbox_targets=None,
            bbox_weights=None,
            reduction_override='none',
        )
        return inds[losses[self.loss_key].topk(num_expected).indices]

    def _box_branch(self) -> tuple[Any, tuple[int, ...]]:
        """The box head, and in a cascade the number of its stage, which ``_bbox_forward`` takes first."""
        stage = getattr(self.context, 'current_stage', None) if hasattr(self.context, 'num_stages') else None
        return (self.context.bbox_head, ()) if stage is None else (self.context.bbox_head[stage], (stage,))
