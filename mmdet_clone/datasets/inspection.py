"""What can be odd about boxes and polygons, as pure functions on arrays: a second for a million.

n: number of boxes    "corners" are x1, y1, x2, y2; "xywh" is x, y, width, height; all in pixels
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import chain
from typing import Any

import numpy as np

SLACK = 1.0  # pixels that a box may exceed the image by: annotation tools round, VOC counts from 1
TINY = 2.0  # pixels; a box with a shorter side covers a fraction of a cell of any feature map
LAYOUTS = dict(xywh='x, y, width, height', xyxy='x1, y1, x2, y2')


def corners_of(boxes: np.ndarray, layout: str) -> np.ndarray:
    """(n, 4) boxes of a layout (``'xywh'`` or ``'xyxy'``) as corners."""
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1) if layout == 'xywh' else boxes


def not_finite(boxes: np.ndarray) -> np.ndarray:
    """(n,) whether one of the four numbers is NaN or infinite."""
    return ~np.isfinite(boxes).all(axis=1)


def without_size(corners: np.ndarray) -> np.ndarray:
    """(n,) whether the width or the height is zero, negative, or not a number."""
    return ~((corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1]))


def reaches_outside(corners: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """(n,) whether the box exceeds its image by more than a pixel; ``sizes`` (n, 2) is NaN where unknown."""
    beyond = corners[:, 2:] > sizes + SLACK  # False where the size is NaN
    return (corners[:, :2] < -SLACK).any(axis=1) | beyond.any(axis=1)


def is_tiny(corners: np.ndarray, areas: np.ndarray | None = None) -> np.ndarray:
    """(n,) whether a box that has a size is shorter than 2 pixels on a side, or its annotated area is below 2."""
    short = (corners[:, 2:] - corners[:, :2]).min(axis=1, initial=np.inf) < TINY
    if areas is not None:
        short |= areas < TINY
    return short & ~without_size(corners)


def fits_other_layout(boxes: np.ndarray, sizes: np.ndarray, layout: str) -> np.ndarray:
    """(n,) whether the numbers make a box inside its image when they are read in the other layout."""
    corners = corners_of(boxes, other_layout(layout))
    return (corners[:, 2:] > corners[:, :2]).all(axis=1) & ~reaches_outside(corners, sizes)


def other_layout(layout: str) -> str:
    return 'xyxy' if layout == 'xywh' else 'xywh'


def other_layout_hint(layout: str) -> str:
    """The sentence for a file whose boxes make sense in the other layout."""
    other = other_layout(layout)
    looks = 'x1y1x2y2' if other == 'xyxy' else other
    return f'This looks like {looks}: the format asks for [{LAYOUTS[layout]}], not [{LAYOUTS[other]}].'


def repeated(values: Sequence[Hashable]) -> list[int]:
    """The indices of the values that occurred before."""
    seen: set[Hashable] = set()
    return [i for i, value in enumerate(values) if value in seen or seen.add(value)]


def repeated_boxes(boxes: np.ndarray, owner: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(n,) whether an earlier box of the same image (``owner``, (n,)) and label has the same four numbers."""
    again = np.zeros(len(boxes), dtype=bool)
    if len(boxes) < 2:
        return again
    keys = np.column_stack([owner, labels, boxes])
    order = np.lexsort(keys.T[::-1])  # stable: of equal boxes the first stays first
    again[order[1:]] = (keys[order[1:]] == keys[order[:-1]]).all(axis=1)
    return again


# ---------------------------------------------------------------------- masks


def has_mask(segmentation: Any) -> bool:
    """Whether there is an RLE, or a polygon of 3 points or more (or a bitmap)."""
    if isinstance(segmentation, list | tuple):
        return any(_is_polygon(part) for part in segmentation)
    return segmentation is not None


def rle_of_other_size(segmentation: Any, width: float, height: float) -> bool:
    """Whether a mask is an RLE, or a bitmap, of another size than its image; False where that is unknown (NaN)."""
    if isinstance(segmentation, dict):
        size = segmentation.get('size')
        if not isinstance(size, list | tuple) or len(size) != 2:
            return True
    elif isinstance(segmentation, np.ndarray) and segmentation.ndim == 2:
        size = segmentation.shape
    else:
        return False
    return bool(np.isfinite([width, height]).all()) and [int(edge) for edge in size] != [int(height), int(width)]


def bad_parts(segmentation: Any) -> list:
    """The parts of a mask of polygons that are none: fewer than 3 points, half a point, or not numbers in a row."""
    return [part for part in segmentation if not _is_polygon(part)] if isinstance(segmentation, list | tuple) else []


def polygons_outside(masks: Sequence[Any], sizes: np.ndarray) -> np.ndarray:
    """(n,) whether a polygon of the mask exceeds the image by more than a pixel; ``sizes`` (n, 2), NaN: unknown."""
    parts = [(i, part) for i, mask in enumerate(masks) if isinstance(mask, list | tuple) for part in mask]
    parts = [(i, part) for i, part in parts if _is_polygon(part)]
    outside = np.zeros(len(masks), dtype=bool)
    if not parts:
        return outside
    lengths = np.array([len(part) for _, part in parts])
    numbers = np.fromiter(chain.from_iterable(part for _, part in parts), dtype=float, count=lengths.sum())
    points = numbers.reshape(-1, 2)
    starts = np.concatenate([[0], np.cumsum(lengths // 2)[:-1]])
    low, high = np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)
    owner = np.array([i for i, _ in parts])
    outside[owner[reaches_outside(np.concatenate([low, high], axis=1), sizes[owner])]] = True
    return outside


def _is_polygon(part: Any) -> bool:
    if not isinstance(part, list | tuple | np.ndarray) or len(part) < 6 or len(part) % 2:
        return False
    return isinstance(part[0], int | float | np.number)
