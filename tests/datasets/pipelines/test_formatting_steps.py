from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from mmdet_clone.datasets.pipelines import (
    Collect,
    Compose,
    DefaultFormatBundle,
    ImageToTensor,
    MissingKeyError,
    MultiScaleFlipAug,
    RandomFlip,
    ToDataContainer,
    ToTensor,
    Transpose,
    WrapFieldsToLists,
    to_tensor,
)
from mmdet_clone.datasets.pipelines.formatting import STACKED
from mmdet_clone.registry import PIPELINES, UnknownTypeError


def test_the_bundle_makes_tensors_of_the_usual_keys(square_sample):
    sample = dict(square_sample(), proposals=np.zeros((3, 4), np.float32))
    masks = sample['gt_masks']
    results = DefaultFormatBundle()(sample)
    assert results['img'].shape == (3, 60, 80) and results['img'].dtype == torch.float32
    assert results['img'].is_contiguous()
    assert results['gt_bboxes'].shape == (2, 4) and results['gt_labels'].dtype == torch.int64
    assert results['gt_bboxes_ignore'].shape == (0, 4) and results['proposals'].shape == (3, 4)
    assert results['gt_semantic_seg'].shape == (1, 60, 80)
    assert results['gt_masks'] is masks
    assert results['pad_shape'] == (60, 80, 3) and results['scale_factor'] == 1.0
    assert results['img_norm_cfg']['std'].tolist() == [1, 1, 1] and results['img_norm_cfg']['to_rgb'] is False
    assert 'stack_fields' not in results


def test_the_bundle_keeps_what_steps_have_set_and_the_type_if_told():
    img = np.zeros((4, 6), np.uint8)
    results = DefaultFormatBundle(img_to_float=False)(dict(img=img, scale_factor=2.0, pad_shape=(1, 1)))
    assert results['img'].shape == (1, 4, 6) and results['img'].dtype == torch.uint8
    assert results['scale_factor'] == 2.0 and results['pad_shape'] == (1, 1)


def test_other_padding_values_reach_the_loader():
    bundle = DefaultFormatBundle(pad_val=dict(img=114, masks=0, seg=200))
    data = Collect(keys=['img'], meta_keys=[])(bundle(dict(img=np.zeros((4, 6, 3)))))
    assert data['stack_fields'] == dict(img=114, gt_semantic_seg=200)
    assert dict(img=0, gt_semantic_seg=255) == STACKED


def test_fields_are_marked_for_stacking_not_wrapped():
    fields = [dict(key='img', stack=True), dict(key='heat', stack=True, padding_value=7), dict(key='proposals')]
    sample = dict(img=np.zeros(3), heat=np.zeros(2), proposals=np.zeros((1, 4)))
    results = ToDataContainer(fields)(sample)
    assert results['stack_fields'] == dict(heat=7) and isinstance(results['heat'], np.ndarray)
    with pytest.raises(MissingKeyError, match="ToDataContainer needs 'gt_bboxes'"):
        ToDataContainer()(sample)


def test_images_become_channels_first():
    img = np.arange(24, dtype=np.float32).reshape(2, 4, 3)
    results = ImageToTensor(keys=['img'])(dict(img=img))
    assert results['img'].shape == (3, 2, 4) and results['img'].is_contiguous()
    assert results['img'][2, 1, 3] == 23
    assert ImageToTensor(keys=['img'])(dict(img=np.zeros((2, 4))))['img'].shape == (1, 2, 4)


def test_arrays_lists_and_numbers_become_tensors():
    assert ToTensor(keys=['a'])(dict(a=np.ones(2)))['a'].tolist() == [1, 1]
    assert to_tensor([1, 2]).tolist() == [1, 2]
    assert to_tensor(3).tolist() == [3] and to_tensor(3).dtype == torch.int64
    assert to_tensor(0.5).tolist() == [0.5] and to_tensor(0.5).dtype == torch.float32
    tensor = torch.zeros(1)
    assert to_tensor(tensor) is tensor
    with pytest.raises(TypeError, match='a str'):
        to_tensor('text')


