"""Mean average precision as Pascal VOC defines it (Everingham et al., IJCV 2010; devkit of 2012).

C: number of classes    S: number of size ranges (1 if none are given)    D: detections of a class, over all images
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from .bbox_overlaps import bbox_overlaps, box_areas
from .class_names import get_classes
from .recall import as_proposals, eval_recalls
from .report import check_metrics, say, table

_EPS = np.finfo(np.float32).eps


def average_precision(recalls: np.ndarray, precisions: np.ndarray, mode: str = 'area') -> np.ndarray | float:
    """The average precision of one or several precision-recall curves.

    Args:
        recalls: (S, D) or (D,), rising.
        precisions: likewise.
        mode: ``'area'`` under the curve made monotonic, or ``'11points'``, the mean of the best precision at recalls
            of 0, .1, ..., 1 and above (the rule up to VOC2007).

    Returns:
        (S,) float32, or a number for (D,) curves.
    """
    if mode not in ('area', '11points'):
        raise ValueError(f"mode must be 'area' or '11points', got {mode!r}")
    if np.ndim(recalls) == 1:
        return float(average_precision(recalls[None], precisions[None], mode)[0])
    rule = _area_under if mode == 'area' else _eleven_points
    return np.array([rule(r, p) for r, p in zip(recalls, precisions, strict=True)], dtype=np.float32)


def _area_under(recall: np.ndarray, precision: np.ndarray) -> float:
    recall = np.concatenate([[0.0], recall, [1.0]])
    envelope = np.maximum.accumulate(np.concatenate([[0.0], precision, [0.0]])[::-1])[::-1]
    return float(np.sum(np.diff(recall) * envelope[1:]))


def _eleven_points(recall: np.ndarray, precision: np.ndarray) -> float:
    points = np.arange(0, 1 + 1e-3, 0.1)
    return float(sum(precision[recall >= point].max(initial=0) for point in points) / 11)


def eval_map(
    det_results: list[list[np.ndarray]],
    annotations: list[dict],
    scale_ranges: Sequence[tuple[float, float]] | None = None,
    iou_thr: float = 0.5,
    dataset: str | Sequence[str] | None = None,
    logger: Any = None,
    nproc: int = 1,
    use_legacy_coordinate: bool = False,
    mode: str | None = None,
    class_names: Sequence[str] | None = None,
) -> tuple[float | list[float], list[dict]]:
    """Mean AP over the classes that occur, and each class's numbers.

    Detections are matched best score first, each with the ground truth it overlaps most: the first one at ``iou_thr``
    or above is right, later ones on the same object are wrong, those on ignored objects do not count.

    Args:
        det_results: per image, per class, (n, 5) x1y1x2y2 and score.
        annotations: per image, ``bboxes`` (k, 4), ``labels`` (k,), and optionally ``bboxes_ignore``, ``labels_ignore``.
        scale_ranges: evaluate objects whose sqrt(area) lies in each half-open range; others are ignored.
        iou_thr: the overlap that counts as found.
        dataset: a data set's name or its class names, for the table; ``'voc07'`` selects the 11-point rule.
        logger: where the table goes; printed by default, ``'silent'`` for nowhere.
        nproc: processes to share the classes among.
        use_legacy_coordinate: a box is x2 - x1 + 1 wide.
        mode: ``'area'`` or ``'11points'``, whatever ``dataset`` says.
        class_names: names for the table where ``dataset`` is a rule and not the names.

    Returns:
        The mean AP (a list of S with ``scale_ranges``), and per class ``num_gts, num_dets, recall, precision, ap``.
    """
    if len(det_results) != len(annotations):
        raise ValueError(f'{len(det_results)} results for {len(annotations)} annotated images')
    one_class = partial(
        _eval_class,
        ranges=None if scale_ranges is None else [(low**2, high**2) for low, high in scale_ranges],
        iou_thr=iou_thr,
        legacy=use_legacy_coordinate,
        mode=mode or ('11points' if dataset == 'voc07' else 'area'),
    )
    num_classes = len(det_results[0]) if det_results else 0
    inputs = (_of_class(det_results, annotations, label) for label in range(num_classes))
    if nproc > 1:
        from multiprocessing import Pool

        with Pool(nproc) as pool:
            eval_results = pool.map(one_class, inputs)
    else:
        eval_results = [one_class(item) for item in inputs]
    mean_ap = _mean_ap(eval_results, scale_ranges)
    names = class_names if class_names is not None else dataset
    print_map_summary(mean_ap, eval_results, names, scale_ranges, logger=logger)
    return mean_ap, eval_results


def _of_class(det_results: list, annotations: list[dict], label: int) -> list[tuple[np.ndarray, ...]]:
    """(detections, ground truth, ignored ground truth) of one class in the images where there is any."""
    found = []
    for dets, ann in zip(det_results, annotations, strict=True):
        truth = _select(ann, 'bboxes', 'labels', label)
        ignored = _select(ann, 'bboxes_ignore', 'labels_ignore', label)
        if len(dets[label]) or len(truth) or len(ignored):
            found.append((np.asarray(dets[label], dtype=np.float32).reshape(-1, 5), truth, ignored))
    return found


def _select(ann: dict, boxes: str, labels: str, label: int) -> np.ndarray:
    if ann.get(labels) is None or ann.get(boxes) is None:
        return np.empty((0, 4), dtype=np.float32)
    return np.asarray(ann[boxes], dtype=np.float32).reshape(-1, 4)[np.asarray(ann[labels]) == label]


def _eval_class(
    images: list[tuple[np.ndarray, ...]],
    ranges: list[tuple[float, float]] | None,
    iou_thr: float,
    legacy: bool,
    mode: str,
) -> dict:
    matched = [_match(*image, iou_thr, ranges, legacy) for image in images]
    scores = np.concatenate([dets[:, 4] for dets, _, _ in images]) if images else np.empty(0)
    order = np.argsort(-scores, kind='stable')
    num_scales = 1 if ranges is None else len(ranges)
    empty = np.zeros((num_scales, 0))
    right = np.concatenate([empty, *(tp for tp, _ in matched)], axis=1)[:, order].cumsum(axis=1)  # (S, D)
    wrong = np.concatenate([empty, *(fp for _, fp in matched)], axis=1)[:, order].cumsum(axis=1)
    num_gts = sum((_count(truth, ranges, legacy) for _, truth, _ in images), np.zeros(num_scales, dtype=int))
    recalls = right / np.maximum(num_gts[:, None], _EPS)
    precisions = right / np.maximum(right + wrong, _EPS)
    ap = average_precision(recalls, precisions, mode)
    if ranges is None:
        recalls, precisions, ap, num_gts = recalls[0], precisions[0], float(ap[0]), int(num_gts[0])
    return dict(num_gts=num_gts, num_dets=len(scores), recall=recalls, precision=precisions, ap=ap)


def _in_range(boxes: np.ndarray, ranges: list[tuple[float, float]] | None, legacy: bool) -> np.ndarray:
    """(S, n) bool: which boxes have an area in which range."""
    if ranges is None:
        return np.ones((1, len(boxes)), dtype=bool)
    areas = box_areas(boxes, legacy)
    return np.array([(areas >= low) & (areas < high) for low, high in ranges]).reshape(len(ranges), -1)


def _count(truth: np.ndarray, ranges: list[tuple[float, float]] | None, legacy: bool) -> np.ndarray:
    return _in_range(truth, ranges, legacy).sum(axis=1)


def _match(
    dets: np.ndarray,
    truth: np.ndarray,
    ignored: np.ndarray,
    iou_thr: float,
    ranges: list[tuple[float, float]] | None,
    legacy: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Which detections of an image are right and which wrong, (S, n) each; neither where an ignored object is hit."""
    det_counts = _in_range(dets, ranges, legacy)
    right, wrong = np.zeros(det_counts.shape), np.zeros(det_counts.shape)
    objects = np.concatenate([truth, ignored])
    if not len(objects):
        return right, det_counts.astype(float)
    if not len(dets):
        return right, wrong
    overlaps = bbox_overlaps(dets[:, :4], objects, use_legacy_coordinate=legacy)
    best, best_overlap = overlaps.argmax(axis=1), overlaps.max(axis=1)
    order = np.argsort(-dets[:, 4], kind='stable')
    for scale, counts in enumerate(_in_range(objects, ranges, legacy)):
        counts = counts & (np.arange(len(objects)) < len(truth))
        taken = np.zeros(len(objects), dtype=bool)
        for i in order:
            if best_overlap[i] < iou_thr:
                wrong[scale, i] = det_counts[scale, i]
            elif counts[best[i]]:
                (wrong if taken[best[i]] else right)[scale, i] = 1
                taken[best[i]] = True
    return right, wrong


