from __future__ import annotations

import numpy as np
import pytest

from mmdet_clone.datasets.pipelines import AutoAugment, Expand, MinIoURandomCrop, Pad, RandomCrop

# ---------------------------------------------------------------- RandomCrop


def test_crop_moves_cuts_and_drops_boxes_as_calculated_by_hand(square_sample):
    step = RandomCrop(crop_size=(30, 30))
    sample = square_sample()
    window = step.draw(sample)
    window.x1, window.y1, window.x2, window.y2 = 5, 0, 35, 30
    results = step.apply(sample, window)
    assert results['gt_bboxes'].tolist() == [[5, 8, 25, 28]]  # the other begins at x = 40
    assert results['gt_labels'].tolist() == [0] and len(results['gt_masks']) == 1
    assert results['img_shape'] == results['pad_shape'] == results['img'].shape == (30, 30, 3)


def test_crop_sizes_follow_the_crop_type():
    def sizes(**kwargs):
        windows = [RandomCrop(**kwargs).draw(dict(img=np.zeros((60, 80, 3)))) for _ in range(300)]
        assert all(0 <= w.x1 < w.x2 <= 80 and 0 <= w.y1 < w.y2 <= 60 for w in windows)
        return {w.y2 - w.y1 for w in windows}, {w.x2 - w.x1 for w in windows}

    assert sizes(crop_size=(20, 30)) == ({20}, {30})
    assert sizes(crop_size=(200, 300)) == ({60}, {80})
    assert sizes(crop_size=(10, 12), crop_type='absolute_range') == ({10, 11, 12}, {10, 11, 12})
    assert sizes(crop_size=(0.5, 0.25), crop_type='relative') == ({30}, {20})
    heights, widths = sizes(crop_size=(0.5, 0.25), crop_type='relative_range')
    assert min(heights) in (30, 31) and max(heights) >= 58 and min(widths) in (20, 21, 22) and max(widths) >= 78


def test_a_crop_reaches_every_corner():
    windows = [RandomCrop(crop_size=(58, 77)).draw(dict(img=np.zeros((60, 80, 3)))) for _ in range(300)]
    assert {w.x1 for w in windows} == {0, 1, 2, 3} and {w.y1 for w in windows} == {0, 1, 2}


def test_a_crop_without_objects_drops_the_sample_unless_allowed(square_sample):
    corner = [(70, 50, 80, 60)]
    np.random.seed(0)
    outcomes = [RandomCrop(crop_size=(5, 5))(square_sample(boxes=corner)) for _ in range(20)]
    assert None in outcomes
    allowed = [RandomCrop(crop_size=(5, 5), allow_negative_crop=True)(square_sample(boxes=corner)) for _ in range(20)]
    assert all(r is not None for r in allowed) and min(len(r['gt_bboxes']) for r in allowed) == 0


def test_ignored_boxes_alone_do_not_save_a_crop(square_sample):
    sample = dict(square_sample(boxes=()), gt_bboxes_ignore=np.array([[0, 0, 80, 60]], np.float32))
    assert RandomCrop(crop_size=(30, 30))(dict(sample)) is None
    kept = RandomCrop(crop_size=(30, 30), allow_negative_crop=True)(dict(sample))
    assert kept['gt_bboxes_ignore'].tolist() == [[0, 0, 30, 30]]


@pytest.mark.parametrize('polygons', [False, True])
def test_boxes_are_recomputed_from_what_is_left_of_the_masks(square_sample, polygons):
    sample = square_sample(polygons=polygons)
    sample['gt_bboxes'] = np.array([[0, 0, 80, 60], [35, 0, 80, 60]], np.float32)  # far too large
    step = RandomCrop(crop_size=(30, 30), recompute_bbox=True)
    window = step.draw(sample)
    window.x1, window.y1, window.x2, window.y2 = 9, 0, 39, 30
    results = step.apply(sample, window)
    assert results['gt_bboxes'].tolist() == [[1, 8, 21, 28]]  # the other's box reaches in, its mask does not
    assert results['gt_labels'].tolist() == [0] and len(results['gt_masks']) == 1


def test_boxes_may_reach_beyond_the_crop(square_sample):
    step = RandomCrop(crop_size=(30, 30), bbox_clip_border=False)
    sample = square_sample()
    window = step.draw(sample)
    window.x1, window.y1, window.x2, window.y2 = 20, 10, 50, 40
    assert step.apply(sample, window)['gt_bboxes'].tolist() == [[-10, -2, 10, 18], [20, 10, 50, 40]]


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (dict(crop_size=(10, 10), crop_type='circle'), 'crop_type is one of'),
        (dict(crop_size=(0, 10)), 'whole pixels'),
        (dict(crop_size=(0.5, 0.5)), 'whole pixels'),
        (dict(crop_size=(20, 10), crop_type='absolute_range'), 'smallest, largest'),
        (dict(crop_size=(1.5, 0.5), crop_type='relative'), 'shares above 0'),
        (dict(crop_size=(10,)), 'a pair'),
    ],
)
def test_crop_refuses_sizes_that_make_no_sense(args, message):
    with pytest.raises(ValueError, match=message):
        RandomCrop(**args)


