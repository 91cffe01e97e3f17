"""Precision, recall and F1 over the score threshold, and the threshold that is best for each class.

D: detections of a class, over all images    P: distinct scores among them    S: score thresholds
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .bbox_overlaps import bbox_overlaps
from .confusion import in_ignored_region

RIGHT, WRONG, IGNORED = 1, 0, -1
RECALL_POINTS = np.linspace(0, 1, 101)


@dataclass
class ClassCurve:
    """What a class's detections are worth, as the score threshold falls.

    Attributes:
        scores: (P,) the distinct scores, falling.
        true_positives, false_positives: (P,) how many detections with that score or a higher one are right, wrong.
        num_gts: how many objects there are to find.
        interpolated_precision: (101,) the best precision at each recall of ``RECALL_POINTS`` or above, as COCO defines
            it: among equal scores, in the order of the images. NaN without an object.
    """

    scores: np.ndarray
    true_positives: np.ndarray
    false_positives: np.ndarray
    num_gts: int
    interpolated_precision: np.ndarray

    @property
    def precision(self) -> np.ndarray:
        """(P,) share of the detections that are right."""
        return self.true_positives / np.maximum(self.true_positives + self.false_positives, 1)

    @property
    def recall(self) -> np.ndarray:
        """(P,) share of the objects that are found; NaN where there is none."""
        return self.true_positives / self._objects

    @property
    def f1(self) -> np.ndarray:
        """(P,) harmonic mean of precision and recall; NaN where there is no object."""
        return 2 * self.true_positives / (self._objects + self.true_positives + self.false_positives)

    @property
    def _objects(self) -> float:
        return self.num_gts or float('nan')

    @property
    def average_precision(self) -> float:
        """The mean of ``interpolated_precision``, COCO's AP at one overlap threshold; NaN without an object."""
        return float(self.interpolated_precision.mean())


@dataclass
class OperatingPoint:
    """How a class fares if detections with a score of ``score`` or more are kept."""

    score: float
    precision: float
    recall: float
    f1: float


def class_curves(
    results: Iterable, annotations: Iterable[dict], num_classes: int, iou_thr: float = 0.5
) -> list[ClassCurve]:
    """The curve of each class.

    Args:
        results: per image, a list over classes of (n, 5) x1y1x2y2 and score, or a pair of it and masks.
        annotations: per image, ``bboxes`` (k, 4), ``labels`` (k,) and, where there are any, ``bboxes_ignore``.
            Ignored boxes are of every class unless there are ``labels_ignore``.
        num_classes: how many there are.
        iou_thr: the overlap that counts as found.
    """
    if not 0 < iou_thr <= 1:
        raise ValueError(f'iou_thr must lie between 0 and 1, got {iou_thr}')
    empty = np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.int8)
    found: list[list[tuple[np.ndarray, np.ndarray]]] = [[empty] for _ in range(num_classes)]
    num_gts = np.zeros(num_classes, dtype=np.int64)
    for result, ann in zip(results, annotations, strict=True):
        by_class = result[0] if isinstance(result, tuple) else result
        np.add.at(num_gts, np.asarray(ann['labels'], dtype=np.int64), 1)
        for label, boxes in enumerate(by_class):
            if len(boxes):
                found[label].append(_judge_class(np.asarray(boxes, dtype=np.float32), ann, label, iou_thr))
    return [_curve(pairs, int(count)) for pairs, count in zip(found, num_gts, strict=True)]


def _judge_class(boxes: np.ndarray, ann: dict, label: int, iou_thr: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores (n,), falling, and verdicts (n,) of one class's detections in an image."""
    boxes = boxes[np.argsort(-boxes[:, 4], kind='stable')]
    truth = np.asarray(ann['bboxes'])[np.asarray(ann['labels']) == label]
    regions, their_labels = ann.get('bboxes_ignore'), ann.get('labels_ignore')
    if regions is not None and their_labels is not None:
        regions = np.asarray(regions)[np.asarray(their_labels) == label]
    return boxes[:, 4], judge_detections(boxes, truth, regions, iou_thr)


def judge_detections(
    boxes: np.ndarray, truth: np.ndarray, regions: np.ndarray | None, iou_thr: float = 0.5
) -> np.ndarray:
    """Match detections of a class with its objects in an image, by COCO's rule: the best score chooses first.

    Args:
        boxes: (n, 4+) by falling score. Each takes the free object that it overlaps most, by ``iou_thr`` or more.
        truth: (k, 4).
        regions: (m, 4): detections without an object that lie there by a share of ``iou_thr`` are ignored.

    Returns:
        (n,) int8: ``RIGHT``, ``WRONG`` or ``IGNORED``.
    """
    overlaps = bbox_overlaps(boxes[:, :4], truth)
    verdicts = np.where(in_ignored_region(boxes, regions, iou_thr), IGNORED, WRONG).astype(np.int8)
    taken = np.zeros(len(truth), dtype=bool)
    for i in np.flatnonzero((overlaps >= iou_thr).any(axis=1)):
        free = np.where(taken, -1, overlaps[i])
        best = len(free) - 1 - int(free[::-1].argmax())  # of equals the last, as COCOeval
        if free[best] >= iou_thr:
            taken[best], verdicts[i] = True, RIGHT
    return verdicts


def _curve(pairs: list[tuple[np.ndarray, np.ndarray]], num_gts: int) -> ClassCurve:
    scores, verdicts = (np.concatenate(arrays) for arrays in zip(*pairs))
    scores, verdicts = scores[verdicts != IGNORED], verdicts[verdicts != IGNORED]
    order = np.argsort(-scores, kind='stable')
    scores, verdicts = scores[order], verdicts[order]
    right, wrong = (verdicts == RIGHT).cumsum(), (verdicts == WRONG).cumsum()  # (D,)
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], np.ones(min(len(scores), 1), dtype=bool)))
    return ClassCurve(scores[last], right[last], wrong[last], num_gts, _interpolated(right, wrong, num_gts))


