"""What kinds of errors cost how much precision.

COCO's analysis (cocodataset.org/#detection-eval) after Hoiem, Chodpathumwan and Dai, "Diagnosing Error in Object
Detectors" (ECCV 2012): precision-recall curves under rules that forgive one kind of error after the other.

R: 101 recall points    K: categories    A: area ranges (all, small, medium, large)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .coco import coco_eval

KINDS = ('C75', 'C50', 'Loc', 'Sim', 'Oth', 'BG', 'FN')
MEANINGS = dict(
    C75='IoU of .75',
    C50='IoU of .50',
    Loc='IoU of .10 is enough',
    Sim='+ similar classes forgiven',
    Oth='+ other classes forgiven',
    BG='+ background forgiven',
    FN='+ missed objects forgiven',
)
AREA_NAMES = ('allarea', 'small', 'medium', 'large')
COCO_AREAS = (32**2, 96**2, 1e10)
RECALLS = np.linspace(0, 1, 101)
_LOOSE = 0.1  # the overlap that still tells which object a detection is meant for


@dataclass
class ErrorCurves:
    """Precision under each of the seven rules.

    Attributes:
        precision: (7, R, K, A); NaN for a category without objects of that size.
        names: of the K categories.
        num_objects: (K, A) how many there are, crowds not counted.
    """

    precision: np.ndarray
    names: list[str]
    num_objects: np.ndarray

    def areas_under(self) -> np.ndarray:
        """(7, K, A) the mean precision, a category's AP under each rule."""
        return self.precision.mean(axis=1)

    def mean_curves(self) -> np.ndarray:
        """(7, R, A) the mean over the categories that have objects of that size; NaN where none has."""
        known = ~np.isnan(self.precision)
        sums, counts = np.where(known, self.precision, 0).sum(axis=2), known.sum(axis=2)
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def error_curves(
    ground_truth: dict,
    detections: list[dict],
    iou_type: str = 'bbox',
    areas: Sequence[float] = COCO_AREAS,
    backend: str | None = None,
    track: Callable[[list], Iterable] = iter,
) -> ErrorCurves:
    """Evaluate under each rule, 100 detections an image and category.

    As MMDetection and pycocotools do it, an object of another class is forgiven by making it a crowd of the class in
    question: a detection is excused if a tenth of it lies on that object.

    Args:
        ground_truth: a COCO dict: ``images, annotations, categories``; categories without ``supercategory`` are like
            no other.
        detections: records of a result file, ``bbox`` x, y, width, height or ``segmentation`` RLE.
        iou_type: ``'bbox'`` or ``'segm'``.
        areas: upper bounds in square pixels of small, medium and large objects.
        backend: ``'faster-coco-eval'`` or ``'pycocotools'``.
        track: wraps the list of categories, to show progress.
    """
    ranges = area_ranges(areas)
    ground_truth = {**ground_truth, 'annotations': _with_masks_encoded(ground_truth, iou_type)}
    categories = sorted(ground_truth['categories'], key=lambda category: category['id'])

    def precision(truth: dict, found: list[dict], thresholds: list[float]) -> np.ndarray:
        scores = coco_eval(truth, found, iou_type, [100], thresholds, backend=backend, area_ranges=ranges)
        return scores.precision[..., 0]  # (T, R, K, A)

    curves = np.ones((len(KINDS), len(RECALLS), len(categories), len(AREA_NAMES)))
    curves[:3] = precision(ground_truth, detections, [_LOOSE, 0.5, 0.75])[::-1]
    absent = (curves[0] == -1).all(axis=0)  # (K, A)
    planner = _Forgiver(ground_truth, detections)
    for k, category in enumerate(track(categories)):
        if absent[k].all():
            continue
        for row, forgiven in ((3, planner.similar(category)), (4, planner.others(category))):
            found = planner.detections_of[category['id']]
            curves[row, :, k] = precision(planner.truth(category, forgiven), found, [_LOOSE])[0, :, 0]
    curves[5] = curves[4] > 0
    curves[:, :, absent] = np.nan
    return ErrorCurves(curves, [category['name'] for category in categories], _count(ground_truth, categories, ranges))


def area_ranges(areas: Sequence[float]) -> list[tuple[float, float]]:
    """The bounds of all, small, medium and large objects from the three upper bounds."""
    if len(areas) != 3 or not 0 < areas[0] < areas[1] < areas[2]:
        raise ValueError(
            f'areas: expected three rising numbers, the largest areas of small, medium and large objects in square '
            f'pixels, such as 1024 9216 10000000000; got {list(areas)}'
        )
    small, medium, large = areas
    return [(0, large), (0, small), (small, medium), (medium, large)]


