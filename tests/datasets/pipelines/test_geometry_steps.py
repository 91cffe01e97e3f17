from __future__ import annotations

import mmcv
import numpy as np
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from mmdet_clone.datasets.pipelines import (
    MissingKeyError,
    RandomFlip,
    Resize,
    SegRescale,
    Transform,
)
from mmdet_clone.registry import PIPELINES

NEAREST = dict(interpolation='nearest')
GEOMETRY = {
    'Resize': [
        dict(img_scale=(160, 120), **NEAREST),
        dict(img_scale=(100, 200), keep_ratio=False, **NEAREST),
        dict(img_scale=(80, 60), ratio_range=(0.5, 2.0), **NEAREST),
        dict(img_scale=[(160, 60), (240, 180)], **NEAREST),
        dict(img_scale=[(160, 60), (240, 180)], multiscale_mode='value', **NEAREST),
    ],
    'RandomFlip': [
        dict(flip_ratio=1.0),
        dict(flip_ratio=1.0, direction='vertical'),
        dict(flip_ratio=1.0, direction='diagonal'),
        dict(flip_ratio=[0.3, 0.3, 0.3], direction=['horizontal', 'vertical', 'diagonal']),
    ],
    'RandomCrop': [
        dict(crop_size=(50, 60)),
        dict(crop_size=(40, 60), crop_type='absolute_range'),
        dict(crop_size=(0.8, 0.7), crop_type='relative'),
        dict(crop_size=(0.6, 0.6), crop_type='relative_range', recompute_bbox=True),
    ],
    'Pad': [dict(size=(100, 90)), dict(size_divisor=32), dict(pad_to_square=True)],
    'Expand': [dict(prob=1.0, seg_ignore_label=0)],
    'MinIoURandomCrop': [dict(min_ious=(0.1, 0.3))],
    'Shear': [
        dict(level=10, prob=1.0, img_fill_val=0, **NEAREST),
        dict(level=5, prob=1.0, img_fill_val=0, direction='vertical', **NEAREST),
    ],
    'Translate': [
        dict(level=1, prob=1.0, img_fill_val=0),
        dict(level=1, prob=1.0, img_fill_val=0, direction='vertical'),
    ],
    'RandomShift': [dict(shift_ratio=1.0, max_shift_px=20)],
    'SegRescale': [],  # moves the semantic map alone, on purpose
}
COLOUR = {
    *('Normalize', 'PhotoMetricDistortion', 'CutOut', 'YOLOXHSVRandomAug', 'Corrupt'),
    *('BrightnessTransform', 'ColorTransform', 'ContrastTransform', 'EqualizeTransform'),
}
# blend pixels, mix images, or take floats: see test_keypoints_follow_pixels.py and test_mixing_steps.py
ELSEWHERE = {'Mosaic', 'MixUp', 'CopyPaste', 'RandomAffine', 'Rotate', 'RandomCenterCropPad'}
CASES = [pytest.param(name, args, id=f'{name}-{i}') for name, cases in GEOMETRY.items() for i, args in enumerate(cases)]


def test_every_registered_transform_of_ours_is_known_here():
    ours = {
        name
        for name, cls in PIPELINES.module_dict.items()
        if isinstance(cls, type) and issubclass(cls, Transform) and cls.__module__.startswith('mmdet_clone.')
    }
    assert ours >= set(GEOMETRY) | COLOUR | ELSEWHERE
    assert ours <= set(GEOMETRY) | COLOUR | ELSEWHERE, 'add the new step to GEOMETRY (then it is tested) or to COLOUR'


@pytest.mark.parametrize(('name', 'args'), CASES)
@pytest.mark.parametrize('polygons', [False, True], ids=['bitmaps', 'polygons'])
@pytest.mark.parametrize('seed', range(4))
def test_image_boxes_masks_and_semantic_map_move_together(square_sample, name, args, polygons, seed):
    np.random.seed(seed)
    step = PIPELINES.build(dict(args, type=name))
    results = step(square_sample(polygons=polygons))
    if results is None:
        pytest.skip('the crop holds no object')
    img, seg, masks = results['img'], results['gt_semantic_seg'], results['gt_masks']
    assert img.shape[:2] == seg.shape == (masks.height, masks.width)
    assert results.get('pad_shape', img.shape) == img.shape
    assert len(results['gt_bboxes']) == len(results['gt_labels']) == len(masks)
    boxes, labels = results['gt_bboxes'], results['gt_labels']
    for box, label, mask, box_of_mask in zip(boxes, labels, masks.to_ndarray(), masks.get_bboxes()):
        painted = seg[: img.shape[0], : img.shape[1]] == label + 1
        assert painted.any()
        np.testing.assert_array_equal(img[..., 0] == 50 * (label + 1), painted)
        difference = (mask.astype(bool) ^ painted).sum()
        assert difference <= 2 * (painted.any(0).sum() + painted.any(1).sum())  # a pixel along the outline
        assert np.abs(box - box_of_mask).max() <= 1.0
        rows, columns = np.flatnonzero(painted.any(1)), np.flatnonzero(painted.any(0))
        assert np.abs(box - (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)).max() <= 1.0


