"""What the steps share that move boxes alone, and drop those that leave the canvas."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmdet_clone.datasets.pipelines.base import LABELS_OF, mask_fields, seg_fields


def refuse_masks(results: dict, step: object) -> None:
    """Raise ``NotImplementedError`` for a sample with masks or semantic maps, which would stay behind."""
    left = [key for key in (*mask_fields(results), *seg_fields(results)) if key in results]
    if left:
        raise NotImplementedError(
            f'{type(step).__name__} moves images and boxes alone, and the sample has {", ".join(left)}: '
            'load annotations without (with_mask=False, with_seg=False), or leave this step out'
        )


def join_instances(key: str, samples: Sequence[dict], boxes: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """The boxes ``(n_i, 4)`` of several samples in one array under ``key``, with their labels, where they have any."""
    joined = {key: np.concatenate([b.reshape(-1, 4) for b in boxes]).astype(np.float32, copy=False)}
    labels = LABELS_OF.get(key)
    if labels in samples[0]:
        joined[labels] = np.concatenate([sample[labels] for sample in samples])
    return joined


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
