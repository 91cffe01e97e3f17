"""What an assigner decided."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class AssignResult:
    """The ground truth of each of n boxes.

    Attributes:
        num_gts: k, the number of ground truths.
        gt_inds: (n,) int64: 0 background, -1 neither, i > 0 the ground truth i - 1.
        max_overlaps: (n,) the overlap of each box with its best ground truth, None if unknown.
        labels: (n,) int64 class of the ground truth, -1 where there is none; or None, without classes.
    """

    def __init__(
        self, num_gts: int, gt_inds: Tensor, max_overlaps: Tensor | None, labels: Tensor | None = None
    ) -> None:
        self.num_gts = num_gts
        self.gt_inds = gt_inds
        self.max_overlaps = max_overlaps
        self.labels = labels
        self._extra_properties: dict[str, Any] = {}

    @property
    def num_preds(self) -> int:
        """How many boxes were assigned."""
        return len(self.gt_inds)

    def set_extra_property(self, key: str, value: Any) -> None:
        """Keep a value of an assigner's own."""
        self._extra_properties[key] = value

    def get_extra_property(self, key: str) -> Any:
        """A value kept by ``set_extra_property``, or None."""
        return self._extra_properties.get(key)

    @property
    def info(self) -> dict[str, Any]:
        """Everything in one dict."""
        own = dict(num_gts=self.num_gts, num_preds=self.num_preds, gt_inds=self.gt_inds)
        return {**own, 'max_overlaps': self.max_overlaps, 'labels': self.labels, **self._extra_properties}

    def copy(self) -> AssignResult:
        """A second result over the same tensors."""
        twin = AssignResult(self.num_gts, self.gt_inds, self.max_overlaps, self.labels)
        twin._extra_properties = dict(self._extra_properties)
        return twin

    def add_gt_(self, gt_labels: Tensor) -> None:
        """Put the ground truths before the boxes, each assigned to itself with overlap 1.

        Args:
            gt_labels: (k,) int64.
        """
        own = torch.arange(1, len(gt_labels) + 1, dtype=torch.long, device=self.gt_inds.device)
        self.gt_inds = torch.cat((own, self.gt_inds))
        if self.max_overlaps is not None:
            self.max_overlaps = torch.cat((self.max_overlaps.new_ones(len(gt_labels)), self.max_overlaps))
        if self.labels is not None:
            self.labels = torch.cat((gt_labels.to(self.labels), self.labels))

    def __repr__(self) -> str:
        return f'{type(self).__name__}(num_gts={self.num_gts}, num_preds={self.num_preds})'
