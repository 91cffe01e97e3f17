"""Detection by the rules of the Open Images challenge (Kuznetsova et al., arXiv:1811.00982, section 5.1).

Classes form a hierarchy: an object of a class is one of each parent too. Only classes that were verified in an image,
as present or as absent, are evaluated there. A box may stand for a group of objects: detections inside count once.

C: number of classes    n: detections of a class in an image    k: its boxes    S: number of size ranges
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .bbox_overlaps import bbox_overlaps, box_areas
from .voc_map import average_precision, print_map_summary

_EPS = np.finfo(np.float32).eps
_EVERY_SIZE = (-np.inf, np.inf)


# ---------------------------------------------------------------------- the hierarchy


def hierarchy_matrix(tree: Mapping, index: Mapping[str, int]) -> np.ndarray:
    """Which class is one of which: (C, C) bool, row ``i`` is true at ``i`` and at all classes above it.

    Args:
        tree: ``dict(LabelName=..., Subcategory=[...])``, nested; the root stands above all classes and is none.
        index: the label of each ``LabelName``; names that it lacks are passed over.
    """
    matrix = np.eye(len(index), dtype=bool)

    def descend(node: Mapping, above: list[int]) -> None:
        for child in node.get('Subcategory', ()):
            label = index.get(child.get('LabelName'))
            if label is not None:
                matrix[label, above] = True
            descend(child, above if label is None else [*above, label])

    descend(tree, [])
    return matrix


def expand_annotation(annotation: Mapping, matrix: np.ndarray) -> dict[str, Any]:
    """An image's annotation with each box repeated for the classes above its own."""
    rows, labels = np.nonzero(matrix[np.asarray(annotation['labels'], dtype=np.int64)])
    repeated = {key: np.asarray(annotation[key])[rows] for key in ('bboxes', 'gt_is_group_ofs')}
    return {**annotation, **repeated, 'labels': labels}


def expand_detections(
    boxes: Sequence[np.ndarray], verified: np.ndarray, matrix: np.ndarray | None, only_verified: bool
) -> list[np.ndarray]:
    """An image's detections by class, with those of each class given to the verified ones above it too.

    Args:
        boxes: for each class (n, 5).
        verified: the labels that were verified in the image.
        matrix: of ``hierarchy_matrix``; ``None`` gives nothing to the classes above.
        only_verified: drop the detections of other classes.
    """
    is_verified = np.isin(np.arange(len(boxes)), verified)
    expanded = [own if known or not only_verified else own[:0] for own, known in zip(boxes, is_verified)]
    if matrix is None:
        return expanded
    for label in (i for i, own in enumerate(boxes) if len(own)):
        for parent in np.flatnonzero(matrix[label] & is_verified):
            if parent != label:
                expanded[parent] = np.concatenate([expanded[parent], boxes[label]])
    return expanded


# ---------------------------------------------------------------------- matching


class Match(NamedTuple):
    """The detections of an image that count, in no order: their scores and whether each is right."""

    scores: np.ndarray
    right: np.ndarray


def match_image(
    dets: np.ndarray,
    truth: np.ndarray,
    is_group: np.ndarray,
    iou_thr: float = 0.5,
    ioa_thr: float = 0.5,
    size_range: tuple[float, float] = _EVERY_SIZE,
) -> Match:
    """Tell right from wrong among the detections of one class in one image.

    First each detection is matched, best score first, with the single object that it overlaps most. Of what is not
    right then, detections of which ``ioa_thr`` lies inside a group belong to it: the best of them is right, the
    others do not count. A group that nothing belongs to is missed.

    Args:
        dets: (n, 5) x1y1x2y2 and score.
        truth: (k, 4).
        is_group: (k,) bool.
        iou_thr: overlap with a single object.
        ioa_thr: share of the detection that lies in a group.
        size_range: areas of the objects that count; others, and what is detected there, do not.
    """
    dets = dets[np.argsort(-dets[:, 4], kind='stable')]
    counted = _in_range(truth, size_range)
    right, ignored = _match_singles(dets, truth[~is_group], counted[~is_group], iou_thr, size_range)
    group = _group_of(dets, truth[is_group], ioa_thr)
    group[right] = -1
    belongs = group >= 0
    ignored |= belongs
    leaders = np.flatnonzero(belongs)[np.unique(group[belongs], return_index=True)[1]]
    leaders = leaders[counted[is_group][group[leaders]]]
    ignored[leaders], right[leaders] = False, True
    return Match(dets[~ignored, 4], right[~ignored])


def _in_range(boxes: np.ndarray, size_range: tuple[float, float]) -> np.ndarray:
    areas = box_areas(boxes)
    return (areas >= size_range[0]) & (areas < size_range[1])


