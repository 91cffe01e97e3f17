"""Panoptic quality.

Kirillov et al., "Panoptic Segmentation", arXiv:1801.00868: a predicted and a true segment of one class match where they
overlap by more than half; PQ = SQ * RQ, the mean overlap of the matches times the F1 score of matching. Pixels without
annotation (void) and crowd regions count neither for nor against a prediction (sections 4.1 and 4.2).

K: number of categories
"""

from __future__ import annotations

import multiprocessing
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from ..structures.panoptic import INSTANCE_OFFSET, unpack_map
from .report import say, table

VOID = 0  # the id of a pixel without a segment, in PNG files
GROUPS = ('All', 'Things', 'Stuff')
_IMAGES_A_TASK = 8
_FEWEST_FOR_PROCESSES = 64  # images; below, starting processes costs more than it gains


@dataclass
class Segmentation:
    """The segments of an image.

    Attributes:
        ids: (h, w) of integers: the segment of each pixel, ``VOID`` where there is none.
        segments: dicts of ``id``, ``category_id`` and, in ground truth, ``iscrowd``.
        name: what to call it in a message.
    """

    ids: np.ndarray
    segments: list[dict]
    name: str


@dataclass
class PQCounts:
    """What was matched, by category.

    Attributes:
        iou: (K,) the sum of the overlaps of matches.
        matched, wrong, missed: (K,) true positives, false positives, false negatives.
    """

    iou: np.ndarray
    matched: np.ndarray
    wrong: np.ndarray
    missed: np.ndarray

    @classmethod
    def zeros(cls, num_categories: int) -> PQCounts:
        counts = (np.zeros(num_categories, dtype=np.int64) for _ in range(3))
        return cls(np.zeros(num_categories), *counts)

    def add(self, other: PQCounts) -> None:
        self.iou += other.iou
        self.matched += other.matched
        self.wrong += other.wrong
        self.missed += other.missed

    def qualities(self) -> np.ndarray:
        """(K, 3) PQ, SQ, RQ; NaN for a category that neither the annotations nor the predictions show."""
        with np.errstate(invalid='ignore', divide='ignore'):
            segments = self.matched + 0.5 * self.wrong + 0.5 * self.missed
            recognition = self.matched / segments
            segmentation = np.where(self.matched > 0, self.iou / self.matched, np.where(segments > 0, 0, np.nan))
            return np.stack([self.iou / segments, segmentation, recognition], axis=1)


def pq_of_image(truth: Segmentation, found: Segmentation, category_ids: Sequence) -> PQCounts:
    """Match the segments of an image.

    Args:
        truth: the annotation. Its segments of other categories cannot be matched or missed.
        found: the prediction.
        category_ids: the K categories.

    Raises:
        ValueError: maps of different sizes, an id in a map without a segment or the reverse, an unknown category.
    """
    if truth.ids.shape != found.ids.shape:
        raise ValueError(
            f'{found.name} is {found.ids.shape} pixels (height, width), {truth.name} is {truth.ids.shape}: '
            'a prediction has the size of the original image'
        )
    label_of = {cat_id: label for label, cat_id in enumerate(category_ids)}
    unknown = sorted({segment['category_id'] for segment in found.segments} - set(label_of))
    if unknown:
        raise ValueError(f'{found.name}: the categories {unknown[:10]} are not among those of the data set')
    overlaps = _overlaps(truth.ids, found.ids)
    found_areas = _areas(found, overlaps, 1)
    matches = _matches(truth, found, overlaps, _areas(truth, overlaps, 0), found_areas)
    counts = PQCounts.zeros(len(category_ids))
    for category, overlap in matches.values():
        if category in label_of:
            counts.matched[label_of[category]] += 1
            counts.iou[label_of[category]] += overlap
    for category in _missed(truth, {true_id for true_id, _ in matches}):
        if category in label_of:
            counts.missed[label_of[category]] += 1
    for category in _wrong(truth, found, overlaps, found_areas, {found_id for _, found_id in matches}):
        counts.wrong[label_of[category]] += 1
    return counts


