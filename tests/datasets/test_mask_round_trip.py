"""Masks of the awkward kinds, from the file through the pipeline and back, evaluated as detections.

What a transform does to a mask is undone afterwards; the result must be the annotation again, so its AP is 1.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_api

from mmdet_clone.datasets import CocoDataset, CocoPanopticDataset

HEIGHT, WIDTH = 48, 64
DOT, BORDER, PARTS, CORNER = 1, 2, 3, 4  # category ids
CLASSES = ('dot', 'border', 'parts', 'corner')


def rectangle(x1, y1, x2, y2):
    return [x1, y1, x2, y1, x2, y2, x1, y2]


def annotation(number, category, polygons, bbox, area):
    return dict(id=number, image_id=1, category_id=category, segmentation=polygons, bbox=bbox, area=area, iscrowd=0)


CROWD = np.zeros((HEIGHT, WIDTH), np.uint8)
CROWD[2:6, 30:60] = 1


def uncompressed(mask):
    """COCO's RLE with counts as a list: runs down the columns, of zeros first."""
    column = mask.flatten(order='F')
    ends = np.flatnonzero(np.diff(column)) + 1
    runs = np.diff(np.concatenate([[0], ends, [column.size]])).tolist()
    return dict(size=list(mask.shape), counts=[0, *runs] if column[0] else runs)


@pytest.fixture
def folder(tmp_path):
    """An image with an object of one pixel, one that touches every border, one of two parts, one pixel in the corner
    and a crowd; and an image without objects."""
    crowd = dict(id=5, image_id=1, category_id=PARTS, bbox=[30, 2, 30, 4], area=120, iscrowd=1)
    content = dict(
        images=[dict(id=i, file_name=f'{i}.png', height=HEIGHT, width=WIDTH) for i in (1, 2)],
        annotations=[
            annotation(1, DOT, [rectangle(10, 11, 11, 12)], [10, 11, 1, 1], 1),
            annotation(2, BORDER, [rectangle(0, 0, WIDTH, HEIGHT)], [0, 0, WIDTH, HEIGHT], WIDTH * HEIGHT),
            annotation(3, PARTS, [rectangle(20, 20, 30, 26), rectangle(40, 30, 44, 40)], [20, 20, 24, 20], 60 + 40),
            annotation(4, CORNER, [rectangle(WIDTH - 1, HEIGHT - 1, WIDTH, HEIGHT)], [WIDTH - 1, HEIGHT - 1, 1, 1], 1),
            {**crowd, 'segmentation': uncompressed(CROWD)},
        ],
        categories=[dict(id=i, name=name) for i, name in enumerate(CLASSES, 1)],
    )
    (tmp_path / 'annotations.json').write_text(json.dumps(content))
    for i in (1, 2):
        Image.new('RGB', (WIDTH, HEIGHT)).save(tmp_path / f'{i}.png')
    semantic = np.full((HEIGHT, WIDTH), 255, np.uint8)
    Image.fromarray(semantic).save(tmp_path / 'seg2.png')
    semantic[11, 10], semantic[:, 0], semantic[-1, -1] = 3, 4, 5
    Image.fromarray(semantic).save(tmp_path / 'seg1.png')
    return tmp_path


def load(folder, *steps, poly2mask=True, **arguments):
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_mask=True, poly2mask=poly2mask),
        *steps,
    ]
    arguments = {**dict(filter_empty_gt=False, classes=CLASSES), **arguments}
    return CocoDataset(str(folder / 'annotations.json'), pipeline, img_prefix=str(folder), **arguments)


def areas(sample):
    return dict(zip(sample['gt_labels'].tolist(), sample['gt_masks'].to_ndarray().sum(axis=(1, 2)).tolist()))


def as_result(sample, undo):
    """The sample's masks, taken back by ``undo``, as an image's detections."""
    boxes, masks = [np.zeros((0, 5))] * len(CLASSES), [[] for _ in CLASSES]
    found = undo(sample['gt_masks']).to_ndarray().astype(np.uint8)
    for label, mask in zip(sample['gt_labels'], found):
        boxes[label] = np.concatenate([boxes[label], [[0, 0, 1, 1, 0.9]]])
        masks[label].append(mask_api.encode(np.asfortranarray(mask)))
    return boxes, masks


