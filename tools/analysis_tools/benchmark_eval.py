#!/usr/bin/env python
"""How long COCO evaluation takes, beside pycocotools, on a generated data set.

Ours is all of `CocoDataset.evaluate`: arrays to records, matching, the summary. Theirs is `loadRes`, `evaluate`,
`accumulate` and `summarize` of records that are ready-made and an index that is loaded. The two run in turn, and the
numbers must agree. Seconds of the processor (of all threads) are less noisy than those of the clock.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

WIDTH, HEIGHT = 640, 480
LIMITS = (100, 300, 1000)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=2000, help='images (default %(default)s)')
    parser.add_argument('--detections', type=int, default=100, help='detections an image (default %(default)s)')
    parser.add_argument('--metric', choices=['bbox', 'segm'], default='bbox', help='default %(default)s')
    parser.add_argument('--repeat', type=int, default=3, help='runs of each (default %(default)s)')
    parser.add_argument('--profile', action='store_true', help='also show where the time of one of our runs goes')
    return parser.parse_args(argv)


def generated(num_images: int, num_detections: int, with_masks: bool) -> tuple[dict, list]:
    """A COCO dict of seven objects an image, 80 classes, and results: displaced objects, a third of a wrong class."""
    from mmdet_clone.evaluation import coco_classes

    rng = np.random.default_rng(0)
    names = coco_classes()
    images = [dict(id=i, file_name=f'{i}.jpg', width=WIDTH, height=HEIGHT) for i in range(1, num_images + 1)]
    annotations, results = [], []
    for image in images:
        count = int(rng.integers(1, 14))
        sizes = np.exp(rng.normal(4, 0.8, (count, 2))).clip(4, 400)
        corners = rng.random((count, 2)) * ((WIDTH, HEIGHT) - sizes)
        boxes = np.concatenate([corners, corners + sizes], axis=1)
        labels = rng.integers(0, len(names), count)
        annotations += annotated(image['id'], boxes, labels, rng, len(annotations), with_masks)
        chosen = rng.integers(0, count, num_detections)
        moved = boxes[chosen] + rng.normal(0, 0.08, (num_detections, 4)) * np.tile(sizes[chosen], 2)
        found = np.where(rng.random(num_detections) < 0.7, labels[chosen], rng.integers(0, len(names), num_detections))
        scored = np.concatenate([moved, rng.random((num_detections, 1))], axis=1).astype(np.float32)
        by_class = [scored[found == label] for label in range(len(names))]
        results.append((by_class, [masks_of(rows) for rows in by_class]) if with_masks else by_class)
    categories = [dict(id=i, name=name) for i, name in enumerate(names, 1)]
    return dict(images=images, annotations=annotations, categories=categories), results


def annotated(
    image_id: int, boxes: np.ndarray, labels: np.ndarray, rng: np.random.Generator, before: int, with_masks: bool
) -> list[dict]:
    rows = []
    for number, ((x1, y1, x2, y2), label) in enumerate(zip(boxes.tolist(), labels.tolist()), before + 1):
        row = dict(
            id=number,
            image_id=image_id,
            category_id=label + 1,
            bbox=[x1, y1, x2 - x1, y2 - y1],
            area=(x2 - x1) * (y2 - y1),
            iscrowd=int(rng.random() < 0.01),
        )
        rows.append({**row, 'segmentation': [[x1, y1, x2, y1, x2, y2, x1, y2]]} if with_masks else row)
    return rows


def masks_of(boxes: np.ndarray) -> list[dict]:
    """The RLE of each box."""
    from pycocotools import mask as mask_api

    if not len(boxes):
        return []
    xywh = np.concatenate([boxes[:, :2], boxes[:, 2:4] - boxes[:, :2]], axis=1).astype(np.float64)
    return mask_api.frPyObjects(xywh, HEIGHT, WIDTH)


class Seconds(NamedTuple):
    clock: float
    processor: float

    @classmethod
    def now(cls) -> Seconds:
        return cls(time.perf_counter(), time.process_time())

    def since(self, start: Seconds) -> Seconds:
        return Seconds(self.clock - start.clock, self.processor - start.processor)

    def __str__(self) -> str:
        return f'{self.clock:.2f} s ({self.processor:.2f} s of the processor)'


def run_pycocotools(api: Any, records: list[dict], metric: str) -> tuple[Seconds, list[float]]:
    """Seconds, and COCO's numbers."""
    from pycocotools.cocoeval import COCOeval

    part = 'bbox' if metric == 'bbox' else 'segmentation'
    rows = [{key: record[key] for key in ('image_id', 'category_id', part, 'score')} for record in records]
    with contextlib.redirect_stdout(None):
        start = Seconds.now()
        evaluation = COCOeval(api, api.loadRes(rows), metric)
        evaluation.params.maxDets = list(LIMITS)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        return Seconds.now().since(start), evaluation.stats.tolist()


def run_ours(dataset: Any, results: list, metric: str, items: list[str]) -> tuple[Seconds, list[float]]:
    start = Seconds.now()
    numbers = dataset.evaluate(results, metric, logger='silent', proposal_nums=LIMITS, metric_items=items)
    seconds = Seconds.now().since(start)
    return seconds, [numbers[f'{metric}_{item}'] for item in items]


def main() -> None:
    args = parse_args()
    from pycocotools.coco import COCO

    from mmdet_clone.datasets import CocoDataset
    from mmdet_clone.datasets.coco_results import records_of
    from mmdet_clone.evaluation.coco_scores import box_measures

    truth, results = generated(args.images, args.detections, args.metric == 'segm')
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'truth.json'
        path.write_text(json.dumps(truth))
        dataset = CocoDataset(str(path), [], test_mode=True)
        with contextlib.redirect_stdout(None):
            api = COCO(str(path))
    items = [measure.name for measure in box_measures(LIMITS)]
    records = records_of(args.metric, results, [info['id'] for info in dataset.data_infos], dataset.cat_ids)
    print(f'{args.images} images, {len(truth["annotations"])} objects, {len(records)} detections, {args.metric}')
    run_ours(dataset, results, args.metric, items[:1])  # imports
    ours, theirs = [], []
    for run in range(1, args.repeat + 1):
        seconds, numbers = run_ours(dataset, results, args.metric, items)
        peer_seconds, peer_numbers = run_pycocotools(api, records, args.metric)
        if not np.allclose(numbers, peer_numbers, rtol=0, atol=6e-5):  # ours are rounded to four digits
            sys.exit(f'the numbers differ: {numbers} and {peer_numbers}')
        print(f'run {run}: ours {seconds}, pycocotools {peer_seconds}')
        ours.append(seconds)
        theirs.append(peer_seconds)
    own, peer = (Seconds(*map(statistics.median, zip(*runs))) for runs in (ours, theirs))
    print(f'median: ours {own}, pycocotools {peer}')
    print(f'ratio: {peer.clock / own.clock:.1f} ({peer.processor / own.processor:.1f} of the processor)')
    if args.profile:
        show_profile(dataset, results, args.metric, items)


def show_profile(dataset: Any, results: list, metric: str, items: list[str]) -> None:
    import cProfile
    import pstats

    profile = cProfile.Profile()
    profile.runcall(run_ours, dataset, results, metric, items)
    pstats.Stats(profile).sort_stats('tottime').print_stats(15)


if __name__ == '__main__':
    main()
