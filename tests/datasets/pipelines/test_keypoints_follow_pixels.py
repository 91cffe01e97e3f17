"""Every step that moves an image: keypoints, boxes and masks stay on the pixels that they were on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from test_geometry_steps import COLOUR

from mmdet_clone.datasets.pipelines import Transform
from mmdet_clone.registry import PIPELINES
from mmdet_clone.structures import PolygonMasks

HEIGHT, WIDTH = 120, 160
BOXES = [(20, 30, 70, 90), (92, 40, 142, 104)]
POINTS = [[(25, 40), (60, 35), (45, 80)], [(98, 50), (130, 60), (110, 98)]]  # x, y; one channel of the image each
PAIRS = [(0, 1)]
MEAN = dict(mean=[0, 0, 0], std=[1, 1, 1], to_rgb=True)
STILL = dict(max_rotate_degree=0.0, max_translate_ratio=0.0, max_shear_degree=0.0, scaling_ratio_range=(1.0, 1.0))
SAME, SWAPPED = [0, 1, 2], [1, 0, 2]


def sample(polygons: bool, boxes=BOXES, points=POINTS) -> dict:
    """Two instances of three keypoints: keypoint k is a patch of 3 x 3 pixels in channel k of a black image."""
    img = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    keypoints = np.full((len(boxes), 3, 3), 2, np.float32)
    for i, instance in enumerate(points):
        for k, (x, y) in enumerate(instance):
            img[y - 1 : y + 2, x - 1 : x + 2, k] = 250
            keypoints[i, k, :2] = x, y
    outlines = [[np.array([x1, y1, x2, y1, x2, y2, x1, y2], float)] for x1, y1, x2, y2 in boxes]
    masks = PolygonMasks(outlines, HEIGHT, WIDTH)
    return dict(
        img=img,
        img_shape=img.shape,
        img_fields=['img'],
        gt_bboxes=np.array(boxes, np.float32).reshape(-1, 4),
        gt_labels=np.arange(len(boxes)),
        gt_bboxes_ignore=np.zeros((0, 4), np.float32),
        gt_masks=masks if polygons else masks.to_bitmap(),
        gt_keypoints=keypoints,
        bbox_fields=['gt_bboxes_ignore', 'gt_bboxes'],
        mask_fields=['gt_masks'],
    )


def with_float_image(made: dict) -> dict:
    return dict(made, img=made['img'].astype(np.float32))


def with_others(count: int) -> Callable[[dict], dict]:
    def add(made: dict) -> dict:
        polygons = isinstance(made['gt_masks'], PolygonMasks)
        return dict(made, mix_results=[sample(polygons) for _ in range(count)])

    return add


def with_an_other_at_the_right(made: dict) -> dict:
    """For CopyPaste: an object to paste beside the two."""
    points = [[(150, 6), (156, 10), (151, 20)]]
    other = sample(isinstance(made['gt_masks'], PolygonMasks), [(146, 2, 159, 28)], points)
    return dict(made, mix_results=[other])


def as_given(made: dict) -> dict:
    return made


# step, arguments, what the sample needs, the channel on which each keypoint ends
CASES = [
    ('Resize', dict(img_scale=(320, 240)), as_given, SAME),
    ('Resize', dict(img_scale=(100, 100)), as_given, SAME),
    ('Resize', dict(img_scale=(300, 130), keep_ratio=False), as_given, SAME),
    ('RandomFlip', dict(flip_ratio=1.0, flip_pairs=PAIRS), as_given, SWAPPED),
    ('RandomFlip', dict(flip_ratio=1.0, flip_pairs=PAIRS, direction='vertical'), as_given, SWAPPED),
    ('RandomFlip', dict(flip_ratio=1.0, flip_pairs=PAIRS, direction='diagonal'), as_given, SAME),
    ('RandomCrop', dict(crop_size=(90, 110)), as_given, SAME),
    ('RandomCrop', dict(crop_size=(0.5, 0.5), crop_type='relative_range', recompute_bbox=True), as_given, SAME),
    ('MinIoURandomCrop', dict(min_ious=(0.1, 0.3)), as_given, SAME),
    ('Expand', dict(prob=1.0), as_given, SAME),
    ('Pad', dict(size=(200, 190)), as_given, SAME),
    ('Pad', dict(pad_to_square=True), as_given, SAME),
    ('Rotate', dict(level=10, prob=1.0, img_fill_val=0), as_given, SAME),
    ('Rotate', dict(level=8, scale=1.3, center=(40, 50), prob=1.0, img_fill_val=(0, 0, 0)), as_given, SAME),
    ('Shear', dict(level=9, prob=1.0, img_fill_val=0), as_given, SAME),
    ('Shear', dict(level=9, prob=1.0, img_fill_val=0, direction='vertical'), as_given, SAME),
    ('Translate', dict(level=2, prob=1.0, img_fill_val=0), as_given, SAME),
    ('Translate', dict(level=2, prob=1.0, img_fill_val=0, direction='vertical'), as_given, SAME),
    ('RandomShift', dict(shift_ratio=1.0, max_shift_px=40), as_given, SAME),
    ('RandomAffine', dict(max_rotate_degree=20, border_val=(0, 0, 0)), as_given, SAME),
    ('RandomAffine', dict(STILL, scaling_ratio_range=(1.5, 2), border=(-10, 30), border_val=(0, 0, 0)), as_given, SAME),
    ('RandomCenterCropPad', dict(crop_size=(100, 100), test_pad_mode=None, **MEAN), with_float_image, SAME),
    (
        'RandomCenterCropPad',
        dict(crop_size=None, ratios=None, border=None, test_mode=True, test_pad_mode=('logical_or', 127), **MEAN),
        with_float_image,
        SAME,
    ),
    ('CutOut', dict(n_holes=1, cutout_shape=(1, 1)), as_given, SAME),
    ('FilterAnnotations', dict(min_gt_bbox_wh=(1, 62)), as_given, SAME),
    ('Mosaic', dict(img_scale=(HEIGHT, WIDTH), pad_val=0), with_others(3), SAME),
    ('Mosaic', dict(img_scale=(80, 200), pad_val=0), with_others(3), SAME),
    ('MixUp', dict(img_scale=(150, 200), flip_ratio=0.0, pad_val=0), with_others(1), SAME),
    ('CopyPaste', dict(selected=False), with_an_other_at_the_right, SAME),
]
IDS = [f'{name}-{i}' for i, (name, *_) in enumerate(CASES)]


def test_every_step_that_moves_pixels_is_among_the_cases():
    ours = {
        name
        for name, cls in PIPELINES.module_dict.items()
        if isinstance(cls, type) and issubclass(cls, Transform) and cls.__module__.startswith('mmdet_clone.')
    }
    assert ours - COLOUR - {'SegRescale'} <= {name for name, *_ in CASES}


def check_rows(results: dict, channels: list[int]) -> int:
    """Every keypoint lies on its pixel, in its row's box and mask; how many are seen."""
    boxes, keypoints, masks = results['gt_bboxes'], results['gt_keypoints'], results['gt_masks']
    assert len(boxes) == len(keypoints) == len(masks) == len(results['gt_labels'])
    assert keypoints.dtype == np.float32 and keypoints.shape[1:] == (3, 3)
    assert (masks.height, masks.width) == results['img'].shape[:2]
    for box, points, mask in zip(boxes, keypoints, masks.to_ndarray()):
        for (x, y, visible), channel in zip(points, channels):
            if not visible:
                assert (x, y) == (0, 0)
                continue
            column, row = round(float(x)), round(float(y))
            assert results['img'][row, column, channel] > 60, (x, y, channel)
            assert mask[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2].any()
            assert box[0] - 1 <= x <= box[2] + 1 and box[1] - 1 <= y <= box[3] + 1
    return int((keypoints[..., 2] > 0).sum())


