"""No sampling: for losses that look at every box."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmdet_clone.boxes.assigners.assign_result import AssignResult
from mmdet_clone.boxes.samplers.base import BaseSampler
from mmdet_clone.boxes.samplers.sampling_result import SamplingResult
from mmdet_clone.config.unread_keys import warn_of_unread_keys
from mmdet_clone.registry import BBOX_SAMPLERS


@BBOX_SAMPLERS.register_module()
class PseudoSampler(BaseSampler):
    """Takes all positive and all negative boxes, in their order; adds no ground truths.

    Args:
        left_over: arguments of the sampler that a base config had (``num``, ``pos_fraction``), of no effect here.
    """

    def __init__(self, context: Any = None, **left_over: Any) -> None:
        super().__init__(num=-1, pos_fraction=1.0, add_gt_as_proposals=False, context=context)
        warn_of_unread_keys(self, 'config', left_over, ())

    def sample(
        self,
        assign_result: AssignResult,
        bboxes: Tensor,
        gt_bboxes: Tensor,
        gt_labels: Tensor | None = None,
        feats: Sequence[Tensor] | None = None,
    ) -> SamplingResult:
        """All boxes of one image that are not left out (-1); see :meth:`BaseSampler.sample`."""
        pos_inds, neg_inds = self._sample_pos(assign_result, -1), self._sample_neg(assign_result, -1)
        gt_flags = bboxes.new_zeros(len(bboxes), dtype=torch.uint8)
        return SamplingResult(pos_inds, neg_inds, bboxes, gt_bboxes, assign_result, gt_flags)

    def _sample_pos(self, assign_result: AssignResult, num_expected: int, **kwargs: Any) -> Tensor:
        return (assign_result.gt_inds > 0).nonzero().squeeze(1)

    def _sample_neg(self, assign_result: AssignResult, num_expected: int, **kwargs: Any) -> Tensor:
        return (assign_result.gt_inds == 0).nonzero().squeeze(1)
