"""What a sampler chose."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmdet_clone.boxes.assigners.assign_result import AssignResult


class SamplingResult:
    """The positive and negative boxes of one image, and what the positive ones answer for.

    P, M: positive and negative samples   k: ground truths

    Attributes:
        pos_inds, neg_inds: (P,), (M,) indices into the boxes that were sampled from.
        pos_bboxes, neg_bboxes: (P, 4), (M, 4).
        pos_is_gt: (P,) uint8, 1 where the sample is a ground truth added to the boxes.
        num_gts: k.
        pos_assigned_gt_inds: (P,) index of the ground truth.
        pos_gt_bboxes: (P, 4) that ground truth.
        pos_gt_labels: (P,) its class, None without classes.
    """

    def __init__(
        self,
        pos_inds: Tensor,
        neg_inds: Tensor,
        bboxes: Tensor,
        gt_bboxes: Tensor,
        assign_result: AssignResult,
        gt_flags: Tensor,
    ) -> None:
        self.pos_inds = pos_inds
        self.neg_inds = neg_inds
        self.pos_bboxes = bboxes[pos_inds]
        self.neg_bboxes = bboxes[neg_inds]
        self.pos_is_gt = gt_flags[pos_inds]
        self.num_gts = gt_bboxes.shape[0]
        self.pos_assigned_gt_inds = assign_result.gt_inds[pos_inds] - 1
        # without ground truths nothing is positive; boxes may then come as (0,)
        self.pos_gt_bboxes = gt_bboxes.reshape(-1, 4)[self.pos_assigned_gt_inds.long()]
        self.pos_gt_labels = None if assign_result.labels is None else assign_result.labels[pos_inds]

    @property
    def bboxes(self) -> Tensor:
        """(P + M, 4), positive before negative."""
        return torch.cat((self.pos_bboxes, self.neg_bboxes))

    @property
    def info(self) -> dict[str, Any]:
        """Everything in one dict."""
        return dict(self.__dict__)

    def to(self, device: torch.device | str) -> SamplingResult:
        """Move every tensor, in place."""
        for name, value in self.__dict__.items():
            if isinstance(value, Tensor):
                setattr(self, name, value.to(device))
        return self

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}({len(self.pos_inds)} positive, {len(self.neg_inds)} negative, {self.num_gts} gts)'
        )