@pytest.mark.parametrize(('name', 'args', 'prepare', 'channels'), CASES, ids=IDS)
@pytest.mark.parametrize('polygons', [False, True], ids=['bitmaps', 'polygons'])
@pytest.mark.parametrize('seed', range(3))
def test_keypoints_end_on_the_pixels_they_were_on(name, args, prepare, channels, polygons, seed):
    np.random.seed(seed)
    results = PIPELINES.build(dict(args, type=name))(prepare(sample(polygons)))
    if results is None:
        pytest.skip('the crop holds no object')
    assert check_rows(results, channels) >= 1


@pytest.mark.parametrize(('name', 'args', 'prepare', 'channels'), CASES, ids=IDS)
def test_polygons_and_bitmaps_stay_equal_but_for_a_pixel_along_the_outline(name, args, prepare, channels):
    areas = []
    for polygons in (False, True):
        np.random.seed(1)
        results = PIPELINES.build(dict(args, type=name))(prepare(sample(polygons)))
        areas.append(results['gt_masks'].to_ndarray().astype(bool))
    as_bitmap, as_polygon = areas
    assert as_bitmap.shape == as_polygon.shape
    for one, other in zip(as_bitmap, as_polygon):
        outline = 2 * (one.any(0).sum() + one.any(1).sum())
        assert (one ^ other).sum() <= outline


