"""Loading panoptic PNG files."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from mmdet_clone.datasets.pipelines import LoadPanopticAnnotations
from mmdet_clone.registry import PIPELINES


@pytest.fixture
def entry(tmp_path) -> dict:
    """A 6 x 8 map: a person (id 300), sky (id 7), a car without pixels (id 9), and nothing below."""
    ids = np.full((6, 8), 7)
    ids[1:4, 2:5] = 300
    ids[5] = 0
    rgb = np.stack((ids % 256, ids // 256 % 256, ids // 65536), -1).astype(np.uint8)
    cv2.imwrite(str(tmp_path / 'a.png'), rgb[..., ::-1])
    segments = [
        dict(id=300, category=0, is_thing=True),
        dict(id=7, category=119, is_thing=False),
        dict(id=9, category=2, is_thing=True),
    ]
    boxes = np.array([[2, 1, 5, 4], [0, 0, 1, 1]], np.float32)
    ann_info = dict(bboxes=boxes, labels=np.array([0, 2]), masks=segments, seg_map='a.png')
    return dict(img_info=dict(filename='a.jpg', height=6, width=8), ann_info=ann_info, seg_prefix=str(tmp_path))


def test_ids_become_masks_of_things_and_a_semantic_map(entry):
    results = LoadPanopticAnnotations()(entry)
    assert results['gt_masks'].get_bboxes().tolist() == [[2, 1, 5, 4], [0, 0, 0, 0]]
    assert results['gt_masks'].areas.tolist() == [9, 0] and results['gt_labels'].tolist() == [0, 2]
    seg = results['gt_semantic_seg']
    assert (seg[1:4, 2:5] == 0).all() and (seg[5] == 255).all() and seg[0, 0] == 119
    assert results['mask_fields'] == ['gt_masks'] and results['seg_fields'] == ['gt_semantic_seg']


def test_parts_can_be_left_out_without_a_look_at_the_file(entry):
    entry['seg_prefix'] = '/nowhere'
    results = LoadPanopticAnnotations(with_mask=False, with_seg=False)(entry)
    assert len(results['gt_bboxes']) == 2 and 'gt_masks' not in results and 'gt_semantic_seg' not in results


def test_the_semantic_map_goes_through_every_kind_of_step(entry):
    results = LoadPanopticAnnotations()(dict(entry, img=np.zeros((6, 8, 3), np.uint8), img_fields=['img']))
    steps = [
        dict(type='Resize', img_scale=(40, 30)),
        dict(type='RandomFlip', flip_ratio=1.0),
        dict(type='Rotate', level=5, prob=1.0),
        dict(type='RandomAffine'),
        dict(type='Pad', size=(64, 64)),
        dict(type='DefaultFormatBundle'),
    ]
    results = PIPELINES.build(dict(type='Compose', transforms=steps))(results)
    assert results['gt_semantic_seg'].shape == (1, 64, 64)
    assert set(results['gt_semantic_seg'].unique().tolist()) <= {0, 119, 255}


def test_a_missing_map_and_one_of_another_size_are_named(entry):
    with pytest.raises(ValueError, match=r'a\.png is 8 x 6 pixels \(width x height\), image a\.jpg 30 x 20'):
        LoadPanopticAnnotations()(dict(entry, img_shape=(20, 30, 3)))
    with pytest.raises(FileNotFoundError, match='panoptic map not found'):
        LoadPanopticAnnotations()(dict(entry, seg_prefix='/nowhere'))


def test_areas_of_real_segments_are_those_of_the_annotation_file(shared):
    root = shared / 'data/coco_panoptic20'
    annotation = next(root.rglob('*panoptic*.json'))
    content = json.loads(annotation.read_text())
    things = {c['id'] for c in content['categories'] if c['isthing']}
    for ann in content['annotations'][:4]:
        png = next(root.rglob(ann['file_name']))
        segments = [dict(id=s['id'], category=1, is_thing=s['category_id'] in things) for s in ann['segments_info']]
        results = LoadPanopticAnnotations(with_bbox=False, with_label=False)(
            dict(img_info={}, ann_info=dict(masks=segments, seg_map=png.name), seg_prefix=str(png.parent))
        )
        areas = [s['area'] for s in ann['segments_info'] if s['category_id'] in things]
        assert results['gt_masks'].areas.tolist() == areas
        assert (results['gt_semantic_seg'] == 1).sum() == sum(s['area'] for s in ann['segments_info'])