def test_the_file_gives_every_mask_its_pixels(folder):
    data = load(folder)
    assert areas(data[0]) == {0: 1, 1: WIDTH * HEIGHT, 2: 100, 3: 1}
    assert np.argwhere(data[0]['gt_masks'].to_ndarray()[0]).tolist() == [[11, 10]]
    assert data[0]['gt_bboxes_ignore'].tolist() == [[30, 2, 60, 6]]
    assert len(data[1]['gt_masks']) == 0 and data[1]['gt_masks'].to_ndarray().shape == (0, HEIGHT, WIDTH)


FLIPS = [
    (dict(type='RandomFlip', flip_ratio=1.0, direction=direction), lambda m, d=direction: m.flip(d))
    for direction in ('horizontal', 'vertical', 'diagonal')
]
DOUBLE = (
    dict(type='Resize', img_scale=(2 * WIDTH, 2 * HEIGHT), keep_ratio=True),
    lambda masks: masks.resize((HEIGHT, WIDTH)),
)


@pytest.mark.parametrize('poly2mask', [True, False])
@pytest.mark.parametrize('step, undo', [*FLIPS, DOUBLE], ids=['horizontal', 'vertical', 'diagonal', 'double'])
def test_a_transform_undone_evaluates_as_the_annotation(folder, step, undo, poly2mask):
    data = load(folder, step, poly2mask=poly2mask)
    results = [as_result(data[i], undo) for i in range(2)]
    numbers = data.evaluate(results, 'segm', logger='silent')
    assert numbers['segm_mAP'] == 1 and numbers['segm_mAP_s'] == 1
    for backend in ('pycocotools', 'faster-coco-eval'):
        assert data.evaluate(results, 'segm', logger='silent', backend=backend)['segm_mAP'] == 1


@pytest.mark.parametrize('poly2mask', [True, False])
def test_a_crop_keeps_what_lies_in_it(folder, poly2mask):
    # the pieces of 24x32 that random draws give, by where they start
    data = load(folder, dict(type='RandomCrop', crop_size=(24, 32), allow_negative_crop=True), poly2mask=poly2mask)
    seen = set()
    for _ in range(25):
        sample = data[0]
        found = areas(sample)
        assert sample['gt_masks'].to_ndarray().shape[1:] == (24, 32) == sample['img'].shape[:2]
        assert found[1] == 24 * 32  # whatever touches every border fills the piece
        assert found.get(0, 1) == 1 and found.get(3, 1) == 1 and found.get(2, 0) <= 100
        seen |= set(found)
    assert seen >= {0, 1, 2}  # the corner is in one piece of 825
    assert len(load(folder, dict(type='RandomCrop', crop_size=(24, 32), allow_negative_crop=True))[1]['gt_masks']) == 0


def test_detections_inside_an_rle_crowd_count_neither_way(folder):
    data = load(folder, test_mode=True)
    truth = load(folder)[0]
    results = [as_result(truth, lambda masks: masks), ([np.zeros((0, 5))] * 4, [[] for _ in CLASSES])]
    part = np.zeros_like(CROWD)
    part[3:5, 35:45] = 1
    for mask, expected in ((part, 1.0), (np.rot90(part, 2), 0.5)):
        boxes, masks = [b.copy() for b in results[0][0]], [list(m) for m in results[0][1]]
        boxes[2] = np.concatenate([boxes[2], [[0, 0, 1, 1, 0.99]]])
        masks[2].append(mask_api.encode(np.asfortranarray(mask)))
        numbers = data.evaluate([(boxes, masks), results[1]], 'segm', logger='silent', classwise=True)
        # of the four classes one has a wrong detection before its right one, unless it lies in the crowd
        assert numbers['segm_mAP'] == pytest.approx((3 + expected) / 4, abs=1e-3)


def test_an_empty_mask_is_not_found_and_does_no_harm(folder):
    data = load(folder, test_mode=True)
    boxes = [np.array([[0, 0, 1, 1, 0.9]])] + [np.zeros((0, 5))] * 3
    nothing = mask_api.encode(np.zeros((HEIGHT, WIDTH), np.uint8, order='F'))
    results = [(boxes, [[nothing], [], [], []]), ([np.zeros((0, 5))] * 4, [[] for _ in CLASSES])]
    for backend in ('pycocotools', 'faster-coco-eval'):
        assert data.evaluate(results, 'segm', logger='silent', backend=backend)['segm_mAP'] == 0


# ---------------------------------------------------------------------- semantic maps


