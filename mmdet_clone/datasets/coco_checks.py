"""What is checked about a COCO annotation file before the first iteration."""

from __future__ import annotations

import warnings
from collections.abc import Container, Sequence
from typing import Any

import numpy as np

from . import checks
from .coco_columns import CocoColumns, columns_of_dicts, number_count, sizes_of_dicts
from .coco_index import CocoIndex

_SHOWN = 10


def lists_of(coco: Any) -> tuple[Sequence[dict], Sequence[dict] | None, list[dict]]:
    """Images, annotations (``None`` for a file without such a list) and categories of any COCO index."""
    if isinstance(coco, CocoIndex):
        return coco.images, coco.annotations, coco.categories
    return coco.dataset['images'], coco.dataset.get('annotations'), coco.dataset.get('categories') or []


def columns_of(coco: Any, source: str) -> CocoColumns:
    """The numbers of any COCO index; of dicts, those of annotations whose image is listed."""
    if isinstance(coco, CocoIndex):
        return coco.columns(source)
    images, anns, categories = lists_of(coco)
    return columns_of_dicts(images, [ann for ann in anns or () if ann['image_id'] in coco.imgs], categories, source)


def check_images(coco: Any, source: str) -> None:
    """Ids that come twice, sizes that are texts. A table has neither."""
    if getattr(coco, 'table', None) is None:
        images = lists_of(coco)[0]
        checks.check_unique_ids([image['id'] for image in images], 'image', source)
        sizes_of_dicts(images, source)


def checked_columns(coco: Any, source: str) -> CocoColumns:
    """The columns, after a look at ids, categories and images that annotations refer to."""
    if getattr(coco, 'table', None) is not None:
        columns = columns_of(coco, source)
        ids = columns.where(columns.categories < 0)
        undefined = [dict(id=i, category_id=coco.anns[i]['category_id']) for i in columns.ids(ids)]
        checks.check_category_ids(undefined, coco.cats, source)
        lost = int((~columns.listed).sum())
    else:
        anns = lists_of(coco)[1]
        checks.check_unique_ids([ann['id'] for ann in anns], 'annotation', source)
        checks.check_category_ids(anns, coco.cats, source)
        lost = sum(ann['image_id'] not in coco.imgs for ann in anns)
        columns = columns_of(coco, source)
    if lost:
        warnings.warn(f'{source}: {lost} annotations belong to images it does not list', stacklevel=4)
    return columns


def check_boxes(columns: CocoColumns, images: Sequence[dict], source: str) -> None:
    """See ``checks.check_boxes``."""
    odd = columns.of_all(lambda part: checks.odd_boxes(columns.boxes[part], columns.sizes(part), 'xywh'))
    if not (odd & columns.listed).any():
        return
    rows = columns.where(columns.listed)

    def describe(i: int) -> str:
        row = rows[i]
        image = images[int(columns.images[row])]
        return f'annotation {columns.ids([row])[0]} of {image.get("file_name", image["id"])}'

    checks.check_boxes(columns.boxes[rows], columns.sizes(rows), 'xywh', describe, source)


def check_segmentations(columns: CocoColumns, wanted: np.ndarray, source: str) -> None:
    """Raise ``ValueError`` if an annotation of ``wanted`` (m,) has no mask to train on."""
    wanted = wanted & columns.listed & ~columns.crowd
    without = columns.where(wanted & ~columns.masked)
    if len(without):
        raise ValueError(
            f'{source}: the pipeline asks for masks (with_mask=True), but {len(without)} of {int(wanted.sum())} '
            f"annotations have no 'segmentation', first annotations {columns.ids(without[:_SHOWN])}. "
            'Train a box detector on it (with_mask=False), or add polygons'
        )


def check_keypoints(columns: CocoColumns, categories: Sequence[dict], source: str) -> None:
    """Raise ``ValueError`` where ``keypoints`` is no run of x, y, v, of as many points as its category names."""
    named = [len(category.get('keypoints') or ()) for category in categories]
    expected = 3 * np.array([*named, 0])[columns.categories]
    counts = columns.keypoint_numbers
    wrong = columns.where((counts > 0) & ((counts % 3 > 0) | ((expected > 0) & (counts != expected))))
    if len(wrong):
        ids = columns.ids(wrong[:_SHOWN])
        shown = (
            f'annotation {i}: {counts[row]} for {expected[row] // 3 or "some"} points' for i, row in zip(ids, wrong)
        )
        raise ValueError(
            f"{source}: {len(wrong)} annotations have 'keypoints' that are not three numbers (x, y, visibility) for "
            f'each point of their category ({"; ".join(shown)}): correct them, or the names in the category'
        )


def of_classes(columns: CocoColumns, categories: Sequence[dict], wanted: Container) -> np.ndarray:
    """(m,) whether the category id of an annotation is in ``wanted``."""
    return np.array([category['id'] in wanted for category in categories] + [False])[columns.categories]


def max_keypoints(coco: CocoIndex) -> int:
    """How many points an annotation carries at most."""
    if coco.table is not None:
        counts = coco.table.keypoint_numbers
    else:
        counts = np.array([number_count(ann.get('keypoints')) for ann in coco.anns.values()], dtype=int)
    return int(counts.max(initial=0)) // 3
