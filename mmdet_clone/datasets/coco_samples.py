"""One image's annotations, from a table or from dicts, as pipelines take them.

n: annotations of the image    K: keypoints
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .coco_columns import CocoColumns, corners, usable
from .coco_table import CocoTable


@dataclass(frozen=True, eq=False)
class Annotations:
    """The annotations of an image.

    Attributes:
        ids, category_ids: the n ids, as in the file.
        boxes: (n, 4) x, y, width, height.
        areas: (n,).
        crowd, ignored: (n,) bool.
        segmentations, keypoints: what the file says, ``None`` for nothing.
    """

    ids: list
    category_ids: list
    boxes: np.ndarray
    areas: np.ndarray
    crowd: np.ndarray
    ignored: np.ndarray
    segmentations: Sequence[Any]
    keypoints: Sequence[Any]

    def as_ann_info(
        self, size: tuple[float, float], cat2label: Mapping[Any, int], num_keypoints: int
    ) -> dict[str, Any]:
        """Ground truth and regions to ignore; see ``CocoDataset.get_ann_info``.

        Args:
            size: width and height of the image, NaN where unknown.
            cat2label: label of each wanted category id.
            num_keypoints: K; 0 for a file without keypoints.
        """
        labels = np.array([cat2label.get(cat_id, -1) for cat_id in self.category_ids], dtype=np.int64)
        wanted = (labels >= 0) & ~self.ignored & usable(self.boxes, self.areas, np.array(size, dtype=float))
        kept = np.flatnonzero(wanted & ~self.crowd)
        boxes = corners(self.boxes)
        info = dict(
            bboxes=boxes[kept],
            labels=labels[kept],
            bboxes_ignore=boxes[wanted & self.crowd],
            masks=[self.segmentations[i] for i in kept.tolist()],
            ann_ids=[self.ids[i] for i in kept.tolist()],
        )
        if num_keypoints:
            info['keypoints'] = _points([self.keypoints[i] for i in kept.tolist()], num_keypoints)
        return info


def _points(rows: list, count: int) -> np.ndarray:
    """(n, K, 3) float32, zeros where an annotation has none."""
    points = np.zeros((len(rows), count * 3), dtype=np.float32)
    for target, row in zip(points, rows, strict=True):
        target[: len(row or ())] = row or ()
    return points.reshape(-1, count, 3)


def annotations_of_row(table: CocoTable, image_row: int) -> Annotations:
    rows = table.anns_of(image_row)
    shapes = table.shapes(rows)
    return Annotations(
        ids=table.ann_ids[rows].tolist(),
        category_ids=table.ann_category_ids[rows].tolist(),
        boxes=table.boxes[rows],
        areas=table.areas[rows],
        crowd=table.crowd[rows],
        ignored=table.ignored[rows],
        segmentations=[shape.segmentation for shape in shapes],
        keypoints=[shape.keypoints for shape in shapes],
    )


def annotations_of_dicts(anns: Sequence[dict]) -> Annotations:
    boxes = np.array([ann['bbox'] for ann in anns], dtype=np.float64).reshape(-1, 4)
    areas = [ann.get('area', box[2] * box[3]) for ann, box in zip(anns, boxes, strict=True)]
    return Annotations(
        ids=[ann['id'] for ann in anns],
        category_ids=[ann['category_id'] for ann in anns],
        boxes=boxes,
        areas=np.array(areas, dtype=np.float64),
        crowd=np.array([bool(ann.get('iscrowd')) for ann in anns], dtype=bool),
        ignored=np.array([bool(ann.get('ignore')) for ann in anns], dtype=bool),
        segmentations=[ann.get('segmentation') for ann in anns],
        keypoints=[ann.get('keypoints') for ann in anns],
    )


def annotations_of_rows(table: CocoTable, image_rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The annotations of many images.

    Returns:
        owner: (m,) the place in ``image_rows`` of each annotation's image.
        rows: (m,) the annotations.
    """
    starts = table.image_anns[image_rows]
    counts = table.image_anns[image_rows + 1] - starts
    owner = np.repeat(np.arange(len(image_rows)), counts)
    before = np.cumsum(counts) - counts
    return owner, np.arange(len(owner)) + np.repeat(starts - before, counts)


def images_with(columns: CocoColumns, mask: np.ndarray) -> np.ndarray:
    """(n,) bool: which images have an annotation where ``mask`` (m,) holds."""
    found = np.zeros(len(columns.image_sizes) + 1, dtype=bool)
    found[columns.images[mask]] = True
    return found[:-1]
