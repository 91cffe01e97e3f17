"""The second stage: training with and without objects, testing batches, merging views."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmdet_clone.models import build_head, build_shared_head
from mmdet_clone.structures.masks import BitmapMasks

NUM_CLASSES = 3
TRAIN_CFG = dict(
    assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5, ignore_iof_thr=0.5),
    sampler=dict(type='RandomSampler', num=32, pos_fraction=0.25),
    mask_size=28,
)
TEST_CFG = dict(score_thr=0.01, nms=dict(type='nms', iou_threshold=0.5), max_per_img=5, mask_thr_binary=0.5)


def extractor(size, strides=(4, 8)):
    layer = dict(type='RoIAlign', output_size=size, sampling_ratio=0)
    return dict(type='SingleRoIExtractor', roi_layer=layer, out_channels=8, featmap_strides=list(strides))


def build(**changes):
    cfg = dict(
        type='StandardRoIHead',
        bbox_roi_extractor=extractor(7),
        bbox_head=dict(type='Shared2FCBBoxHead', in_channels=8, fc_out_channels=16, num_classes=NUM_CLASSES),
        mask_roi_extractor=extractor(14),
        mask_head=dict(type='FCNMaskHead', num_convs=1, in_channels=8, conv_out_channels=8, num_classes=NUM_CLASSES),
        train_cfg=TRAIN_CFG,
        test_cfg=TEST_CFG,
    )
    cfg = {**cfg, **changes}
    return build_head({key: value for key, value in cfg.items() if value is not None})


def build_sharing():
    """One extractor and a residual stage for both heads, as in the C4 form."""
    return build(
        bbox_roi_extractor=dict(extractor(14, [4]), out_channels=128),
        shared_head=dict(type='ResLayer', depth=18, stage=2, stride=2),
        bbox_head=dict(type='BBoxHead', with_avg_pool=True, in_channels=256, num_classes=NUM_CLASSES),
        mask_roi_extractor=None,
        mask_head=dict(type='FCNMaskHead', num_convs=0, in_channels=256, conv_out_channels=8, num_classes=NUM_CLASSES),
        train_cfg=dict(TRAIN_CFG, mask_size=14),
    )


def features(num_images=1, channels=8):
    return [torch.randn(num_images, channels, 64 // s, 64 // s) for s in (4, 8)]


def meta(**changes):
    return (
        dict(
            img_shape=(64, 64, 3),
            ori_shape=(64, 64, 3),
            scale_factor=np.ones(4, np.float32),
            flip=False,
            flip_direction=None,
        )
        | changes
    )


BOXES = torch.tensor([[4.0, 4, 40, 40], [30, 20, 60, 60]])


def masks_of(boxes):
    masks = np.zeros((len(boxes), 64, 64), np.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist()):
        mask[y1:y2, x1:x2] = 1
    return BitmapMasks(masks, 64, 64)


def batch(*boxes_per_image, ignored=None, proposals=True):
    """Ground truth of a batch, and proposals around it."""
    proposal = torch.cat([BOXES + 2, torch.tensor([[0.0, 0, 8, 8], [50, 2, 60, 20]])])
    return dict(
        proposal_list=[proposal if proposals else torch.zeros(0, 4) for _ in boxes_per_image],
        gt_bboxes=list(boxes_per_image),
        gt_labels=[torch.arange(len(b)) for b in boxes_per_image],
        gt_bboxes_ignore=ignored,
        gt_masks=[masks_of(b) for b in boxes_per_image],
    )


NONE = torch.zeros(0, 4)


@pytest.mark.parametrize(
    'given',
    [
        batch(BOXES, BOXES[:1]),
        batch(BOXES, NONE),
        batch(NONE, NONE),
        batch(NONE, NONE, proposals=False),
        batch(BOXES, NONE, proposals=False),
        batch(NONE, NONE, ignored=[torch.tensor([[0.0, 0, 64, 64]])] * 2),
    ],
    ids=['objects', 'one image empty', 'all empty', 'no proposals', 'ground truth alone', 'all ignored'],
)
@pytest.mark.parametrize('builder', [build, build_sharing])
def test_losses_and_all_gradients_are_finite(builder, given):
    head = builder()
    x = features(2, 128 if builder is build_sharing else 8)
    losses = head.forward_train(x, [meta()] * 2, **given)
    assert set(losses) == {'loss_cls', 'loss_bbox', 'loss_mask', 'acc'}
    sum(v.sum() for k, v in losses.items() if 'loss' in k).backward()
    assert all(v.isfinite().all() for v in losses.values())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


def test_ignored_regions_are_not_background():
    head = build(mask_head=None)
    given = batch(BOXES[:1])
    crowd = [torch.tensor([[45.0, 0, 64, 64]])]  # holds the last proposal, half of the second
    truth = given['gt_bboxes'], given['gt_labels']
    (plain,) = head.sample_proposals(features(), given['proposal_list'], *truth, None)
    (beside_crowd,) = head.sample_proposals(features(), given['proposal_list'], *truth, crowd)
    assert plain.neg_bboxes[:, 0].tolist() == [32, 0, 50]
    assert beside_crowd.neg_bboxes[:, 0].tolist() == [0]


def test_masks_that_are_missing_are_asked_for():
    given = dict(batch(BOXES), gt_masks=None)
    with pytest.raises(ValueError, match='with_mask=True'):
        build().forward_train(features(), [meta()], **given)


def test_training_without_a_train_cfg_is_told():
    head = build(train_cfg=None)
    with pytest.raises(ValueError, match=r'train_cfg\.rcnn is needed'):
        head.forward_train(features(), [meta()], **batch(BOXES))


def test_an_image_of_a_batch_gets_the_result_it_gets_alone():
    head, x = build().eval(), features(3)
    proposals = [BOXES, torch.zeros(0, 4), BOXES.flip(0)[:1]]
    metas = [meta(), meta(), meta(scale_factor=np.full(4, 2.0, np.float32), ori_shape=(32, 32, 3))]
    together = head.simple_test(x, proposals, metas, rescale=True)
    for i in range(3):
        ((bboxes, masks),) = head.simple_test([f[i : i + 1] for f in x], proposals[i : i + 1], metas[i : i + 1], True)
        for ours, theirs in zip(together[i][0], bboxes, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-4)
        assert [len(m) for m in together[i][1]] == [len(m) for m in masks] == [len(b) for b in bboxes]
    assert sum(map(len, together[1][0])) == 0
    assert together[2][1][0][0].shape == (32, 32)


def test_no_proposals_at_all_give_empty_results():
    for head in (build(), build(mask_head=None)):
        result = head.eval().simple_test(features(2), [torch.zeros(0, 5)] * 2, [meta()] * 2)
        bboxes = result[0][0] if head.with_mask else result[0]
        assert len(result) == 2
        assert [b.shape for b in bboxes] == [(0, 5)] * NUM_CLASSES


def test_a_change_of_the_test_cfg_counts_at_once():
    head = build(mask_head=None, test_cfg=dict(TEST_CFG)).eval()
    x = features()
    assert sum(map(len, head.simple_test(x, [BOXES], [meta()])[0])) > 1
    head.test_cfg['max_per_img'] = 1
    assert sum(map(len, head.simple_test(x, [BOXES], [meta()])[0])) == 1


@pytest.mark.parametrize('rescale', [True, False])
def test_one_view_merges_to_what_it_gives_alone(rescale):
    head, x = build().eval(), features()
    metas = [meta(scale_factor=np.full(4, 2.0, np.float32), ori_shape=(32, 32, 3))]
    simple = head.simple_test(x, [BOXES], metas, rescale=rescale)[0]
    merged = head.aug_test([x], [BOXES / 2], [metas], rescale=rescale)[0]
    for ours, theirs in zip(merged[0], simple[0], strict=True):
        # the boxes' NMS runs in other pixels, the results are the same
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    if rescale:
        for ours, theirs in zip(merged[1], simple[1], strict=True):
            assert all((a != b).mean() < 0.01 for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(('direction', 'dims'), [('horizontal', [3]), ('vertical', [2]), ('diagonal', [2, 3])])
def test_flipped_features_merge_to_flipped_boxes(direction, dims):
    # regions whose features are constant give the same outputs in every view, so that merging changes nothing
    head = build().eval()
    x = [torch.ones(1, 8, 64 // s, 64 // s) for s in (4, 8)]
    torch.nn.init.zeros_(head.bbox_head.fc_reg.weight)
    torch.nn.init.zeros_(head.bbox_head.fc_reg.bias)
    views = [[meta()], [meta(flip=True, flip_direction=direction)]]
    inner = torch.tensor([[10.0, 12, 30, 40]])
    merged = head.aug_test([x, [f.flip(dims) for f in x]], [inner], views, rescale=True)[0]
    alone = head.simple_test(x, [inner], [meta()], rescale=True)[0]
    for ours, theirs in zip(merged[0], alone[0], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_dummy_forward_gives_scores_deltas_and_masks():
    cls_score, bbox_pred, mask_pred = build().forward_dummy(features(), torch.rand(120, 4) * 20)
    assert cls_score.shape == (120, NUM_CLASSES + 1)
    assert bbox_pred.shape == (120, 4 * NUM_CLASSES)
    assert mask_pred.shape == (100, NUM_CLASSES, 28, 28)


def test_hooks_on_the_parts_fire():
    head, called = build(), []
    for name in ('bbox_roi_extractor', 'bbox_head', 'mask_roi_extractor', 'mask_head'):
        getattr(head, name).register_forward_hook(lambda *_, name=name: called.append(name))
    head.forward_dummy(features(), BOXES)
    assert called == ['bbox_roi_extractor', 'bbox_head', 'mask_roi_extractor', 'mask_head']


def test_a_shared_extractor_adds_no_parameters_of_its_own():
    head = build_sharing()
    assert head.with_shared_head and head.mask_roi_extractor is head.bbox_roi_extractor
    assert {name.split('.')[0] for name in head.state_dict()} == {'shared_head', 'bbox_head', 'mask_head'}


def test_the_shared_stage_keeps_its_batch_statistics_while_training():
    stage = build_shared_head(dict(type='ResLayer', depth=18, stage=2, stride=2))
    before = stage.layer3[0].bn1.running_mean.clone()
    stage.train()
    assert stage(torch.randn(2, 128, 14, 14)).shape == (2, 256, 7, 7)
    assert torch.equal(stage.layer3[0].bn1.running_mean, before)
    assert build_shared_head(dict(type='ResLayer', depth=18, norm_eval=False)).train().layer4[0].bn1.training


def test_unused_settings_are_warned_of():
    with pytest.warns(UserWarning, match='max_per_image'):
        build(test_cfg=dict(TEST_CFG, max_per_image=3))
