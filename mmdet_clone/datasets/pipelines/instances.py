"""What the steps share that join the instances of several images, or drop those that leave the canvas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmdet_clone.datasets.pipelines.base import KEYPOINTS_OF, LABELS_OF, MASKS_OF
from mmdet_clone.datasets.pipelines.keypoints import moved, warped


def instances_of(sample: dict, key: str) -> dict[str, Any]:
    """The boxes under ``key`` and what runs parallel to them: labels, masks, keypoints, where the sample has them."""
    parallel = (key, LABELS_OF.get(key), MASKS_OF.get(key), KEYPOINTS_OF.get(key))
    return {name: sample[name] for name in parallel if name in sample}


def placed_instances(
    sample: dict, key: str, boxes: np.ndarray, matrix: np.ndarray, shape: tuple[int, int]
) -> dict[str, Any]:
    """:func:`instances_of` a sample on another canvas.

    Args:
        boxes: ``(n, 4)``, moved already.
        matrix: ``(2, 3)`` or ``(3, 3)``, over the middles of pixels: moves masks and keypoints.
        shape: the canvas's height and width.
    """
    part = {**instances_of(sample, key), key: boxes.reshape(-1, 4).astype(np.float32, copy=False)}
    if MASKS_OF.get(key) in part:
        part[MASKS_OF[key]] = part[MASKS_OF[key]].warp_affine(matrix, shape)
    if KEYPOINTS_OF.get(key) in part:
        part[KEYPOINTS_OF[key]] = moved(part[KEYPOINTS_OF[key]], warped(matrix), shape)
    return part


def join_instances(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The instances of several images, on one canvas, as those of one."""
    return {key: _joined([part[key] for part in parts]) for key in parts[0]}


def _joined(values: list) -> Any:
    filled = [value for value in values if len(value)] or values[:1]  # no instance may mean no number of keypoints
    return np.concatenate(filled) if isinstance(filled[0], np.ndarray) else type(filled[0]).cat(filled)


def resize_matrix(x_scale: float, y_scale: float, left: float = 0, top: float = 0) -> np.ndarray:
    """(3, 3): resizing, then a shift, over the middles of pixels."""
    x_shift, y_shift = 0.5 * x_scale - 0.5 + left, 0.5 * y_scale - 0.5 + top
    return np.array([[x_scale, 0, x_shift], [0, y_scale, y_shift], [0, 0, 1]], dtype=np.float64)


def still_usable(
    before: np.ndarray, after: np.ndarray, min_size: float, min_area_ratio: float, max_aspect_ratio: float
) -> np.ndarray:
    """``(n,)`` bool: the boxes that a crop has left large enough.

    Args:
        before, after: ``(n, 4)``, the first in the scale of the second.
        min_size: in pixels, of both edges.
        min_area_ratio: the part of its area that must be left.
        max_aspect_ratio: of the longer to the shorter edge.
    """
    eps = 1e-16
    w1, h1 = (before[:, 2:] - before[:, :2]).T
    w2, h2 = (after[:, 2:] - after[:, :2]).T
    aspect = np.maximum(w2 / (h2 + eps), h2 / (w2 + eps))
    large = (w2 > min_size) & (h2 > min_size) & (w2 * h2 / (w1 * h1 + eps) > min_area_ratio)
    return large & (aspect < max_aspect_ratio)


def mixed_samples(results: dict, step: object, count: int) -> list[dict]:
    """The ``count`` further samples that ``MultiImageMixDataset`` has put beside this one."""
    samples = results.get('mix_results')
    if samples is None or len(samples) != count:
        found = 'none' if samples is None else len(samples)
        raise ValueError(
            f'{type(step).__name__} mixes {count} further images into one and found {found} in mix_results: it belongs '
            'into the pipeline of a MultiImageMixDataset, not into that of the data set with the images'
        )
    return samples
