"""Overlaps of boxes in numpy."""

from __future__ import annotations

import numpy as np


def bbox_overlaps(
    bboxes1: np.ndarray,
    bboxes2: np.ndarray,
    mode: str = 'iou',
    eps: float = 1e-6,
    use_legacy_coordinate: bool = False,
) -> np.ndarray:
    """The overlap of each pair of boxes.

    Args:
        bboxes1: (n, 4) x1y1x2y2.
        bboxes2: (k, 4).
        mode: ``'iou'``, or ``'iof'`` for the intersection over the area of ``bboxes1``.
        eps: the least denominator.
        use_legacy_coordinate: count pixels inclusively, so that a box is x2 - x1 + 1 wide.

    Returns:
        (n, k) float32.
    """
    if mode not in ('iou', 'iof'):
        raise ValueError(f"mode must be 'iou' or 'iof', got {mode!r}")
    first = np.asarray(bboxes1, dtype=np.float32).reshape(-1, 4)
    second = np.asarray(bboxes2, dtype=np.float32).reshape(-1, 4)
    extra = 1.0 if use_legacy_coordinate else 0.0
    top_left = np.maximum(first[:, None, :2], second[None, :, :2])  # (n, k, 2)
    bottom_right = np.minimum(first[:, None, 2:], second[None, :, 2:])
    intersection = np.prod(np.clip(bottom_right - top_left + extra, 0, None), axis=2)
    area1, area2 = box_areas(first, use_legacy_coordinate), box_areas(second, use_legacy_coordinate)
    union = area1[:, None] + (area2[None] - intersection if mode == 'iou' else 0)
    return (intersection / np.maximum(union, eps)).astype(np.float32)


def box_areas(boxes: np.ndarray, use_legacy_coordinate: bool = False) -> np.ndarray:
    """(n,) areas of (n, 4+) boxes."""
    return np.prod(boxes[:, 2:4] - boxes[:, :2] + float(use_legacy_coordinate), axis=1)
