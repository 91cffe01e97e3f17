"""AutoAugment's steps and RandomShift: strength by level, probabilities, and what a shift leaves."""

from __future__ import annotations

import mmcv
import numpy as np
import pytest

from mmdet_clone.registry import PIPELINES

COLOURS = {
    'ColorTransform': mmcv.adjust_color,
    'BrightnessTransform': mmcv.adjust_brightness,
    'ContrastTransform': mmcv.adjust_contrast,
}


def build(name: str, **args: object):
    return PIPELINES.build(dict(type=name, **args))


def photo(rng) -> np.ndarray:
    return rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.mark.parametrize('name', COLOURS)
@pytest.mark.parametrize(('level', 'factor'), [(0, 0.1), (5, 1.0), (10, 1.9)])
def test_a_level_is_a_factor_of_a_tenth_to_nearly_two(rng, name, level, factor):
    img = photo(rng)
    results = build(name, level=level, prob=1.0)(dict(img=img.copy()))
    assert np.abs(results['img'].astype(int) - COLOURS[name](img, factor).astype(int)).max() <= 1
    assert results['img'].dtype == np.uint8


def test_half_the_brightness_of_white_is_grey():
    # level 20 / 9 is the factor 0.5: 20 / 90 * 1.8 + 0.1
    img = np.full((4, 4, 3), 200, np.uint8)
    assert (build('BrightnessTransform', level=20 / 9, prob=1.0)(dict(img=img))['img'] == 100).all()


def test_equalising_spreads_the_values():
    img = np.repeat(np.linspace(100, 120, 4096).astype(np.uint8).reshape(64, 64, 1), 3, 2)
    equalised = build('EqualizeTransform', prob=1.0)(dict(img=img))['img']
    assert equalised.min() <= 5 and equalised.max() >= 240


@pytest.mark.parametrize('name', [*COLOURS, 'EqualizeTransform', 'Rotate', 'Shear', 'Translate'])
def test_a_step_of_probability_zero_leaves_the_sample(rng, name):
    img = photo(rng)
    args = {} if name == 'EqualizeTransform' else dict(level=10)
    assert build(name, prob=0.0, **args)(dict(img=img))['img'] is img


@pytest.mark.parametrize('name', ['Rotate', 'Shear', 'Translate'])
def test_half_of_the_movements_go_the_other_way(name):
    step, sample = build(name, level=10, prob=0.5), dict(img=np.zeros((40, 60, 3)))
    draws = [step.draw(sample) for _ in range(400)]
    moved = np.array([d for d in draws if d is not None])
    assert 150 < len(moved) < 250
    assert len(np.unique(moved.reshape(len(moved), -1), axis=0)) == 2
    always = build(name, level=10, prob=1.0, random_negative_prob=1.0)
    assert len({always.draw(sample).tobytes() for _ in range(20)}) == 1


def test_strengths_by_level():
    sample = dict(img=np.zeros((40, 60, 3)))
    args = dict(level=5, prob=1.0, random_negative_prob=0.0)
    assert build('Shear', **args).draw(sample).tolist() == [[1, 0.15, 0], [0, 1, 0]]
    assert build('Shear', direction='vertical', **args).draw(sample).tolist() == [[1, 0, 0], [0.15, 1, 0]]
    assert build('Translate', **args).draw(sample).tolist() == [[1, 0, 125], [0, 1, 0]]
    matrix = build('Rotate', **args).draw(sample)
    np.testing.assert_allclose(matrix[0, :2], [np.cos(np.pi / 12), -np.sin(np.pi / 12)], atol=1e-12)  # clockwise
    np.testing.assert_allclose(matrix @ [29.5, 19.5, 1], [29.5, 19.5])  # about the middle


def test_the_image_turns_as_mmcv_turns_it(rng):
    img = photo(rng)
    turned = build('Rotate', level=10, prob=1.0, random_negative_prob=0.0, img_fill_val=7)(dict(img=img.copy()))
    assert (turned['img'] == mmcv.imrotate(img, 30, border_value=(7, 7, 7))).all()
    sheared = build('Shear', level=10, prob=1.0, random_negative_prob=1.0, img_fill_val=7)(dict(img=img.copy()))
    assert (sheared['img'] == mmcv.imshear(img, -0.3, border_value=7)).all()


def test_a_sheared_box_is_the_hull_of_its_corners(square_sample):
    # x + 0.3 y at y = 8 and 28: 10 + 2.4 and 30 + 8.4
    results = build('Shear', level=10, prob=1.0, random_negative_prob=0.0)(square_sample())
    np.testing.assert_allclose(results['gt_bboxes'][0], [12.4, 8, 38.4, 28], rtol=1e-6)


def test_what_a_translation_pushes_out_is_dropped_or_small(square_sample):
    args = dict(level=2, max_translate_offset=175, prob=1.0, random_negative_prob=0.0)  # 35 pixels to the right
    results = build('Translate', **args)(square_sample())
    assert results['gt_bboxes'].tolist() == [[45, 8, 65, 28], [75, 20, 80, 50]]
    assert (results['img'][:, :35] == 128).all() and (results['gt_semantic_seg'][:, :35] == 255).all()
    strict = build('Translate', min_size=5, **args)(square_sample())
    assert strict['gt_labels'].tolist() == [0] and len(strict['gt_masks']) == 1


def test_random_shift_that_leaves_no_box_is_not_done(square_sample):
    step, sample = build('RandomShift', max_shift_px=40), square_sample(boxes=((0, 0, 5, 5),))
    before = sample['img']
    assert step.apply(sample, (-10, 0))['img'] is before
    moved = step.apply(sample, (-3, 2))
    assert moved['gt_bboxes'].tolist() == [[0, 2, 2, 7]] and (moved['img'][:2] == 0).all()


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (dict(type='Shear', level=11), 'level is a number from 0 to 10'),
        (dict(type='Rotate', level=5, prob=1.5), 'prob is a probability'),
        (dict(type='Translate', level=5, direction='diagonal'), "'horizontal' or 'vertical'"),
        (dict(type='Rotate', level=5, center=(1, 2, 3)), 'a number or a pair'),
        (dict(type='Rotate', level=5, scale=0), 'a factor above 0'),
        (dict(type='Shear', level=5, img_fill_val=300), 'from 0 to 255'),
        (dict(type='Shear', level=5, interpolation='cubic'), 'nearest, bilinear'),
        (dict(type='RandomShift', max_shift_px=-1), '0 or more'),
    ],
)
def test_wrong_arguments_are_refused_with_the_right_ones(args, message):
    with pytest.raises(ValueError, match=message):
        PIPELINES.build(args)


def test_a_colour_of_another_number_of_channels_is_named():
    with pytest.raises(ValueError, match='2 values, the image 3 channels'):
        build('Shear', level=5, prob=1.0, img_fill_val=(1, 2))(dict(img=np.zeros((4, 4, 3), np.uint8)))
