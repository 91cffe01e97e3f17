"""Masks of one pixel, at the border, of several parts, of no pixel, and from RLE, through every step."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as mask_utils
from test_keypoints_follow_pixels import CASES, HEIGHT, IDS, WIDTH

from mmdet_clone.datasets.pipelines import FilterAnnotations
from mmdet_clone.registry import PIPELINES
from mmdet_clone.structures import PolygonMasks


def square(x1: float, y1: float, x2: float, y2: float) -> np.ndarray:
    return np.array([x1, y1, x2, y1, x2, y2, x1, y2], float)


SHAPES = {
    'one pixel': [square(60, 50, 61, 51)],
    'at two borders': [square(0, 0, 45, 30)],
    'the whole image': [square(0, 0, WIDTH, HEIGHT)],
    'of two parts': [square(70, 60, 90, 80), square(100, 70, 120, 110)],
    'of no pixel': [],
}


def odd_sample(polygons: bool) -> dict:
    masks = PolygonMasks(list(SHAPES.values()), HEIGHT, WIDTH)
    boxes = masks.get_bboxes()
    boxes[-1] = 50, 40, 80, 90  # a box whose mask is empty
    return dict(
        img=np.zeros((HEIGHT, WIDTH, 3), np.uint8),
        img_fields=['img'],
        gt_bboxes=boxes,
        gt_labels=np.arange(len(boxes)),
        gt_masks=masks if polygons else masks.to_bitmap(),
        bbox_fields=['gt_bboxes'],
        mask_fields=['gt_masks'],
    )


def prepared(prepare, polygons: bool) -> dict:
    """The odd sample, in the form that the step needs."""
    made = prepare(odd_sample(polygons))
    if 'mix_results' in made:
        made['mix_results'] = [odd_sample(polygons) for _ in made['mix_results']]
    return made


@pytest.mark.parametrize(('name', 'args', 'prepare', 'channels'), CASES, ids=IDS)
@pytest.mark.parametrize('seed', range(2))
def test_odd_masks_stay_with_their_boxes_as_bitmaps_and_as_polygons(name, args, prepare, channels, seed):
    outcomes = []
    for polygons in (False, True):
        np.random.seed(seed)
        results = PIPELINES.build(dict(args, type=name))(prepared(prepare, polygons))
        masks = results['gt_masks']
        assert len(masks) == len(results['gt_bboxes']) == len(results['gt_labels'])
        assert (masks.height, masks.width) == results['img'].shape[:2]
        targets = masks.crop_and_resize(results['gt_bboxes'], (7, 7), np.arange(len(masks)))
        assert targets.to_ndarray().shape == (len(masks), 7, 7)
        outcomes.append(results)
    bitmaps, polygons = (results['gt_masks'].to_ndarray().astype(bool) for results in outcomes)
    if not args.get('recompute_bbox'):  # boxes of a mask of less than a pixel exist for polygons alone
        assert (outcomes[0]['gt_labels'] == outcomes[1]['gt_labels']).all()
        for one, other in zip(bitmaps, polygons):
            outline = 2 * (one.any(0).sum() + one.any(1).sum())
            assert (one ^ other).sum() <= max(outline, 4)


def test_an_rle_goes_where_the_polygon_of_its_pixels_goes():
    outline = square(20, 30, 70, 90)
    bits = np.zeros((HEIGHT, WIDTH), np.uint8, order='F')
    bits[30:90, 20:70] = 1
    forms = [[outline.tolist()], mask_utils.encode(bits), bits]
    info = dict(bboxes=np.array([[20, 30, 70, 90]] * 3, np.float32), labels=np.zeros(3, int), masks=forms)
    sample = dict(img_info=dict(height=HEIGHT, width=WIDTH), ann_info=info, img=np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    steps = [
        dict(type='LoadAnnotations', with_mask=True),
        dict(type='Resize', img_scale=(320, 240)),
        dict(type='RandomFlip', flip_ratio=1.0),
        dict(type='RandomCrop', crop_size=(200, 250)),
        dict(type='Rotate', level=5, prob=1.0),
        dict(type='Pad', size_divisor=32),
    ]
    results = PIPELINES.build(dict(type='Compose', transforms=steps))(sample)
    first, *others = results['gt_masks'].to_ndarray()
    assert first.any() and all((other == first).all() for other in others)


def test_empty_masks_can_be_filtered():
    sample = odd_sample(False)
    kept = FilterAnnotations(min_gt_bbox_wh=(0.5, 0.5), by_mask=True)(sample)
    assert kept['gt_labels'].tolist() == [0, 1, 2, 3] and kept['gt_masks'].areas.tolist() == [1, 1350, 19200, 1200]


@pytest.mark.parametrize('move', ['rotate', 'shear', 'translate'])
def test_what_a_movement_pushes_out_is_cut_off_not_drawn_to_the_border(move):
    masks = PolygonMasks([[square(10, 10, 30, 25)]], 40, 40)
    calls = {
        'rotate': lambda m: m.rotate((40, 40), 60),
        'shear': lambda m: m.shear((40, 40), 0.9),
        'translate': lambda m: m.translate((40, 40), 18),
    }
    as_polygon = calls[move](masks).to_ndarray().astype(bool)
    as_bitmap = calls[move](masks.to_bitmap()).to_ndarray().astype(bool)
    assert (as_polygon ^ as_bitmap).sum() <= 0.15 * as_bitmap.sum()
