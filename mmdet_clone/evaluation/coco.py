"""COCO's evaluation by faster-coco-eval or pycocotools, which give the same numbers."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import numbers
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .coco_scores import BOX_AREAS, KEYPOINT_AREAS, CocoScores
from .report import say

BACKENDS = ('faster-coco-eval', 'pycocotools')
BACKEND_VARIABLE = 'MMDET_CLONE_COCO_BACKEND'
DEFAULT_THRESHOLDS = np.linspace(0.5, 0.95, 10)
IOU_TYPES = ('bbox', 'segm', 'keypoints')
_PART = dict(bbox='bbox', segm='segmentation', keypoints='keypoints')  # what a detection needs for an overlap

_MASKS_AT_ONCE = 200  # pycocotools 2.0.11 under numpy 2 overflows from 256 on


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Drop what pycocotools prints."""
    with open(os.devnull, 'w') as sink, contextlib.redirect_stdout(sink):
        yield


@contextlib.contextmanager
def paused_collection() -> Iterator[None]:
    """No cyclic garbage collection: it would walk over all records, none of them cyclic, again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def choose_backend(asked: str | None = None, logger: Any = None) -> str:
    """The evaluation library: ``asked``, else the environment's choice, else the fastest that is installed."""
    wanted = asked or os.environ.get(BACKEND_VARIABLE) or BACKENDS[0]
    if wanted not in BACKENDS:
        raise ValueError(f'unknown COCO backend {wanted!r} (argument backend or {BACKEND_VARIABLE}); known: {BACKENDS}')
    if importlib.util.find_spec(wanted.replace('-', '_')) is not None:
        return wanted
    other = next(name for name in BACKENDS if name != wanted)
    if importlib.util.find_spec(other.replace('-', '_')) is None:
        raise ImportError('COCO evaluation needs faster-coco-eval or pycocotools: pip install faster-coco-eval')
    say(f'{wanted} is not installed: evaluating with {other} (pip install {wanted})', logger)
    return other


def coco_eval(
    ground_truth: dict,
    detections: list[dict],
    iou_type: str = 'bbox',
    max_dets: Sequence[int] | None = None,
    iou_thrs: Sequence[float] | None = None,
    use_cats: bool = True,
    backend: str | None = None,
    area_ranges: Sequence[tuple[float, float]] | None = None,
    sigmas: Sequence[float] | None = None,
) -> CocoScores:
    """Run COCOeval. Neither argument is changed.

    Args:
        ground_truth: a COCO dict: ``images, annotations, categories``.
        detections: records of a result file: ``bbox`` x, y, width, height, ``segmentation`` RLE, or ``keypoints``.
        iou_type: ``'bbox'``, ``'segm'`` or ``'keypoints'`` (object keypoint similarity).
        max_dets: limits on the detections of an image and category; (1, 10, 100) by default, (20,) for keypoints.
        iou_thrs: overlap thresholds; .5 to .95 by default.
        use_cats: tell categories apart.
        backend: ``'faster-coco-eval'`` or ``'pycocotools'``.
        area_ranges: bounds in square pixels of the sizes (all, small, medium, large; for keypoints all, medium,
            large); COCO's by default.
        sigmas: the standard deviation of each keypoint's annotation, in units of the object's size; COCO's of 17 body
            keypoints by default.

    Raises:
        ValueError: detections of images that ``ground_truth`` does not list, or the two do not fit ``iou_type``.
    """
    if iou_type not in IOU_TYPES:
        raise ValueError(f'iou_type must be one of {IOU_TYPES}, got {iou_type!r}')
    _check_same_images(ground_truth, detections)
    coco_class, eval_class = _library(backend, ground_truth)
    category = None if use_cats else 1
    if category:  # faster-coco-eval drops categories that the ground truth does not define even then
        ground_truth = {**ground_truth, 'categories': [dict(id=1, name='object')]}
    with silenced(), paused_collection():
        truths = evaluable(ground_truth['annotations'], iou_type, category)
        truth_api = _index(coco_class, ground_truth, truths)
        found_api = _index(coco_class, ground_truth, measured(detections, iou_type, category))
        evaluation = eval_class(truth_api, found_api, iou_type)
        parameters = evaluation.params
        parameters.catIds = sorted(truth_api.getCatIds())
        parameters.useCats = int(use_cats)
        _limit(parameters, max_dets, iou_thrs, area_ranges)
        if iou_type == 'keypoints':
            parameters.kpt_oks_sigmas = _checked_sigmas(sigmas, parameters.kpt_oks_sigmas, truths, detections)
        evaluation.evaluate()
        evaluation.accumulate()
    return CocoScores(
        precision=np.asarray(evaluation.eval['precision']),
        recall=np.asarray(evaluation.eval['recall']),
        iou_thrs=np.asarray(parameters.iouThrs),
        max_dets=list(parameters.maxDets),
        cat_ids=np.asarray(parameters.catIds).tolist() if use_cats else [-1],
        areas=KEYPOINT_AREAS if iou_type == 'keypoints' else BOX_AREAS,
    )


def _library(asked: str | None, ground_truth: dict) -> tuple[type, type]:
    if choose_backend(asked, 'silent') == 'pycocotools' or not _has_integer_ids(ground_truth):
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    else:
        from faster_coco_eval import COCO
        from faster_coco_eval import COCOeval_faster as COCOeval
    return COCO, COCOeval