def _mean_ap(eval_results: list[dict], scale_ranges: Sequence | None) -> float | list[float]:
    """Over the classes that have ground truth; 0 if none has."""
    if scale_ranges is None:
        occurring = [result['ap'] for result in eval_results if result['num_gts'] > 0]
        return float(np.mean(occurring)) if occurring else 0.0
    means = []
    for scale in range(len(scale_ranges)):
        occurring = [result['ap'][scale] for result in eval_results if result['num_gts'][scale] > 0]
        means.append(float(np.mean(occurring)) if occurring else 0.0)
    return means


def print_map_summary(
    mean_ap: float | list[float],
    results: list[dict],
    dataset: str | Sequence[str] | None = None,
    scale_ranges: Sequence[tuple[float, float]] | None = None,
    logger: Any = None,
) -> None:
    """Write a table of ``gts, dets, recall, ap`` a class, one table a size range."""
    if logger == 'silent':
        return
    names = get_classes(dataset) if isinstance(dataset, str) else dataset or [str(i) for i in range(len(results))]
    means = mean_ap if isinstance(mean_ap, list) else [mean_ap]
    for scale, mean in enumerate(means):
        rows = [_row(name, result, scale) for name, result in zip(names, results, strict=True)]
        if scale_ranges is not None:
            say(f'Scale range {scale_ranges[scale]}', logger)
        rows.append(['mAP', '', '', '', f'{mean:.4f}'])
        say('\n' + table(['class', 'gts', 'dets', 'recall', 'ap'], rows), logger)


