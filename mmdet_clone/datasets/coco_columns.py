"""The numbers of COCO annotations side by side, for checks and counts over all of them at once.

n: images    m: annotations    k: categories
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .coco_table import CocoTable

_SHOWN = 10
_PART = 1 << 16


@dataclass(frozen=True, eq=False)
class CocoColumns:
    """Columns of a table, or of dicts.

    Attributes:
        image_sizes: (n, 2) width and height, NaN where unknown.
        ann_ids: the m ids.
        images: (m,) the row of each annotation's image, n for one that is not listed.
        categories: (m,) the row of its category, -1 for one that is not defined.
        boxes: (m, 4) float64 x, y, width, height.
        areas: (m,), width times height where the file gives none.
        crowd, ignored, masked: (m,) bool.
        keypoint_numbers: (m,) how many numbers ``keypoints`` holds, -1 without the key.
        in_order: (m,) the annotations in the file's order.
    """

    image_sizes: np.ndarray
    ann_ids: Any
    images: np.ndarray
    categories: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    crowd: np.ndarray
    ignored: np.ndarray
    masked: np.ndarray
    keypoint_numbers: np.ndarray
    in_order: np.ndarray

    @property
    def listed(self) -> np.ndarray:
        """(m,) whether an annotation's image is in the file."""
        return self.images < len(self.image_sizes)

    def where(self, mask: np.ndarray) -> np.ndarray:
        """The rows at which ``mask`` (m,) holds, in the file's order."""
        return self.in_order[mask[self.in_order]]

    def ids(self, rows: np.ndarray) -> list:
        """The ids of some rows, as the file writes them."""
        return [id.item() if isinstance(id := self.ann_ids[row], np.integer) else id for row in rows]

    def sizes(self, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """(r, 2) the size of the image of each annotation, NaN where unknown."""
        images = self.images[rows]
        if not len(self.image_sizes):
            return np.full((len(images), 2), np.nan)
        listed = images < len(self.image_sizes)
        return np.where(listed[:, None], self.image_sizes[np.where(listed, images, 0)], np.nan)

    def of_all(self, test: Callable[[slice], np.ndarray]) -> np.ndarray:
        """(m,) bool: ``test`` of all rows, a part at a time so that little memory is needed."""
        count = len(self.images)
        parts = [test(slice(start, start + _PART)) for start in range(0, count, _PART)]
        return np.concatenate([np.zeros(0, dtype=bool), *parts])

    def usable(self) -> np.ndarray:
        """(m,) see :func:`usable`."""
        return self.of_all(lambda rows: usable(self.boxes[rows], self.areas[rows], self.sizes(rows)))


def columns_of_table(table: CocoTable) -> CocoColumns:
    return CocoColumns(
        image_sizes=table.image_sizes,
        ann_ids=table.ann_ids,
        images=table.ann_images,
        categories=table.ann_categories,
        boxes=table.boxes,
        areas=table.areas,
        crowd=table.crowd,
        ignored=table.ignored,
        masked=table.masked,
        keypoint_numbers=table.keypoint_numbers,
        in_order=table.ann_rows,
    )


def columns_of_dicts(
    images: Sequence[dict], anns: Sequence[dict], categories: Sequence[dict], source: str
) -> CocoColumns:
    """The columns of a file that was read as dicts.

    Raises:
        ValueError: a text or null stands where a number belongs; it names the entries, the key, the values.
    """
    image_row = {image['id']: row for row, image in enumerate(images)}
    category_row = {category['id']: row for row, category in enumerate(categories)}
    boxes = _boxes(anns, source)
    areas = _numbers(anns, 'area', 'annotation', source)
    for key in ('iscrowd', 'ignore'):
        _refuse(anns, key, 'annotation', source, lambda value: isinstance(value, str) and value != '')
    return CocoColumns(
        image_sizes=sizes_of_dicts(images, source),
        ann_ids=[ann['id'] for ann in anns],
        images=np.array([image_row.get(ann['image_id'], len(images)) for ann in anns], dtype=np.int64),
        categories=np.array([category_row.get(ann.get('category_id'), -1) for ann in anns], dtype=np.int32),
        boxes=boxes,
        areas=np.where([ann.get('area') is None for ann in anns], boxes[:, 2] * boxes[:, 3], areas),
        crowd=np.array([bool(ann.get('iscrowd')) for ann in anns], dtype=bool),
        ignored=np.array([bool(ann.get('ignore')) for ann in anns], dtype=bool),
        masked=np.array([bool(ann.get('segmentation')) for ann in anns], dtype=bool),
        keypoint_numbers=np.array([number_count(ann.get('keypoints')) for ann in anns], dtype=np.int32),
        in_order=np.arange(len(anns)),
    )


def sizes_of_dicts(images: Sequence[dict], source: str) -> np.ndarray:
    """(n, 2) width and height, NaN where an image has none; ``ValueError`` for a text."""
    columns = []
    for key in ('width', 'height'):
        _refuse(images, key, 'image', source, lambda value: value is not None and not _is_number(value))
        values = (np.nan if image.get(key) is None else image[key] for image in images)
        columns.append(np.fromiter(values, float, len(images)))
    return np.stack(columns, axis=1)


def _boxes(anns: Sequence[dict], source: str) -> np.ndarray:
    without = [ann['id'] for ann in anns if not _is_four(ann.get('bbox'))]
    if without:
        raise ValueError(
            f'{source}: {len(without)} annotations have no bbox of four numbers [x, y, width, height], '
            f'first annotations {without[:_SHOWN]}'
        )
    _refuse(anns, 'bbox', 'annotation', source, lambda box: not all(map(_is_number, box)))
    return np.array([ann['bbox'] for ann in anns], dtype=float).reshape(-1, 4)


def _is_four(box: Any) -> bool:
    return isinstance(box, Sequence | np.ndarray) and not isinstance(box, str) and len(box) == 4


def _numbers(entries: Sequence[dict], key: str, what: str, source: str) -> np.ndarray:
    _refuse(entries, key, what, source, lambda value: not _is_number(value))
    return np.fromiter((entry.get(key, np.nan) for entry in entries), float, len(entries))


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real | np.bool_)