class _Forgiver:
    """Ground truths in which the objects of some categories excuse the detections of another."""

    def __init__(self, ground_truth: dict, detections: list[dict]) -> None:
        self.categories = ground_truth['categories']
        self.images = {image['id']: image for image in ground_truth['images']}
        self.detections_of = _grouped(detections, 'category_id')
        self.annotations_of = _grouped(ground_truth['annotations'], 'category_id')
        self.annotations_in = _grouped(ground_truth['annotations'], 'image_id')

    def similar(self, category: dict) -> set:
        """The other categories of the same supercategory."""
        kind = category.get('supercategory')
        return {c['id'] for c in self.categories if kind and c.get('supercategory') == kind} - {category['id']}

    def others(self, category: dict) -> set:
        return {c['id'] for c in self.categories} - {category['id']}

    def truth(self, category: dict, forgiven: set) -> dict:
        """The objects of ``category``, and those of ``forgiven`` as crowds of it where it was detected."""
        own = self.annotations_of[category['id']]
        where = {record['image_id'] for record in self.detections_of[category['id']]}
        excuses = (ann for image in where for ann in self.annotations_in[image] if ann['category_id'] in forgiven)
        crowds = [{**ann, 'category_id': category['id'], 'iscrowd': 1} for ann in excuses]
        images = where | {ann['image_id'] for ann in own}
        return dict(
            images=[image for i, image in self.images.items() if i in images],
            annotations=[*own, *crowds],
            categories=[category],
        )


def _grouped(records: list[dict], key: str) -> dict[Any, list[dict]]:
    groups: dict[Any, list[dict]] = defaultdict(list)
    for record in records:
        groups[record[key]].append(record)
    return groups


def _with_masks_encoded(ground_truth: dict, iou_type: str) -> list[dict]:
    """The annotations with polygons turned to RLE, once for the many evaluations that follow."""
    annotations = ground_truth['annotations']
    if iou_type != 'segm':
        return annotations
    from pycocotools import mask

    sizes = {image['id']: (image['height'], image['width']) for image in ground_truth['images']}

    def encoded(ann: dict) -> dict:
        parts = ann.get('segmentation')
        if not parts or (isinstance(parts, dict) and not isinstance(parts['counts'], list)):
            return ann
        rle = mask.frPyObjects(parts, *sizes[ann['image_id']])
        return {**ann, 'segmentation': mask.merge(rle) if isinstance(rle, list) else rle}

    return [encoded(ann) for ann in annotations]


def _count(ground_truth: dict, categories: list[dict], ranges: list[tuple[float, float]]) -> np.ndarray:
    """(K, A) objects of each category and size, as COCOeval counts them: both bounds belong to a size."""
    counts = np.zeros((len(categories), len(ranges)), dtype=np.int64)
    row_of = {category['id']: k for k, category in enumerate(categories)}
    bounds = np.array(ranges)
    for ann in ground_truth['annotations']:
        if ann['category_id'] in row_of and not ann.get('iscrowd'):
            area = object_area(ann)
            counts[row_of[ann['category_id']]] += (bounds[:, 0] <= area) & (area <= bounds[:, 1])
    return counts


def object_area(ann: dict) -> float:
    """The area of an annotation in square pixels; that of its box where none is given."""
    return ann['area'] if 'area' in ann else ann['bbox'][2] * ann['bbox'][3]


ERROR_HEADER = ('class', 'area', 'objects', *KINDS)


def error_rows(curves: ErrorCurves) -> list[list]:
    """The APs under each rule for each class and size, the means over the classes first; NaN where undefined."""
    means = curves.mean_curves().mean(axis=1)  # (7, A)
    rows = [_row('allclass', a, curves.num_objects[:, a].sum(), means[:, a]) for a in range(len(AREA_NAMES))]
    by_class = curves.areas_under()
    for k, name in enumerate(curves.names):
        rows += [_row(name, a, curves.num_objects[k, a], by_class[:, k, a]) for a in range(len(AREA_NAMES))]
    return rows


def _row(name: str, area: int, objects: int, values: np.ndarray) -> list:
    return [name, AREA_NAMES[area], int(objects), *(round(float(value), 6) for value in values)]
