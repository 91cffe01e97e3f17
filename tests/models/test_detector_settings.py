"""Which ``train_cfg``, ``test_cfg`` and ``pretrained`` count: a detector's, else its parts' own."""

from __future__ import annotations

import copy

import pytest

from mmdet_clone.config import load_config
from mmdet_clone.models import build_detector
from mmdet_clone.registry import ConfigTypeError


@pytest.fixture
def retinanet(root):
    return load_config(root / 'configs/_base_/models/retinanet_r50_fpn.py').model


@pytest.fixture
def faster_rcnn(root):
    return load_config(root / 'configs/_base_/models/faster_rcnn_r50_fpn.py').model


def without_weights(model: dict) -> dict:
    model = copy.deepcopy(model)
    model['backbone'].update(depth=18, init_cfg=None)
    model['neck'].update(in_channels=[64, 128, 256, 512])
    return model


def test_the_detectors_settings_replace_those_in_a_dense_head(retinanet):
    model = without_weights(retinanet)
    model['bbox_head'].update(train_cfg=dict(assigner=None), test_cfg=dict(score_thr=0.9))
    head = build_detector(model).bbox_head
    assert head.test_cfg.score_thr == 0.05 and head.train_cfg.assigner.type == 'MaxIoUAssigner'


def test_a_dense_heads_own_settings_count_where_the_detector_has_none(retinanet):
    model = without_weights(retinanet)
    model['bbox_head'].update(train_cfg=model.pop('train_cfg'), test_cfg=model.pop('test_cfg'))
    head = build_detector(model).bbox_head
    assert head.test_cfg.score_thr == 0.05 and head.train_cfg.assigner.type == 'MaxIoUAssigner'


def test_two_stages_take_theirs_likewise(faster_rcnn):
    model = without_weights(faster_rcnn)
    model['rpn_head']['test_cfg'] = dict(nms_pre=1)
    model['roi_head']['test_cfg'] = model['test_cfg'].pop('rcnn')
    detector = build_detector(model)
    assert detector.rpn_head.test_cfg.nms_pre == 1000
    assert detector.roi_head.test_cfg.score_thr == 0.05


@pytest.mark.parametrize('part', ['rpn_head', 'roi_head'])
def test_an_unknown_argument_of_a_stage_is_told_with_its_place(faster_rcnn, part):
    model = without_weights(faster_rcnn)
    model[part]['misspelt'] = 1
    with pytest.raises(ConfigTypeError, match=rf"does not accept 'misspelt' \(config path: model\.{part}\)"):
        build_detector(model)


def test_pretrained_of_a_detector_is_its_backbones(retinanet):
    model = without_weights(retinanet)
    model['backbone']['pretrained'] = 'torchvision://resnet50'
    model['pretrained'] = 'torchvision://resnet18'
    backbone = build_detector(model).backbone
    assert backbone.init_cfg['checkpoint'] == 'torchvision://resnet18'
