"""Look-ups of pycocotools' index, read from a ``CocoTable``."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from .coco_table import CocoTable
from .lazy_records import LazyList, LazyMapping


def entries_by_id(table: CocoTable, images: LazyList, anns: LazyList) -> tuple[LazyMapping, LazyMapping]:
    """``imgs`` and ``anns``."""
    return (
        LazyMapping(table.image_ids.tolist, table.image_row, images.at_row),
        LazyMapping(functools.partial(_ids_in_order, table), table.ann_row, anns.at_row),
    )


def _ids_in_order(table: CocoTable) -> list[int]:
    return table.ann_ids[table.ann_rows].tolist()


class AnnotationsByImage:
    """Image id -> annotations, of images that have any."""

    def __init__(self, table: CocoTable, anns: LazyList) -> None:
        self._table = table
        self._anns = anns

    def keys(self) -> list:
        return list(dict.fromkeys(self._table.ann_image_ids[self._table.ann_rows].tolist()))

    def find(self, image_id: Any) -> slice | None:
        row = self._table.image_row(image_id)
        rows = self._unlisted.get(image_id) if row is None else self._table.anns_of(row)
        return rows if rows is not None and rows.stop > rows.start else None

    def read(self, rows: slice) -> list[dict]:
        found = zip(range(rows.start, rows.stop), self._table.annotations(rows), strict=True)
        return [self._anns.record(row, entry) for row, entry in found]

    @functools.cached_property
    def _unlisted(self) -> dict[int, slice]:
        """Where the annotations of images lie that the file does not list: behind the others."""
        start = int(self._table.image_anns[-1])
        ids, first, counts = np.unique(self._table.ann_image_ids[start:], return_index=True, return_counts=True)
        spans = zip(ids.tolist(), (start + first).tolist(), counts.tolist(), strict=True)
        return {image_id: slice(begin, begin + count) for image_id, begin, count in spans}


class ImagesByCategory:
    """Category id -> image ids, one an annotation, of categories that have any."""

    def __init__(self, table: CocoTable) -> None:
        self._table = table

    def keys(self) -> list:
        return list(dict.fromkeys(self._table.ann_category_ids[self._table.ann_rows].tolist()))

    def find(self, category_id: Any) -> Any:
        return category_id if category_id in self._groups else None

    def read(self, category_id: Any) -> list:
        return self._table.ann_image_ids[self._groups[category_id]].tolist()

    @functools.cached_property
    def _groups(self) -> dict[int, np.ndarray]:
        """The annotations of each category, in the file's order."""
        in_order = self._table.ann_category_ids[self._table.ann_rows]
        order = np.argsort(in_order, kind='stable')
        ids, first = np.unique(in_order[order], return_index=True)
        rows = np.split(self._table.ann_rows[order], first[1:]) if len(ids) else []
        return dict(zip(ids.tolist(), rows, strict=True))


def matching_ids(
    table: CocoTable,
    spans: list[slice | None] | None,
    category_ids: list,
    area_range: Sequence[float],
    crowd: bool | None,
) -> list[int]:
    """``getAnnIds`` on the columns, among the annotations of ``spans``, or all."""
    if spans is None:
        rows = table.ann_rows
    else:
        found = [np.arange(span.start, span.stop) for span in spans if span is not None]
        rows = np.concatenate([np.zeros(0, np.int64), *found])
    keep = np.ones(len(rows), dtype=bool)
    if category_ids:
        keep &= np.isin(table.ann_category_ids[rows], category_ids)
    if len(area_range):
        keep &= (table.areas[rows] > area_range[0]) & (table.areas[rows] < area_range[1])
    if crowd is not None:
        keep &= table.crowd[rows] == bool(crowd)
    return table.ann_ids[rows[keep]].tolist()
