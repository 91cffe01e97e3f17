"""Detections as the records of COCO's result files."""

from __future__ import annotations

import json
import os
import os.path as osp
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np


def records(results: list, img_ids: Sequence, cat_ids: Sequence) -> dict[str, list[dict]]:
    """One record a detection, by kind: ``bbox`` and, with masks, ``segm``; or ``proposal``.

    Args:
        results: per image: arrays (n, 5) by class; or (boxes by class, masks by class), where the masks may come as
            (masks, mask scores); or one array (n, 5) of proposals.
        img_ids: the image id of each entry of ``results``.
        cat_ids: the category id of each label.
    """
    if not results:
        return {'bbox': [], 'segm': [], 'proposal': []}
    if isinstance(results[0], np.ndarray):
        pairs = zip(img_ids, results, strict=True)
        return {'proposal': [record for img_id, boxes in pairs for record in _boxes(img_id, 1, boxes)]}
    found: dict[str, list[dict]] = {'bbox': []}
    for img_id, result in zip(img_ids, results, strict=True):
        boxes, masks = result if isinstance(result, tuple) else (result, None)
        _check_classes(boxes, cat_ids)
        for label, boxes_of_class in enumerate(boxes):
            found['bbox'] += _boxes(img_id, cat_ids[label], boxes_of_class)
        if masks is not None:
            found.setdefault('segm', []).extend(_all_masks(img_id, cat_ids, boxes, masks))
    return found


def _check_classes(boxes: list, cat_ids: Sequence) -> None:
    if len(boxes) != len(cat_ids):
        raise ValueError(
            f'the results have {len(boxes)} classes, the data set has {len(cat_ids)}: '
            'set num_classes of the heads, or classes=[...] of the data set'
        )


def _boxes(img_id: Any, cat_id: Any, boxes: np.ndarray) -> list[dict]:
    """Records of (n, 5) x1y1x2y2 and score."""
    if len(boxes) == 0:  # most classes in most images
        return []
    rows = np.array(boxes, dtype=np.float64).reshape(-1, np.shape(boxes)[-1] if np.ndim(boxes) == 2 else 5)  # a copy
    scores = rows[:, 4].tolist() if rows.shape[1] > 4 else [1.0] * len(rows)
    rows[:, 2:4] -= rows[:, :2]
    return [
        dict(image_id=img_id, category_id=cat_id, bbox=box, score=score)
        for box, score in zip(rows[:, :4].tolist(), scores, strict=True)
    ]


def _all_masks(img_id: Any, cat_ids: Sequence, boxes: list, masks: Any) -> list[dict]:
    masks, mask_scores = masks if isinstance(masks, tuple) else (masks, None)
    found = []
    for label, cat_id in enumerate(cat_ids):
        rows = _boxes(img_id, cat_id, boxes[label])
        for i, (row, mask) in enumerate(zip(rows, masks[label], strict=True)):
            score = row['score'] if mask_scores is None else float(mask_scores[label][i])
            found.append({**row, 'score': score, 'segmentation': _as_rle(mask)})
    return found


def _as_rle(mask: Any) -> dict:
    """COCO's compressed RLE, with its counts as text, of a bitmap (h, w) or of RLE."""
    if not isinstance(mask, dict):
        from pycocotools import mask as mask_api

        mask = mask_api.encode(np.asfortranarray(mask, dtype=np.uint8))
    counts = mask['counts']
    return {**mask, 'counts': counts.decode() if isinstance(counts, bytes) else counts}


def as_proposals(result: Any) -> np.ndarray:
    """One array (n, 5) of an image's result, with the boxes of all classes where it has classes."""
    boxes = result[0] if isinstance(result, tuple) else result
    return boxes if isinstance(boxes, np.ndarray) else np.concatenate([b.reshape(-1, 5) for b in boxes])


def write(found: dict[str, list[dict]], outfile_prefix: str) -> dict[str, str]:
    """Write each kind of record as ``prefix.<kind>.json``; box detections serve as proposals too."""
    os.makedirs(osp.dirname(osp.abspath(outfile_prefix)), exist_ok=True)
    result_files = {}
    for kind, rows in found.items():
        result_files[kind] = f'{outfile_prefix}.{kind}.json'
        with open(result_files[kind], 'w') as file:
            json.dump(rows, file)
    if 'bbox' in result_files:
        result_files.setdefault('proposal', result_files['bbox'])
    return result_files


def output_prefix(prefix: str | None) -> tuple[str, tempfile.TemporaryDirectory | None]:
    """``prefix``, or one in a new temporary folder, which is returned too."""
    if prefix is not None:
        return prefix, None
    folder = tempfile.TemporaryDirectory()
    return osp.join(folder.name, 'results'), folder
