"""Albu, Corrupt and InstaBoost: steps of packages that may be absent."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

from mmdet_clone.datasets.pipelines import LoadAnnotations
from mmdet_clone.registry import PIPELINES


def build(name: str, **args: object):
    return PIPELINES.build(dict(type=name, **args))


@pytest.mark.parametrize(
    ('step', 'package', 'args', 'command'),
    [
        ('Albu', 'albumentations', dict(transforms=[]), 'pip install albumentations'),
        ('Corrupt', 'imagecorruptions', dict(corruption='snow'), 'pip install imagecorruptions-imaug'),
        ('InstaBoost', 'instaboostfast', {}, 'pip install instaboostfast'),
    ],
)
def test_an_absent_package_is_named_with_the_command_that_installs_it(monkeypatch, step, package, args, command):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=f'step {step} needs the package {package}.*{command}'):
        build(step, **args)


def test_a_package_that_fails_on_todays_numpy_says_why(monkeypatch, tmp_path):
    (tmp_path / 'imagecorruptions.py').write_text('import numpy\nnumpy.no_such_type_any_more\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, 'imagecorruptions', raising=False)
    with pytest.raises(ImportError, match=r'installed but cannot be imported \(AttributeError: .*no_such_type'):
        build('Corrupt', corruption='snow')


# ---------------------------------------------------------------- stand-ins


def test_corrupt_hands_over_the_image_the_name_and_the_severity(monkeypatch):
    package = types.ModuleType('imagecorruptions')
    package.get_corruption_names = lambda subset: ['snow', 'fog']
    package.corrupt = lambda img, corruption_name, severity: img + np.uint8(10 * severity + len(corruption_name))
    monkeypatch.setitem(sys.modules, 'imagecorruptions', package)
    results = build('Corrupt', corruption='snow', severity=3)(dict(img=np.zeros((4, 4, 3), np.float32)))
    assert results['img'].dtype == np.uint8 and (results['img'] == 34).all()
    with pytest.raises(ValueError, match="one of snow, fog, got 'rain'"):
        build('Corrupt', corruption='rain')
    with pytest.raises(ValueError, match='from 1 to 5'):
        build('Corrupt', corruption='fog', severity=6)


@pytest.fixture
def instaboost(monkeypatch):
    """A stand-in that moves every instance two pixels to the right, and makes the second one vanish."""
    package = types.ModuleType('instaboostfast')

    class InstaBoostConfig:
        def __init__(self, *args):
            self.args = args

    def get_new_data(anns, img, config, background):
        for ann in anns:
            ann['bbox'][0] += 2
        anns[1]['bbox'][2] = 0
        return anns, img + 1

    package.InstaBoostConfig, package.get_new_data = InstaBoostConfig, get_new_data
    monkeypatch.setitem(sys.modules, 'instaboostfast', package)


def entry() -> dict:
    square = [4.0, 4, 10, 4, 10, 10, 4, 10]
    ann_info = dict(
        bboxes=np.array([[4, 4, 10, 10]] * 3, np.float32),
        labels=np.array([5, 6, 7]),
        masks=[[square], [square], [square, square]],
        ann_ids=[11, 12, 13],
        keypoints=np.zeros((3, 17, 3)),
    )
    img = np.zeros((20, 30, 3), np.uint8)
    return dict(img=img, ann_info=ann_info, img_info=dict(height=20, width=30))


def test_instaboost_changes_the_annotation_before_it_is_loaded(instaboost):
    made = entry()
    given = made['ann_info']
    results = LoadAnnotations(with_mask=True)(build('InstaBoost', aug_ratio=1.0)(made))
    assert results['gt_labels'].tolist() == [5, 7] and results['ann_info']['ann_ids'] == [11, 13]
    assert results['gt_bboxes'].tolist() == [[6, 4, 12, 10]] * 2
    assert results['gt_masks'].areas.tolist() == [36, 36]
    assert (results['img'] == 1).all() and 'keypoints' not in results['ann_info']
    assert given['labels'].tolist() == [5, 6, 7] and given['bboxes'][0, 0] == 4  # the data set's own stay


def test_instaboost_of_probability_zero_leaves_the_annotation(instaboost):
    results = LoadAnnotations(with_mask=True)(build('InstaBoost', aug_ratio=0.0)(entry()))
    assert results['gt_labels'].tolist() == [5, 6, 7] and (results['img'] == 0).all()


def test_instaboost_does_not_flip_as_masks_would_stay(instaboost):
    with pytest.raises(ValueError, match='horizontal and vertical must be 0'):
        build('InstaBoost', action_prob=(0.5, 0.5, 0))


# ---------------------------------------------------------------- albumentations itself


@pytest.fixture(scope='module')
def albu():
    pytest.importorskip('albumentations')
    return lambda *transforms, **args: build('Albu', transforms=list(transforms), **args)


def with_keypoints(square_sample, **args) -> dict:
    made = square_sample(**args)
    points = [[(12, 10, 2), (0, 0, 0), (25, 20, 1)], [(45, 30, 2), (60, 45, 2), (0, 0, 0)]]
    return dict(made, gt_keypoints=np.array(points[: len(made['gt_bboxes'])], np.float32).reshape(-1, 3, 3))


@pytest.mark.parametrize('polygons', [False, True])
def test_albu_moves_image_boxes_masks_maps_and_keypoints_together(albu, square_sample, polygons):
    step = albu(dict(type='HorizontalFlip', p=1.0), flip_pairs=[(0, 2)])
    results = step(with_keypoints(square_sample, polygons=polygons))
    expected = with_keypoints(square_sample)
    assert (results['img'] == expected['img'][:, ::-1]).all()
    assert (results['gt_semantic_seg'] == expected['gt_semantic_seg'][:, ::-1]).all()
    assert (results['gt_masks'].to_ndarray() == expected['gt_masks'].masks[:, :, ::-1]).all()
    assert results['gt_bboxes'].tolist() == [[50, 8, 70, 28], [10, 20, 40, 50]]
    assert results['gt_keypoints'][0].tolist() == [[54, 20, 1], [0, 0, 0], [67, 10, 2]]  # 79 - x, left for right


def test_albu_drops_rows_of_everything_together(albu, square_sample):
    crop = dict(type='Crop', x_min=35, y_min=10, x_max=75, y_max=55)
    sample = with_keypoints(square_sample)
    sample['gt_bboxes_ignore'] = np.array([[0, 0, 5, 5], [70, 50, 80, 60]], np.float32)
    results = albu(crop)(sample)
    np.testing.assert_allclose(results['gt_bboxes'], [[5, 10, 35, 40]], rtol=1e-6)
    np.testing.assert_allclose(results['gt_bboxes_ignore'], [[35, 40, 40, 45]], rtol=1e-6)
    assert results['gt_labels'].tolist() == [1]
    assert len(results['gt_masks']) == 1 and results['gt_masks'].get_bboxes().tolist() == [[5, 10, 35, 40]]
    assert results['gt_keypoints'].tolist() == [[[10, 20, 2], [25, 35, 2], [0, 0, 0]]]
    assert results['img'].shape == results['img_shape'] == (45, 40, 3)


def test_albu_can_drop_an_image_that_has_lost_its_boxes(albu, square_sample):
    crop = dict(type='Crop', x_min=0, y_min=0, x_max=5, y_max=5)
    assert albu(crop, skip_img_without_anno=True)(square_sample()) is None
    results = albu(crop)(square_sample())
    assert results['gt_bboxes'].shape == (0, 4) and len(results['gt_masks']) == 0


def test_albu_follows_the_seed_of_numpy(albu, square_sample):
    step = albu(dict(type='RandomBrightnessContrast', p=1.0))
    outcomes = []
    for seed in (1, 1, 2):
        np.random.seed(seed)
        outcomes.append(step(square_sample())['img'])
    assert (outcomes[0] == outcomes[1]).all() and (outcomes[0] != outcomes[2]).any()


def test_albu_of_an_image_without_objects(albu, square_sample):
    results = albu(dict(type='HorizontalFlip', p=1.0))(square_sample(boxes=()))
    assert results['gt_bboxes'].shape == (0, 4) and len(results['gt_masks']) == 0


def test_albu_pads_the_shape_if_asked(albu, square_sample):
    pad = dict(type='PadIfNeeded', min_height=100, min_width=90)
    padded = albu(pad, update_pad_shape=True)(dict(square_sample(), pad_shape=(60, 80, 3)))
    assert padded['pad_shape'] == (100, 90, 3)
    assert albu(pad)(dict(square_sample(), pad_shape=(60, 80, 3)))['pad_shape'] == (60, 80, 3)


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (dict(transforms=[dict(type='Sharpenn')]), "has no transform 'Sharpenn'"),
        (dict(transforms=[dict(type='Blur', blur=3)]), 'blur'),
        (dict(transforms=[], bbox_params=dict(type='BboxParams', format='coco')), "format='pascal_voc', got 'coco'"),
    ],
)
def test_albu_refuses_what_it_would_have_to_ignore(albu, args, message):
    with pytest.raises(ValueError, match=message):
        build('Albu', **args)


def test_albu_refuses_floats_which_it_would_take_for_shares_of_one(albu):
    with pytest.raises(ValueError, match='needs uint8 images, got float32'):
        albu(dict(type='HorizontalFlip', p=1.0))(dict(img=np.zeros((4, 4, 3), np.float32)))