def test_axes_are_reordered():
    assert Transpose(keys=['img'], order=(2, 0, 1))(dict(img=np.zeros((2, 4, 3))))['img'].shape == (3, 2, 4)


META = dict(
    filename='a/b.jpg',
    ori_filename='b.jpg',
    ori_shape=(4, 6, 3),
    img_shape=(4, 6, 3),
    pad_shape=(4, 6, 3),
    scale_factor=1.0,
    flip=False,
    flip_direction=None,
    img_norm_cfg={},
)


def test_collect_splits_the_sample_into_inputs_and_metas():
    data = Collect(keys=['img', 'gt_bboxes'])(dict(META, img=1, gt_bboxes=2, gt_labels=3))
    assert data == dict(img=1, gt_bboxes=2, img_metas=META)
    assert Collect(keys=['img'], meta_keys=('flip',))(dict(img=1, flip=True)) == dict(img=1, img_metas=dict(flip=True))


@pytest.mark.parametrize(
    ('missing', 'setter'),
    [('gt_masks', r'LoadAnnotations\(with_mask=True\)'), ('img_norm_cfg', 'Normalize'), ('scale_factor', 'Resize')],
)
def test_collect_says_which_step_sets_a_missing_key(missing, setter):
    sample = dict(META, img=1, gt_masks=2)
    del sample[missing]
    with pytest.raises(MissingKeyError, match=f"Collect needs '{missing}', .*{setter} sets it"):
        Collect(keys=['img', 'gt_masks'])(sample)


def test_wrapped_fields_are_lists_of_one():
    assert WrapFieldsToLists()(dict(a=1, b='x')) == dict(a=[1], b=['x'])


# ---------------------------------------------------------------- Compose


def test_steps_run_in_order_until_one_drops_the_sample():
    ran = []
    pipeline = Compose([lambda r: ran.append(1) or r, lambda r: None, lambda r: ran.append(3) or r])
    assert pipeline({}) is None and ran == [1]


def test_compose_builds_from_configs_and_leaves_them_alone():
    cfg = dict(type='RandomFlip', flip_ratio=1.0)
    pipeline = Compose([cfg, RandomFlip(flip_ratio=0.0)])
    assert cfg == dict(type='RandomFlip', flip_ratio=1.0)
    assert pipeline(dict(img=np.zeros((2, 2, 3))))['flip'] is True
    assert 'RandomFlip' in repr(pipeline)


def test_compose_names_a_step_that_is_none():
    with pytest.raises(TypeError, match='step 1 of the pipeline'):
        Compose([len, 'Resize'])
    with pytest.raises(TypeError, match='list of steps'):
        Compose(dict(type='Resize'))
    with pytest.raises(UnknownTypeError, match='RandomFlip'):
        Compose([dict(type='RandomFlipp')])


def test_a_step_of_a_user_is_found_by_name():
    @PIPELINES.register_module(force=True)
    class BrightenForTest:
        def __init__(self, by):
            self.by = by

        def __call__(self, results):
            results['img'] = results['img'] + self.by
            return results

    assert Compose([dict(type='BrightenForTest', by=2)])(dict(img=1))['img'] == 3


@pytest.mark.parametrize('name', ['Resize', 'RandomFlip', 'Pad', 'Normalize', 'Collect', 'LoadAnnotations'])
def test_steps_show_their_arguments(name):
    args = dict(
        Resize=dict(img_scale=(4, 4)),
        RandomFlip=dict(flip_ratio=0.5),
        Pad=dict(size=(4, 4)),
        Normalize=dict(mean=[1], std=[1]),
        Collect=dict(keys=['img']),
        LoadAnnotations=dict(with_mask=True),
    )[name]
    shown = repr(PIPELINES.build(dict(args, type=name)))
    assert shown.startswith(f'{name}(') and all(key in shown for key in args)