def _matches(
    truth: Segmentation,
    found: Segmentation,
    overlaps: dict[tuple[int, int], int],
    true_areas: dict[int, int],
    found_areas: dict[int, int],
) -> dict[tuple[int, int], tuple[Any, float]]:
    """(true id, found id) -> category and intersection over union, of pairs that overlap by more than half."""
    true_category = {s['id']: s['category_id'] for s in truth.segments if not s.get('iscrowd')}
    found_category = {s['id']: s['category_id'] for s in found.segments}
    matches = {}
    for (true_id, found_id), overlap in overlaps.items():
        category = found_category.get(found_id)
        if true_id not in true_category or found_id == VOID or true_category[true_id] != category:
            continue
        union = true_areas[true_id] + found_areas[found_id] - overlap - overlaps.get((VOID, found_id), 0)
        if overlap / union > 0.5:
            matches[true_id, found_id] = category, overlap / union
    return matches


def _missed(truth: Segmentation, matched: set[int]) -> list:
    """The categories of the segments that no prediction matches; a crowd cannot be missed."""
    return [s['category_id'] for s in truth.segments if not s.get('iscrowd') and s['id'] not in matched]


def _wrong(
    truth: Segmentation,
    found: Segmentation,
    overlaps: dict[tuple[int, int], int],
    areas: dict[int, int],
    matched: set[int],
) -> list:
    """The categories of the predictions that match nothing, unless most of one is void or a crowd of its category."""
    crowd_of = {s['category_id']: s['id'] for s in truth.segments if s.get('iscrowd')}
    wrong = []
    for segment in found.segments:
        excused = overlaps.get((VOID, segment['id']), 0)
        if segment['category_id'] in crowd_of:
            excused += overlaps.get((crowd_of[segment['category_id']], segment['id']), 0)
        if segment['id'] not in matched and excused / areas[segment['id']] <= 0.5:
            wrong.append(segment['category_id'])
    return wrong


def _overlaps(first: np.ndarray, second: np.ndarray) -> dict[tuple[int, int], int]:
    """The number of pixels of each pair of ids. Runs of equal pixels first: there are few, and sorting is dear."""
    pairs = first.astype(np.int64).ravel() << 32 | second.astype(np.int64).ravel()
    starts = np.flatnonzero(np.concatenate([[True], pairs[1:] != pairs[:-1]]))
    lengths = np.diff(starts, append=len(pairs))
    values, which = np.unique(pairs[starts], return_inverse=True)
    counts = np.bincount(which.ravel(), weights=lengths).astype(np.int64)
    ids = zip((values >> 32).tolist(), (values & 0xFFFFFFFF).tolist(), strict=True)
    return dict(zip(ids, counts.tolist(), strict=True))


def _areas(part: Segmentation, overlaps: dict[tuple[int, int], int], side: int) -> dict[int, int]:
    """The pixels of each segment (``side`` 0 for the annotation's ids, 1 for the prediction's)."""
    areas: dict[int, int] = {}
    for pair, pixels in overlaps.items():
        areas[pair[side]] = areas.get(pair[side], 0) + pixels
    listed = {segment['id'] for segment in part.segments}
    absent, unlisted = sorted(listed - set(areas)), sorted(set(areas) - listed - {VOID})
    if absent:
        raise ValueError(f'{part.name}: the segments {absent[:10]} are listed, but no pixel has their id')
    if unlisted:
        raise ValueError(f'{part.name}: pixels have the ids {unlisted[:10]}, which are not among its listed segments')
    return areas