@pytest.mark.parametrize(('name', 'args'), CASES)
def test_an_image_without_objects_goes_through(square_sample, name, args):
    args = dict(args, allow_negative_crop=True) if name == 'RandomCrop' else args
    results = PIPELINES.build(dict(args, type=name))(square_sample(boxes=()))
    assert results['gt_bboxes'].shape == (0, 4) and len(results['gt_masks']) == 0
    assert results['gt_masks'].to_ndarray().shape[1:] == results['gt_semantic_seg'].shape


@pytest.mark.parametrize(('name', 'args'), CASES)
def test_the_same_seed_gives_the_same_sample_and_the_source_stays(square_sample, name, args):
    outcomes, source = [], square_sample()
    before = source['img'].copy(), source['gt_bboxes'].copy()
    for _ in range(2):
        np.random.seed(3)
        outcomes.append(PIPELINES.build(dict(args, type=name))(dict(source)))
    first, second = outcomes
    assert (first is None) == (second is None)
    if first is not None:
        assert (first['img'] == second['img']).all() and (first['gt_bboxes'] == second['gt_bboxes']).all()
    assert (source['img'] == before[0]).all() and (source['gt_bboxes'] == before[1]).all()


@pytest.mark.parametrize(('name', 'args'), CASES)
def test_an_image_alone_goes_through(name, args):
    results = PIPELINES.build(dict(args, type=name))(dict(img=np.zeros((60, 80, 3), np.uint8)))
    assert results['img'].ndim == 3


@pytest.mark.parametrize('name', [name for name in GEOMETRY if name != 'SegRescale'])
def test_a_step_before_loading_says_what_is_missing(name):
    step = PIPELINES.build(dict((GEOMETRY[name] or [{}])[0], type=name))
    with pytest.raises(
        MissingKeyError, match=f"{name} needs 'img'.*LoadImageFromFile sets it.*The sample has: img_info"
    ):
        step(dict(img_info={}))


# ---------------------------------------------------------------- Resize


def test_resize_fits_the_longest_and_shortest_edge(square_sample):
    # 80 x 60 into (1333, 800): the shorter edge decides, 800 / 60; scale factors are of the rounded size
    results = Resize(img_scale=(1333, 800))(square_sample())
    assert results['img_shape'] == results['pad_shape'] == (800, 1067, 3)
    np.testing.assert_allclose(results['scale_factor'], [1067 / 80, 800 / 60] * 2, rtol=1e-6)
    assert results['scale_factor'].dtype == np.float32
    assert results['scale'] == (1333, 800) and results['scale_idx'] == 0 and results['keep_ratio'] is True
    np.testing.assert_allclose(results['gt_bboxes'][0], np.array([10, 8, 30, 28]) * results['scale_factor'])
    assert results['gt_bboxes'].dtype == np.float32


def test_resize_without_ratio_takes_width_then_height(square_sample):
    results = Resize(img_scale=(40, 120), keep_ratio=False)(square_sample())
    assert results['img_shape'] == (120, 40, 3)
    assert results['gt_bboxes'][0].tolist() == [5, 16, 15, 56]
    assert results['gt_masks'].get_bboxes()[0].tolist() == [5, 16, 15, 56]
    assert results['gt_semantic_seg'].shape == (120, 40)


@pytest.mark.parametrize('scale', [[1333, 800], (800, 1333), [(1333, 800)], [[1333, 800]]])
def test_a_single_scale_may_be_written_in_any_way(scale):
    results = Resize(img_scale=scale)(dict(img=np.zeros((427, 640, 3), np.uint8)))
    assert results['img_shape'] == (800, 1199, 3)


def test_resize_equals_mmcv_and_torchvision(rng):
    img = rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)
    results = Resize(img_scale=(60, 45))(dict(img=img))
    assert (results['img'] == mmcv.imrescale(img, (60, 45))).all()
    theirs = F.resize_image(torch.from_numpy(img).permute(2, 0, 1), [45, 60], antialias=False)
    assert np.abs(results['img'].astype(int) - theirs.permute(1, 2, 0).numpy()).max() <= 1
    boxes = tv_tensors.BoundingBoxes([[3.0, 4, 20, 25]], format='XYXY', canvas_size=(30, 40))
    sample = dict(img=img, gt_bboxes=boxes.numpy(), bbox_fields=['gt_bboxes'])
    assert Resize(img_scale=(60, 45))(sample)['gt_bboxes'].tolist() == F.resize(boxes, [45, 60]).tolist()