# ---------------------------------------------------------------- MultiScaleFlipAug

STEPS = [dict(type='Resize', keep_ratio=True), dict(type='RandomFlip')]
COLLECT = dict(type='Collect', keys=['img'], meta_keys=['img_shape', 'flip', 'flip_direction'])


def versions(img=None, **args) -> list[tuple]:
    step = MultiScaleFlipAug([*STEPS, dict(type='ImageToTensor', keys=['img']), COLLECT], **args)
    data = step(dict(img=np.zeros((60, 80, 3), np.uint8), img_fields=['img'], bbox_fields=[]))
    assert [tuple(i.shape[1:]) for i in data['img']] == [m['img_shape'][:2] for m in data['img_metas']]
    return [(m['img_shape'][:2], m['flip'], m['flip_direction']) for m in data['img_metas']]


def test_one_version_by_default():
    assert versions(img_scale=(40, 40)) == [((30, 40), False, None)]
    assert versions(img_scale=[40, 40]) == [((30, 40), False, None)]


def test_every_scale_is_run_unflipped_and_flipped_in_every_direction():
    assert versions(img_scale=[(40, 40), (80, 80)], flip=True, flip_direction=['horizontal', 'vertical']) == [
        ((30, 40), False, None),
        ((30, 40), True, 'horizontal'),
        ((30, 40), True, 'vertical'),
        ((60, 80), False, None),
        ((60, 80), True, 'horizontal'),
        ((60, 80), True, 'vertical'),
    ]


def test_scales_may_be_factors():
    assert versions(scale_factor=[0.5, 2.0]) == [((30, 40), False, None), ((120, 160), False, None)]
    assert versions(scale_factor=1.0) == [((60, 80), False, None)]


def test_versions_do_not_disturb_each_other(rng):
    img = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)
    proposals = np.array([[1, 1, 3, 4]], np.float32)
    collect = dict(COLLECT, keys=['img', 'proposals'])
    step = MultiScaleFlipAug([*STEPS, collect], img_scale=[(8, 6), (16, 12)], flip=True)
    data = step(dict(img=img, proposals=proposals, img_fields=['img'], bbox_fields=['proposals']))
    assert (data['img'][0] == img).all() and (data['img'][1] == img[:, ::-1]).all()
    assert [p.tolist()[0] for p in data['proposals']] == [[1, 1, 3, 4], [5, 1, 7, 4], [2, 2, 6, 8], [10, 2, 14, 8]]


def test_padding_values_are_said_once_for_all_versions():
    steps = [*STEPS, dict(type='DefaultFormatBundle', pad_val=dict(img=114)), COLLECT]
    data = MultiScaleFlipAug(steps, img_scale=[(8, 6), (16, 12)])(dict(img=np.zeros((6, 8, 3), np.uint8)))
    assert data['stack_fields'] == dict(img=114, gt_semantic_seg=255) and len(data['img']) == 2
    assert WrapFieldsToLists()(dict(stack_fields=dict(img=1)))['stack_fields'] == dict(img=1)


def test_scales_and_flips_that_make_no_sense_are_told():
    for args in ({}, dict(img_scale=(1, 1), scale_factor=1.0)):
        with pytest.raises(ValueError, match='exactly one of img_scale and scale_factor'):
            MultiScaleFlipAug(STEPS, **args)
    with pytest.warns(UserWarning, match='flip is False'):
        MultiScaleFlipAug(STEPS, img_scale=(1, 1), flip_direction='vertical')
    with pytest.warns(UserWarning, match='without RandomFlip'):
        MultiScaleFlipAug(STEPS[:1], img_scale=(1, 1), flip=True)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        MultiScaleFlipAug([*STEPS[:1], dict(type='mmdet.RandomFlip')], img_scale=(1, 1), flip=True)
