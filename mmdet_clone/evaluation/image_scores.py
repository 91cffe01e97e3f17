"""How well each image was detected, to tell the best from the worst."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .voc_map import eval_map

THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).round(2))


@dataclass
class ImageScore:
    """An image's mean AP (or PQ), NaN where it has no object, how many objects it has and how many detections."""

    value: float
    num_objects: int
    num_detections: int


def score_images(
    results: Iterable, annotations: Iterable[dict], iou_thrs: Sequence[float] = THRESHOLDS
) -> list[ImageScore]:
    """Each image's AP by :func:`~mmdet_clone.evaluation.voc_map.eval_map`, over its classes and over ``iou_thrs``.

    Args:
        results: per image, a list over classes of (n, 5) x1y1x2y2 and score, or a pair of it and masks.
        annotations: per image, ``bboxes`` (k, 4), ``labels`` (k,), and optionally ``bboxes_ignore, labels_ignore``.
        iou_thrs: the overlaps that count as found.
    """
    scores = []
    for result, ann in zip(results, annotations, strict=True):
        by_class = result[0] if isinstance(result, tuple) else result
        number = sum(len(boxes) for boxes in by_class)
        scores.append(ImageScore(image_map(by_class, ann, iou_thrs), len(ann['labels']), number))
    return scores


def image_map(by_class: Sequence[np.ndarray], ann: dict, iou_thrs: Sequence[float] = THRESHOLDS) -> float:
    """The mean AP of one image, NaN where it has no object. Classes that it does not show do not count."""
    shown = np.unique(np.asarray(ann['labels'], dtype=np.int64))
    if not len(shown):
        return float('nan')
    found, truth = [by_class[label] for label in shown], _renumbered(ann, shown)
    return float(np.mean([eval_map([found], [truth], iou_thr=thr, logger='silent')[0] for thr in iou_thrs]))


def _renumbered(ann: dict, shown: np.ndarray) -> dict:
    """``ann`` with label ``i`` for class ``shown[i]``, so that only those classes are evaluated."""
    truth = {**ann, 'labels': np.searchsorted(shown, ann['labels'])}
    ignored = ann.get('labels_ignore')
    if ignored is not None and len(ignored):
        kept = np.isin(ignored, shown)
        truth['labels_ignore'] = np.searchsorted(shown, np.asarray(ignored)[kept])
        truth['bboxes_ignore'] = np.asarray(ann['bboxes_ignore'])[kept]
    return truth


def ranked(scores: Sequence[ImageScore]) -> list[int]:
    """The indices of the images that have objects, from the worst to the best."""
    values = np.array([score.value for score in scores])
    order = np.argsort(values, kind='stable')  # NaN comes last
    return order[: np.count_nonzero(~np.isnan(values))].tolist()
