"""SSD: backbone, neck and head by the paper's shapes and by hand, then whole detectors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from mmdet_clone.models import build_detector, build_neck
from mmdet_clone.models.backbones import SSDVGG
from mmdet_clone.models.dense_heads import SSDHead
from mmdet_clone.models.necks.ssd_neck import L2Norm

NECK300 = dict(
    type='SSDNeck',
    in_channels=(512, 1024),
    out_channels=(512, 1024, 512, 256, 256, 256),
    level_strides=(2, 2, 1, 1),
    level_paddings=(1, 1, 0, 0),
)
TRAIN = dict(
    assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, gt_max_assign_all=False),
    allowed_border=-1,
    pos_weight=-1,
    neg_pos_ratio=3,
    smoothl1_beta=1.0,
)
TEST = dict(nms_pre=100, score_thr=0.02, nms=dict(type='nms', iou_threshold=0.45), max_per_img=20)
# one square anchor of 16 pixels in each cell, and a larger one that overlaps no object enough
ANCHORS = dict(type='SSDAnchorGenerator', scale_major=False, strides=[16], ratios=[[]], min_sizes=[16], max_sizes=[400])
META = dict(img_shape=(32, 32, 3), pad_shape=(32, 32, 3), scale_factor=[1.0] * 4)


# ---------------------------------------------------------------- backbone
def test_layers_up_to_conv4_3_equal_those_of_torchvisions_vgg():
    ours, peer = SSDVGG(16, ceil_mode=False).eval(), torchvision.models.vgg16().features[:23].eval()
    weights = peer.state_dict()
    ours.features[:23].load_state_dict(weights)
    image = torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        torch.testing.assert_close(ours(image)[0], peer(image))


def test_outputs_are_conv4_3_and_fc7_and_ceil_mode_rounds_sizes_up():
    shapes = {}
    with torch.device('meta'):
        for ceil in (False, True):
            outs = SSDVGG(16, ceil_mode=ceil)(torch.zeros(1, 3, 300, 300))
            shapes[ceil] = [tuple(o.shape[1:]) for o in outs]
    assert shapes == {False: [(512, 37, 37), (1024, 18, 18)], True: [(512, 38, 38), (1024, 19, 19)]}


def test_settings_of_older_configs_that_moved_to_the_neck_are_told_of():
    with pytest.warns(UserWarning, match='l2_norm_scale'), torch.device('meta'):
        SSDVGG(16, l2_norm_scale=20)


@pytest.mark.parametrize(
    ('args', 'words'), [(dict(depth=12), 'depths'), (dict(depth=11, out_feature_indices=(34,)), '34')]
)
def test_wrong_arguments_of_the_backbone_are_explained(args, words):
    with pytest.raises(ValueError, match=words), torch.device('meta'):
        SSDVGG(**args)


# ---------------------------------------------------------------- neck
def test_l2_norm_brings_each_position_to_its_scale():
    norm = L2Norm(2, scale=20)
    x = torch.tensor([3.0, -4.0]).reshape(1, 2, 1, 1)
    torch.testing.assert_close(norm(x).flatten(), torch.tensor([12.0, -16.0]))
    assert norm(x.bfloat16()).dtype == torch.bfloat16
    assert torch.isfinite(norm(torch.zeros(1, 2, 1, 1))).all()


def test_levels_of_ssd300_have_the_sizes_of_the_paper():
    with torch.device('meta'):
        neck = build_neck(NECK300)
        outs = neck([torch.zeros(1, 512, 38, 38), torch.zeros(1, 1024, 19, 19)])
    assert [tuple(o.shape[1:]) for o in outs] == [
        (512, 38, 38),
        (1024, 19, 19),
        (512, 10, 10),
        (256, 5, 5),
        (256, 3, 3),
        (256, 1, 1),
    ]


def test_the_factors_of_the_norm_start_at_its_scale_and_survive_initialisation():
    neck = build_neck(dict(NECK300, in_channels=(4, 8), out_channels=(4, 8, 8, 8, 8, 8), l2_norm_scale=20))
    neck.init_weights()
    assert neck.l2_norm.weight.eq(20).all()
    assert build_neck(dict(NECK300, l2_norm_scale=None)).l2_norm is None


def test_ssd512_ends_in_another_kernel_and_ssdlite_is_depthwise_separable():
    cfg = dict(NECK300, in_channels=(4, 8), out_channels=(4, 8, 8, 8, 8, 8), last_kernel_size=4, use_depthwise=True)
    layers = build_neck(cfg).extra_layers
    assert [layer[1].depthwise_conv.conv.kernel_size[0] for layer in layers] == [3, 3, 3, 4]


@pytest.mark.parametrize(
    ('changes', 'words'),
    [(dict(out_channels=(512, 1024)), 'one extra level'), (dict(level_strides=(2, 2)), '4 extra levels')],
)
def test_wrong_arguments_of_the_neck_are_explained(changes, words):
    with pytest.raises(ValueError, match=words), torch.device('meta'):
        build_neck({**NECK300, **changes})


def test_a_level_too_few_is_told():
    with pytest.raises(ValueError, match='1 features'), torch.device('meta'):
        build_neck(NECK300)([torch.zeros(1, 512, 38, 38)])


# ---------------------------------------------------------------- head
def head(num_classes: int = 2, **changes: object) -> SSDHead:
    args = dict(num_classes=num_classes, in_channels=[1], anchor_generator=ANCHORS, train_cfg=TRAIN, test_cfg=TEST)
    model = SSDHead(**{**args, **changes})
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
    return model


# on the grid of 2 x 2 cells the third anchor of 16 pixels is (0, 16, 16, 32); this box lies 2 pixels right of it
BOX, LABEL = torch.tensor([[2.0, 16.0, 18.0, 32.0]]), torch.tensor([1])


def test_losses_of_one_box_are_those_computed_by_hand():
    # one positive and its three hardest negatives, each -log(1/3); dx = 2/16, a smooth L1 of half its square
    losses = head().forward_train([torch.ones(1, 1, 2, 2)], [META], [BOX], [LABEL])
    assert losses['loss_cls'].item() == pytest.approx(4 * math.log(3))
    assert losses['loss_bbox'].item() == pytest.approx(0.5 * (2 / 16) ** 2)


def test_hard_negatives_are_those_of_each_image_and_none_for_an_image_without_objects():
    model = head(train_cfg=dict(TRAIN, neg_pos_ratio=1))
    # scores (anchor, class) of each cell; background is the last: cells differ in how sure of it they are
    scores = torch.zeros(2, 6, 2, 2)
    scores[:, 2] = scores[:, 5] = torch.tensor([[1.0, 3.0], [0.0, 2.0]])
    empty = (torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
    losses = model.loss([scores], [torch.zeros(2, 8, 2, 2)], [BOX, empty[0]], [LABEL, empty[1]], [META] * 2)
    # the positive and the larger anchor of its cell, -log(1/3) each; divided by 1 + max(0, 1)
    assert losses['loss_cls'].item() == pytest.approx(2 * math.log(3) / 2)


def test_the_ratio_counts_the_negatives():
    losses = [
        head(train_cfg=dict(TRAIN, neg_pos_ratio=ratio)).forward_train([torch.ones(1, 1, 2, 2)], [META], [BOX], [LABEL])
        for ratio in (0, 1, 5, 100)
    ]
    counts = [loss['loss_cls'].item() / math.log(3) for loss in losses]
    assert counts == pytest.approx([1, 2, 6, 8])  # there are 7 negatives


def test_decoded_boxes_can_be_compared():
    losses = head(reg_decoded_bbox=True).forward_train([torch.ones(1, 1, 2, 2)], [META], [BOX], [LABEL])
    assert losses['loss_bbox'].item() == pytest.approx(2 * (2 - 0.5))  # x1 and x2 are 2 pixels off


def test_layers_before_the_prediction_are_stacked_if_asked():
    plain = SSDHead(
        3,
        [4, 8],
        stacked_convs=2,
        feat_channels=6,
        anchor_generator=dict(ANCHORS, strides=[8, 16], ratios=[[2]] * 2, min_sizes=[8, 16], max_sizes=[16, 32]),
    )
    assert [m.conv.out_channels for m in plain.cls_convs[1][:2]] == [6, 6]
    assert plain.cls_convs[1][2].out_channels == 4 * 4
    assert plain.reg_convs[1][2].out_channels == 4 * 4
    outs = plain([torch.zeros(1, 4, 4, 4), torch.zeros(1, 8, 2, 2)])
    assert [[tuple(o.shape) for o in out] for out in outs] == [[(1, 16, 4, 4), (1, 16, 2, 2)]] * 2


def test_levels_of_anchors_and_channels_must_agree():
    with pytest.raises(ValueError, match='2 levels'):
        head(in_channels=[1, 1])


def test_a_sampler_is_not_used_and_said_so(monkeypatch):
    monkeypatch.setattr('mmdet_clone.config.unread_keys._told', set())  # it is said once
    sampler = dict(type='RandomSampler', num=2, pos_fraction=0.5)
    with pytest.warns(UserWarning, match="SSDHead ignores 'sampler'"):
        model = head(train_cfg=dict(TRAIN, sampler=sampler))
    assert not model.sampling


# ---------------------------------------------------------------- whole detectors
SSDLITE = dict(
    type='SingleStageDetector',
    backbone=dict(type='MobileNetV2', widen_factor=0.25, out_indices=(4, 7)),
    neck=dict(
        type='SSDNeck',
        in_channels=(24, 1280),
        out_channels=(24, 1280, 32, 16),
        level_strides=(2, 2),
        level_paddings=(1, 1),
        l2_norm_scale=None,
        use_depthwise=True,
        norm_cfg=dict(type='BN'),
        act_cfg=dict(type='ReLU6'),
    ),
    bbox_head=dict(
        type='SSDHead',
        in_channels=(24, 1280, 32, 16),
        num_classes=3,
        use_depthwise=True,
        norm_cfg=dict(type='BN'),
        act_cfg=dict(type='ReLU6'),
        anchor_generator=dict(
            type='SSDAnchorGenerator',
            scale_major=False,
            strides=[16, 32, 64, 96],
            ratios=[[2], [2, 3], [2], [2]],
            min_sizes=[16, 32, 48, 64],
            max_sizes=[32, 48, 64, 90],
        ),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]),
    ),
    train_cfg=TRAIN,
    test_cfg=TEST,
)


def test_ssdlite_learns_an_image_by_heart():
    model = build_detector(SSDLITE)
    model.init_weights()
    image = torch.rand(2, 3, 96, 96)
    shape = (96, 96, 3)
    metas = [dict(img_shape=shape, pad_shape=shape, ori_shape=shape, scale_factor=np.ones(4, np.float32))] * 2
    boxes = [torch.tensor([[5.0, 8, 45, 50], [50, 40, 90, 90]]), torch.tensor([[20.0, 20, 60, 80]])]
    labels = [torch.tensor([0, 2]), torch.tensor([1])]
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(60):
        total, _ = model.parse_losses(model.train().forward_train(image, metas, boxes, labels))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()
    with torch.no_grad():
        features = model.extract_feat(image)
        results = model.bbox_head.simple_test(features, metas)
    for (dets, found), wanted, kinds in zip(results, boxes, labels, strict=True):
        best = torchvision.ops.box_iou(dets[:, :4], wanted).max(0)
        assert best.values.min() > 0.6
        assert found[best.indices].tolist() == kinds.tolist()


def test_ssd300_trains_and_tests():
    neck = dict(NECK300, l2_norm_scale=20)
    anchors = dict(
        type='SSDAnchorGenerator',
        scale_major=False,
        input_size=300,
        basesize_ratio_range=(0.15, 0.9),
        strides=[8, 16, 32, 64, 100, 300],
        ratios=[[2], [2, 3], [2, 3], [2, 3], [2], [2]],
    )
    bbox_head = dict(type='SSDHead', num_classes=3, in_channels=neck['out_channels'], anchor_generator=anchors)
    model = build_detector(
        dict(
            type='SingleStageDetector',
            backbone=dict(type='SSDVGG', depth=16),
            neck=neck,
            bbox_head=bbox_head,
            train_cfg=TRAIN,
            test_cfg=TEST,
        )
    )
    shape = (300, 300, 3)
    metas = [dict(img_shape=shape, pad_shape=shape, ori_shape=shape, scale_factor=np.ones(4, np.float32))]
    image, boxes, labels = torch.rand(1, 3, 300, 300), [torch.tensor([[30.0, 40, 200, 250]])], [torch.tensor([2])]
    total, _ = model.parse_losses(model.forward_train(image, metas, boxes, labels))
    total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    with torch.no_grad():
        (result,) = model.eval().simple_test(image, metas)
    assert [r.shape[1] for r in result] == [5, 5, 5]
