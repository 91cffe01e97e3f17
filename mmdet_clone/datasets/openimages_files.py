"""The annotation files of Open Images and its challenge, read into flat arrays.

B: boxes of the whole file    N: its images
"""

from __future__ import annotations

import csv
import os.path as osp
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

_ATTRIBUTES = ('IsOccluded', 'IsTruncated', 'IsGroupOf', 'IsDepiction', 'IsInside')
_CHUNK = 65536  # rows
_NAMES = ('is_occludeds', 'is_truncateds', 'gt_is_group_ofs', 'is_depictions', 'is_insides')


class Boxes(NamedTuple):
    """All boxes of a file, those of one image in a row.

    Attributes:
        filenames: (N,) names in UTF-8.
        starts: (N + 1,) where the boxes of each image start.
        boxes: (B, 4) float32 x1y1x2y2 as shares of the image.
        labels: (B,) int32.
        attributes: (B, a) bool; column ``i`` is ``names[i]``.
        names: the keys of the attributes in ``get_ann_info``.
    """

    filenames: np.ndarray
    starts: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    attributes: np.ndarray
    names: Sequence[str]

    def labels_of(self, row: int) -> np.ndarray:
        return self.labels[self.starts[row] : self.starts[row + 1]]

    def of_image(self, row: int) -> dict[str, Any]:
        """The annotation of an image; nothing in it is to be ignored."""
        own = slice(self.starts[row], self.starts[row + 1])
        flags = {name: self.attributes[own, i].copy() for i, name in enumerate(self.names)}
        return dict(
            bboxes=self.boxes[own].copy(),
            labels=self.labels[own].astype(np.int64),
            bboxes_ignore=np.zeros((0, 4), dtype=np.float32),
            labels_ignore=np.zeros(0, dtype=np.int64),
            **flags,
        )


