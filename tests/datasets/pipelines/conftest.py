from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable

import numpy as np
import pytest

from mmdet_clone.structures import PolygonMasks


@pytest.fixture
def square_sample() -> Callable[..., dict]:
    """Makes a loaded sample of squares, instance i painted with 50 (i + 1) in the image and i + 1 in the map."""

    def make(boxes=((10, 8, 30, 28), (40, 20, 70, 50)), height=60, width=80, polygons=False) -> dict:
        img, seg, outlines = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.uint8), []
        for i, (x1, y1, x2, y2) in enumerate(boxes):
            img[y1:y2, x1:x2], seg[y1:y2, x1:x2] = 50 * (i + 1), i + 1
            outlines.append([np.array([x1, y1, x2, y1, x2, y2, x1, y2], dtype=float)])
        masks = PolygonMasks(outlines, height, width)
        return dict(
            img_info=dict(filename='squares.png', height=height, width=width),
            filename='squares.png',
            ori_filename='squares.png',
            img=img,
            img_shape=img.shape,
            ori_shape=img.shape,
            img_fields=['img'],
            gt_bboxes=np.array(boxes, np.float32).reshape(-1, 4),
            gt_labels=np.arange(len(boxes)),
            gt_bboxes_ignore=np.zeros((0, 4), np.float32),
            gt_masks=masks if polygons else masks.to_bitmap(),
            gt_semantic_seg=seg,
            bbox_fields=['gt_bboxes_ignore', 'gt_bboxes'],
            mask_fields=['gt_masks'],
            seg_fields=['gt_semantic_seg'],
        )

    return make


@pytest.fixture(scope='session')
def coco_entries(shared) -> list[dict]:
    """What a COCO dataset gives to its pipeline, for 12 real images."""
    root = shared / 'data/coco_mini'
    content = json.loads((root / 'annotations/instances_train2017.json').read_text())
    anns = defaultdict(list)
    for ann in content['annotations']:
        anns[ann['image_id']].append(ann)
    return [_entry(image, anns[image['id']], root / 'train2017') for image in content['images'][:12]]


def _entry(image: dict, anns: list[dict], folder) -> dict:
    def boxes_of(crowd: bool) -> np.ndarray:
        xywh = np.array([a['bbox'] for a in anns if bool(a['iscrowd']) == crowd], np.float32).reshape(-1, 4)
        return np.concatenate((xywh[:, :2], xywh[:, :2] + xywh[:, 2:]), axis=1)

    kept = [a for a in anns if not a['iscrowd']]
    return dict(
        img_info=dict(image, filename=image['file_name']),
        ann_info=dict(
            bboxes=boxes_of(False),
            labels=np.array([a['category_id'] for a in kept], dtype=np.int64),
            bboxes_ignore=boxes_of(True),
            masks=[a['segmentation'] for a in kept],
        ),
        img_prefix=str(folder),
        seg_prefix=None,
        proposal_file=None,
        bbox_fields=[],
        mask_fields=[],
        seg_fields=[],
    )