def _limit(
    parameters: Any,
    max_dets: Sequence[int] | None,
    iou_thrs: Sequence[float] | None,
    area_ranges: Sequence[tuple[float, float]] | None,
) -> None:
    """Change what is given of the library's own limits."""
    if max_dets is not None:
        parameters.maxDets = sorted(int(limit) for limit in max_dets)
    if iou_thrs is not None:
        parameters.iouThrs = np.atleast_1d(np.asarray(iou_thrs, dtype=float))
    if area_ranges is not None:
        parameters.areaRng = [list(bounds) for bounds in area_ranges]


def _has_integer_ids(ground_truth: dict) -> bool:
    """Whether faster-coco-eval can tell images and categories apart: it reads ``'012'`` as 12 and fails on names."""
    entries = (*ground_truth['images'], *ground_truth['categories'])
    return all(isinstance(entry['id'], numbers.Integral) for entry in entries)


def _check_same_images(ground_truth: dict, detections: list[dict]) -> None:
    known = {image['id'] for image in ground_truth['images']}
    foreign = list(dict.fromkeys(r['image_id'] for r in detections if r['image_id'] not in known))
    if foreign:
        raise ValueError(
            f'the detections belong to {len(foreign)} images that the annotations do not list, first image ids '
            f'{foreign[:5]}: were they made from another data set?'
        )


def _index(api_class: type, ground_truth: dict, annotations: list[dict]) -> Any:
    api = api_class()
    api.dataset = {**ground_truth, 'annotations': annotations}
    api.createIndex()
    return api


def evaluable(annotations: list[dict], iou_type: str, category: int | None = None) -> list[dict]:
    """Copies (the libraries write into them) with what they need: an area, a crowd flag, ids that count from 1.

    Args:
        category: put all into this category.
    """
    _check_have_part(annotations, iou_type)
    made = [
        {'iscrowd': 0, 'area': ann['bbox'][2] * ann['bbox'][3], **ann, 'id': number}
        for number, ann in enumerate(annotations, 1)
    ]
    if category is not None:
        for ann in made:
            ann['category_id'] = category
    if iou_type == 'keypoints':
        _complete_keypoints(made)
    return made


def _check_have_part(annotations: list[dict], iou_type: str) -> None:
    part = _PART[iou_type]
    without = [ann['id'] for ann in annotations if not ann.get(part)]
    if iou_type == 'keypoints' and len(without) < len(annotations):
        return  # an object without keypoints is one to ignore
    if without:
        raise ValueError(
            f'cannot evaluate {iou_type!r}: {len(without)} of {len(annotations)} annotations have no {part!r}, '
            f"first annotations {without[:10]}. Evaluate 'bbox' only"
        )


def _complete_keypoints(annotations: list[dict]) -> None:
    length = next((len(ann['keypoints']) for ann in annotations if ann.get('keypoints')), 0)
    for ann in annotations:
        if not ann.get('keypoints'):
            ann.update(keypoints=[0] * length, num_keypoints=0)
        ann.setdefault('num_keypoints', sum(visible > 0 for visible in ann['keypoints'][2::3]))


def measured(detections: list[dict], iou_type: str, category: int | None = None) -> list[dict]:
    """Records as the libraries' ``loadRes`` completes them, with the area of the box, of the mask, or for keypoints
    of the box or, without one, of their span.

    They hold what the overlap is taken of and nothing else: with a box beside the mask the libraries would take the
    box's area for the mask's.
    """
    part = _PART[iou_type]
    made = [
        {
            'image_id': r['image_id'],
            'category_id': r['category_id'] if category is None else category,
            part: r[part],
            'score': r['score'],
            'id': number,
            'iscrowd': 0,
        }
        for number, r in enumerate(detections, 1)
    ]
    if iou_type == 'bbox':
        for record in made:
            record['area'] = record['bbox'][2] * record['bbox'][3]
    elif iou_type == 'segm':
        for record, area in zip(made, mask_areas([record['segmentation'] for record in made]), strict=True):
            record['area'] = area
    else:
        for record, given in zip(made, detections, strict=True):
            record['bbox'] = given.get('bbox') or _span(record['keypoints'])
            record['area'] = record['bbox'][2] * record['bbox'][3]
    return made


def mask_areas(masks: list[dict]) -> list[int]:
    """The pixels of each RLE."""
    from pycocotools import mask as mask_api

    parts = (masks[i : i + _MASKS_AT_ONCE] for i in range(0, len(masks), _MASKS_AT_ONCE))
    return [int(area) for part in parts for area in mask_api.area(part)]


def _span(keypoints: Sequence[float]) -> list[float]:
    x, y = keypoints[0::3], keypoints[1::3]
    return [min(x), min(y), max(x) - min(x), max(y) - min(y)]


def _checked_sigmas(
    given: Sequence[float] | None, default: np.ndarray, truths: list[dict], detections: list[dict]
) -> np.ndarray:
    sigmas = default if given is None else np.asarray(given, dtype=float)
    counts = {len(row['keypoints']) / 3 for rows in (truths, detections) for row in rows}
    if counts - {len(sigmas)}:
        found = ' and '.join(f'{count:g}' for count in sorted(counts))
        raise ValueError(
            f'annotations and detections have {found} keypoints (x, y, v), sigmas has {len(sigmas)}'
            + (', those of COCO: give sigmas=[...], one for each keypoint' if given is None else '')
        )
    return sigmas
