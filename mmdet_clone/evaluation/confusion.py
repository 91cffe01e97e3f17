"""Which class was taken for which.

C: number of classes; index C stands for the background    n: detections of an image    k: objects of an image
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .bbox_overlaps import bbox_overlaps


def confusion_matrix(
    results: Iterable,
    annotations: Iterable[dict],
    num_classes: int,
    score_thr: float = 0.3,
    tp_iou_thr: float = 0.5,
    nms_iou_thr: float | None = None,
) -> np.ndarray:
    """Count the detections of each class on the objects of each class.

    A detection counts once for every object that it overlaps by ``tp_iou_thr`` or more, whatever the classes, as
    MMDetection counts: a second detection of an object counts again. A detection without such an object is one of
    the background, unless that share of it lies in an ignored region: then it does not count. An object that no
    detection of its own class overlaps so is missed: taken for background.

    Args:
        results: per image, a list over classes of (n, 5) x1y1x2y2 and score, or a pair of it and masks.
        annotations: per image, ``bboxes`` (k, 4), ``labels`` (k,) and, where there are any, ``bboxes_ignore``.
        num_classes: C.
        score_thr: detections with a lower score are left out.
        tp_iou_thr: the overlap that counts as a hit.
        nms_iou_thr: first drop detections that overlap a better one of their class by more than this.

    Returns:
        (C + 1, C + 1) int64: rows are the true classes, columns the detected ones.
    """
    for name, value in (('score_thr', score_thr), ('tp_iou_thr', tp_iou_thr), ('nms_iou_thr', nms_iou_thr)):
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f'{name} must lie between 0 and 1, got {value}')
    matrix = np.zeros((num_classes + 1, num_classes + 1), dtype=np.int64)
    for result, ann in zip(results, annotations, strict=True):
        boxes, labels = confident_boxes(result, num_classes, score_thr, nms_iou_thr)
        _count_image(matrix, boxes, labels, ann, tp_iou_thr)
    return matrix


def normalise_rows(matrix: np.ndarray) -> np.ndarray:
    """Each row in per cent of its sum. NaN in a row without a count, and for background taken as such."""
    sums = matrix.sum(axis=1, keepdims=True)
    percent = np.where(sums > 0, 100 * matrix / np.maximum(sums, 1), np.nan)
    percent[-1, -1] = np.nan
    return percent


def confident_boxes(
    result: list | tuple, num_classes: int, score_thr: float, nms_iou_thr: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The boxes (n, 5) of an image that reach ``score_thr``, and their labels (n,)."""
    by_class = result[0] if isinstance(result, tuple) else result
    if len(by_class) != num_classes:
        raise ValueError(f'the results have {len(by_class)} classes, the data set has {num_classes}')
    kept = [_above(np.asarray(boxes, dtype=np.float32).reshape(-1, 5), score_thr, nms_iou_thr) for boxes in by_class]
    labels = np.repeat(np.arange(num_classes), [len(boxes) for boxes in kept])
    return np.concatenate([np.zeros((0, 5), dtype=np.float32), *kept]), labels


def _above(boxes: np.ndarray, score_thr: float, nms_iou_thr: float | None) -> np.ndarray:
    boxes = boxes[boxes[:, 4] >= score_thr]
    if nms_iou_thr is None or len(boxes) < 2:
        return boxes
    import torch

    from ..ops.nms import nms

    tensor = torch.from_numpy(boxes)
    return boxes[nms(tensor[:, :4], tensor[:, 4], nms_iou_thr)[1].numpy()]


def _count_image(matrix: np.ndarray, boxes: np.ndarray, labels: np.ndarray, ann: dict, iou_thr: float) -> None:
    """Add one image's counts to ``matrix``."""
    background = len(matrix) - 1
    gt_labels = np.asarray(ann['labels'], dtype=np.int64)
    hits = bbox_overlaps(boxes[:, :4], ann['bboxes']) >= iou_thr  # (n, k)
    det, gt = np.nonzero(hits)
    np.add.at(matrix, (gt_labels[gt], labels[det]), 1)
    astray = ~hits.any(axis=1) & ~in_ignored_region(boxes, ann.get('bboxes_ignore'), iou_thr)
    np.add.at(matrix, (background, labels[astray]), 1)
    found = (hits & (labels[:, None] == gt_labels)).any(axis=0)  # (k,)
    np.add.at(matrix, (gt_labels[~found], background), 1)


def in_ignored_region(boxes: np.ndarray, regions: np.ndarray | None, share: float) -> np.ndarray:
    """(n,) bool: of which boxes (n, 4+) at least this share of the area lies in one of the regions (m, 4)."""
    if regions is None or not len(regions):
        return np.zeros(len(boxes), dtype=bool)
    return (bbox_overlaps(boxes[:, :4], regions, mode='iof') >= share).any(axis=1)