def segments_of_map(ids: np.ndarray, category_ids: Sequence, name: str) -> tuple[np.ndarray, list[dict]]:
    """A result's map as the ids of a PNG, and its segments.

    Args:
        ids: (h, w): label + instance * ``INSTANCE_OFFSET``; a label of ``len(category_ids)`` is void.
        category_ids: the category id of each label.
        name: what to call it in a message.

    Returns:
        (h, w) int64 ids in which a pixel without segment has the id ``VOID``, and label 0 of stuff, which would have
        the same, an id of its own; the segments as dicts of ``id, category_id, area``.
    """
    ids = np.asarray(ids)
    if ids.ndim != 2 or ids.dtype.kind not in 'biu':
        raise ValueError(f'{name}: pan_results is a (h, w) map of integers, got {ids.dtype} of shape {ids.shape}')
    ids = ids.astype(np.int64)
    values, where, areas = np.unique(ids, return_inverse=True, return_counts=True)
    labels = values % INSTANCE_OFFSET
    if (values < 0).any() or (labels > len(category_ids)).any():
        wrong = labels[(labels > len(category_ids)) | (values < 0)].tolist()
        raise ValueError(
            f'{name}: pan_results holds the labels {wrong[:10]}, the data set has {len(category_ids)} classes (and '
            f'{len(category_ids)} for void): was the model trained for another data set?'
        )
    void = labels == len(category_ids)
    written = np.where(void, VOID, np.where(values == VOID, _spare_id(values), values))
    segments = [
        dict(id=int(i), category_id=category_ids[label], area=int(area))
        for i, label, area in zip(written[~void], labels[~void], areas[~void], strict=True)
    ]
    return written[where.reshape(ids.shape)], segments


def _spare_id(values: np.ndarray) -> int:
    """An id of label 0 that no segment has."""
    own = values[values % INSTANCE_OFFSET == 0]
    return int(own.max(initial=0)) + INSTANCE_OFFSET


def read_id_png(read: Callable[[str], bytes], path: str) -> np.ndarray:
    """(h, w) int64 ids of a PNG whose colours are ids, R + 256 G + 256^2 B.

    Args:
        read: gives the bytes of a path.
        path: the file.
    """
    import cv2

    try:
        content = read(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'no panoptic map {path!r}: seg_prefix is the folder of the PNG files that the annotation file names'
        ) from error
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) if content else None
    if image is None or image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        found = 'cannot be decoded' if image is None else f'holds {image.dtype} of shape {image.shape}'
        raise ValueError(f'{path!r} {found}: expected an 8-bit RGB PNG of segment ids')
    blue, green, red = (image[..., channel].astype(np.int64) for channel in range(3))
    return red + 256 * green + 256 * 256 * blue


