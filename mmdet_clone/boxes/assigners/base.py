"""What every assigner offers."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from mmdet_clone.boxes.assigners.assign_result import AssignResult


class BaseAssigner(ABC):
    """Assigns boxes to ground truths, to the background, or to neither."""

    @abstractmethod
    def assign(
        self,
        bboxes: Tensor,
        gt_bboxes: Tensor,
        gt_bboxes_ignore: Tensor | None = None,
        gt_labels: Tensor | None = None,
    ) -> AssignResult:
        """Assign ``bboxes`` (n, 4) to ``gt_bboxes`` (k, 4) with ``gt_labels`` (k,)."""