def _interpolated(right: np.ndarray, wrong: np.ndarray, num_gts: int) -> np.ndarray:
    if not num_gts:
        return np.full(len(RECALL_POINTS), np.nan)
    precision = right / np.maximum(right + wrong, 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return np.append(envelope, 0.0)[np.searchsorted(right / num_gts, RECALL_POINTS)]


def best_operating_point(curve: ClassCurve) -> OperatingPoint | None:
    """The score threshold of the highest F1, the highest one of several; None where nothing right was found."""
    if not curve.num_gts or not curve.true_positives.any():
        return None
    i = int(curve.f1.argmax())
    return OperatingPoint(curve.scores[i], float(curve.precision[i]), float(curve.recall[i]), float(curve.f1[i]))


def at_thresholds(curve: ClassCurve, thresholds: Sequence[float] | np.ndarray) -> dict[str, np.ndarray]:
    """``precision, recall, f1`` (S,) of the detections that reach each threshold.

    Precision is NaN where no detection does; recall and F1 are NaN where there is no object, else 0 then.
    """
    kept = np.searchsorted(-curve.scores, -np.asarray(thresholds, dtype=np.float32), side='right')  # how many scores
    right = np.append(0, curve.true_positives)[kept].astype(float)
    wrong = np.append(0, curve.false_positives)[kept].astype(float)
    objects = curve.num_gts or np.nan
    with np.errstate(invalid='ignore'):
        precision = np.where(right + wrong > 0, right / (right + wrong), np.nan)
    return dict(precision=precision, recall=right / objects, f1=2 * right / (objects + right + wrong))


def best_common_threshold(curves: Sequence[ClassCurve], thresholds: np.ndarray) -> OperatingPoint | None:
    """The one of ``thresholds`` at which the mean F1 of the classes with objects is highest; None if it is 0."""
    with_objects = [at_thresholds(curve, thresholds) for curve in curves if curve.num_gts]
    if not with_objects:
        return None
    f1 = np.mean([numbers['f1'] for numbers in with_objects], axis=0)
    if not f1.any():
        return None
    i = int(f1.argmax())
    at_best = {key: [numbers[key][i] for numbers in with_objects] for key in ('precision', 'recall')}
    return OperatingPoint(
        float(thresholds[i]), float(np.nanmean(at_best['precision'])), float(np.mean(at_best['recall'])), float(f1[i])
    )


def select_classes(names: Sequence[str], wanted: Sequence[str] | None = None) -> list[int]:
    """The labels of the classes ``wanted``, of all where it is None."""
    unknown = [name for name in wanted or () if name not in names]
    if unknown:
        raise ValueError(f'no class is called {", ".join(map(repr, unknown))}; the classes are {", ".join(names)}')
    return [i for i, name in enumerate(names) if wanted is None or name in wanted]


THRESHOLD_HEADER = ('class', 'objects', 'AP', 'score threshold', 'precision', 'recall', 'F1')
THRESHOLD_GRID = np.linspace(0, 1, 1001).round(3)


def threshold_rows(curves: dict[str, ClassCurve]) -> list[list]:
    """A row of ``THRESHOLD_HEADER`` for each class, and one for the best common threshold; None where undefined."""
    rows = []
    for name, curve in curves.items():
        ap = curve.average_precision if curve.num_gts else None
        rows.append([name, curve.num_gts, ap, *_columns(best_operating_point(curve))])
    with_objects = [curve for curve in curves.values() if curve.num_gts]
    mean_ap = float(np.mean([curve.average_precision for curve in with_objects])) if with_objects else None
    common = best_common_threshold(with_objects, THRESHOLD_GRID)
    return [*rows, ['mean', sum(curve.num_gts for curve in with_objects), mean_ap, *_columns(common)]]


def _columns(point: OperatingPoint | None) -> list:
    if point is None:
        return [None] * 4
    return [point.score, *(round(value, 6) for value in (point.precision, point.recall, point.f1))]