# ---------------------------------------------------------------- Pad


@pytest.mark.parametrize(
    ('args', 'shape'),
    [
        (dict(size_divisor=32), (64, 96)),
        (dict(size_divisor=1), (60, 80)),
        (dict(size=(100, 120)), (100, 120)),
        (dict(size=[100, 50]), (100, 80)),
        (dict(pad_to_square=True), (80, 80)),
    ],
)
def test_padding_is_at_the_bottom_and_on_the_right(square_sample, args, shape):
    sample = square_sample()
    before = sample['img']
    results = Pad(pad_val=dict(img=(9, 8, 7), masks=0, seg=255), **args)(sample)
    assert results['img'].shape == results['pad_shape'] == (*shape, 3)
    assert results['img_shape'] == (60, 80, 3)
    assert (results['img'][:60, :80] == before).all()
    assert (results['img'][60:] == (9, 8, 7)).all() and (results['img'][:, 80:] == (9, 8, 7)).all()
    assert (results['gt_semantic_seg'][60:] == 255).all() and not results['gt_masks'].masks[:, 60:].any()
    assert results['pad_size_divisor'] == args.get('size_divisor')
    assert results['pad_fixed_size'] == (
        None if 'size_divisor' in args else shape if 'pad_to_square' in args else tuple(args['size'])
    )


def test_one_step_pads_images_of_different_size_each_to_its_own_square():
    step = Pad(pad_to_square=True)
    assert [step(dict(img=np.zeros((h, 8, 3))))['img'].shape[0] for h in (4, 20, 6)] == [8, 20, 8]


def test_a_number_as_pad_value_is_taken_with_a_warning():
    with pytest.warns(UserWarning, match=r'pad_val=dict\(img=3'):
        step = Pad(size=(4, 4), pad_val=3)
    assert step(dict(img=np.zeros((2, 2, 3))))['img'][3, 3].tolist() == [3, 3, 3]


def test_pad_takes_a_list_of_values_and_many_channels():
    step = Pad(size=(4, 4), pad_val=dict(img=[114.0, 115.0, 116.0]))
    assert step(dict(img=np.zeros((2, 2, 3))))['img'][3, 3].tolist() == [114, 115, 116]
    assert Pad(size_divisor=4)(dict(img=np.ones((3, 2, 7))))['img'].shape == (4, 4, 7)
    assert Pad(size_divisor=4)(dict(img=np.ones((3, 2))))['img'].shape == (4, 4)


@pytest.mark.parametrize('args', [{}, dict(size=(1, 1), size_divisor=3), dict(size_divisor=3, pad_to_square=True)])
def test_pad_needs_exactly_one_way(args):
    with pytest.raises(ValueError, match='exactly one of size, size_divisor and pad_to_square'):
        Pad(**args)


# ---------------------------------------------------------------- Expand, MinIoURandomCrop, AutoAugment


def test_expand_paints_the_canvas_in_the_mean_colour(square_sample):
    results = Expand(mean=(1, 2, 3), ratio_range=(2, 2), seg_ignore_label=255, prob=1.0)(square_sample(boxes=()))
    assert results['img'].shape == (120, 160, 3) and results['img_shape'] == (120, 160, 3)
    painted = (results['img'] == (3, 2, 1)).all(axis=-1)  # BGR
    assert painted.sum() == 120 * 160 - 60 * 80 and (results['gt_semantic_seg'][painted] == 255).all()
    assert Expand(prob=0.0)(square_sample())['img_shape'] == (60, 80, 3)
    with pytest.raises(ValueError, match='seg_ignore_label'):
        Expand(prob=1.0)(square_sample())


def test_min_iou_crops_overlap_every_box_by_a_given_share_or_are_the_whole():
    boxes = np.array([[30, 20, 70, 50]], np.float32)
    step = MinIoURandomCrop(min_ious=(0.5,), min_crop_size=0.3)
    windows = [
        step.draw(dict(img=np.zeros((60, 80, 3)), gt_bboxes=boxes, bbox_fields=['gt_bboxes'])) for _ in range(60)
    ]
    assert None in windows and any(w is not None for w in windows)
    for w in filter(None, windows):
        assert w.x1 < 50 < w.x2 and w.y1 < 35 < w.y2  # the centre
        assert 0.45 <= (w.y2 - w.y1) / (w.x2 - w.x1) <= 2.1 and w.x2 - w.x1 >= 23 and w.y2 - w.y1 >= 17


def test_auto_augment_draws_one_policy_for_each_sample():
    step = AutoAugment(
        policies=[
            [dict(type='Pad', size=(8, 8))],
            [dict(type='Pad', size=(9, 9)), dict(type='RandomFlip', flip_ratio=1.0)],
        ]
    )
    results = [step(dict(img=np.zeros((4, 4, 3)))) for _ in range(40)]
    assert {(r['img'].shape[0], r.get('flip', False)) for r in results} == {(8, False), (9, True)}
    with pytest.raises(ValueError, match='list of lists'):
        AutoAugment(policies=[dict(type='Pad', size=(8, 8))])