@pytest.mark.parametrize('step, undo', [
    (dict(type='RandomFlip', flip_ratio=1.0), lambda seg: seg[:, ::-1]),
    (dict(type='Resize', img_scale=(3 * WIDTH, 3 * HEIGHT), keep_ratio=True), lambda seg: seg[1::3, 1::3]),
    (dict(type='Pad', size=(64, 80), pad_val=dict(img=0, masks=0, seg=255)), lambda seg: seg[:HEIGHT, :WIDTH]),
], ids=['flip', 'triple', 'pad'])  # fmt: skip
def test_single_pixels_borders_and_empty_maps_survive(folder, step, undo):
    load_seg = dict(type='LoadAnnotations', with_bbox=False, with_label=False, with_seg=True)
    pipeline = [dict(type='LoadImageFromFile'), load_seg, step]
    data = CocoDataset(
        str(folder / 'annotations.json'), pipeline, classes=CLASSES, img_prefix=str(folder), seg_prefix=str(folder),
        filter_empty_gt=False,
    )  # fmt: skip
    data.get_ann_info = lambda i: dict(seg_map=f'seg{i + 1}.png')
    for i in (0, 1):
        expected = np.array(Image.open(folder / f'seg{i + 1}.png'))
        assert np.array_equal(undo(data[i]['gt_semantic_seg']), expected)
    assert (np.unique(data[1]['gt_semantic_seg']) == [255]).all()


# ---------------------------------------------------------------------- panoptic


@pytest.fixture
def panoptic(folder):
    """Segments of one pixel, at the border and in two parts, on stuff; and an image of void alone."""
    ids = np.full((HEIGHT, WIDTH), 9, np.uint32)
    ids[11, 10] = 70000  # needs the third channel
    ids[:, 0] = 300
    ids[20:26, 20:30] = ids[30:40, 40:44] = 301
    segments = [(9, 2), (70000, 1), (300, 1), (301, 1)]
    content = dict(
        images=[dict(id=i, file_name=f'{i}.png', height=HEIGHT, width=WIDTH) for i in (1, 2)],
        annotations=[
            dict(image_id=1, file_name='pan1.png', segments_info=[segment(ids, *pair) for pair in segments]),
            dict(image_id=2, file_name='pan2.png', segments_info=[]),
        ],
        categories=[dict(id=1, name='thing', isthing=1), dict(id=2, name='stuff', isthing=0)],
    )
    (folder / 'panoptic.json').write_text(json.dumps(content))
    for name, values in (('pan1.png', ids), ('pan2.png', np.zeros_like(ids))):
        colours = np.stack([values % 256, values // 256 % 256, values // 65536], axis=-1).astype(np.uint8)
        Image.fromarray(colours).save(folder / name)
    return folder


def segment(ids, number, category):
    rows, columns = np.nonzero(ids == number)
    box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
    return dict(id=number, category_id=category, iscrowd=0, area=len(rows), bbox=[int(v) for v in box])


@pytest.mark.parametrize('step, undo', [*FLIPS, DOUBLE], ids=['horizontal', 'vertical', 'diagonal', 'double'])
def test_panoptic_segments_come_back_with_a_quality_of_one(panoptic, step, undo):
    from mmdet_clone.structures import BitmapMasks

    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadPanopticAnnotations'), step]
    paths = dict(img_prefix=str(panoptic), seg_prefix=str(panoptic))
    data = CocoPanopticDataset(
        str(panoptic / 'panoptic.json'), pipeline, classes=('thing', 'stuff'), filter_empty_gt=False, **paths
    )
    results = []
    for sample in (data[0], data[1]):
        seg = sample['gt_semantic_seg']
        maps = BitmapMasks([seg.astype(np.uint8)], *seg.shape)
        ids = undo(maps).to_ndarray()[0].astype(np.int32)
        ids[ids == 255] = 2  # void: the number of classes
        for number, mask in enumerate(undo(sample['gt_masks']).to_ndarray(), 1):
            ids[mask > 0] = 1000 * number  # label 0
        results.append(dict(pan_results=ids))
    test = CocoPanopticDataset(str(panoptic / 'panoptic.json'), [], classes=('thing', 'stuff'), test_mode=True, **paths)
    numbers = test.evaluate(results, 'PQ', logger='silent')
    assert (numbers['PQ'], numbers['PQ_th'], numbers['PQ_st']) == (100, 100, 100)
