"""The assignment of "Faster R-CNN" (arXiv:1506.01497), Sec. 3.1.2.

k: ground truths   n: boxes. Overlaps are made in slabs of a few ground truths by all boxes, so that memory stays
bounded however many ground truths an image has; the result does not depend on the size of a slab.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mmdet_clone.boxes.assigners.assign_result import AssignResult
from mmdet_clone.boxes.assigners.base import BaseAssigner
from mmdet_clone.boxes.builder import build_iou_calculator
from mmdet_clone.registry import BBOX_ASSIGNERS

SLAB_OVERLAPS = 2**24  # overlaps held at a time: 64 MB in float32


@BBOX_ASSIGNERS.register_module(['MaxIoUAssigner', 'AscendMaxIoUAssigner'])  # the second: for NPUs, to the same result
class MaxIoUAssigner(BaseAssigner):
    """Each box goes to the ground truth that it overlaps most, if it does so enough.

    Args:
        pos_iou_thr: a box with at least this overlap is positive.
        neg_iou_thr: a box with less than this is negative; or (low, high): one in ``low <= overlap < high``.
            What lies between is neither (-1).
        min_pos_iou: a ground truth also takes its best boxes, if they overlap at least so much.
        gt_max_assign_all: it takes all boxes that share the best overlap, else the first. Where several ground truths
            claim a box in this way, the last has it.
        ignore_iof_thr: boxes of which more than this part lies in an ignored region are neither; if positive.
        ignore_wrt_candidates: relate that overlap to the box's area, else to the region's.
        match_low_quality: whether ground truths take their best boxes at all.
        gpu_assign_thr: with more ground truths than this, assign on the CPU; if positive.
        iou_calculator: config of the overlap.
    """

    def __init__(
        self,
        pos_iou_thr: float,
        neg_iou_thr: float | tuple[float, float],
        min_pos_iou: float = 0.0,
        gt_max_assign_all: bool = True,
        ignore_iof_thr: float = -1,
        ignore_wrt_candidates: bool = True,
        match_low_quality: bool = True,
        gpu_assign_thr: int = -1,
        iou_calculator: dict | None = None,
    ) -> None:
        self.pos_iou_thr = pos_iou_thr
        self.neg_iou_thr = neg_iou_thr
        self.min_pos_iou = min_pos_iou
        self.gt_max_assign_all = gt_max_assign_all
        self.ignore_iof_thr = ignore_iof_thr
        self.ignore_wrt_candidates = ignore_wrt_candidates
        self.match_low_quality = match_low_quality
        self.gpu_assign_thr = gpu_assign_thr
        self.iou_calculator = build_iou_calculator(iou_calculator or dict(type='BboxOverlaps2D'))

    def assign(
        self,
        bboxes: Tensor,
        gt_bboxes: Tensor,
        gt_bboxes_ignore: Tensor | None = None,
        gt_labels: Tensor | None = None,
    ) -> AssignResult:
        """Assign ``bboxes`` (n, >=4) to ``gt_bboxes`` (k, 4).

        Args:
            gt_bboxes_ignore: (m, 4) regions in which no box is negative or positive.
            gt_labels: (k,).
        """
        device = bboxes.device
        if 0 < self.gpu_assign_thr < len(gt_bboxes):
            bboxes, gt_bboxes = bboxes.cpu(), gt_bboxes.cpu()
            gt_bboxes_ignore = None if gt_bboxes_ignore is None else gt_bboxes_ignore.cpu()
        ignored = self._ignored(bboxes, gt_bboxes_ignore)
        slabs = self._overlap_slabs(bboxes, gt_bboxes, ignored)
        gt_inds, max_overlaps = self._match(slabs, len(gt_bboxes), len(bboxes), bboxes)
        return _result(len(gt_bboxes), gt_inds.to(device), max_overlaps.to(device), gt_labels)

    def assign_wrt_overlaps(self, overlaps: Tensor, gt_labels: Tensor | None = None) -> AssignResult:
        """Assign by the given overlaps (k, n)."""
        num_gts, num_bboxes = overlaps.shape
        gt_inds, max_overlaps = self._match([overlaps], num_gts, num_bboxes, overlaps)
        return _result(num_gts, gt_inds, max_overlaps, gt_labels)

    def _ignored(self, bboxes: Tensor, regions: Tensor | None) -> Tensor | None:
        """(n,) bool: the boxes in ignored regions; None if there are none."""
        if self.ignore_iof_thr <= 0 or regions is None or len(regions) == 0 or len(bboxes) == 0:
            return None
        covered = bboxes.new_zeros(len(bboxes), dtype=torch.float32)
        for part in regions.split(max(1, SLAB_OVERLAPS // len(bboxes))):
            if self.ignore_wrt_candidates:
                overlaps = self.iou_calculator(bboxes, part, mode='iof').amax(1)
            else:
                overlaps = self.iou_calculator(part, bboxes, mode='iof').amax(0)
            covered = covered.maximum(overlaps)
        return covered > self.ignore_iof_thr

    def _overlap_slabs(self, bboxes: Tensor, gt_bboxes: Tensor, ignored: Tensor | None) -> Iterator[Tensor]:
        """Overlaps of a few ground truths at a time with all boxes, -1 where a box is ignored."""
        for part in gt_bboxes.split(max(1, SLAB_OVERLAPS // max(1, len(bboxes)))):
            overlaps = self.iou_calculator(part, bboxes)
            yield overlaps if ignored is None else overlaps.masked_fill(ignored, -1)

    def _match(self, slabs: Iterable[Tensor], num_gts: int, num_bboxes: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """``gt_inds`` and ``max_overlaps`` of an :class:`AssignResult`."""
        if num_gts == 0 or num_bboxes == 0:
            fill = 0 if num_gts == 0 else -1
            gt_inds = torch.full((num_bboxes,), fill, dtype=torch.long, device=like.device)
            return gt_inds, like.new_zeros(num_bboxes, dtype=torch.float32)
        best = self._best(slabs)
        gt_inds = torch.full_like(best.gt, -1)
        low, high = (0, self.neg_iou_thr) if isinstance(self.neg_iou_thr, int | float) else self.neg_iou_thr
        gt_inds = gt_inds.masked_fill((best.overlap >= low) & (best.overlap < high), 0)
        gt_inds = torch.where(best.overlap >= self.pos_iou_thr, best.gt + 1, gt_inds)
        gt_inds = torch.where(best.claimed > 0, best.claimed, gt_inds)
        return gt_inds, best.overlap

    def _best(self, slabs: Iterable[Tensor]) -> _Best:
        best, start = None, 0
        for overlaps in slabs:
            overlap, gt = overlaps.max(0)
            slab = _Best(overlap, gt + start, self._claims(overlaps, start))
            best = slab if best is None else best.merged(slab)
            start += len(overlaps)
        return best

    def _claims(self, overlaps: Tensor, start: int) -> Tensor:
        """(n,) 1 + the last ground truth of the slab that takes the box as one of its best, 0 if none does."""
        ids = torch.arange(start + 1, start + 1 + len(overlaps), device=overlaps.device)
        claimed = ids.new_zeros(overlaps.shape[1])
        if not self.match_low_quality:
            return claimed
        most, first = overlaps.max(1)
        entitled = most >= self.min_pos_iou
        if self.gt_max_assign_all:
            gts, boxes = ((overlaps == most[:, None]) & entitled[:, None]).nonzero(as_tuple=True)
            ids = ids[gts]
        else:
            boxes, ids = first[entitled], ids[entitled]
        return claimed.scatter_reduce(0, boxes, ids, 'amax')


@dataclass
class _Best:
    """For each box, over the ground truths seen so far."""

    overlap: Tensor  # (n,) the largest
    gt: Tensor  # (n,) the first ground truth that has it
    claimed: Tensor  # (n,) 1 + the last ground truth that takes the box as one of its best, 0 if none

    def merged(self, later: _Best) -> _Best:
        gt = torch.where(later.overlap > self.overlap, later.gt, self.gt)
        return _Best(self.overlap.maximum(later.overlap), gt, self.claimed.maximum(later.claimed))


def _result(num_gts: int, gt_inds: Tensor, max_overlaps: Tensor, gt_labels: Tensor | None) -> AssignResult:
    if gt_labels is None:
        return AssignResult(num_gts, gt_inds, max_overlaps)
    gt_labels = gt_labels.to(gt_inds.device)
    padded = torch.cat((gt_labels.new_full((1,), -1), gt_labels))  # what is not positive has the label -1
    return AssignResult(num_gts, gt_inds, max_overlaps, padded[gt_inds.clamp(min=0)].long())
