"""RetinaNet and RPN as whole detectors on small images."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from mmdet_clone.models import build_detector

ASSIGNER = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0)
BACKBONE = dict(type='ResNet', depth=18, base_channels=8, out_indices=(1, 2, 3), norm_eval=True, style='pytorch')
NECK = dict(type='FPN', in_channels=[16, 32, 64], out_channels=8, num_outs=3)
ANCHORS = dict(type='AnchorGenerator', scales=[4], ratios=[0.5, 1.0, 2.0], strides=[8, 16, 32])
RETINANET = dict(
    type='RetinaNet',
    backbone=BACKBONE,
    neck=NECK,
    bbox_head=dict(
        type='RetinaHead', num_classes=3, in_channels=8, feat_channels=8, stacked_convs=1, anchor_generator=ANCHORS
    ),
    train_cfg=dict(assigner=ASSIGNER, allowed_border=-1, pos_weight=-1, debug=False),
    test_cfg=dict(nms_pre=100, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=20),
)
RPN = dict(
    type='RPN',
    backbone=BACKBONE,
    neck=NECK,
    rpn_head=dict(type='RPNHead', in_channels=8, feat_channels=8, anchor_generator=ANCHORS),
    train_cfg=dict(rpn=dict(assigner=ASSIGNER, allowed_border=0, pos_weight=-1, debug=False)),
    test_cfg=dict(rpn=dict(nms_pre=100, nms=dict(type='nms', iou_threshold=0.7), max_per_img=20, min_bbox_size=0)),
)
IMAGE = torch.linspace(-1, 1, 2 * 3 * 64 * 64).sin().reshape(2, 3, 64, 64)
BOXES = [torch.tensor([[4.0, 4, 40, 40]]), torch.tensor([[10.0, 20, 60, 60], [0, 0, 30, 20]])]
LABELS = [torch.tensor([2]), torch.tensor([0, 1])]


def metas(num: int = 2, scale: float = 1.0, flip: bool = False) -> list[dict]:
    shape = (64, 64, 3)
    view = dict(scale_factor=np.full(4, scale, np.float32), flip=flip, flip_direction='horizontal' if flip else None)
    return [dict(img_shape=shape, pad_shape=shape, ori_shape=shape, filename='x.jpg', **view) for _ in range(num)]


@pytest.fixture(params=[RETINANET, RPN], ids=['RetinaNet', 'RPN'])
def model(request):
    return build_detector(request.param)


def truth(model) -> dict:
    labels = {} if type(model).__name__ == 'RPN' else dict(gt_labels=LABELS)
    return dict(gt_bboxes=BOXES, **labels)


def test_training_gives_losses_and_gradients_for_every_parameter(model):
    losses = model.train()(IMAGE, metas(), **truth(model))
    total, _ = model.parse_losses(losses)
    total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_training_on_images_without_objects_gives_gradients_for_every_parameter(model):
    empty = {key: [value[:0] for value in values] for key, values in truth(model).items()}
    total, _ = model.parse_losses(model.train()(IMAGE, metas(), **empty))
    total.backward()
    assert total.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def as_rows(result) -> np.ndarray:
    return result if isinstance(result, np.ndarray) else np.concatenate(result)


def test_rescaled_results_are_in_pixels_of_the_original_image(model):
    with torch.no_grad():
        scaled = model.eval().simple_test(IMAGE, metas(scale=2), rescale=False)
        original = model.simple_test(IMAGE, metas(scale=2), rescale=True)
    for a, b in zip(scaled, original, strict=True):
        assert len(as_rows(a)) > 0 and as_rows(a).dtype == np.float32
        np.testing.assert_allclose(as_rows(a)[:, :4], as_rows(b)[:, :4] * 2, rtol=1e-5)


def test_results_of_a_batch_are_those_of_its_images(model):
    with torch.no_grad():
        batch = model.eval()(IMAGE, metas(), return_loss=False, rescale=True)
        singles = [model(IMAGE[i : i + 1], metas(1), return_loss=False, rescale=True)[0] for i in range(2)]
    for a, b in zip(batch, singles, strict=True):
        np.testing.assert_allclose(as_rows(a), as_rows(b), atol=1e-3)


@pytest.mark.parametrize('rescale', [True, False])
def test_two_equal_views_give_what_one_gives(model, rescale):
    image = IMAGE[:1]
    with torch.no_grad():
        one = model.eval().simple_test(image, metas(1, scale=2), rescale=rescale)[0]
        two = model.aug_test([image, image], [metas(1, scale=2)] * 2, rescale=rescale)[0]
    np.testing.assert_allclose(as_rows(two)[0], as_rows(one)[0], rtol=1e-4)


def test_views_that_are_mirrored_are_mapped_back_before_merging(model):
    image = IMAGE[:1]
    with torch.no_grad():
        mirrored = model.eval().aug_test([image.flip(-1)], [metas(1, flip=True)], rescale=True)[0]
        plain = model.simple_test(image.flip(-1), metas(1), rescale=True)[0]
    a, b = as_rows(mirrored)[0], as_rows(plain)[0]
    np.testing.assert_allclose(a[[0, 2]], 64 - b[[2, 0]], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(a[4], b[4], rtol=1e-4)


def test_building_leaves_the_config_as_it_was():
    cfg = copy.deepcopy(RETINANET)
    build_detector(cfg)
    assert cfg == RETINANET


def test_train_and_test_cfg_may_stand_beside_the_model_but_not_in_both_places():
    inner = {key: value for key, value in RETINANET.items() if key not in ('train_cfg', 'test_cfg')}
    model = build_detector(inner, RETINANET['train_cfg'], RETINANET['test_cfg'])
    assert model.bbox_head.test_cfg['max_per_img'] == 20
    assert model.train_cfg.assigner.type == 'MaxIoUAssigner'  # attributes, as modules of MMDetection 2.x read them
    with pytest.raises(ValueError, match='test_cfg given both inside'):
        build_detector(RETINANET, test_cfg=RETINANET['test_cfg'])


def test_pretrained_reaches_the_backbone():
    model = build_detector(dict(RETINANET, pretrained='weights.pth'))
    assert model.backbone.init_cfg == dict(type='Pretrained', checkpoint='weights.pth')


def test_a_wrong_argument_is_reported_with_its_place_in_the_config():
    cfg = dict(RETINANET, bbox_head=dict(RETINANET['bbox_head'], num_class=3))
    with pytest.raises(TypeError, match=r'model\.bbox_head'):
        build_detector(cfg)


def test_proposals_are_drawn(tmp_path):
    model = build_detector(RPN)
    proposals = np.array([[4, 4, 40, 40, 0.9], [100, 100, 140, 140, 0.8]], np.float32)
    drawn = model.show_result(np.zeros((160, 160, 3), np.uint8), proposals, top_k=1, out_file=str(tmp_path / 'a.png'))
    assert (tmp_path / 'a.png').exists()
    assert drawn[:60].any() and not drawn[90:].any()
