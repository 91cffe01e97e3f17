"""The recipe of a sampler: add the ground truths, pick positives, fill up with negatives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmdet_clone.boxes.assigners.assign_result import AssignResult
from mmdet_clone.boxes.samplers.sampling_result import SamplingResult


class BaseSampler(ABC):
    """Subclasses pick by ``_sample_pos`` and ``_sample_neg``.

    Args:
        num: samples of an image.
        pos_fraction: at most this part of them is positive.
        neg_pos_ub: at most so many negatives for each positive; no bound if negative.
        add_gt_as_proposals: put the ground truths before the boxes.
        context: the head that the sampler works for.
    """

    def __init__(
        self,
        num: int,
        pos_fraction: float,
        neg_pos_ub: float = -1,
        add_gt_as_proposals: bool = True,
        context: Any = None,
    ) -> None:
        self.num = num
        self.pos_fraction = pos_fraction
        self.neg_pos_ub = neg_pos_ub
        self.add_gt_as_proposals = add_gt_as_proposals
        self.context = context
        self.pos_sampler: BaseSampler = self
        self.neg_sampler: BaseSampler = self

    @abstractmethod
    def _sample_pos(self, assign_result: AssignResult, num_expected: int, **kwargs: Any) -> Tensor:
        """At most ``num_expected`` indices with ``assign_result.gt_inds > 0``."""

    @abstractmethod
    def _sample_neg(self, assign_result: AssignResult, num_expected: int, **kwargs: Any) -> Tensor:
        """At most ``num_expected`` indices with ``assign_result.gt_inds == 0``."""

    def sample(
        self,
        assign_result: AssignResult,
        bboxes: Tensor,
        gt_bboxes: Tensor,
        gt_labels: Tensor | None = None,
        feats: Sequence[Tensor] | None = None,
    ) -> SamplingResult:
        """Pick among the boxes of one image.

        Args:
            assign_result: of these boxes; left as it is.
            bboxes: (n, >=4).
            gt_bboxes: (k, 4).
            gt_labels: (k,), needed to add the ground truths.
            feats: the image's feature maps, for samplers that look at losses.
        """
        bboxes = bboxes.reshape(-1, bboxes.shape[-1])[:, :4]
        gt_flags = bboxes.new_zeros(len(bboxes), dtype=torch.uint8)
        if self.add_gt_as_proposals and len(gt_bboxes) > 0:
            if gt_labels is None:
                raise ValueError('add_gt_as_proposals=True needs gt_labels: pass them, or set it to False')
            bboxes = torch.cat((gt_bboxes.to(bboxes.dtype), bboxes))
            gt_flags = torch.cat((gt_flags.new_ones(len(gt_bboxes)), gt_flags))
            assign_result = assign_result.copy()
            assign_result.add_gt_(gt_labels)

        num_pos = int(self.num * self.pos_fraction)
        pos_inds = self.pos_sampler._sample_pos(assign_result, num_pos, bboxes=bboxes, feats=feats).unique()
        num_neg = self._num_negatives(pos_inds.numel())
        neg_inds = self.neg_sampler._sample_neg(assign_result, num_neg, bboxes=bboxes, feats=feats).unique()
        return SamplingResult(pos_inds, neg_inds, bboxes, gt_bboxes, assign_result, gt_flags)

    def _num_negatives(self, num_pos: int) -> int:
        num_neg = self.num - num_pos
        return num_neg if self.neg_pos_ub < 0 else min(num_neg, int(self.neg_pos_ub * max(1, num_pos)))