def drawn(step: Resize, times: int = 300) -> list[dict]:
    return [step.draw(dict(img=np.zeros((4, 4, 3)))) for _ in range(times)]


def test_range_draws_both_edges_with_their_ends():
    draws = drawn(Resize(img_scale=[(20, 8), (23, 10)]))
    assert {d['scale'][0] for d in draws} == {20, 21, 22, 23} and {d['scale'][1] for d in draws} == {8, 9, 10}
    assert {d['scale_idx'] for d in draws} == {None}


def test_value_draws_one_of_the_list():
    draws = drawn(Resize(img_scale=[(20, 8), (23, 10), (5, 5)], multiscale_mode='value'))
    assert {(d['scale'], d['scale_idx']) for d in draws} == {((20, 8), 0), ((23, 10), 1), ((5, 5), 2)}


def test_ratio_range_scales_the_one_scale():
    widths = [d['scale'][0] for d in drawn(Resize(img_scale=(1000, 500), ratio_range=(0.5, 2.0)))]
    assert 500 <= min(widths) < 550 and 1900 < max(widths) < 2000


def test_an_earlier_step_sets_the_scale_or_the_factor():
    img = np.zeros((60, 80, 3), np.uint8)
    assert Resize(img_scale=(1333, 800))(dict(img=img, scale=(40, 40)))['img_shape'] == (30, 40, 3)
    assert Resize()(dict(img=img, scale_factor=0.5))['img_shape'] == (30, 40, 3)
    assert Resize(img_scale=(160, 120))(dict(img=img, scale_factor=1.0))['img_shape'] == (120, 160, 3)


def test_a_second_resize_needs_override(square_sample):
    once = Resize(img_scale=(160, 120))(square_sample())
    with pytest.raises(ValueError, match='override=True'):
        Resize(img_scale=(40, 30))(dict(once))
    again = Resize(img_scale=(40, 30), override=True)(once)
    assert again['img_shape'] == (30, 40, 3) and again['gt_bboxes'][0].tolist() == [5, 4, 15, 14]


def test_boxes_are_cut_at_the_border_unless_told(square_sample):
    sample = square_sample()
    sample['gt_bboxes'] = np.array([[-10, 5, 100, 70]], np.float32)
    assert Resize(img_scale=(160, 120))(dict(sample))['gt_bboxes'].tolist() == [[0, 10, 160, 120]]
    kept = Resize(img_scale=(160, 120), bbox_clip_border=False)(dict(sample))
    assert kept['gt_bboxes'].tolist() == [[-20, 10, 200, 140]]


def test_images_of_one_and_of_many_channels_keep_them():
    for channels in (1, 6):
        results = Resize(img_scale=(40, 30))(dict(img=np.zeros((60, 80, channels), np.uint8)))
        assert results['img_shape'] == (30, 40, channels)
    assert Resize(img_scale=(40, 30))(dict(img=np.zeros((60, 80), np.uint8)))['img_shape'] == (30, 40)


def test_pillow_is_a_backend():
    assert Resize(img_scale=(40, 30), backend='pillow')(dict(img=np.zeros((60, 80, 3), np.uint8)))['img'].shape == (
        30,
        40,
        3,
    )


def test_resize_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match='exactly one img_scale'):
        Resize(img_scale=[(1, 2), (3, 4)], ratio_range=(0.5, 2))
    with pytest.raises(ValueError, match='multiscale_mode'):
        Resize(img_scale=(1, 2), multiscale_mode='both')
    with pytest.raises(ValueError, match=r'pair \(width, height\)'):
        Resize(img_scale=[(1, 2, 3)])
    with pytest.raises(ValueError, match='needs img_scale'):
        Resize()(dict(img=np.zeros((4, 4, 3))))


def test_seg_rescale_shrinks_the_semantic_map_alone(square_sample):
    results = SegRescale(scale_factor=0.25)(square_sample())
    assert results['gt_semantic_seg'].shape == (15, 20) and results['img'].shape == (60, 80, 3)
    assert set(np.unique(results['gt_semantic_seg'])) == {0, 1, 2}


# ---------------------------------------------------------------- RandomFlip


