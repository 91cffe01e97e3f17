"""RandomCenterCropPad and CopyPaste, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mmdet_clone.registry import PIPELINES

MEAN = dict(mean=[3, 2, 1], std=[1, 1, 1], to_rgb=True)
TESTING = dict(crop_size=None, ratios=None, border=None, test_mode=True, **MEAN)


def build(name: str, **args: object):
    return PIPELINES.build(dict(type=name, **args))


def floats(square_sample, **args) -> dict:
    made = square_sample(**args)
    return dict(made, img=made['img'].astype(np.float32))


def test_testing_puts_the_image_into_the_middle(square_sample):
    sample = floats(square_sample)  # 60 x 80
    results = build('RandomCenterCropPad', test_pad_mode=('logical_or', 127), **TESTING)(dict(sample))
    assert results['img'].shape == results['pad_shape'] == (127, 127, 3)  # 60 | 127, 80 | 127
    assert results['img_shape'] == (60, 80, 3)
    top, bottom, left, right = results['border'].astype(int)
    assert (bottom - top, right - left) == (60, 80) and (top, left) == (63 - 30, 63 - 40)
    assert (results['img'][top:bottom, left:right] == sample['img']).all()
    assert results['img'][0, 0].tolist() == [1, 2, 3]  # the mean in the image's order
    assert results['gt_bboxes'][0].tolist() == [10 + 23, 8 + 33, 30 + 23, 28 + 33]


@pytest.mark.parametrize(
    ('mode', 'shape'),
    [(('logical_or', 31), (64, 96)), (('size_divisor', 32), (64, 96)), (('size_divisor', 20), (60, 80))],
)
def test_sizes_of_the_canvas_in_testing(mode, shape):
    step = build('RandomCenterCropPad', test_pad_mode=mode, test_pad_add_pix=int(mode[0] == 'logical_or'), **TESTING)
    assert step(dict(img=np.zeros((60, 80, 3), np.float32)))['img'].shape[:2] == shape


@pytest.mark.parametrize('seed', range(6))
@pytest.mark.parametrize('polygons', [False, True])
def test_training_keeps_boxes_whose_centre_is_in_the_piece_on_their_pixels(square_sample, polygons, seed):
    np.random.seed(seed)
    step = build('RandomCenterCropPad', crop_size=(50, 50), ratios=(0.8, 1.0), test_pad_mode=None, border=16, **MEAN)
    results = step(floats(square_sample, polygons=polygons))
    assert results['img'].shape == results['img_shape'] == results['pad_shape']
    assert results['img'].shape[:2] in {(40, 40), (50, 50)}
    assert len(results['gt_bboxes']) >= 1
    for box, label, mask in zip(
        results['gt_bboxes'].astype(int), results['gt_labels'], results['gt_masks'].to_ndarray()
    ):
        x1, y1, x2, y2 = box
        assert (results['img'][y1:y2, x1:x2] == 50 * (label + 1)).all()
        assert (results['gt_semantic_seg'][y1:y2, x1:x2] == label + 1).all()
        assert mask[y1:y2, x1:x2].all() and mask.sum() == (y2 - y1) * (x2 - x1)
    assert (results['gt_semantic_seg'] == 255).any() == (results['img'] == [1, 2, 3]).all(-1).any()


def test_a_small_image_has_a_smaller_rim():
    # 128 pixels from both borders leave nothing of 100: a quarter does, 32; of 60, an eighth, 16
    step = build('RandomCenterCropPad', crop_size=(50, 50), test_pad_mode=None, **MEAN)
    centres = np.array(
        [
            (p.x1 + p.width // 2 - p.left, p.y1 + p.height // 2 - p.top)
            for p in (step.draw(dict(img=np.zeros((60, 100, 3), np.float32))) for _ in range(300))
        ]
    )
    assert (centres.min(0) >= [32, 16]).all() and (centres.max(0) < [68, 44]).all()
    assert (centres.min(0) <= [34, 18]).all()


def test_no_piece_with_a_box_drops_the_sample():
    step = build('RandomCenterCropPad', crop_size=(4, 4), ratios=(1.0,), border=20, test_pad_mode=None, **MEAN)
    sample = dict(img=np.zeros((60, 80, 3), np.float32), gt_bboxes=np.array([[0, 0, 2, 2]], np.float32))
    assert step(dict(sample, bbox_fields=['gt_bboxes'])) is None


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (dict(crop_size=(5, 5), test_pad_mode=None), 'give mean, std and to_rgb'),
        (dict(crop_size=(5, 5), **MEAN), 'test_pad_mode is for test_mode=True'),
        (dict(test_pad_mode=None, **MEAN), r'crop_size is \(height, width\) in training'),
        (dict(test_mode=True, **MEAN), 'ratios is for training'),
        (dict(TESTING, test_pad_mode=('power', 2)), 'logical_or'),
    ],
)
def test_arguments_of_the_other_mode_are_refused(args, message):
    with pytest.raises(ValueError, match=message):
        build('RandomCenterCropPad', **args)


def test_whole_numbers_are_refused_with_the_option_that_loads_floats():
    step = build('RandomCenterCropPad', crop_size=(5, 5), test_pad_mode=None, **MEAN)
    with pytest.raises(ValueError, match='to_float32=True in LoadImageFromFile'):
        step(dict(img=np.zeros((60, 80, 3), np.uint8)))


# ---------------------------------------------------------------- CopyPaste


def pasted(square_sample, boxes, **args) -> dict:
    sample, other = square_sample(), square_sample(boxes=boxes)
    other['img'][other['img'] > 0] += 100
    return build('CopyPaste', selected=False, **args)(dict(sample, mix_results=[other]))


def test_pasted_objects_bring_their_pixels_and_their_labels(square_sample):
    results = pasted(square_sample, [(2, 40, 12, 55)])
    assert results['gt_bboxes'].tolist() == [[10, 8, 30, 28], [40, 20, 70, 50], [2, 40, 12, 55]]
    assert results['gt_labels'].tolist() == [0, 1, 0]
    assert (results['img'][40:55, 2:12] == 150).all() and (results['img'][8:28, 10:30] == 50).all()
    assert (results['gt_semantic_seg'][40:55, 2:12] == 1).all()
    assert results['gt_masks'].areas.tolist() == [400, 900, 150]


def test_boxes_shrink_to_what_is_left_of_their_masks(square_sample):
    results = pasted(square_sample, [(40, 20, 45, 50)])  # the left sixth of the second
    assert results['gt_bboxes'].tolist() == [[10, 8, 30, 28], [45, 20, 70, 50], [40, 20, 45, 50]]
    assert results['gt_masks'].areas.tolist() == [400, 750, 150]


def test_an_instance_of_which_little_is_left_is_dropped(square_sample):
    # of the first 20 x 20 pixels, 4 x 20 stay: its box moves by 16 pixels, 80 are not above 300
    results = pasted(square_sample, [(14, 8, 30, 28)])
    assert results['gt_bboxes'].tolist() == [[40, 20, 70, 50], [14, 8, 30, 28]]
    kept = pasted(square_sample, [(14, 8, 30, 28)], mask_occluded_thr=79)
    assert len(kept['gt_bboxes']) == len(kept['gt_masks']) == 3
    near = pasted(square_sample, [(14, 8, 30, 28)], bbox_occluded_thr=16)
    assert len(near['gt_bboxes']) == 3


def test_polygons_are_pasted_as_bitmaps(square_sample):
    sample, other = square_sample(polygons=True), square_sample(polygons=True, boxes=[(2, 40, 12, 55)])
    results = build('CopyPaste', selected=False)(dict(sample, mix_results=[other]))
    assert results['gt_masks'].to_ndarray().sum((1, 2)).tolist() == [400, 900, 150]


def test_a_random_part_of_the_objects_is_selected(square_sample):
    step = build('CopyPaste', max_num_pasted=2)
    sample = dict(square_sample(), mix_results=[square_sample(boxes=[(i, 0, i + 1, 5) for i in range(5)])])
    draws = [step.draw(sample) for _ in range(100)]
    assert {len(d) for d in draws} == {0, 1}
    assert {int(i) for d in draws for i in d} == set(range(5))


def test_an_image_without_objects_gives_none(square_sample):
    sample = square_sample()
    results = build('CopyPaste')(dict(sample, mix_results=[square_sample(boxes=())]))
    assert results['img'] is sample['img'] and len(results['gt_bboxes']) == 2


def test_images_of_two_sizes_are_refused_with_the_step_that_makes_them_one(square_sample):
    with pytest.raises(ValueError, match=r'end with Pad\(size='):
        build('CopyPaste', selected=False)(dict(square_sample(), mix_results=[square_sample(width=90)]))


def test_the_other_sample_stays_as_it_was(square_sample):
    other = square_sample()
    before = other['img'].copy()
    build('CopyPaste', selected=False)(dict(square_sample(), mix_results=[other]))
    assert (other['img'] == before).all() and len(other['gt_masks']) == 2
