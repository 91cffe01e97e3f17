"""The trace of a sample: what each step drew and what it changed."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_detector

from mmdet_clone.apis.browse import sample_views, shown_params, view_of, without_steps
from mmdet_clone.datasets import build_dataset

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]


@pytest.fixture
def views(tmp_path):
    """``views(pipeline, wrap)``: the first two samples of a data set of drawn shapes."""
    data = tiny_detector.make_data(tmp_path / 'data', 2, 1)

    def make(pipeline, wrap=lambda inner: inner):
        inner = dict(type='CocoDataset', classes=('disc', 'square'), ann_file=f'{data}/train.json',
                     img_prefix=f'{data}/train/', pipeline=[*LOAD, *pipeline])  # fmt: skip
        return list(sample_views(build_dataset(wrap(inner)), range(2)))

    return make


def test_each_step_tells_its_parameters_and_what_changed(views):
    steps = [dict(type='Resize', img_scale=(48, 48)), dict(type='RandomFlip', flip_ratio=1.0)]
    view = views(steps)[0]
    assert [step.name for step in view.steps] == [
        f'{name} (train_0.png)' for name in ('LoadImageFromFile', 'LoadAnnotations', 'Resize', 'RandomFlip')
    ]
    resize, flip = view.steps[2:]
    assert 'scale=(48, 48)' in resize.params and 'flip=True' in flip.params and 'horizontal' in flip.params
    assert 'img: uint8 96 x 96 x 3 → uint8 48 x 48 x 3' in resize.changes
    assert 'gt_bboxes: 2, other values' in flip.changes and 'flip: True' in flip.changes
    assert dict(view.facts)['scale_factor'] == '[0.5, 0.5, 0.5, 0.5]' and dict(view.facts)['flip'] == 'True'
    assert view.boxes.shape == (2, 4) and view.masks.shape == (2, 48, 48)


def test_tracing_does_not_change_the_sample(views):
    plain, traced = views([]), views([dict(type='RandomFlip', flip_ratio=0.0)])
    for a, b in zip(plain, traced):
        assert np.array_equal(a.img, b.img) and np.array_equal(a.boxes, b.boxes)


def test_a_crop_tells_its_window(views):
    view = views([dict(type='RandomCrop', crop_size=(64, 64), allow_negative_crop=True)])[0]
    assert 'Window(x1=' in view.steps[-1].params and view.img.shape == (64, 64, 3)


def test_steps_made_of_steps_are_told_one_by_one(views):
    policy = [dict(type='RandomFlip', flip_ratio=1.0), dict(type='Pad', size_divisor=100)]
    view = views([dict(type='AutoAugment', policies=[policy])])[0]
    assert [step.name.split()[0] for step in view.steps[2:]] == ['RandomFlip', 'Pad']


def test_mixing_steps_and_the_further_images_are_told(views):
    mix = [dict(type='Mosaic', img_scale=(64, 64)), dict(type='RandomFlip', flip_ratio=0.5)]
    loading = [LOAD[0], dict(type='LoadAnnotations', with_bbox=True)]

    def mixed(inner):
        return dict(type='MultiImageMixDataset', dataset=dict(inner, pipeline=loading), pipeline=mix)

    view = views([], mixed)[0]
    names = [step.name.split()[0] for step in view.steps]
    assert names.count('LoadImageFromFile') == 4 and names[-2:] == ['Mosaic', 'RandomFlip']
    assert view.img.shape == (128, 128, 3)


def test_a_dropped_sample_is_told_and_the_next_one_shown(views):
    class Picky:
        calls = 0

        def __call__(self, results):
            Picky.calls += 1
            return None if Picky.calls == 1 else results

    view = views([Picky()])[0]
    assert [step.changes for step in view.steps if step.name.startswith('Picky')] == [['drops the sample'], []]


def test_keypoints_and_grey_images_are_shown():
    sample = dict(img=np.zeros((5, 6), np.uint8), gt_bboxes=np.array([[0, 0, 3, 3.0]]), gt_labels=np.array([1]),
                  gt_keypoints=np.array([[[1, 1, 2], [0, 0, 0]]]))  # fmt: skip
    view = view_of(sample)
    assert view.img.shape == (5, 6, 3) and view.keypoints.shape == (1, 2, 3) and view.masks is None


def test_parameters_are_shown_in_short():
    assert (
        shown_params(dict(a=np.float32(0.123456), b=(1, None), c=np.zeros((9, 9))))
        == 'a=0.1235, b=(1, None), c=float64 9 x 9'
    )
    assert len(shown_params('x' * 999)) == 160 and shown_params(np.array([[1.5, 2]])) == '[[1.5, 2]]'


def test_steps_are_left_out_by_their_name_whatever_their_prefix():
    cfg = dict(dataset=dict(pipeline=[dict(type='mmdet.Collect', keys=[]), dict(type='Pad')]))
    assert without_steps(cfg, {'Collect'}) == dict(dataset=dict(pipeline=[dict(type='Pad')]))


def test_an_image_without_a_person_is_shown_with_no_keypoints():
    sample = dict(img=np.zeros((8, 8, 3), np.uint8), gt_keypoints=np.zeros((0, 17, 3), np.float32))
    assert view_of(sample).keypoints.shape == (0, 17, 3)
