"""Fast, Faster and Mask R-CNN as wholes: built from configs, trained, tested, saved."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from mmdet_clone.models import DETECTORS, build_detector
from mmdet_clone.models.detectors import TwoStageDetector
from mmdet_clone.structures.masks import BitmapMasks

NUM_CLASSES = 3
KINDS = ['FastRCNN', 'FasterRCNN', 'MaskRCNN', 'TwoStageDetector']
BACKBONE = dict(type='ResNet', depth=18, base_channels=8, norm_cfg=dict(type='BN'), norm_eval=True)
NMS = dict(type='nms', iou_threshold=0.7)
RPN_HEAD = dict(
    type='RPNHead',
    in_channels=16,
    feat_channels=16,
    anchor_generator=dict(type='AnchorGenerator', scales=[4], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64]),
)
ASSIGNER = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5, match_low_quality=False)


def extractor(size):
    layer = dict(type='RoIAlign', output_size=size, sampling_ratio=0)
    return dict(type='SingleRoIExtractor', roi_layer=layer, out_channels=16, featmap_strides=[4, 8, 16, 32])


def config(kind):
    roi_head = dict(
        type='StandardRoIHead',
        bbox_roi_extractor=extractor(7),
        bbox_head=dict(type='Shared2FCBBoxHead', in_channels=16, fc_out_channels=16, num_classes=NUM_CLASSES),
    )
    if kind == 'MaskRCNN':
        mask_head = dict(type='FCNMaskHead', num_convs=1, in_channels=16, conv_out_channels=8, num_classes=NUM_CLASSES)
        roi_head.update(mask_roi_extractor=extractor(14), mask_head=mask_head)
    sampler = dict(type='RandomSampler', num=32, pos_fraction=0.5)
    rpn_assigner = dict(ASSIGNER, pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3, match_low_quality=True)
    train_cfg = dict(
        rpn=dict(assigner=rpn_assigner, sampler=dict(sampler, add_gt_as_proposals=False), allowed_border=-1),
        rpn_proposal=dict(nms_pre=50, max_per_img=20, nms=NMS, min_bbox_size=0),
        rcnn=dict(assigner=ASSIGNER, sampler=sampler, mask_size=28, pos_weight=-1, debug=False),
    )
    test_cfg = dict(
        rpn=dict(nms_pre=50, max_per_img=20, nms=NMS, min_bbox_size=0),
        rcnn=dict(score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5), max_per_img=8, mask_thr_binary=0.5),
    )
    neck = dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=16, num_outs=5)
    cfg = dict(type=kind, backbone=BACKBONE, neck=neck, rpn_head=RPN_HEAD, roi_head=roi_head)
    if kind == 'FastRCNN':
        del cfg['rpn_head'], train_cfg['rpn'], train_cfg['rpn_proposal'], test_cfg['rpn']
    return dict(cfg, train_cfg=train_cfg, test_cfg=test_cfg)


def build(kind):
    model = build_detector(config(kind))
    model.init_weights()
    return model


def img_meta(**changes):
    scale = np.full(4, 2.0, np.float32)
    meta = dict(img_shape=(64, 64, 3), ori_shape=(32, 32, 3), pad_shape=(64, 64, 3), scale_factor=scale)
    return {**meta, 'flip': False, 'flip_direction': None, **changes}


def masks_of(boxes):
    masks = np.zeros((len(boxes), 64, 64), np.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist()):
        mask[y1:y2, x1:x2] = 1
    return BitmapMasks(masks, 64, 64)


PROPOSALS = torch.tensor([[3.0, 3, 40, 42], [30, 20, 62, 60], [0, 0, 10, 10]])
OBJECTS = torch.tensor([[4.0, 4, 40, 40], [30, 20, 60, 60]])
NONE = torch.zeros(0, 4)


def batch(kind, *boxes_per_image, ignored=None):
    given = dict(
        img=torch.randn(len(boxes_per_image), 3, 64, 64),
        img_metas=[img_meta() for _ in boxes_per_image],
        gt_bboxes=list(boxes_per_image),
        gt_labels=[torch.arange(len(b)) for b in boxes_per_image],
        gt_bboxes_ignore=ignored,
    )
    if kind == 'MaskRCNN':
        given['gt_masks'] = [masks_of(b) for b in boxes_per_image]
    if kind == 'FastRCNN':
        given['proposals'] = [PROPOSALS for _ in boxes_per_image]
    return given


def views(kind, imgs, metas):
    """Test data of one image: a list over views."""
    given = dict(img=imgs, img_metas=[[m] for m in metas])
    if kind == 'FastRCNN':
        given['proposals'] = [[PROPOSALS] for _ in imgs]
    return given


def boxes_of(result):
    return result[0] if isinstance(result, tuple) else result


def assert_same_boxes(ours, theirs, atol=1e-3):
    for a, b in zip(boxes_of(ours), boxes_of(theirs), strict=True):
        np.testing.assert_allclose(a, b, atol=atol)


def test_the_three_detectors_are_registered():
    assert set(KINDS) <= set(DETECTORS.names())


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(
    ('boxes', 'ignored'),
    [
        ((OBJECTS, OBJECTS[:1]), None),
        ((OBJECTS, NONE), None),
        ((NONE, NONE), None),
        ((NONE, NONE), [torch.tensor([[0.0, 0, 64, 64]])] * 2),
    ],
    ids=['objects', 'one image empty', 'all empty', 'all ignored'],
)
def test_losses_and_gradients_are_finite(kind, boxes, ignored):
    model = build(kind).train()
    given = batch(kind, *boxes, ignored=ignored)
    total, logged = model.parse_losses(model(**given))
    total.backward()
    expected = {'loss_cls', 'loss_bbox', 'acc', 'loss'}
    expected |= set() if kind == 'FastRCNN' else {'loss_rpn_cls', 'loss_rpn_bbox'}
    expected |= {'loss_mask'} if kind == 'MaskRCNN' else set()
    assert set(logged) == expected
    assert all(v.isfinite() for v in logged.values())
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not without
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    assert given['img_metas'][0]['batch_input_shape'] == (64, 64)


@pytest.mark.parametrize('kind', KINDS)
@torch.no_grad()
def test_results_are_arrays_by_class_in_original_pixels(kind):
    model = build(kind).eval()
    img = torch.randn(2, 3, 64, 64)
    given = dict(img=[img], img_metas=[[img_meta(), img_meta()]])
    if kind == 'FastRCNN':
        given['proposals'] = [[PROPOSALS, PROPOSALS[:0]]]
    results = model(**given, mode='predict')
    assert len(results) == 2
    for result in results:
        boxes = boxes_of(result)
        assert len(boxes) == NUM_CLASSES
        assert all(b.dtype == np.float32 and b.shape[1] == 5 for b in boxes)
        assert all((b[:, :4] >= 0).all() and (b[:, :4] <= 32).all() for b in boxes)
        if kind == 'MaskRCNN':
            assert [len(m) for m in result[1]] == [len(b) for b in boxes]
            assert all(m.shape == (32, 32) and m.dtype == bool for masks in result[1] for m in masks)
    assert sum(map(len, boxes_of(results[0]))) == 8
    if kind == 'FastRCNN':
        assert sum(map(len, boxes_of(results[1]))) == 0


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('rescale', [True, False])
@torch.no_grad()
def test_one_view_augmented_equals_the_simple_test(kind, rescale):
    model = build(kind).eval()
    given = views(kind, [torch.randn(1, 3, 64, 64)], [img_meta()])
    simple = model(**given, return_loss=False, rescale=rescale)[0]
    given['imgs'] = given.pop('img')
    assert_same_boxes(model.aug_test(**given, rescale=rescale)[0], simple)


@pytest.mark.parametrize('kind', ['FasterRCNN', 'MaskRCNN'])
@torch.no_grad()
def test_the_same_view_twice_changes_nothing(kind):
    model = build(kind).eval()
    img = torch.randn(1, 3, 64, 64)
    simple = model(**views(kind, [img], [img_meta()]), mode='predict')[0]
    assert_same_boxes(model(**views(kind, [img, img], [img_meta(), img_meta()]), mode='predict')[0], simple)


@pytest.mark.parametrize('kind', ['FastRCNN', 'FasterRCNN', 'MaskRCNN'])
@torch.no_grad()
def test_an_image_with_its_mirror_image_gives_mirrored_results_for_the_mirrored_image(kind):
    # swapping the views of an image gives the views of its mirror image
    model = build(kind).eval()
    img = torch.randn(1, 3, 64, 64)
    mirrored = img.flip(3)
    metas = [img_meta(), img_meta(flip=True, flip_direction='horizontal')]
    first, second = views(kind, [img, mirrored], metas), views(kind, [mirrored, img], metas)
    flipped = PROPOSALS.clone()
    flipped[:, [0, 2]] = 64 - PROPOSALS[:, [2, 0]]
    if kind == 'FastRCNN':
        first['proposals'], second['proposals'] = [[PROPOSALS], [flipped]], [[flipped], [PROPOSALS]]
    result, of_mirror = (model(**given, mode='predict')[0] for given in (first, second))
    for boxes, theirs in zip(boxes_of(result), boxes_of(of_mirror), strict=True):
        expected = theirs.copy()
        expected[:, [0, 2]] = 32 - theirs[:, [2, 0]]
        np.testing.assert_allclose(boxes, expected, atol=1e-3)


@torch.no_grad()
def test_views_of_several_scales_are_merged():
    model = build('MaskRCNN').eval()
    imgs = [torch.randn(1, 3, 64, 64), torch.randn(1, 3, 96, 96)]
    larger = img_meta(img_shape=(96, 96, 3), pad_shape=(96, 96, 3), scale_factor=np.full(4, 3.0, np.float32))
    ((boxes, masks),) = model(**views('MaskRCNN', imgs, [img_meta(), larger]), mode='predict')
    assert sum(map(len, boxes)) == 8
    assert all(m.shape == (32, 32) for of_class in masks for m in of_class)


@pytest.mark.parametrize('kind', KINDS)
@torch.no_grad()
def test_saved_and_loaded_it_gives_the_same_results(kind, tmp_path):
    model, other = build(kind).eval(), build(kind).eval()
    torch.save(model.state_dict(), tmp_path / 'weights.pth')
    other.load_state_dict(torch.load(tmp_path / 'weights.pth', weights_only=True), strict=True)
    given = views(kind, [torch.randn(1, 3, 64, 64)], [img_meta()])
    first, second = (m(**copy.deepcopy(given), mode='predict')[0] for m in (model, other))
    assert_same_boxes(first, second, atol=0)


@torch.no_grad()
def test_given_proposals_replace_the_rpns():
    model = build('FasterRCNN').eval()
    one = dict(img=torch.randn(1, 3, 64, 64), img_metas=[img_meta()])
    result = model.simple_test(**one, proposals=[PROPOSALS[:1]])[0]
    assert 0 < sum(map(len, result)) <= NUM_CLASSES  # one box a class at most


def test_training_proposals_fall_back_to_the_test_settings():
    cfg = config('FasterRCNN')
    del cfg['train_cfg']['rpn_proposal']
    cfg['test_cfg']['rpn']['max_per_img'] = 3
    model, seen = build_detector(cfg), []
    forward_train = model.roi_head.forward_train
    model.roi_head.forward_train = lambda x, metas, proposals, *rest: (
        seen.append(len(proposals[0])) or forward_train(x, metas, proposals, *rest)
    )
    model(**batch('FasterRCNN', OBJECTS))
    assert seen == [3]


def test_dummy_forward_gives_the_outputs_of_both_stages():
    (cls_scores, deltas), (cls_score, bbox_pred, mask_pred) = build('MaskRCNN').forward_dummy(torch.randn(1, 3, 64, 64))
    assert len(cls_scores) == len(deltas) == 5
    assert cls_score.shape == (1000, NUM_CLASSES + 1)
    assert bbox_pred.shape == (1000, 4 * NUM_CLASSES)
    assert mask_pred.shape == (100, NUM_CLASSES, 28, 28)


def test_the_config_given_is_left_as_it_was():
    cfg = config('MaskRCNN')
    before = copy.deepcopy(cfg)
    build_detector(cfg)
    assert cfg == before


def test_what_it_has_is_told():
    mask, fast = build('MaskRCNN'), build('FastRCNN')
    assert mask.with_rpn and mask.with_neck and mask.with_bbox and mask.with_mask and not mask.with_shared_head
    assert fast.with_roi_head and not fast.with_rpn and not fast.with_mask


class TestMistakes:
    def test_masks_missing_from_the_batch(self):
        given = batch('MaskRCNN', OBJECTS)
        del given['gt_masks']
        with pytest.raises(ValueError, match='with_mask=True'):
            build('MaskRCNN')(**given)

    def test_proposals_missing_from_the_batch(self):
        given = batch('FastRCNN', OBJECTS)
        del given['proposals']
        with pytest.raises(ValueError, match='LoadProposals'):
            build('FastRCNN')(**given)
        with pytest.raises(ValueError, match='LoadProposals'):
            build('FastRCNN')([torch.randn(1, 3, 64, 64)], [[img_meta()]], return_loss=False)

    def test_no_settings_for_proposals(self):
        cfg = config('FasterRCNN')
        del cfg['train_cfg']['rpn_proposal'], cfg['test_cfg']['rpn']
        with pytest.raises(ValueError, match=r'train_cfg\.rpn_proposal, or test_cfg\.rpn'):
            build_detector(cfg)(**batch('FasterRCNN', OBJECTS))


def test_a_users_detector_may_build_on_the_recipe():
    @DETECTORS.register_module(force=True)
    class Doubled(TwoStageDetector):
        def forward_train(self, img, img_metas, gt_bboxes, gt_labels, **others):
            losses = super().forward_train(img, img_metas, gt_bboxes, gt_labels, **others)
            return {key: value * 2 for key, value in losses.items() if key == 'loss_cls'}

    given = batch('FasterRCNN', OBJECTS)
    assert set(build_detector(dict(config('FasterRCNN'), type='Doubled'))(**given)) == {'loss_cls'}
