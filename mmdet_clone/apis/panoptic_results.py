"""Saved panoptic results, image by image."""

from __future__ import annotations

import os.path as osp
from collections.abc import Iterable
from typing import Any

import numpy as np

from mmdet_clone.apis.saved_results import SavedResults, load_image, locate_image
from mmdet_clone.evaluation.image_scores import ImageScore
from mmdet_clone.evaluation.panoptic import ImageTask, count_task, read_id_png, segments_of_map
from mmdet_clone.structures.panoptic import unpack_map

Segments = tuple[np.ndarray, list[np.ndarray]]


def check_panoptic(saved: SavedResults) -> None:
    """Raise ``ValueError`` unless each result has a panoptic map and the data set is a panoptic one."""
    without = [i for i, r in enumerate(saved.results) if not isinstance(r, dict) or r.get('pan_results') is None]
    if without:
        raise ValueError(f'{len(without)} results have no pan_results, first that of image {without[0]} (from 0)')
    part, _ = locate_image(saved.dataset, 0)
    if getattr(part, 'seg_prefix', None) is None or 'segm_file' not in part.data_infos[0]:
        raise ValueError(
            f'the results are panoptic, data.test is a {type(part).__name__}: use the CocoPanopticDataset that they '
            'were made on, with seg_prefix, the folder of its PNG files'
        )


def score_panoptic(saved: SavedResults, indices: Iterable[int]) -> list[ImageScore]:
    """Each image's PQ (the mean over the classes that it shows or that were found) and its numbers of segments."""
    scores = []
    for i in indices:
        part, inner = locate_image(saved.dataset, i)
        task = _task(part, inner, saved.results[i])
        counts = count_task(task, part.file_client.get, part.cat_ids)
        qualities = counts.qualities()[:, 0]
        known = qualities[~np.isnan(qualities)]
        value = float(known.mean()) if len(known) else float('nan')
        found = int(counts.matched.sum() + counts.wrong.sum())
        scores.append(ImageScore(value, sum(not s.get('iscrowd') for s in task.segments), found))
    return scores


def panoptic_image(saved: SavedResults, index: int) -> tuple[np.ndarray, Segments, Segments]:
    """An image (h, w, 3) BGR and the segments annotated and found on it: labels (n,) and n masks (h, w)."""
    part, i = locate_image(saved.dataset, index)
    task = _task(part, i, saved.results[index])
    label_of = {cat_id: label for label, cat_id in enumerate(part.cat_ids)}
    ids, segments = segments_of_map(unpack_map(task.result), part.cat_ids, f'the result of {task.name!r}')
    truth = _split(read_id_png(part.file_client.get, task.truth_file), task.segments, label_of)
    return load_image(part, i), truth, _split(ids, segments, label_of)


def _task(part: Any, index: int, result: dict) -> ImageTask:
    info = part.data_infos[index]
    segments = part.coco.imgToAnns[info['id']]
    return ImageTask(osp.join(part.seg_prefix, info['segm_file']), segments, result['pan_results'], info['filename'])


def _split(ids: np.ndarray, segments: list[dict], label_of: dict) -> Segments:
    """The labels and masks of the segments of a map (h, w) that have a label."""
    labelled = [segment for segment in segments if segment['category_id'] in label_of]
    labels = np.array([label_of[segment['category_id']] for segment in labelled], dtype=np.int64)
    return labels, [ids == segment['id'] for segment in labelled]
