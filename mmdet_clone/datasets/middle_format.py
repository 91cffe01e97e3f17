"""What is checked about MMDetection's middle format: a list of dicts with an ``ann`` each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Annotated = list[tuple[int, dict]]  # index of an image, and its ``ann``


def boxes_of(value: Any) -> np.ndarray:
    """(n, 4) float32, also from an empty list or ``None``."""
    return np.asarray([] if value is None else value, dtype=np.float32).reshape(-1, 4)


def checked_boxes(
    annotated: Annotated, infos: Sequence[dict], num_classes: float, source: str
) -> tuple[np.ndarray, np.ndarray]:
    """All boxes (n, 4), and the index of each one's image (n,); ``num_classes`` may be infinite.

    Raises:
        ValueError: boxes are not of four columns; there are more or fewer labels; labels are not in the classes.
    """
    for i, ann in annotated:
        for key in ('bboxes', 'bboxes_ignore'):
            shape = np.shape(ann.get(key, ()))
            if 0 not in shape and (len(shape) != 2 or shape[1] != 4):
                raise ValueError(
                    f'{_place(source, infos, i)} has {key} of shape {shape}: expected (n, 4), x1, y1, x2, y2 in pixels'
                )
    boxes = [boxes_of(ann.get('bboxes')) for _, ann in annotated]
    labels = [np.asarray(ann.get('labels', []), dtype=np.int64).reshape(-1) for _, ann in annotated]
    for (i, _), box, label in zip(annotated, boxes, labels, strict=True):
        if len(box) != len(label):
            raise ValueError(f'{_place(source, infos, i)} has {len(box)} bboxes and {len(label)} labels')
    owner = np.repeat([i for i, _ in annotated], [len(box) for box in boxes])
    _check_label_range(np.concatenate(labels), owner, infos, num_classes, source)
    return np.concatenate(boxes), owner


def _place(source: str, infos: Sequence[dict], index: int) -> str:
    return f'{source}: image {index} ({infos[index].get("filename")!r})'


def _check_label_range(
    labels: np.ndarray, owner: np.ndarray, infos: Sequence[dict], num_classes: float, source: str
) -> None:
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(wrong):
        shown = [f'{labels[i]} in {infos[owner[i]].get("filename")!r}' for i in wrong[:10]]
        raise ValueError(
            f'{source}: {len(wrong)} labels are outside 0..{num_classes - 1}, the indices of the {num_classes} '
            f'classes: {", ".join(shown)}. Labels count from 0'
        )


def check_masks(annotated: Annotated, infos: Sequence[dict], source: str) -> None:
    """Raise ``ValueError`` if an image with boxes has no ``masks``, which the pipeline asks for."""
    without = [i for i, ann in annotated if len(boxes_of(ann.get('bboxes'))) and not len(ann.get('masks', ()))]
    if without:
        raise ValueError(
            f'{source}: the pipeline asks for masks (with_mask=True), but {len(without)} images have no '
            f"'masks' in their ann, first {infos[without[0]].get('filename')!r}. "
            'Train a box detector on it (with_mask=False), or add polygons'
        )
