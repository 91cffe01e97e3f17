"""Moving keypoints with their image.

``gt_keypoints`` is ``(n, K, 3)`` float32: x, y and visibility (0 not labelled, 1 labelled but hidden, 2 visible), one
row per row of ``gt_bboxes``. As in COCO a whole number is the middle of a pixel: x = 0 is the image's first column,
x = w - 1 its last. Boxes count from the pixel's corner, so x of a box lies 0.5 higher than x of a keypoint.

A point that leaves the image becomes 0, 0, 0, as COCO writes points that are not labelled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

KEY = 'gt_keypoints'
# Left and right eye, ear, shoulder, elbow, wrist, hip, knee, ankle of COCO's person
COCO_FLIP_PAIRS = ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16))

Pairs = Sequence[tuple[int, int]]


def move_keypoints(results: dict, move: Callable[[np.ndarray], np.ndarray], shape: Sequence[int]) -> None:
    """Move the sample's keypoints, if it has any; see :func:`moved`."""
    if KEY in results:
        results[KEY] = moved(results[KEY], move, shape)


def moved(keypoints: np.ndarray, move: Callable[[np.ndarray], np.ndarray], shape: Sequence[int]) -> np.ndarray:
    """``keypoints`` ``(n, K, 3)`` whose x, y ``(n, K, 2)`` the function ``move`` changes, on a canvas of ``shape``."""
    places = move(keypoints[..., :2])
    inside = ((places >= -0.5) & (places < (shape[1] - 0.5, shape[0] - 0.5))).all(-1)
    labelled = inside & (keypoints[..., 2] > 0)
    joined = np.concatenate((places, keypoints[..., 2:]), axis=-1, dtype=np.float32)
    return np.where(labelled[..., None], joined, np.float32(0))


def shifted(dx: float, dy: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda places: places + np.array([dx, dy], dtype=np.float32)


def scaled(x_scale: float, y_scale: float) -> Callable[[np.ndarray], np.ndarray]:
    """Resizing: the image's corners stay its corners, so the middles of pixels move a little."""
    factors = np.array([x_scale, y_scale], dtype=np.float32)
    return lambda places: (places + 0.5) * factors - 0.5


def warped(matrix: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """By an affine ``(2, 3)`` or ``(3, 3)`` matrix over the middles of pixels, as OpenCV warps images."""
    return lambda places: places @ matrix[:2, :2].T + matrix[:2, 2]


def flip_keypoints(
    keypoints: np.ndarray, shape: Sequence[int], direction: str, flip_pairs: Pairs | None, step: str
) -> np.ndarray:
    """Mirror ``(n, K, 3)`` keypoints on a canvas of ``shape`` (height, width, ...).

    A person in a mirror raises the other hand: ``horizontal`` and ``vertical`` flips swap the pairs, a ``diagonal`` one
    (half a turn) does not.

    Args:
        flip_pairs: indices of left and right points; ``None`` for COCO's where K = 17.
        step: the name for the message.

    Raises:
        ValueError: K is not 17 and ``flip_pairs`` not given, or they name a point that there is not.
    """
    h, w = shape[:2]
    mirrors = {
        'horizontal': lambda p: (w - 1, 0) + p * (-1, 1),
        'vertical': lambda p: (0, h - 1) + p * (1, -1),
        'diagonal': lambda p: (w - 1, h - 1) - p,
    }
    flipped = moved(keypoints, mirrors[direction], shape)
    return flipped if direction == 'diagonal' else swap_pairs(flipped, flip_pairs, step)


def swap_pairs(keypoints: np.ndarray, flip_pairs: Pairs | None, step: str) -> np.ndarray:
    """Exchange left and right points of ``(n, K, 3)`` keypoints; see :func:`flip_keypoints`."""
    count = keypoints.shape[1]
    if flip_pairs is None and count == 17:
        flip_pairs = COCO_FLIP_PAIRS
    if flip_pairs is None:
        raise ValueError(
            f'{step} mirrors {count} keypoints per instance and does not know which are left and right: give '
            f'flip_pairs=[(left, right), ...] (indices from 0; [] if there are none) to {step} in the pipeline'
        )
    order = np.arange(count)
    for left, right in flip_pairs:
        if not (0 <= left < count and 0 <= right < count):
            raise ValueError(f'{step}: flip_pairs names {(left, right)}; the instances have {count} keypoints, from 0')
        order[[left, right]] = right, left
    return keypoints[:, order]