def _row(name: str, result: dict, scale: int) -> list[str]:
    recalls = np.atleast_2d(result['recall'])[scale]
    return [
        name,
        str(np.atleast_1d(result['num_gts'])[scale]),
        str(result['num_dets']),
        f'{recalls[-1] if len(recalls) else 0:.4f}',
        f'{np.atleast_1d(result["ap"])[scale]:.4f}',
    ]


def evaluate_as_voc(
    results: list,
    annotations: list[dict],
    dataset: str | Sequence[str] | None,
    metric: str | Sequence[str] = 'mAP',
    logger: Any = None,
    proposal_nums: Sequence[int] = (100, 300, 1000),
    iou_thr: float | Sequence[float] = 0.5,
    scale_ranges: Sequence[tuple[float, float]] | None = None,
    use_legacy_coordinate: bool = False,
    class_names: Sequence[str] | None = None,
) -> OrderedDict[str, float]:
    """What data sets with boxes return from ``evaluate``.

    Returns:
        For ``metric='mAP'``: ``mAP`` over all thresholds, ``AP50`` ... each; for ``'recall'``: ``recall@100@0.5`` ...
        and, with several thresholds, ``AR@100`` ... .
    """
    metrics = [metric] if isinstance(metric, str) else list(metric)
    if len(metrics) != 1:
        raise ValueError(f"metric: expected one of 'mAP', 'recall', got {metrics}")
    check_metrics(metrics, ('mAP', 'recall'))
    thresholds = [float(t) for t in np.atleast_1d(iou_thr)]
    if metrics == ['recall']:
        truths, nums = [ann['bboxes'] for ann in annotations], [int(num) for num in np.atleast_1d(proposal_nums)]
        proposals = [as_proposals(result) for result in results]
        recalls = eval_recalls(truths, proposals, nums, thresholds, logger, use_legacy_coordinate)
        return _recall_numbers(recalls, nums, thresholds)
    numbers: OrderedDict[str, float] = OrderedDict(mAP=0.0)
    boxes = [result[0] if isinstance(result, tuple) else result for result in results]
    check_number_of_classes(boxes, class_names if class_names is not None else dataset)
    means = []
    for threshold in thresholds:
        say(f'\n{"-" * 15}iou_thr: {threshold}{"-" * 15}', logger)
        mean_ap, _ = eval_map(
            boxes,
            annotations,
            scale_ranges=scale_ranges,
            iou_thr=threshold,
            dataset=dataset,
            logger=logger,
            use_legacy_coordinate=use_legacy_coordinate,
            class_names=class_names,
        )
        means.append(float(np.mean(mean_ap)))
        numbers[f'AP{round(threshold * 100):02d}'] = round(means[-1], 4)
    numbers['mAP'] = float(np.mean(means))
    return numbers


def check_number_of_classes(boxes: Sequence[Sequence], names: str | Sequence[str] | None) -> None:
    """Raise ``ValueError`` unless each image's boxes are a list over the data set's classes."""
    if names is None or isinstance(names, str):
        return
    counts = {len(by_class) for by_class in boxes if isinstance(by_class, list | tuple)} - {len(names)}
    if counts:
        raise ValueError(
            f'the results have {min(counts)} classes, the data set has {len(names)}: set num_classes of the heads, or '
            'classes=[...] of the data set'
        )


def _recall_numbers(
    recalls: np.ndarray, proposal_nums: Sequence[int], thresholds: list[float]
) -> OrderedDict[str, float]:
    numbers: OrderedDict[str, float] = OrderedDict()
    for i, num in enumerate(proposal_nums):
        for j, threshold in enumerate(thresholds):
            numbers[f'recall@{num}@{threshold}'] = float(recalls[i, j])
        if len(thresholds) > 1:
            numbers[f'AR@{num}'] = float(recalls[i].mean())
    return numbers
