"""Face detection by the rules of WIDER FACE (Yang et al., arXiv:1511.06523; its ``eval_tools``).

Faces are found at an overlap of .5. Of the three difficulties each has its list of faces that count; a detection on
another face counts neither way. Scores are scaled to [0, 1] over all images, and the curve has a point at each of a
thousand scores.

n: detections of an image, best first    k: its faces    T: 1000 thresholds
"""

from __future__ import annotations

import os.path as osp
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .bbox_overlaps import bbox_overlaps
from .report import say, table
from .voc_map import average_precision

DIFFICULTIES = ('easy', 'medium', 'hard')
_THRESHOLDS = 1 - np.arange(1, 1001) / 1000


class WiderImage(NamedTuple):
    """The faces of an image: ``boxes`` (k, 4) x1y1x2y2, and by difficulty which of them count, (k,) bool."""

    boxes: np.ndarray
    counts: dict[str, np.ndarray]


def read_ground_truth(folder: str | None) -> dict[str, WiderImage]:
    """The faces by image name, from ``wider_face_val.mat`` and ``wider_{easy,medium,hard}_val.mat``."""
    from scipy.io import loadmat

    names = ['wider_face_val.mat', *(f'wider_{level}_val.mat' for level in DIFFICULTIES)]
    absent = [name for name in names if not osp.isfile(osp.join(folder or '', name))]
    if folder is None or absent:
        raise FileNotFoundError(
            f"metric='wider' needs gt_dir, the folder with {', '.join(names)} (the ground_truth of eval_tools.zip on "
            f'the WIDER FACE site), got gt_dir={folder!r}' + (f', which lacks {", ".join(absent)}' if folder else '')
        )
    faces, *levels = (loadmat(osp.join(folder, name)) for name in names)
    truths = {}
    for event, files in enumerate(faces['file_list'].ravel()):
        for i, file in enumerate(files.ravel()):
            boxes = np.array(faces['face_bbx_list'].ravel()[event].ravel()[i], dtype=np.float64).reshape(-1, 4)
            boxes[:, 2:] += boxes[:, :2]
            chosen = (level['gt_list'].ravel()[event].ravel()[i] for level in levels)
            truths[str(file.item())] = WiderImage(
                boxes, dict(zip(DIFFICULTIES, (_mask(c, len(boxes)) for c in chosen)))
            )
    return truths


def _mask(indices: np.ndarray, length: int) -> np.ndarray:
    """(length,) bool of indices that count from 1."""
    mask = np.zeros(length, dtype=bool)
    mask[np.asarray(indices, dtype=int).ravel() - 1] = True
    return mask


def evaluate_wider(
    detections: Mapping[str, np.ndarray], truths: Mapping[str, WiderImage], iou_thr: float = 0.5, logger: Any = None
) -> OrderedDict[str, float]:
    """``easy_AP``, ``medium_AP``, ``hard_AP`` over the images of ``detections``.

    Args:
        detections: by image name, (n, 5) x1y1x2y2 and score.
        truths: by image name; what ``read_ground_truth`` returns.
        iou_thr: the overlap that counts as found; boxes count pixels inclusively.
        logger: where the table goes.
    """
    unknown = [name for name in detections if name not in truths]
    if unknown:
        raise ValueError(
            f'{len(unknown)} of {len(detections)} images are not in the ground truth, first {unknown[0]!r}: '
            'it is that of the validation images'
        )
    if len(detections) < len(truths):
        say(f'Evaluating {len(detections)} of the {len(truths)} images of the ground truth', logger)
    images = [(_sorted(dets), truths[name]) for name, dets in detections.items()]
    images = _normalized(images)
    numbers = OrderedDict((f'{level}_AP', _ap(images, level, iou_thr)) for level in DIFFICULTIES)
    rows = [(level, f'{value:.4f}') for level, value in zip(DIFFICULTIES, numbers.values())]
    say('\n' + table(['difficulty', 'AP'], rows), logger)
    return numbers


def _sorted(dets: np.ndarray) -> np.ndarray:
    dets = np.asarray(dets, dtype=np.float64).reshape(-1, 5)
    return dets[np.argsort(-dets[:, 4], kind='stable')]


def _normalized(images: list[tuple[np.ndarray, WiderImage]]) -> list[tuple[np.ndarray, WiderImage]]:
    """The scores of all images scaled to [0, 1]."""
    scores = np.concatenate([dets[:, 4] for dets, _ in images])
    low, high = (scores.min(), scores.max()) if len(scores) else (0.0, 1.0)
    scale = (high - low) or 1.0
    return [(np.column_stack([dets[:, :4], (dets[:, 4] - low) / scale]), truth) for dets, truth in images]


def _ap(images: Sequence[tuple[np.ndarray, WiderImage]], level: str, iou_thr: float) -> float:
    points = np.zeros((len(_THRESHOLDS), 2))  # detections that count, faces found
    total = 0
    for dets, truth in images:
        counts = truth.counts[level]
        total += int(counts.sum())
        if len(dets) and len(counts):
            points += _points(dets, truth.boxes, counts, iou_thr)
    precision = points[:, 1] / np.maximum(points[:, 0], 1)
    return float(average_precision(points[:, 1] / max(total, 1), precision))


def _points(dets: np.ndarray, boxes: np.ndarray, counts: np.ndarray, iou_thr: float) -> np.ndarray:
    """(T, 2): how many detections count and how many faces they find, at each threshold."""
    overlaps = bbox_overlaps(dets[:, :4], boxes, use_legacy_coordinate=True)
    best = overlaps.argmax(axis=1)
    hit = overlaps.max(axis=1) >= iou_thr
    neither = hit & ~counts[best]
    finds = hit & ~neither
    first = np.zeros(len(dets), dtype=bool)
    first[np.flatnonzero(finds)[np.unique(best[finds], return_index=True)[1]]] = True
    totals = np.column_stack([(~neither).cumsum(), first.cumsum()])
    reached = np.searchsorted(-dets[:, 4], -_THRESHOLDS, side='right')  # detections of at least the threshold
    return np.concatenate([np.zeros((1, 2)), totals])[reached]