@pytest.mark.parametrize(('name', 'args', 'prepare', 'channels'), CASES, ids=IDS)
def test_a_sample_without_instances_keeps_its_number_of_keypoints(name, args, prepare, channels):
    if name == 'RandomCrop':
        args = dict(args, allow_negative_crop=True)
    empty = sample(False, boxes=(), points=())
    others = [sample(False, boxes=(), points=()) for _ in prepare(sample(False)).get('mix_results', ())]
    results = PIPELINES.build(dict(args, type=name))(prepare(empty) | (dict(mix_results=others) if others else {}))
    assert results['gt_keypoints'].shape == (0, 3, 3) and results['gt_bboxes'].shape == (0, 4)


def test_mixup_swaps_left_and_right_of_the_image_that_it_flips():
    args = dict(img_scale=(HEIGHT, WIDTH), ratio_range=(1.0, 1.0), flip_ratio=1.0, pad_val=0, flip_pairs=PAIRS)
    results = PIPELINES.build(dict(args, type='MixUp'))(with_others(1)(sample(False)))
    own, other = (
        {key: results[key][rows] for key in ('gt_bboxes', 'gt_keypoints', 'gt_labels', 'gt_masks')} | {'img': img}
        for rows, img in ((slice(0, 2), results['img']), (slice(2, 4), results['img']))
    )
    assert check_rows(own, SAME) == check_rows(other, SWAPPED) == 6


# ---------------------------------------------------------------- by hand


def keypoints_of(step: dict, keypoints: list, height: int = 60, width: int = 80) -> np.ndarray:
    made = dict(img=np.zeros((height, width, 3), np.uint8), gt_keypoints=np.array(keypoints, np.float32))
    return PIPELINES.build(step)(made)['gt_keypoints']


def test_a_flip_takes_the_first_column_to_the_last_and_swaps_the_pairs_of_coco():
    person = [[(k, 10 + k, 2) for k in range(17)]]
    flipped = keypoints_of(dict(type='RandomFlip', flip_ratio=1.0), person)[0]
    # nose 0; then left and right eyes, ears, shoulders, elbows, wrists, hips, knees, ankles
    order = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    assert flipped[:, 0].tolist() == [79 - k for k in order]
    assert flipped[:, 1].tolist() == [10 + k for k in order]


def test_half_a_turn_swaps_no_pairs():
    step = dict(type='RandomFlip', flip_ratio=1.0, direction='diagonal', flip_pairs=[(0, 1)])
    assert keypoints_of(step, [[(0, 0, 2), (79, 59, 1)]]).tolist() == [[[79, 59, 2], [0, 0, 0 + 1]]]


def test_other_numbers_of_keypoints_need_flip_pairs():
    with pytest.raises(ValueError, match=r'mirrors 2 keypoints .* give flip_pairs=\[\(left, right\)'):
        keypoints_of(dict(type='RandomFlip', flip_ratio=1.0), [[(0, 0, 2), (1, 1, 2)]])
    with pytest.raises(ValueError, match=r'flip_pairs names \(0, 5\); the instances have 2 keypoints'):
        keypoints_of(dict(type='RandomFlip', flip_ratio=1.0, flip_pairs=[(0, 5)]), [[(0, 0, 2), (1, 1, 2)]])