def number_count(values: Any) -> int:
    """The length of a list, -1 for anything else."""
    return len(values) if isinstance(values, Sequence | np.ndarray) and not isinstance(values, str) else -1


_FIXES = dict(
    area="leave 'area' out of an annotation to have width times height taken",
    bbox='the format asks for [x, y, width, height] in pixels',
    width="give the image's width in pixels",
    height="give the image's height in pixels",
    iscrowd='give 0 for an object and 1 for a crowd',
    ignore='give 0, or 1 to leave the annotation out',
)


def _refuse(entries: Sequence[dict], key: str, what: str, source: str, is_wrong: Callable[[Any], bool]) -> None:
    """Raise ``ValueError`` for the entries that have ``key`` with a wrong value."""
    wrong = [entry for entry in entries if key in entry and is_wrong(entry[key])]
    if wrong:
        shown = '; '.join(f'{what} {entry["id"]}{_named(entry)}: {_shown(entry[key])}' for entry in wrong[:_SHOWN])
        more = f' and {len(wrong) - _SHOWN} more' if len(wrong) > _SHOWN else ''
        raise ValueError(
            f'{source}: {key!r} of {len(wrong)} {what}s is no number ({shown}{more}): '
            f'write numbers without quotes, and {_FIXES[key]}'
        )


def _named(entry: dict) -> str:
    return f' ({entry["file_name"]})' if 'file_name' in entry else ''


def _shown(value: Any) -> str:
    return 'null' if value is None else repr(value)


def usable(boxes: np.ndarray, areas: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """(m,) whether a box touches its image, is at least a pixel wide and high, and has an area.

    Args:
        boxes: (m, 4) x, y, width, height.
        areas: (m,).
        sizes: (m, 2) or (2,) the image's width and height, NaN where unknown (it is not needed for testing).
    """
    starts, extents = boxes[:, :2], boxes[:, 2:]
    touches = np.fmin(starts + extents, sizes) > np.maximum(starts, 0)
    return (touches & (extents >= 1)).all(axis=1) & (areas > 0)


def corners(boxes: np.ndarray) -> np.ndarray:
    """(m, 4) float32 x1, y1, x2, y2 of x, y, width, height."""
    found = boxes.copy()
    found[:, 2:] += found[:, :2]
    return found.astype(np.float32)
