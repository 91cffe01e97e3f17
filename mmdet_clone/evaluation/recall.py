"""Recall of proposals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .bbox_overlaps import bbox_overlaps
from .report import say, table


def eval_recalls(
    gts: list[np.ndarray],
    proposals: list[np.ndarray],
    proposal_nums: int | Sequence[int] | None = None,
    iou_thrs: float | Sequence[float] = 0.5,
    logger: Any = None,
    use_legacy_coordinate: bool = False,
) -> np.ndarray:
    """The fraction of objects that the first proposals of each image cover, each proposal covering one object.

    Args:
        gts: per image, (k, 4).
        proposals: per image, (n, 4), best first, or (n, 5) with a score to sort by.
        proposal_nums: how many proposals an image count; by default all of the first image.
        iou_thrs: the overlap that counts as covered.
        logger: where the table goes; printed by default, ``'silent'`` for nowhere.
        use_legacy_coordinate: a box is x2 - x1 + 1 wide.

    Returns:
        (len(proposal_nums), len(iou_thrs)).
    """
    if len(gts) != len(proposals):
        raise ValueError(f'{len(proposals)} lists of proposals for {len(gts)} annotated images')
    if proposal_nums is None:
        proposal_nums = [len(proposals[0])]
    nums, thresholds = np.atleast_1d(proposal_nums), np.atleast_1d(np.asarray(iou_thrs, dtype=float))
    covered: list[list[np.ndarray]] = [[] for _ in nums]  # per entry of nums, the overlap that each object gets
    for truth, boxes in zip(gts, proposals, strict=True):
        ordered = _best_first(np.asarray(boxes))[: nums.max()]
        overlaps = bbox_overlaps(np.asarray(truth), ordered, use_legacy_coordinate=use_legacy_coordinate)
        for row, num in zip(covered, nums, strict=True):
            row.append(_assign(overlaps[:, :num]))
    total = max(sum(len(truth) for truth in gts), 1)
    recalls = np.array([[(np.concatenate(row) >= t).sum() / total for t in thresholds] for row in covered])
    print_recall_summary(recalls, nums, thresholds, logger=logger)
    return recalls


def as_proposals(result: Any) -> np.ndarray:
    """One array (n, 5) of an image's result, with the boxes of all classes where it has classes."""
    boxes = result[0] if isinstance(result, tuple) else result
    return boxes if isinstance(boxes, np.ndarray) else np.concatenate([b.reshape(-1, 5) for b in boxes])


def _best_first(boxes: np.ndarray) -> np.ndarray:
    if boxes.ndim == 2 and boxes.shape[1] == 5:
        boxes = boxes[np.argsort(-boxes[:, 4], kind='stable'), :4]
    return boxes.reshape(-1, 4)


def _assign(overlaps: np.ndarray) -> np.ndarray:
    """Pair objects (rows) with proposals (columns), largest overlap first; (k,) the overlap of each pair."""
    left = overlaps.copy()
    gained = np.zeros(len(left), dtype=np.float32)
    for i in range(min(left.shape)):
        row, column = np.unravel_index(left.argmax(), left.shape)
        gained[i] = max(left[row, column], 0)
        left[row], left[:, column] = -1, -1
    return gained


def print_recall_summary(
    recalls: np.ndarray,
    proposal_nums: Sequence[int],
    iou_thrs: Sequence[float],
    row_idxs: Sequence[int] | None = None,
    col_idxs: Sequence[int] | None = None,
    logger: Any = None,
) -> None:
    """Write recalls (proposal numbers x thresholds) as a table; the index lists select rows and columns."""
    if logger == 'silent':
        return
    nums, thresholds = np.asarray(proposal_nums), np.asarray(iou_thrs)
    rows = range(len(nums)) if row_idxs is None else row_idxs
    columns = range(len(thresholds)) if col_idxs is None else col_idxs
    body = [[str(nums[i]), *(f'{recalls[i, j]:.3f}' for j in columns)] for i in rows]
    say('\n' + table(['', *(f'{thresholds[j]:g}' for j in columns)], body), logger)


def plot_num_recall(recalls: np.ndarray, proposal_nums: Sequence[int]) -> Any:
    """A figure of recall over the number of proposals."""
    return _plot(proposal_nums, recalls, 'proposals an image')


def plot_iou_recall(recalls: np.ndarray, iou_thrs: Sequence[float]) -> Any:
    """A figure of recall over the overlap threshold."""
    return _plot(iou_thrs, recalls, 'IoU')


def _plot(x: Sequence[float], recalls: np.ndarray, label: str) -> Any:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots()
    axes.plot(x, np.asarray(recalls), marker='o')
    axes.set(xlabel=label, ylabel='recall', ylim=(0, 1))
    axes.grid(alpha=0.3)
    return figure