def test_resizing_keeps_the_corners_of_the_image():
    # the middle of pixel 0 is half a pixel from the border, and of the doubled image one
    doubled = keypoints_of(dict(type='Resize', img_scale=(160, 120)), [[(0, 0, 2), (79, 59, 1), (0, 0, 0)]])
    assert doubled.tolist() == [[[0.5, 0.5, 2], [158.5, 118.5, 1], [0, 0, 0]]]


def test_points_outside_of_a_crop_are_not_labelled_any_more():
    np.random.seed(0)
    step = PIPELINES.build(dict(type='RandomCrop', crop_size=(20, 20)))
    window = step.draw(dict(img=np.zeros((60, 80, 3))))
    x, y = window.x1, window.y1
    made = dict(
        img=np.zeros((60, 80, 3), np.uint8),
        gt_keypoints=np.array([[(x, y, 2), (x - 1, y, 2), (x + 19, y + 19, 1), (x + 20, y, 2)]], np.float32),
    )
    assert step.apply(made, window)['gt_keypoints'].tolist() == [[[0, 0, 2], [0, 0, 0], [19, 19, 1], [0, 0, 0]]]


def test_a_pasted_object_hides_the_keypoints_below_it():
    other = sample(False, [(55, 30, 66, 40)], [[(57, 33), (58, 34), (59, 35)]])
    results = PIPELINES.build(dict(type='CopyPaste', selected=False))(dict(sample(False), mix_results=[other]))
    assert results['gt_keypoints'][0, :, 2].tolist() == [2, 1, 2]  # (60, 35) lies below


# ---------------------------------------------------------------- from the annotation to the batch


@pytest.mark.parametrize('flat', [False, True])
def test_keypoints_come_from_the_annotation(flat):
    keypoints = np.array([[(3, 4, 2), (9, 9, 0), (5, 6, 1)]], np.float64)
    info = dict(bboxes=np.zeros((1, 4), np.float32), labels=np.zeros(1, int), keypoints=keypoints)
    info['keypoints'] = keypoints.reshape(1, -1) if flat else keypoints
    step = PIPELINES.build(dict(type='LoadAnnotations', with_keypoints=True))
    loaded = step(dict(img_info={}, ann_info=info))['gt_keypoints']
    assert loaded.dtype == np.float32 and loaded.tolist() == [[[3, 4, 2], [0, 0, 0], [5, 6, 1]]]
    assert keypoints[0, 1, 0] == 9  # the data set's own stay


def test_an_annotation_without_keypoints_or_with_too_few_is_named():
    step = PIPELINES.build(dict(type='LoadAnnotations', with_keypoints=True))
    info = dict(bboxes=np.zeros((2, 4), np.float32), labels=np.zeros(2, int))
    with pytest.raises(KeyError, match=r"with_keypoints=True\) needs ann_info\['keypoints'\].*image a\.jpg"):
        step(dict(img_info=dict(filename='a.jpg'), ann_info=info))
    with pytest.raises(ValueError, match=r'\(2, K, 3\).*2 boxes of image a\.jpg, got \(1, 17, 3\)'):
        step(dict(img_info=dict(filename='a.jpg'), ann_info=dict(info, keypoints=np.zeros((1, 17, 3)))))


def test_keypoints_reach_the_batch_as_a_list_over_images():
    from mmdet_clone.datasets import collate

    steps = [
        dict(type='RandomFlip', flip_ratio=0.0),
        dict(type='DefaultFormatBundle'),
        dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_keypoints'], meta_keys=['img_shape']),
    ]
    pipeline = PIPELINES.build(dict(type='Compose', transforms=steps))
    batch = collate([pipeline(sample(False)) for _ in range(2)])
    assert [tuple(k.shape) for k in batch['gt_keypoints']] == [(2, 3, 3), (2, 3, 3)]
