"""Detections as the records of COCO's result files."""

from __future__ import annotations

import json
import os
import os.path as osp
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

_CHUNK = 10_000  # records that are turned into text at a time


def kinds(results: Sequence) -> tuple[str, ...]:
    """What results hold: ``bbox`` and, where they are there, ``segm`` and ``keypoints``; or ``proposal``."""
    if not len(results):
        return ('bbox', 'segm', 'keypoints', 'proposal')
    first = results[0]
    if isinstance(first, np.ndarray):
        return ('proposal',)
    if not isinstance(first, tuple):
        return ('bbox',)
    _, masks, keypoints = _parts(first)
    return ('bbox', *(['segm'] if masks is not None else []), *(['keypoints'] if keypoints is not None else []))


def records(results: Sequence, img_ids: Sequence, cat_ids: Sequence) -> dict[str, list[dict]]:
    """One record a detection, by kind; see :func:`records_of`."""
    return {kind: records_of(kind, results, img_ids, cat_ids) for kind in kinds(results)}


def records_of(kind: str, results: Sequence, img_ids: Sequence, cat_ids: Sequence) -> list[dict]:
    """One record a detection.

    Args:
        kind: ``'bbox'``, ``'segm'``, ``'keypoints'`` or ``'proposal'``.
        results: per image: arrays (n, 5) by class; or (boxes, masks), each by class, where the masks may come as
            (masks, mask scores); or (boxes, masks or ``None``, keypoints), the last (n, K, 3) arrays x, y, score by
            class; or one array (n, 5) of proposals.
        img_ids: the image id of each entry of ``results``.
        cat_ids: the category id of each label.
    """
    from ..evaluation.coco import paused_collection

    found: list[dict] = []
    with paused_collection():
        for img_id, result in zip(img_ids, results, strict=True):
            found += _of_image(kind, img_id, result, cat_ids)
    return found


def _of_image(kind: str, img_id: Any, result: Any, cat_ids: Sequence) -> list[dict]:
    if kind == 'proposal':
        return _rows(img_id, [result], [1])
    boxes, masks, keypoints = _parts(result)
    _check_classes(boxes, cat_ids)
    rows = _rows(img_id, boxes, cat_ids)
    if kind == 'segm':
        _add_masks(rows, masks, boxes, img_id)
    elif kind == 'keypoints':
        _add_keypoints(rows, keypoints, img_id)
    return rows


def _parts(result: Any) -> tuple[list, Any, Any]:
    """Boxes, masks, keypoints, the latter ``None`` where a result has none."""
    boxes, *others = result if isinstance(result, tuple) else (result,)
    return boxes, *others, *[None] * (2 - len(others))


def _check_classes(boxes: list, cat_ids: Sequence) -> None:
    if len(boxes) != len(cat_ids):
        raise ValueError(
            f'the results have {len(boxes)} classes, the data set has {len(cat_ids)}: '
            'set num_classes of the heads, or classes=[...] of the data set'
        )


def _rows(img_id: Any, boxes_by_class: Sequence, cat_ids: Sequence) -> list[dict]:
    """A record for each row x1y1x2y2 (and score) of an image's arrays."""
    filled = [label for label, boxes in enumerate(boxes_by_class) if len(boxes)]
    if not filled:
        return []
    rows = np.concatenate([np.asarray(boxes_by_class[label], dtype=np.float64) for label in filled])
    if not np.isfinite(rows).all():
        bad = int((~np.isfinite(rows)).any(axis=1).sum())
        raise ValueError(
            f'{bad} of {len(rows)} detections of image {img_id!r} hold NaN or infinity: has the training diverged?'
        )
    rows[:, 2:4] -= rows[:, :2]
    scores = rows[:, 4].tolist() if rows.shape[1] > 4 else [1.0] * len(rows)
    categories = (cat_ids[label] for label in filled for _ in range(len(boxes_by_class[label])))
    return [
        {'image_id': img_id, 'category_id': category, 'bbox': box, 'score': score}
        for category, box, score in zip(categories, rows[:, :4].tolist(), scores, strict=True)
    ]


def _add_masks(rows: list[dict], masks: Any, boxes: list, img_id: Any) -> None:
    masks, scores = masks if isinstance(masks, tuple) else (masks, None)
    _check_counts([len(m) for m in masks], [len(b) for b in boxes], 'masks', img_id)
    for row, mask in zip(rows, (mask for of_class in masks for mask in of_class), strict=True):
        row['segmentation'] = _as_rle(mask)
    if scores is not None:
        for row, score in zip(rows, (score for of_class in scores for score in of_class), strict=True):
            row['score'] = float(score)


def _add_keypoints(rows: list[dict], keypoints: Sequence, img_id: Any) -> None:
    filled = [np.asarray(points, dtype=np.float64) for points in keypoints if len(points)]
    _check_counts([sum(map(len, filled))], [len(rows)], 'keypoints', img_id)
    for row, points in zip(rows, (points for of_class in filled for points in of_class), strict=True):
        row['keypoints'] = points.reshape(-1).tolist()
        del row['bbox']  # COCO's format has none, and its evaluation would take the object's size from it


def _check_counts(found: list[int], boxes: list[int], what: str, img_id: Any) -> None:
    if found != boxes:
        raise ValueError(f'image {img_id!r}: {sum(found)} {what} for {sum(boxes)} boxes')


def _as_rle(mask: Any) -> dict:
    """COCO's compressed RLE, with its counts as text, of a bitmap (h, w) or of RLE."""
    if not isinstance(mask, dict):
        from pycocotools import mask as mask_api

        mask = mask_api.encode(np.asfortranarray(mask, dtype=np.uint8))
    counts = mask['counts']
    return {**mask, 'counts': counts.decode() if isinstance(counts, bytes) else counts}


def write(found: dict[str, list[dict]] | Iterable[tuple[str, list[dict]]], outfile_prefix: str) -> dict[str, str]:
    """Write each kind of record as ``prefix.<kind>.json``; box detections serve as proposals too.

    Args:
        found: kinds and their records; from an iterator one kind is held at a time.
        outfile_prefix: path of the files without their suffix; its folder is made.
    """
    os.makedirs(osp.dirname(osp.abspath(outfile_prefix)), exist_ok=True)
    result_files = {}
    for kind, rows in found.items() if isinstance(found, dict) else found:
        result_files[kind] = f'{outfile_prefix}.{kind}.json'
        with open(result_files[kind], 'w', encoding='utf-8') as file:
            file.writelines(_json_pieces(rows))
    if 'bbox' in result_files:
        result_files.setdefault('proposal', result_files['bbox'])
    return result_files


def _json_pieces(rows: list[dict]) -> Iterator[str]:
    """The text of a list, in pieces: ``json.dump`` is slow, ``json.dumps`` of millions of records is one big text."""
    yield '['
    for start in range(0, len(rows), _CHUNK):
        yield (', ' if start else '') + json.dumps(rows[start : start + _CHUNK])[1:-1]
    yield ']'


def output_prefix(prefix: str | None) -> tuple[str, tempfile.TemporaryDirectory | None]:
    """``prefix``, or one in a new temporary folder, which is returned too."""
    if prefix is not None:
        return prefix, None
    folder = tempfile.TemporaryDirectory()
    return osp.join(folder.name, 'results'), folder
