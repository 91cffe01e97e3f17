"""Pipelines made from those of a config."""

from __future__ import annotations

import copy

import pytest

from mmdet_clone.datasets import get_loading_pipeline, replace_ImageToTensor
from mmdet_clone.datasets.pipelines import Collect, ImageToTensor, LoadAnnotations

COLLECT = dict(type='Collect', keys=['img'])


@pytest.mark.parametrize('kind', ['ImageToTensor', 'mmdet.ImageToTensor', ImageToTensor])
def test_image_to_tensor_is_replaced_at_any_depth_and_the_config_stays(kind):
    inner = [dict(type=kind, keys=['img']), COLLECT]
    pipeline = [dict(type='LoadImageFromFile'), dict(type='MultiScaleFlipAug', img_scale=(4, 4), transforms=inner)]
    before = copy.deepcopy(pipeline)
    with pytest.warns(UserWarning, match='replaced by'):
        replaced = replace_ImageToTensor(pipeline)
    assert replaced[1]['transforms'] == [dict(type='DefaultFormatBundle'), COLLECT]
    assert pipeline == before and replaced[0] == pipeline[0]


def test_steps_that_are_no_config_are_left_alone():
    steps = [Collect(keys=['img']), COLLECT]
    assert replace_ImageToTensor(steps) == steps


def test_the_loading_steps_of_a_pipeline_are_found():
    load, annotate = dict(type='mmdet.LoadImageFromFile'), dict(type=LoadAnnotations, with_bbox=True)
    assert get_loading_pipeline([load, annotate, dict(type='RandomFlip', flip_ratio=0.5), COLLECT]) == [load, annotate]
    with pytest.raises(ValueError, match=r"one annotation loading step, found \['LoadImageFromFile'\]"):
        get_loading_pipeline([load, COLLECT])
