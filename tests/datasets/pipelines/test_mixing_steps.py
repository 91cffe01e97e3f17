"""Steps that mix images: Mosaic, MixUp; RandomAffine, which follows them; and YOLOX's colours."""

from __future__ import annotations

import copy

import cv2
import numpy as np
import pytest

from mmdet_clone.datasets.pipelines import Mosaic
from mmdet_clone.registry import PIPELINES


def build(name: str, **args: object):
    return PIPELINES.build(dict(type=name, **args))


def painted(value: int, boxes: list, height: int = 40, width: int = 60, label: int = 0) -> dict:
    """A sample of the colour ``value`` with white objects."""
    img = np.full((height, width, 3), value, np.uint8)
    for x1, y1, x2, y2 in boxes:
        img[y1:y2, x1:x2] = 255
    return dict(
        img=img,
        img_shape=img.shape,
        img_fields=['img'],
        bbox_fields=['gt_bboxes'],
        gt_bboxes=np.array(boxes, np.float32).reshape(-1, 4),
        gt_labels=np.full(len(boxes), label),
    )


def four() -> dict:
    first, *rest = (painted(10 * i + 10, [(10, 10, 30, 30)], label=i) for i in range(4))
    return dict(first, mix_results=rest)


def hull(mask: np.ndarray) -> list[int]:
    ys, xs = np.nonzero(mask)
    return [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


# ---------------------------------------------------------------------- Mosaic


def test_mosaic_lays_each_image_with_a_corner_on_the_point():
    results = build('Mosaic', img_scale=(40, 60), center_ratio_range=(1.0, 1.0))(four())
    img = results['img']
    assert img.shape == results['img_shape'] == results['pad_shape'] == (80, 120, 3)
    quarters = [img[:40, :60], img[:40, 60:], img[40:, :60], img[40:, 60:]]
    for i, (quarter, sample) in enumerate(zip(quarters, [four(), *four()['mix_results']])):
        assert np.array_equal(quarter, sample['img']), i
    expected = [[10, 10, 30, 30], [70, 10, 90, 30], [10, 50, 30, 70], [70, 50, 90, 70]]
    assert results['gt_bboxes'].tolist() == expected
    assert results['gt_labels'].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize('ratio', [0.5, 0.7, 1.3, 1.5])
def test_mosaic_moves_boxes_with_their_pixels(ratio):
    scale = (80, 60)  # the images of 40 x 60 keep their size
    results = build('Mosaic', img_scale=scale, center_ratio_range=(ratio, ratio), pad_val=0)(four())
    img = results['img']
    assert len(results['gt_bboxes']) >= 2
    for box, label in zip(results['gt_bboxes'].astype(int), results['gt_labels']):
        x1, y1, x2, y2 = box
        assert (img[y1:y2, x1:x2] == 255).all(), (box, label)
    assert (img == 255).all(-1).sum() == sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in results['gt_bboxes'])


def test_mosaic_resizes_each_image_to_fit():
    sample = four()
    sample['mix_results'][0] = painted(99, [(20, 20, 60, 60)], height=80, width=240, label=1)
    results = build('Mosaic', img_scale=(40, 60), center_ratio_range=(1.0, 1.0), pad_val=7)(sample)
    assert results['gt_bboxes'][1].tolist() == [60 + 5, 20 + 5, 60 + 15, 20 + 15]  # a quarter, above the point
    assert (results['img'][:20, 60:] == 7).all()


def test_mosaic_drops_what_leaves_the_canvas_with_its_labels_and_ignored_boxes():
    sample = four()
    for i, part in enumerate([sample, *sample['mix_results']]):
        part['bbox_fields'] = ['gt_bboxes', 'gt_bboxes_ignore']
        part['gt_bboxes_ignore'] = np.array([[0, 0, 5, 5]], np.float32) if i == 3 else np.zeros((0, 4), np.float32)
    step = build('Mosaic', img_scale=(40, 60), center_ratio_range=(0.5, 0.5), bbox_clip_border=False)
    results = step(sample)  # the point is 30, 20: those on the left lose 30 columns, and their boxes end at 0
    assert results['gt_labels'].tolist() == [1, 3]
    assert results['gt_bboxes'].tolist() == [[40, -10, 60, 10], [40, 30, 60, 50]]
    assert results['gt_bboxes_ignore'].tolist() == [[30, 20, 35, 25]]


def test_mosaic_is_left_out_with_a_probability():
    sample = four()
    results = build('Mosaic', prob=0.0)(copy.deepcopy(sample))
    assert np.array_equal(results['img'], sample['img']) and len(results['gt_bboxes']) == 1
    with pytest.raises(ValueError, match='between 0 and 1'):
        Mosaic(prob=1.5)