class _Collector:
    """Boxes in the order of the file, by chunks, sorted by image at the end."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.image_of: dict[str, int] = {}
        self.owners, self.labels = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int32)]
        self.boxes, self.attributes = [np.zeros((0, 4), dtype=np.float32)], [np.zeros((0, len(names)), dtype=bool)]

    def add_image(self, filename: str) -> int:
        return self.image_of.setdefault(filename, len(self.image_of))

    def add_rows(self, columns: Sequence[Sequence[str]], label_of: Mapping[str, int]) -> None:
        """Boxes as text: columns of image ids, class names, four corners and the attributes."""
        names, classes, *values = columns
        labels = [label_of[name] for name in classes]
        boxes = np.stack([np.array(column, dtype=np.float64) for column in values[:4]], axis=1)
        attributes = np.stack([np.array(column, dtype=np.int64) for column in values[4:]], axis=1)
        self.add_boxes([self.add_image(f'{name}.jpg') for name in names], labels, boxes, attributes)

    def add_boxes(self, owners: Sequence[int], labels: Sequence[int], boxes: Any, attributes: Any) -> None:
        self.owners.append(np.array(owners, dtype=np.int64))
        self.labels.append(np.array(labels, dtype=np.int32))
        self.boxes.append(np.asarray(boxes, dtype=np.float32).reshape(-1, 4))
        self.attributes.append(np.asarray(attributes).reshape(-1, len(self.names)) == 1)  # -1 is unknown

    def finish(self) -> Boxes:
        owners = np.concatenate(self.owners)
        order = np.argsort(owners, kind='stable')
        counts = np.bincount(owners, minlength=len(self.image_of))
        return Boxes(
            np.array([name.encode() for name in self.image_of]),
            np.concatenate([[0], counts.cumsum()]),
            np.concatenate(self.boxes)[order],
            np.concatenate(self.labels)[order],
            np.concatenate(self.attributes)[order],
            self.names,
        )


def image_id(filename: str) -> str:
    """The id of an image: its file name without folder and suffix."""
    return osp.splitext(osp.basename(filename))[0]


def read_boxes_csv(path: str, label_of: Mapping[str, int]) -> Boxes:
    """Read ``*-annotations-bbox.csv``; columns are found by the names in its first line.

    Args:
        path: the file.
        label_of: the label of each ``LabelName``.
    """
    collector = _Collector(_NAMES)
    with open(path, encoding='utf-8', newline='') as file:
        rows = csv.reader(file)
        columns = _columns(next(rows, []), ('ImageID', 'LabelName', 'XMin', 'YMin', 'XMax', 'YMax', *_ATTRIBUTES), path)
        start = 2  # of the chunk, as editors count lines
        while chunk := list(islice(rows, _CHUNK)):
            try:
                collector.add_rows(_transposed(chunk, columns), label_of)
            except (ValueError, IndexError, KeyError) as error:
                _raise_for_row(chunk, columns, label_of, path, start)
                raise ValueError(f'{path!r}, from line {start}: {error}') from error
            start += len(chunk)
    return collector.finish()


def _transposed(rows: Sequence[Sequence[str]], columns: Sequence[int]) -> list[tuple[str, ...]]:
    """The wanted columns of rows."""
    cells = list(zip(*rows, strict=True))
    return [cells[column] for column in columns]


def _raise_for_row(
    rows: Sequence[Sequence[str]], columns: Sequence[int], label_of: Mapping[str, int], path: str, start: int
) -> None:
    """Raise ``ValueError`` for the first row that cannot be read, by its line."""
    for number, row in enumerate(rows, start):
        try:
            _, label, *values = (row[column] for column in columns)
            _ = [float(value) for value in values[:4]], [int(value) for value in values[4:]]
        except (ValueError, IndexError) as error:
            raise ValueError(f'{path!r}, line {number}: {error}; the line is {",".join(row)!r}') from error
        _label(label, label_of, path, number)


def read_boxes_txt(path: str, label_of: Mapping[int, int]) -> Boxes:
    """Read the challenge's txt: an image's name, a line that is not used, the number of boxes, and a line for each:
    ``number x1 y1 x2 y2 is_group_of``.

    Args:
        path: the file.
        label_of: the label of each class number.
    """
    collector = _Collector(('gt_is_group_ofs',))
    with open(path, encoding='utf-8') as file:
        lines = file.read().split('\n')
    number = 0  # of the line, from 0
    while number < len(lines):
        name = lines[number].strip()
        if not name:
            number += 1
            continue
        image = collector.add_image(name)
        try:
            count = int(lines[number + 2])
            rows = [_numbers(lines[i]) for i in range(number + 3, number + 3 + count)]
            labels = [_label(row[0], label_of, path, number + 4 + i) for i, row in enumerate(rows)]
            collector.add_boxes([image] * count, labels, [row[1:5] for row in rows], [row[5] for row in rows])
        except (ValueError, IndexError) as error:
            raise ValueError(f'{path!r}: the entry of {name!r}, from line {number + 1}: {error}') from error
        number += 3 + count
    return collector.finish()


def _numbers(line: str) -> list[float]:
    cells = line.split()
    if len(cells) != 6:
        raise ValueError(f'expected "class x1 y1 x2 y2 is_group_of", got {line!r}')
    return [int(cells[0]), *(float(cell) for cell in cells[1:])]


def read_image_labels(path: str, label_of: Mapping[str, int]) -> dict[str, list[int]]:
    """The labels that were verified in each image, by image id; classes that ``label_of`` lacks are left out."""
    verified: dict[str, list[int]] = {}
    with open(path, encoding='utf-8', newline='') as file:
        rows = csv.reader(file)
        image, label = _columns(next(rows, []), ('ImageID', 'LabelName'), path)
        for row in rows:
            if row and row[label] in label_of:
                verified.setdefault(row[image], []).append(label_of[row[label]])
    return verified


def _columns(header: Sequence[str], wanted: Sequence[str], path: str) -> list[int]:
    absent = [name for name in wanted if name not in header]
    if absent:
        raise ValueError(f'{path!r}: its first line lacks the columns {", ".join(absent)}; it is {",".join(header)!r}')
    return [header.index(name) for name in wanted]


def _label(key: Any, label_of: Mapping, path: str, number: int) -> int:
    if key not in label_of:
        raise ValueError(f'{path!r}, line {number}: label_file has no class {key!r}')
    return label_of[key]
