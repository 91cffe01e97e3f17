"""Detection results and their conversions.

A result is a list over classes of ``(k, 5)`` float32 arrays ``x1, y1, x2, y2, score``; with masks it is
``(bbox_results, segm_results)``, the second a list over classes of lists of masks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def bbox2result(
    bboxes: torch.Tensor | np.ndarray, labels: torch.Tensor | np.ndarray, num_classes: int
) -> list[np.ndarray]:
    """Sort detections into classes.

    Args:
        bboxes: ``(n, 5)`` rows ``x1, y1, x2, y2, score``.
        labels: ``(n,)`` class indices in ``[0, num_classes)``.
        num_classes: how many classes there are, background not counted.

    Returns:
        ``num_classes`` float32 arrays ``(k, 5)``; the order within a class is kept.
    """
    bboxes, labels = _to_numpy(bboxes).astype(np.float32, copy=False), _to_numpy(labels)
    if len(bboxes) == 0:
        return [np.zeros((0, 5), dtype=np.float32) for _ in range(num_classes)]
    return [bboxes[labels == i] for i in range(num_classes)]


def encode_mask_results(segm_results: list | tuple) -> list:
    """Compress bitmaps to COCO's RLE (``dict(size=[h, w], counts=bytes)``).

    Args:
        segm_results: a list over classes of lists of ``(h, w)`` bool bitmaps, or that and the masks' scores in a tuple
            (mask scoring). Masks that are RLE already stay as they are.

    Returns:
        the list of lists of RLE; for a tuple ``[RLEs, scores]``.
    """
    if isinstance(segm_results, tuple):
        segms, scores = segm_results
        return [encode_mask_results(segms), scores]
    return [[_encode(mask) for mask in masks] for masks in segm_results]


def results_to_cpu(results: Any) -> Any:
    """Move every tensor of nested lists, tuples and dicts to the CPU, as a numpy array."""
    if isinstance(results, torch.Tensor):
        return _to_numpy(results)
    if isinstance(results, dict):
        return {key: results_to_cpu(value) for key, value in results.items()}
    if isinstance(results, list | tuple):
        return type(results)(results_to_cpu(value) for value in results)
    return results


def _to_numpy(values: torch.Tensor | np.ndarray) -> np.ndarray:
    if isinstance(values, torch.Tensor):
        values = values.detach()
        return (values.float() if values.dtype == torch.bfloat16 else values).cpu().numpy()
    return np.asarray(values)


def _encode(mask: np.ndarray | torch.Tensor | dict) -> dict:
    if isinstance(mask, dict):
        return mask
    from pycocotools import mask as mask_utils

    return mask_utils.encode(np.asfortranarray(_to_numpy(mask), dtype=np.uint8))