def _match_singles(
    dets: np.ndarray, truth: np.ndarray, counted: np.ndarray, iou_thr: float, size_range: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """(n,) right and (n,) not to count, of detections sorted by score."""
    right, outside = np.zeros(len(dets), dtype=bool), ~_in_range(dets, size_range)
    if not len(truth) or not len(dets):
        return right, outside
    overlaps = bbox_overlaps(dets[:, :4], truth)
    best = overlaps.argmax(axis=1)
    hit = overlaps.max(axis=1) >= iou_thr
    finds = hit & counted[best]
    right[np.flatnonzero(finds)[np.unique(best[finds], return_index=True)[1]]] = True
    return right, np.where(hit, ~counted[best], outside)


def _group_of(dets: np.ndarray, groups: np.ndarray, ioa_thr: float) -> np.ndarray:
    """(n,) the group that a detection lies in most, -1 where it lies in none."""
    if not len(groups) or not len(dets):
        return np.full(len(dets), -1)
    inside = bbox_overlaps(dets[:, :4], groups, mode='iof')
    return np.where(inside.max(axis=1) >= ioa_thr, inside.argmax(axis=1), -1)


# ---------------------------------------------------------------------- average precision


def eval_openimages(
    det_results: Sequence[Sequence[np.ndarray]],
    annotations: Sequence[Mapping],
    iou_thr: float = 0.5,
    ioa_thr: float | None = 0.5,
    scale_ranges: Sequence[tuple[float, float]] | None = None,
    class_names: Sequence[str] | None = None,
    logger: Any = None,
) -> tuple[float | list[float], list[dict]]:
    """Mean AP over the classes that occur, and each class's numbers.

    Args:
        det_results: per image, per class, (n, 5) x1y1x2y2 and score.
        annotations: per image, ``bboxes`` (k, 4) pixels, ``labels`` (k,), ``gt_is_group_ofs`` (k,) bool.
        iou_thr, ioa_thr: as of ``match_image``; ``ioa_thr=None`` takes groups for single objects.
        scale_ranges: evaluate objects whose sqrt(area) lies in each half-open range.
        class_names: for the table.
        logger: where the table goes; ``'silent'`` for nowhere.

    Returns:
        The mean AP (a list of S with ``scale_ranges``), and per class ``num_gts, num_dets, recall, precision, ap``.
    """
    if len(det_results) != len(annotations):
        raise ValueError(f'{len(det_results)} results for {len(annotations)} annotated images')
    sizes = [_EVERY_SIZE] if scale_ranges is None else [(low**2, high**2) for low, high in scale_ranges]
    num_classes = len(det_results[0]) if det_results else 0
    results = [_eval_class(det_results, annotations, i, iou_thr, ioa_thr, sizes) for i in range(num_classes)]
    means = [_mean_ap(results, scale) for scale in range(len(sizes))]
    mean_ap = means[0] if scale_ranges is None else means
    last_recalls = [[[recall[-1] if len(recall) else 0] for recall in result['recall']] for result in results]
    rows = [{**result, 'recall': last} for result, last in zip(results, last_recalls)]
    print_map_summary(mean_ap, rows, class_names, scale_ranges, logger)
    if scale_ranges is None:
        results = [{key: value if key == 'num_dets' else value[0] for key, value in r.items()} for r in results]
    return mean_ap, results


def _eval_class(
    det_results: Sequence, annotations: Sequence, label: int, iou_thr: float, ioa_thr: float | None, sizes: list
) -> dict[str, Any]:
    images = [_of_class(dets[label], ann, label, ioa_thr) for dets, ann in zip(det_results, annotations, strict=True)]
    images = [image for image in images if len(image[0]) or len(image[1])]
    curves = [_curve([match_image(*image, iou_thr, ioa_thr or 0.5, size) for image in images]) for size in sizes]
    num_gts = [sum(int(_in_range(truth, size).sum()) for _, truth, _ in images) for size in sizes]
    recalls = [right / max(number, _EPS) for (right, _), number in zip(curves, num_gts)]
    aps = [float(average_precision(recall, curve[1])) for recall, curve in zip(recalls, curves)]
    num_dets = sum(len(dets) for dets, _, _ in images)
    return dict(num_gts=num_gts, num_dets=num_dets, recall=recalls, precision=[p for _, p in curves], ap=aps)


def _of_class(
    dets: np.ndarray, ann: Mapping, label: int, ioa_thr: float | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(detections, boxes, which boxes are groups) of one class in one image."""
    chosen = np.asarray(ann['labels']) == label
    is_group = np.asarray(ann['gt_is_group_ofs'], dtype=bool)[chosen]
    boxes = np.asarray(ann['bboxes'], dtype=np.float32).reshape(-1, 4)[chosen]
    none = np.zeros_like(is_group) if ioa_thr is None else is_group
    return np.asarray(dets, dtype=np.float32).reshape(-1, 5), boxes, none


def _curve(matches: Sequence[Match]) -> tuple[np.ndarray, np.ndarray]:
    """How many are right, and the precision, down to each score."""
    scores = np.concatenate([match.scores for match in matches]) if matches else np.zeros(0)
    right = np.concatenate([match.right for match in matches]) if matches else np.zeros(0, dtype=bool)
    found = right[np.argsort(-scores, kind='stable')].cumsum()
    return found, found / np.arange(1, len(found) + 1)


def _mean_ap(results: Sequence[Mapping], scale: int) -> float:
    occurring = [result['ap'][scale] for result in results if result['num_gts'][scale] > 0]
    return float(np.mean(occurring)) if occurring else 0.0