@pytest.mark.parametrize(
    ('direction', 'boxes'),
    [
        ('horizontal', [[50, 8, 70, 28], [10, 20, 40, 50]]),
        ('vertical', [[10, 32, 30, 52], [40, 10, 70, 40]]),
        ('diagonal', [[50, 32, 70, 52], [10, 10, 40, 40]]),
    ],
)
def test_a_flip_mirrors_boxes_as_calculated_by_hand(square_sample, direction, boxes):
    results = RandomFlip(flip_ratio=1.0, direction=direction)(square_sample())
    assert results['gt_bboxes'].tolist() == boxes == results['gt_masks'].get_bboxes().tolist()
    assert results['flip'] is True and results['flip_direction'] == direction


def test_flips_equal_torchvision(rng):
    img = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)
    boxes = tv_tensors.BoundingBoxes([[1.0, 2, 5, 4], [0, 0, 8, 6]], format='XYXY', canvas_size=(6, 8))
    for direction, flip in (('horizontal', F.horizontal_flip), ('vertical', F.vertical_flip)):
        sample = dict(img=img, gt_bboxes=boxes.numpy(), bbox_fields=['gt_bboxes'])
        results = RandomFlip(flip_ratio=1.0, direction=direction)(sample)
        assert (results['img'] == flip(torch.from_numpy(img).permute(2, 0, 1)).permute(1, 2, 0).numpy()).all()
        assert results['gt_bboxes'].tolist() == flip(boxes).tolist()


@pytest.mark.parametrize(
    ('ratio', 'direction', 'expected'),
    [
        (0.5, 'horizontal', {'horizontal': 0.5, None: 0.5}),
        (0.0, 'horizontal', {None: 1}),
        (0.6, ['horizontal', 'vertical'], {'horizontal': 0.3, 'vertical': 0.3, None: 0.4}),
        ([0.1, 0.7], ['horizontal', 'diagonal'], {'horizontal': 0.1, 'diagonal': 0.7, None: 0.2}),
    ],
)
def test_directions_are_drawn_with_their_probabilities(ratio, direction, expected):
    step = RandomFlip(flip_ratio=ratio, direction=direction)
    draws = [step.draw({}) for _ in range(2000)]
    assert all(d['flip'] == (d['flip_direction'] is not None) for d in draws)
    shares = {key: sum(d['flip_direction'] == key for d in draws) / 2000 for key in expected}
    assert shares == pytest.approx(expected, abs=0.05)
    assert sum(shares.values()) == 1


def test_a_flip_that_an_earlier_step_has_set_is_obeyed(square_sample):
    sample = dict(square_sample(), flip=True, flip_direction='vertical')
    assert RandomFlip(flip_ratio=0.0)(sample)['gt_bboxes'][0].tolist() == [10, 32, 30, 52]
    unflipped = RandomFlip()(dict(square_sample(), flip=False, flip_direction=None))
    assert unflipped['gt_bboxes'][0].tolist() == [10, 8, 30, 28]


def test_flip_refuses_what_is_no_probability_or_direction():
    for ratio, direction in ((1.2, 'horizontal'), (-0.1, 'horizontal'), ([0.6, 0.6], ['horizontal', 'vertical'])):
        with pytest.raises(ValueError, match='probability'):
            RandomFlip(flip_ratio=ratio, direction=direction)
    with pytest.raises(ValueError, match='2 flip ratios for 1 directions'):
        RandomFlip(flip_ratio=[0.5, 0.5])
    with pytest.raises(ValueError, match='one of horizontal, vertical, diagonal'):
        RandomFlip(flip_ratio=0.5, direction='sideways')
    with pytest.raises(ValueError, match='needs flip_ratio'):
        RandomFlip()(dict(img=np.zeros((4, 4, 3))))


@pytest.mark.parametrize('step', [dict(type='Resize', img_scale=(640, 480)), dict(type='Mosaic', img_scale=(64, 64))])
def test_a_strip_of_pixels_keeps_a_pixel_of_height(step):
    def strip():
        boxes = np.float32([[0, 0, 900, 1]])
        return dict(img=np.full((1, 3000, 3), 7, np.uint8), gt_bboxes=boxes, bbox_fields=['gt_bboxes'])

    results = PIPELINES.build(step)(dict(strip(), mix_results=[strip() for _ in range(3)]))
    assert (results['img'] == 7).any() and results['gt_bboxes'].shape[1] == 4
    if step['type'] == 'Resize':
        assert results['img'].shape == (1, 640, 3)


def test_random_affine_moves_every_image_alike_and_keeps_a_single_channel():
    img = np.arange(40 * 60, dtype=np.uint8).reshape(40, 60, 1)
    sample = dict(img=img, depth=img.copy(), img_fields=['img', 'depth'])
    results = PIPELINES.build(dict(type='RandomAffine'))(sample)
    assert results['img'].shape == results['img_shape'] == (40, 60, 1)
    assert (results['img'] == results['depth']).all() and (results['img'] != img).any()