def test_mosaic_draws_three_images_of_the_data_set():
    draws = np.array([build('Mosaic').get_indexes(range(5)) for _ in range(50)])
    assert draws.shape == (50, 3) and set(draws.flat) == set(range(5))


def test_mosaic_outside_of_a_mixing_data_set_says_where_it_belongs():
    with pytest.raises(ValueError, match=r'found none .* MultiImageMixDataset'):
        build('Mosaic')(painted(1, [(1, 1, 9, 9)]))


def test_mixup_refuses_semantic_maps_where_every_pixel_would_mean_two_things(square_sample):
    with pytest.raises(NotImplementedError, match=r'gt_semantic_seg: load annotations without \(with_seg=False\)'):
        build('MixUp')(dict(square_sample(), mix_results=[square_sample()]))


def test_mosaic_lays_semantic_maps_as_it_lays_images(square_sample):
    results = build('Mosaic', img_scale=(60, 80), center_ratio_range=(1.0, 1.0))(
        dict(square_sample(), mix_results=[square_sample() for _ in range(3)])
    )
    seg = square_sample()['gt_semantic_seg']
    assert (results['gt_semantic_seg'] == np.block([[seg, seg], [seg, seg]])).all()


# ---------------------------------------------------------------------- MixUp


def mixed(flip_ratio: float = 0.0, ratio: float = 1.0, **args: object) -> dict:
    sample = painted(100, [(2, 2, 12, 12)], height=40, width=40)
    other = painted(50, [(20, 10, 30, 20)], height=40, width=40, label=1)
    args = dict(img_scale=(40, 40), flip_ratio=flip_ratio, ratio_range=(ratio, ratio), pad_val=0, **args)
    return build('MixUp', **args)(dict(sample, mix_results=[other]))


