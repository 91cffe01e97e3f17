"""The standard COCO pipelines on real images, against their parts done by hand with other libraries."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from pycocotools import mask as mask_utils

from mmdet_clone.datasets.pipelines import Compose

NORM = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)


def train_pipeline(flip_ratio: float, poly2mask: bool = True) -> Compose:
    return Compose(
        [
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True, with_mask=True, poly2mask=poly2mask),
            dict(type='Resize', img_scale=(333, 200), keep_ratio=True),
            dict(type='RandomFlip', flip_ratio=flip_ratio),
            dict(type='Normalize', **NORM),
            dict(type='Pad', size_divisor=32),
            dict(type='DefaultFormatBundle'),
            dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels', 'gt_masks']),
        ]
    )


def fresh(entry: dict) -> dict:
    return {key: list(value) if isinstance(value, list) else value for key, value in entry.items()}


def by_hand(path: str) -> tuple[np.ndarray, int, int]:
    """The normalised, unpadded RGB image (c, h, w) in float64 and its size."""
    img = cv2.imread(path)
    h, w = img.shape[:2]
    factor = min(333 / max(h, w), 200 / min(h, w))
    new_h, new_w = int(h * factor + 0.5), int(w * factor + 0.5)
    img = cv2.resize(img, (new_w, new_h), interpolation=cv2.INTER_LINEAR)[..., ::-1].astype(float)
    return ((img - NORM['mean']) / NORM['std']).transpose(2, 0, 1), new_h, new_w


@pytest.mark.parametrize('flip', [False, True])
def test_training_samples_equal_their_parts_done_by_hand(coco_entries, flip):
    pipeline = train_pipeline(float(flip))
    for entry in coco_entries:
        data = pipeline(fresh(entry))
        expected, h, w = by_hand(f'{entry["img_prefix"]}/{entry["img_info"]["filename"]}')
        expected = expected[..., ::-1] if flip else expected
        meta = data['img_metas']
        assert meta['img_shape'] == (h, w, 3) and meta['flip'] is flip
        assert meta['ori_shape'][:2] == (entry['img_info']['height'], entry['img_info']['width'])
        padded = (math.ceil(h / 32) * 32, math.ceil(w / 32) * 32)
        assert data['img'].shape == (3, *padded) and meta['pad_shape'] == (*padded, 3)
        np.testing.assert_allclose(data['img'][:, :h, :w].numpy(), expected, atol=1e-4)
        assert not data['img'][:, h:].any() and not data['img'][:, :, w:].any()
        scale = np.array([w / meta['ori_shape'][1], h / meta['ori_shape'][0]] * 2)
        boxes = entry['ann_info']['bboxes'] * scale
        boxes = np.stack((w - boxes[:, 2], boxes[:, 1], w - boxes[:, 0], boxes[:, 3]), axis=1) if flip else boxes
        np.testing.assert_allclose(data['gt_bboxes'].numpy(), np.clip(boxes, 0, (w, h, w, h)), atol=1e-3)
        assert data['gt_bboxes'].dtype == torch.float32 and data['gt_labels'].dtype == torch.int64


def test_real_masks_equal_pycocotools_resized_and_flipped(coco_entries):
    pipeline = train_pipeline(1.0)
    for entry in coco_entries[:6]:
        data = pipeline(fresh(entry))
        h, w = data['img_metas']['img_shape'][:2]
        height, width = entry['img_info']['height'], entry['img_info']['width']
        for mask, polygons in zip(data['gt_masks'].masks, entry['ann_info']['masks']):
            decoded = mask_utils.decode(mask_utils.merge(mask_utils.frPyObjects(polygons, height, width)))
            resized = cv2.resize(decoded, (w, h), interpolation=cv2.INTER_NEAREST)[:, ::-1]
            assert (mask[:h, :w] == resized).all() and not mask[h:].any() and not mask[:, w:].any()


@pytest.mark.parametrize('flip', [False, True])
def test_real_boxes_and_polygons_stay_together(coco_entries, flip):
    pipeline = train_pipeline(float(flip), poly2mask=False)
    gaps = []
    for entry in coco_entries:
        data = pipeline(fresh(entry))
        assert (data['gt_masks'].height, data['gt_masks'].width) == data['img_metas']['pad_shape'][:2]
        gaps += np.abs(data['gt_masks'].get_bboxes() - data['gt_bboxes'].numpy()).max(axis=1).tolist()
    assert len(gaps) > 50 and max(gaps) < 0.6


def test_the_standard_scale_gives_the_known_size_of_a_coco_image(coco_entries):
    sizes = set()
    for entry in coco_entries:
        if (entry['img_info']['height'], entry['img_info']['width']) == (427, 640):
            steps = [dict(type='LoadImageFromFile'), dict(type='Resize', img_scale=(1333, 800), keep_ratio=True)]
            sizes.add(Compose(steps)(fresh(entry))['img_shape'])
    assert sizes == {(800, 1199, 3)}


def test_the_test_pipeline_gives_every_version_of_an_image(coco_entries):
    pipeline = Compose(
        [
            dict(type='LoadImageFromFile'),
            dict(
                type='MultiScaleFlipAug',
                img_scale=(333, 200),
                flip=True,
                transforms=[
                    dict(type='Resize', keep_ratio=True),
                    dict(type='RandomFlip'),
                    dict(type='Normalize', **NORM),
                    dict(type='Pad', size_divisor=32),
                    dict(type='ImageToTensor', keys=['img']),
                    dict(type='Collect', keys=['img']),
                ],
            ),
        ]
    )
    entry = fresh(coco_entries[0])
    del entry['ann_info']
    data = pipeline(entry)
    expected, h, w = by_hand(f'{entry["img_prefix"]}/{entry["img_info"]["filename"]}')
    assert [m['flip'] for m in data['img_metas']] == [False, True]
    np.testing.assert_allclose(data['img'][0][:, :h, :w].numpy(), expected, atol=1e-4)
    np.testing.assert_allclose(data['img'][1][:, :h, :w].numpy(), expected[..., ::-1], atol=1e-4)


def test_crops_of_real_images_keep_boxes_around_their_masks(coco_entries):
    pipeline = Compose(
        [
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_mask=True),
            dict(type='RandomCrop', crop_size=(200, 240), allow_negative_crop=True, recompute_bbox=True),
            dict(type='RandomFlip', flip_ratio=0.5, direction=['horizontal', 'vertical']),
        ]
    )
    for entry in coco_entries:
        results = pipeline(fresh(entry))
        assert (results['gt_masks'].get_bboxes() == results['gt_bboxes']).all()
        assert len(results['gt_bboxes']) == len(results['gt_labels'])
        sides = results['gt_bboxes'][:, 2:] - results['gt_bboxes'][:, :2]
        assert (sides > 0).all()
