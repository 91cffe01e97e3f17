"""A COCO annotation file as flat arrays, which processes share without copying.

Nothing is lost: each image and annotation stays as its own JSON text, in one run of bytes, and is parsed when it is
asked for. Beside it stand the numbers that are looked at all at once.

n: images    m: annotations, those of one image together, in the file's order    k: categories
"""

from __future__ import annotations

import functools
import json
import operator
import os
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

# what the arrays say of an entry, and ``CocoTable.shapes``
IMAGE_KEYS = frozenset(('id', 'file_name', 'width', 'height'))
ANNOTATION_KEYS = frozenset(
    ('id', 'image_id', 'category_id', 'bbox', 'area', 'iscrowd', 'ignore', 'segmentation', 'keypoints')
)
_FIRST, _LAST = np.iinfo(np.int64).min, np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False)
class CocoTable:
    """The arrays.

    Attributes:
        image_ids: (n,) int64, in the file's order.
        image_order: (n,) the images by rising id.
        image_sizes: (n, 2) width and height, NaN where the file gives none.
        image_named: (n,) bool, whether there is a ``file_name``.
        image_text: the images' JSON, a comma after each; ``image_starts`` (n + 1,) where each begins.
        ann_ids: (m,) int64; ``ann_order`` (m,) the annotations by rising id.
        ann_rows: (m,) the annotations in the file's order.
        ann_image_ids: (m,) int64; ``ann_images`` (m,) the images, ``n`` for one that the file does not list.
        image_anns: (n + 1,) where the annotations of each image begin.
        ann_category_ids: (m,) int64; ``ann_categories`` (m,) the categories, -1 for one that is not defined.
        boxes: (m, 4) float64 x, y, width, height in pixels.
        areas: (m,) float64, width times height where the file gives none.
        crowd, ignored, masked: (m,) bool: ``iscrowd``, ``ignore``, and whether there is a ``segmentation``.
        keypoint_numbers: (m,) int32, how many numbers ``keypoints`` holds, -1 without the key.
        ann_text, ann_starts: as of the images.
        rest: the file's other entries as JSON; ``images`` and ``annotations`` are null in it.
    """

    image_ids: np.ndarray
    image_order: np.ndarray
    image_sizes: np.ndarray
    image_named: np.ndarray
    image_text: np.ndarray
    image_starts: np.ndarray
    ann_ids: np.ndarray
    ann_order: np.ndarray
    ann_rows: np.ndarray
    ann_image_ids: np.ndarray
    ann_images: np.ndarray
    image_anns: np.ndarray
    ann_category_ids: np.ndarray
    ann_categories: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    crowd: np.ndarray
    ignored: np.ndarray
    masked: np.ndarray
    keypoint_numbers: np.ndarray
    ann_text: np.ndarray
    ann_starts: np.ndarray
    rest: np.ndarray
    path: str | None = None  # the file that the arrays are mapped from

    def arrays(self) -> dict[str, np.ndarray]:
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != 'path'}

    @property
    def num_images(self) -> int:
        return len(self.image_ids)

    @property
    def num_annotations(self) -> int:
        return len(self.ann_ids)

    def image_row(self, image_id: Any) -> int | None:
        """The row of an id, ``None`` for one that the file does not list."""
        return _row_of(image_id, self.image_ids, self.image_order)

    def ann_row(self, ann_id: Any) -> int | None:
        return _row_of(ann_id, self.ann_ids, self.ann_order)

    def anns_of(self, image_row: int) -> slice:
        """The rows of an image's annotations."""
        return slice(int(self.image_anns[image_row]), int(self.image_anns[image_row + 1]))

    def image(self, row: int) -> dict:
        """An image as it stands in the file."""
        return parse(_piece(self.image_text, self.image_starts, row, row + 1))

    def annotation(self, row: int) -> dict:
        return parse(_piece(self.ann_text, self.ann_starts, row, row + 1))

    def annotations(self, rows: slice) -> list[dict]:
        """Annotations of neighbouring rows."""
        return parse(b'[%b]' % _piece(self.ann_text, self.ann_starts, rows.start, rows.stop))

    def shapes(self, rows: slice) -> list[Any]:
        """``segmentation`` and ``keypoints`` of annotations of neighbouring rows, as attributes."""
        text = b'[%b]' % _piece(self.ann_text, self.ann_starts, rows.start, rows.stop)
        return _shape_parser()(text)

    def other_entries(self) -> dict:
        """The file without ``images`` and ``annotations``, which are ``None`` where the file has them."""
        return json.loads(self.rest.tobytes())

    def __reduce__(self) -> tuple:
        """A table that lies in a file travels to another process of the machine as the file's name."""
        from .table_cache import open_again

        stored = self.path is not None and os.path.exists(self.path)  # the cache may have been cleared
        return (open_again, (self.path,)) if stored else (CocoTable, tuple(self.arrays().values()))

    def __deepcopy__(self, memo: dict) -> CocoTable:
        return self  # nothing of it changes


def parse(text: bytes) -> Any:
    """The content of a piece of JSON, as python's own parser gives it."""
    import msgspec

    try:
        return msgspec.json.decode(text)
    except msgspec.MsgspecError:  # numbers beyond float64, lone surrogates
        return json.loads(text)


@functools.cache
def _shape_parser() -> Any:
    """Parses a list of annotations for what is no number of one row; all else is skipped."""
    import msgspec

    shape = msgspec.defstruct('Shape', [('segmentation', Any, None), ('keypoints', Any, None)], gc=False)
    decode = msgspec.json.Decoder(list[shape]).decode

    def parse_shapes(text: bytes) -> list[Any]:
        try:
            return decode(text)
        except msgspec.MsgspecError:
            return [shape(ann.get('segmentation'), ann.get('keypoints')) for ann in json.loads(text)]

    return parse_shapes


def _piece(text: np.ndarray, starts: np.ndarray, first: int, stop: int) -> bytes:
    """The text of entries ``first`` to ``stop``, without the comma after the last."""
    return text[starts[first] : starts[stop] - 1].tobytes() if stop > first else b''


def _row_of(key: Any, ids: np.ndarray, order: np.ndarray) -> int | None:
    try:
        value = int(key) if isinstance(key, float) and key.is_integer() else operator.index(key)
    except TypeError:  # a text, say
        return None
    if not len(ids) or not _FIRST <= value <= _LAST:
        return None
    place = int(ids.searchsorted(value, sorter=order))
    row = int(order[min(place, len(ids) - 1)])
    return row if ids[row] == value else None
