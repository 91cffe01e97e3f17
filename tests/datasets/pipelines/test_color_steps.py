from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as F

from mmdet_clone.datasets.pipelines import Compose, CutOut, Normalize, PhotoMetricDistortion

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def test_normalize_turns_bgr_into_rgb_and_equals_torchvision(rng):
    img = rng.integers(0, 255, (5, 7, 3), dtype=np.uint8)
    results = Normalize(mean=MEAN, std=STD, to_rgb=True)(dict(img=img))
    rgb = torch.from_numpy(img[..., ::-1].copy()).permute(2, 0, 1).float()
    np.testing.assert_allclose(results['img'].transpose(2, 0, 1), F.normalize(rgb, MEAN, STD).numpy(), atol=1e-5)
    assert results['img'].dtype == np.float32
    assert results['img_norm_cfg']['to_rgb'] is True
    assert results['img_norm_cfg']['mean'].dtype == np.float32


def test_normalize_keeps_bgr_and_the_source_as_told(rng):
    img = rng.integers(0, 255, (5, 7, 3), dtype=np.uint8)
    source = img.copy()
    results = Normalize(mean=[1, 2, 3], std=[1, 1, 1], to_rgb=False)(dict(img=img))
    np.testing.assert_allclose(results['img'], source.astype(float) - [1, 2, 3])
    assert (img == source).all()


@pytest.mark.parametrize('shape', [(5, 7), (5, 7, 1), (5, 7, 6)])
def test_normalize_takes_any_number_of_channels(shape):
    channels = shape[2] if len(shape) == 3 else 1
    results = Normalize(mean=[10] * channels, std=[2] * channels, to_rgb=False)(dict(img=np.full(shape, 14, np.uint8)))
    assert results['img'].shape == shape and (results['img'] == 2).all()


def test_normalize_of_a_wrong_number_of_channels_says_both():
    with pytest.raises(ValueError, match='3 means and 3 deviations, the image 1 channels'):
        Normalize(mean=MEAN, std=STD)(dict(img=np.zeros((5, 7), np.uint8)))
    with pytest.raises(ValueError, match='to_rgb=True'):
        Normalize(mean=[1], std=[1])(dict(img=np.zeros((5, 7, 1), np.uint8)))


def distort(img: np.ndarray, **params) -> np.ndarray:
    names = ('brightness', 'early_contrast', 'saturation', 'hue', 'late_contrast', 'order')
    return PhotoMetricDistortion().apply(dict(img=img), {name: params.get(name) for name in names})['img']


def test_each_distortion_does_what_it_is_called(rng):
    img = rng.integers(20, 200, (6, 6, 3), dtype=np.uint8)
    np.testing.assert_allclose(distort(img), img, atol=0.01)
    np.testing.assert_allclose(distort(img, brightness=10), img + 10.0, atol=0.01)
    np.testing.assert_allclose(distort(img, early_contrast=0.5), img * 0.5, atol=0.01)
    np.testing.assert_allclose(distort(img, late_contrast=0.5), img * 0.5, atol=0.01)
    np.testing.assert_allclose(distort(img, order=np.array([2, 1, 0])), img[..., ::-1], atol=0.01)
    grey = distort(img, saturation=0.0)
    np.testing.assert_allclose(grey, np.repeat(img.max(axis=2, keepdims=True), 3, axis=2), atol=0.01)
    hues = [cv2.cvtColor(i.astype(np.float32), cv2.COLOR_BGR2HSV)[..., 0] for i in (img, distort(img, hue=-15))]
    np.testing.assert_allclose((hues[0] - hues[1]) % 360, 15, atol=0.1)


def test_distortions_are_drawn_each_with_one_half():
    draws = [PhotoMetricDistortion().draw({}) for _ in range(1000)]
    for name in ('brightness', 'saturation', 'hue', 'order'):
        assert sum(d[name] is not None for d in draws) / 1000 == pytest.approx(0.5, abs=0.06)
    assert not any(d['early_contrast'] is not None and d['late_contrast'] is not None for d in draws)
    assert max(abs(d['brightness'] or 0) for d in draws) <= 32
    assert all(0.5 <= d['saturation'] <= 1.5 for d in draws if d['saturation'] is not None)


def test_distortion_leaves_boxes_and_the_source_alone(square_sample):
    sample = square_sample()
    boxes, img = sample['gt_bboxes'].copy(), sample['img'].copy()
    results = PhotoMetricDistortion()(dict(sample))
    assert results['img'].dtype == np.float32 and (results['gt_bboxes'] == boxes).all() and (sample['img'] == img).all()


@pytest.mark.parametrize(
    ('args', 'most'),
    [
        (dict(n_holes=1, cutout_shape=(3, 2)), 6),
        (dict(n_holes=(1, 3), cutout_shape=[(3, 2), (1, 1)]), 18),
        (dict(n_holes=2, cutout_ratio=(0.5, 0.1)), 10),
    ],
)
def test_cutout_paints_rectangles_of_the_given_size(args, most):
    img = np.zeros((10, 10, 3), np.uint8)
    covered = [(CutOut(fill_in=(1, 2, 3), **args)(dict(img=img))['img'] == (1, 2, 3)).all(-1).sum() for _ in range(50)]
    assert min(covered) > 0 and max(covered) <= most and not img.any()


def test_cutout_needs_one_kind_of_size():
    for args in ({}, dict(cutout_shape=(1, 1), cutout_ratio=(0.1, 0.1))):
        with pytest.raises(ValueError, match='exactly one of cutout_shape and cutout_ratio'):
            CutOut(n_holes=1, **args)


def test_a_step_of_ones_own_may_draw_into_the_normalised_image(rng):
    """OpenCV draws only where channels lie side by side in memory."""

    def draw(results):
        cv2.rectangle(results['img'], (1, 1), (3, 4), (9, 9, 9), -1)
        return results

    normalize, bundle = dict(type='Normalize', mean=MEAN, std=STD), dict(type='DefaultFormatBundle')
    img = rng.integers(0, 255, (5, 7, 3), dtype=np.uint8)
    plain = Compose([normalize, dict(type='Pad', size_divisor=8), bundle])(dict(img=img))['img']
    drawn = Compose([normalize, draw, dict(type='Pad', size_divisor=8), bundle])(dict(img=img))['img']
    assert plain.is_contiguous() and drawn.is_contiguous() and plain.shape == drawn.shape == (3, 8, 8)
    assert (drawn[:, 1:5, 1:4] == 9).all()
    drawn[:, 1:5, 1:4] = plain[:, 1:5, 1:4]
    assert torch.equal(drawn, plain)
    draw(Compose([normalize])(dict(img=img)))