def test_mixup_is_the_mean_of_the_images_and_the_union_of_the_boxes():
    results = mixed()
    assert results['gt_bboxes'].tolist() == [[2, 2, 12, 12], [20, 10, 30, 20]]
    assert results['gt_labels'].tolist() == [0, 1]
    img = results['img'][..., 0]
    assert img.dtype == np.uint8
    assert (img[0, 0], img[5, 5], img[15, 25]) == (75, (255 + 50) // 2, (100 + 255) // 2)


def test_mixup_flips_image_and_boxes():
    results = mixed(flip_ratio=1.0)
    assert results['gt_bboxes'][1].tolist() == [10, 10, 20, 20]
    assert results['img'][15, 15, 0] == (100 + 255) // 2


def test_mixup_of_a_smaller_image_leaves_the_rest_to_this_one_at_half_its_brightness():
    results = mixed(ratio=0.5)
    assert results['gt_bboxes'][1].tolist() == [10, 5, 15, 10]
    assert results['img'][30, 30, 0] == 50


@pytest.mark.parametrize('seed', range(5))
def test_mixup_of_a_larger_image_takes_a_part_and_moves_its_boxes(seed):
    np.random.seed(seed)
    results = mixed(ratio=2.0)
    for x1, y1, x2, y2 in results['gt_bboxes'][1:].astype(int):
        bright = np.zeros((40, 40), np.uint8)
        bright[y1:y2, x1:x2] = 1
        bright[:14, :14] = 0  # where the object of this image is
        inner = cv2.erode(bright, np.ones((3, 3), np.uint8), borderValue=0).astype(bool)
        assert (results['img'][inner] == (100 + 255) // 2).all()


def test_mixup_drops_small_remains_if_asked():
    assert len(mixed(skip_filter=False, min_bbox_size=11)['gt_bboxes']) == 1
    assert len(mixed(skip_filter=False, min_bbox_size=9)['gt_bboxes']) == 2


def test_mixup_with_an_image_without_boxes_changes_nothing():
    sample, other = painted(100, [(2, 2, 12, 12)]), painted(50, [])
    results = build('MixUp')(dict(sample, mix_results=[other]))
    assert np.array_equal(results['img'], sample['img'])


def test_mixup_looks_for_an_image_with_boxes():
    class Half:
        def __len__(self) -> int:
            return 10

        def get_ann_info(self, index: int) -> dict:
            return dict(bboxes=np.zeros((index % 2, 4)))

    assert {build('MixUp').get_indexes(Half()) % 2 for _ in range(20)} == {1}
    assert isinstance(build('MixUp', max_iters=1).get_indexes(Half()), int)


def test_mixup_takes_the_scale_that_the_data_set_sets():
    sample = painted(100, [(2, 2, 12, 12)], height=20, width=20)
    other = painted(50, [(20, 10, 30, 20)], height=40, width=40, label=1)
    step = build('MixUp', img_scale=(40, 40), flip_ratio=0.0, ratio_range=(1.0, 1.0))
    assert step(dict(sample, mix_results=[other], scale=(20, 20)))['gt_bboxes'][1].tolist() == [10, 5, 15, 10]


# ---------------------------------------------------------------------- RandomAffine

STILL = dict(max_rotate_degree=0.0, max_translate_ratio=0.0, max_shear_degree=0.0, scaling_ratio_range=(1.0, 1.0))


def test_without_movement_only_the_border_counts():
    results = build('RandomAffine', **STILL, border=(-10, 5))(painted(100, [(2, 2, 12, 12)]))
    assert results['img'].shape == results['img_shape'] == (20, 70, 3)
    assert (results['img'][:, 60:] == 114).all() and (results['img'][5, 5] == 255).all()
    assert results['gt_bboxes'].tolist() == [[2, 2, 12, 12]]


def test_scaling_is_about_the_upper_left_corner():
    results = build('RandomAffine', **{**STILL, 'scaling_ratio_range': (0.5, 0.5)})(painted(0, [(20, 10, 40, 30)]))
    assert results['gt_bboxes'].tolist() == [[10, 5, 20, 15]]


@pytest.mark.parametrize('seed', range(8))
def test_boxes_are_the_hulls_of_what_they_held(seed):
    np.random.seed(seed)
    sample = painted(0, [(80, 60, 140, 130)], height=200, width=220)
    step = build('RandomAffine', max_rotate_degree=20, max_shear_degree=10, border_val=(0, 0, 0))
    results = step(sample)
    for box in results['gt_bboxes']:
        assert np.allclose(box, hull(results['img'][..., 0] > 127), atol=1.5)


def test_boxes_that_leave_the_image_are_dropped_with_their_labels():
    sample = painted(0, [(2, 2, 12, 12), (40, 20, 60, 40)])
    sample['gt_labels'] = np.array([3, 4])
    results = build('RandomAffine', **{**STILL, 'scaling_ratio_range': (2.0, 2.0)})(sample)
    assert results['gt_bboxes'].tolist() == [[4, 4, 24, 24]] and results['gt_labels'].tolist() == [3]


def test_boxes_of_which_little_is_left_are_dropped_if_asked():
    sample = painted(0, [(2, 2, 12, 12), (25, 10, 45, 20)])
    args = {**STILL, 'scaling_ratio_range': (2.0, 2.0)}
    assert len(build('RandomAffine', **args)(copy.deepcopy(sample))['gt_bboxes']) == 2
    assert len(build('RandomAffine', **args, skip_filter=False, min_area_ratio=0.3)(sample)['gt_bboxes']) == 1


def test_affine_refuses_factors_that_turn_the_image_inside_out():
    with pytest.raises(ValueError, match='both positive'):
        build('RandomAffine', scaling_ratio_range=(0, 1))


# ---------------------------------------------------------------------- colours


def shifted(img: np.ndarray, shifts: list[int]) -> np.ndarray:
    step = build('YOLOXHSVRandomAug')
    return step.apply(dict(img=img, img_fields=['img']), np.array(shifts, np.int16))['img']


def test_hsv_shifts_each_channel_by_whole_numbers(rng):
    img = rng.integers(0, 256, (20, 30, 3)).astype(np.uint8)
    hsv = cv2.cvtColor(img, cv2.COLOR_BGR2HSV).astype(int)
    hsv[..., 0] = (hsv[..., 0] - 4) % 180
    hsv[..., 1] = (hsv[..., 1] + 30).clip(0, 255)
    hsv[..., 2] = (hsv[..., 2] - 25).clip(0, 255)
    expected = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2BGR)
    before = img.copy()
    assert np.array_equal(shifted(img, [-4, 30, -25]), expected)
    assert np.array_equal(img, before)


def test_hsv_draws_each_shift_half_of_the_time():
    draws = np.array([build('YOLOXHSVRandomAug').draw({}) for _ in range(400)])
    assert (np.abs(draws).max(0) <= [5, 30, 30]).all() and (np.abs(draws).max(0) >= [4, 28, 28]).all()
    assert 0.4 < (draws[:, 2] == 0).mean() < 0.6


def test_hsv_of_a_normalised_image_says_what_it_needs():
    with pytest.raises(ValueError, match='needs uint8 images'):
        build('YOLOXHSVRandomAug')(dict(img=np.zeros((4, 4, 3), np.float32)))