def write_id_png(ids: np.ndarray, path: str) -> None:
    """Write (h, w) ids below 256^3 as colours; the folder is made."""
    import cv2

    if ids.max(initial=0) >= 256**3 or ids.min(initial=0) < 0:
        raise ValueError(f'{path!r}: ids lie in 0 .. {256**3 - 1}, got {int(ids.min())} .. {int(ids.max())}')
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    channels = [(ids // 256**power % 256).astype(np.uint8) for power in (2, 1, 0)]
    ok, content = cv2.imencode('.png', np.stack(channels, axis=-1))
    if not ok:
        raise OSError(f'cannot write {path!r}')
    with open(path, 'wb') as file:
        file.write(content.tobytes())


def pq_of_images(
    tasks: Iterable[Any], count: Callable[[Any], PQCounts], num_categories: int, nproc: int = 1
) -> PQCounts:
    """The sum of ``count(task)``, always in the tasks' order, so that it does not depend on ``nproc``.

    Args:
        tasks: one an image; taken as they are needed.
        count: works in another process too: a module's function, or a ``partial`` of one.
        num_categories: K.
        nproc: how many processes count at most.
    """
    total = PQCounts.zeros(num_categories)
    for counts in _counted(iter(tasks), count, nproc):
        total.add(counts)
    return total


def _counted(tasks: Iterator[Any], count: Callable[[Any], PQCounts], nproc: int) -> Iterator[PQCounts]:
    nproc = min(nproc, len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1)
    first = list(islice(tasks, _FEWEST_FOR_PROCESSES))
    if nproc <= 1 or len(first) < _FEWEST_FOR_PROCESSES:
        yield from map(count, first)
        yield from map(count, tasks)
        return
    method = 'fork' if 'fork' in multiprocessing.get_all_start_methods() else None  # as torch's loader does
    with ProcessPoolExecutor(nproc, multiprocessing.get_context(method)) as pool:
        while first:
            yield from pool.map(count, first, chunksize=_IMAGES_A_TASK)
            first = list(islice(tasks, nproc * _IMAGES_A_TASK * 4))


def pq_numbers(counts: PQCounts, is_thing: Sequence[bool]) -> OrderedDict[str, float | str]:
    """``PQ, SQ, RQ``, ``PQ_th ...`` of things, ``PQ_st ...`` of stuff, in percent, NaN for a group without classes.

    Args:
        counts: of all images.
        is_thing: (K,).
    """
    numbers: OrderedDict[str, float | str] = OrderedDict()
    for group, suffix in zip(GROUPS, ('', '_th', '_st'), strict=True):
        means, _ = group_means(counts, is_thing, group)
        numbers.update({name + suffix: value for name, value in zip(('PQ', 'SQ', 'RQ'), means.tolist(), strict=True)})
    numbers['PQ_copypaste'] = ' '.join(f'{value:.3f}' for value in numbers.values())
    return numbers


def group_means(counts: PQCounts, is_thing: Sequence[bool], group: str) -> tuple[np.ndarray, int]:
    """PQ, SQ, RQ in percent over the categories of a group that occur, and how many these are."""
    things = np.asarray(is_thing, dtype=bool)
    chosen = {'All': np.ones_like(things), 'Things': things, 'Stuff': ~things}[group]
    qualities = counts.qualities()[chosen]
    qualities = qualities[~np.isnan(qualities[:, 0])]
    return (100 * qualities.mean(axis=0) if len(qualities) else np.full(3, np.nan)), len(qualities)


def say_pq(
    counts: PQCounts, is_thing: Sequence[bool], class_names: Sequence[str], classwise: bool, logger: Any
) -> None:
    """Write the table of the groups and, on request, of the classes."""
    rows = []
    for group in GROUPS:
        means, number = group_means(counts, is_thing, group)
        rows.append([group, *(f'{value:.3f}' for value in means), str(number)])
    say('\n' + table(['', 'PQ', 'SQ', 'RQ', 'categories'], rows), logger)
    if classwise:
        qualities = 100 * counts.qualities()
        by_class = [
            [name, *(f'{value:.3f}' for value in row)] for name, row in zip(class_names, qualities, strict=True)
        ]
        say('\n' + table(['category', 'PQ', 'SQ', 'RQ'], by_class), logger)


@dataclass
class ImageTask:
    """An image to count.

    Attributes:
        truth_file: the PNG of its annotation; ``segments``: what is listed of it.
        result: its map of ids, plain or packed (``structures.panoptic``).
        name: what to call it in a message.
    """

    truth_file: str
    segments: list[dict]
    result: Any
    name: str


def count_task(task: ImageTask, read: Callable[[str], bytes], category_ids: Sequence) -> PQCounts:
    """The counts of one image."""
    ids, segments = segments_of_map(unpack_map(task.result), category_ids, f'the result of {task.name!r}')
    truth = Segmentation(read_id_png(read, task.truth_file), task.segments, repr(task.truth_file))
    return pq_of_image(truth, Segmentation(ids, segments, f'the result of {task.name!r}'), category_ids)


def pq_of_tasks(
    tasks: Iterable[ImageTask], read: Callable[[str], bytes], category_ids: Sequence, nproc: int
) -> PQCounts:
    """The counts of a data set."""
    count = partial(count_task, read=read, category_ids=list(category_ids))
    return pq_of_images(tasks, count, len(category_ids), nproc)
