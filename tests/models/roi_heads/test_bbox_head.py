"""Targets, losses and decoding of box heads, against values computed by hand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torchvision
from torch.nn import functional as F

from mmdet_clone.models import build_head
from mmdet_clone.registry import ConfigTypeError

TEST_CFG = dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=10)
UNIT_CODER = dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[1.0] * 4)


def build(kind='BBoxHead', **changes):
    cfg = dict(type=kind, in_channels=4, roi_feat_size=3, num_classes=2, bbox_coder=UNIT_CODER)
    return build_head({**cfg, **changes})


def sampled(pos, gt, labels, neg):
    """One image's samples: positives with the ground truth of each, and negatives."""
    pos, gt, neg = (torch.tensor(b, dtype=torch.float32).reshape(-1, 4) for b in (pos, gt, neg))
    return SimpleNamespace(
        pos_bboxes=pos,
        neg_bboxes=neg,
        pos_gt_bboxes=gt,
        pos_gt_labels=torch.tensor(labels, dtype=torch.long),
        bboxes=torch.cat([pos, neg]),
    )


ONE_OF_EACH = dict(pos=[[0, 0, 10, 10]], gt=[[5, 0, 15, 10]], labels=[1], neg=[[20, 20, 30, 30], [0, 0, 4, 4]])


class TestTargets:
    def test_positives_come_first_and_background_has_the_label_after_the_last_class(self):
        labels, label_weights, targets, weights = build().get_targets([sampled(**ONE_OF_EACH)], [], [], {})
        assert labels.tolist() == [1, 2, 2]
        assert label_weights.tolist() == [1, 1, 1]
        # the ground truth lies half a width to the right of the region
        torch.testing.assert_close(targets, torch.tensor([[0.5, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]))
        assert weights[:, 0].tolist() == [1, 0, 0]

    def test_decoded_targets_are_corners(self):
        head = build(reg_decoded_bbox=True)
        targets = head.get_targets([sampled(**ONE_OF_EACH)], [], [], {})[2]
        assert targets[0].tolist() == [5, 0, 15, 10]

    def test_pos_weight_scales_positives_only(self):
        weights = build().get_targets([sampled(**ONE_OF_EACH)], [], [], dict(pos_weight=3.0))[1]
        assert weights.tolist() == [3, 1, 1]

    def test_images_are_joined_or_listed(self):
        samples = [sampled(**ONE_OF_EACH), sampled([], [], [], [[0, 0, 1, 1]])]
        assert build().get_targets(samples, [], [], {})[0].tolist() == [1, 2, 2, 2]
        assert [t.tolist() for t in build().get_targets(samples, [], [], {}, concat=False)[0]] == [[1, 2, 2], [2]]


class TestLoss:
    def targets_and_rois(self, head, **sample):
        sample = sampled(**(sample or ONE_OF_EACH))
        rois = F.pad(sample.bboxes, (1, 0))
        return rois, head.get_targets([sample], [], [], {})

    def test_values_by_hand(self):
        head = build(loss_bbox=dict(type='L1Loss', loss_weight=2.0))
        rois, targets = self.targets_and_rois(head)
        cls_score = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 2.0], [3.0, 0.0, 0.0]])
        bbox_pred = torch.full((3, 8), 0.25)
        losses = head.loss(cls_score, bbox_pred, rois, *targets)
        expected = -cls_score.log_softmax(1)[[0, 1, 2], [1, 2, 2]].mean()
        torch.testing.assert_close(losses['loss_cls'], expected)
        # |0.25 - 0.5| + 3 * |0.25| over three regions, doubled
        torch.testing.assert_close(losses['loss_bbox'], torch.tensor(2 * 1.0 / 3))
        assert losses['acc'].item() == pytest.approx(200 / 3)

    def test_only_the_deltas_of_the_labelled_class_count(self):
        head = build(loss_bbox=dict(type='L1Loss'))
        rois, targets = self.targets_and_rois(head)
        bbox_pred = torch.zeros(3, 8, requires_grad=True)
        head.loss(None, bbox_pred, rois, *targets)['loss_bbox'].backward()
        assert bbox_pred.grad.nonzero().tolist() == [[0, 4]]

    def test_class_agnostic_deltas(self):
        head = build(reg_class_agnostic=True, loss_bbox=dict(type='L1Loss'))
        assert head.fc_reg.out_features == 4
        rois, targets = self.targets_and_rois(head)
        losses = head.loss(None, torch.zeros(3, 4), rois, *targets)
        torch.testing.assert_close(losses['loss_bbox'], torch.tensor(0.5 / 3))

    def test_iou_loss_on_decoded_boxes(self):
        head = build(reg_decoded_bbox=True, loss_bbox=dict(type='GIoULoss'))
        rois, targets = self.targets_and_rois(head)
        losses = head.loss(None, torch.zeros(3, 8), rois, *targets)
        # half of the boxes' width overlaps: IoU 50 / 150, and the hull is their union
        torch.testing.assert_close(losses['loss_bbox'], torch.tensor((1 - 1 / 3) / 3), atol=1e-5, rtol=0)

    @pytest.mark.parametrize(
        'sample',
        [dict(pos=[], gt=[], labels=[], neg=[[0, 0, 9, 9]]), dict(pos=[], gt=[], labels=[], neg=[])],
        ids=['no positive', 'no region'],
    )
    @pytest.mark.parametrize('loss_bbox', ['L1Loss', 'CIoULoss'])
    def test_every_parameter_has_a_finite_gradient_without_objects(self, sample, loss_bbox):
        head = build('Shared2FCBBoxHead', fc_out_channels=8, loss_bbox=dict(type=loss_bbox), reg_decoded_bbox=True)
        rois, targets = self.targets_and_rois(head, **sample)
        losses = head.loss(*head(torch.randn(len(rois), 4, 3, 3)), rois, *targets)
        assert set(losses) == {'loss_cls', 'loss_bbox', 'acc'}
        (losses['loss_cls'] + losses['loss_bbox']).backward()
        assert losses['loss_bbox'] == 0
        assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())

    def test_a_loss_may_bring_its_own_channels_activation_and_accuracy(self):
        head = build()

        class Objectness(torch.nn.Module):
            custom_cls_channels = custom_accuracy = True

            def get_cls_channels(self, num_classes):
                return num_classes + 2

            def get_activation(self, cls_score):
                return cls_score[:, :3].sigmoid()

            def get_accuracy(self, cls_score, labels):
                return dict(acc_objectness=cls_score.mean())

            def forward(self, cls_score, labels, weights, avg_factor, reduction_override):
                return dict(loss_cls_objectness=cls_score.sum() / avg_factor)

        head.loss_cls, head.custom_cls_channels = Objectness(), True
        head.build_predictors(36, 36)
        assert head.fc_cls.out_features == 4
        rois, targets = self.targets_and_rois(head)
        losses = head.loss(torch.ones(3, 4), None, rois, *targets)
        assert set(losses) == {'loss_cls_objectness', 'acc_objectness'}
        assert losses['loss_cls_objectness'] == 4


class TestDecoding:
    def test_scores_and_boxes_without_cfg(self):
        head = build()
        rois = torch.tensor([[0.0, 10, 10, 30, 30]])
        bboxes, scores = head.get_bboxes(rois, torch.zeros(1, 3), torch.zeros(1, 8), (40, 40, 3), 1.0)
        torch.testing.assert_close(scores, torch.full((1, 3), 1 / 3))
        assert bboxes.tolist() == [[10, 10, 30, 30, 10, 10, 30, 30]]

    def test_scores_of_half_precision_logits_are_made_in_single_precision(self):
        logits = torch.tensor([[2.0, 1.0, 0.0]], dtype=torch.bfloat16)
        _, scores = build().get_bboxes(torch.tensor([[0.0, 0, 0, 9, 9]]), logits, None, (40, 40, 3), 1.0)
        torch.testing.assert_close(scores, logits.float().softmax(1))

    def test_boxes_are_clipped_to_the_image_then_rescaled(self):
        rois = torch.tensor([[0.0, 10, -5, 50, 30]])
        for deltas in (torch.zeros(1, 8), None):
            bboxes, _ = build().get_bboxes(
                rois, torch.zeros(1, 3), deltas, (20, 40, 3), [2.0, 4.0, 2.0, 4.0], rescale=True
            )
            assert bboxes[0, :4].tolist() == [5, 0, 20, 5]

    def test_detections_equal_torchvisions_batched_nms(self):
        head = build()
        corners = torch.rand(40, 2) * 50
        boxes = torch.cat([corners, corners + 5 + torch.rand(40, 2) * 40], 1).clamp(max=80)
        cls_score, deltas = torch.randn(40, 3), torch.zeros(40, 8)
        dets, labels = head.get_bboxes(F.pad(boxes, (1, 0)), cls_score, deltas, (80, 80, 3), 1.0, cfg=TEST_CFG)
        scores = cls_score.softmax(1)[:, :2].reshape(-1)
        every_box, every_label = boxes.repeat_interleave(2, 0), torch.tensor([0, 1]).repeat(40)
        good = scores > 0.05
        keep = torchvision.ops.batched_nms(every_box[good], scores[good], every_label[good], 0.5)[:10]
        torch.testing.assert_close(dets[:, 4], scores[good][keep])
        torch.testing.assert_close(dets[:, :4], every_box[good][keep])
        assert labels.tolist() == every_label[good][keep].tolist()

    def test_no_region_gives_no_detection(self):
        dets, labels = build().get_bboxes(
            torch.zeros(0, 5), torch.zeros(0, 3), torch.zeros(0, 8), (80, 80, 3), 1.0, True, TEST_CFG
        )
        assert dets.shape == (0, 5) and labels.shape == (0,)

    def test_a_missing_threshold_is_named(self):
        with pytest.raises(ValueError, match=r'test_cfg\.rcnn needs score_thr'):
            build().get_bboxes(
                torch.zeros(1, 5), torch.zeros(1, 3), torch.zeros(1, 8), (9, 9), 1.0, cfg=dict(nms=TEST_CFG['nms'])
            )


class TestRefinement:
    def test_each_region_moves_by_the_deltas_of_its_class_and_ground_truth_is_left_out(self):
        head = build()
        rois = torch.tensor([[0.0, 0, 0, 10, 10], [0, 10, 10, 20, 20], [1, 0, 0, 10, 10]])
        deltas = torch.zeros(3, 8)
        deltas[1, 4] = 0.5  # of class 1, half a width to the right
        deltas[2, 0] = 0.9  # of class 0, which is not asked for
        metas = [dict(img_shape=(100, 100, 3))] * 2
        is_gt = [torch.tensor([1, 0], dtype=torch.uint8), torch.zeros(0, dtype=torch.uint8)]
        refined = head.refine_bboxes(rois, torch.tensor([0, 1, 1]), deltas, is_gt, metas)
        assert [r.tolist() for r in refined] == [[[15, 10, 25, 20]], [[0, 0, 10, 10]]]

    def test_an_image_without_regions_stays_empty(self):
        refined = build().refine_bboxes(
            torch.zeros(0, 5),
            torch.zeros(0, dtype=torch.long),
            torch.zeros(0, 8),
            [torch.zeros(0)],
            [dict(img_shape=(9, 9))],
        )
        assert refined[0].shape == (0, 4)

    def test_the_image_index_is_kept(self):
        moved = build().regress_by_class(
            torch.tensor([[3.0, 0, 0, 10, 10]]), torch.tensor([0]), torch.zeros(1, 8), dict(img_shape=(50, 50))
        )
        assert moved.tolist() == [[3, 0, 0, 10, 10]]


class TestLayers:
    def test_average_pooling_leaves_one_value_a_channel(self):
        head = build(with_avg_pool=True)
        assert head.fc_cls.in_features == 4
        x = torch.randn(2, 4, 3, 3)
        torch.testing.assert_close(head(x)[0], head.fc_cls(x.mean((2, 3))))

    def test_parameter_names_and_shapes_of_the_two_presets(self):
        two_fc = build('Shared2FCBBoxHead', fc_out_channels=8)
        assert {n: tuple(p.shape) for n, p in two_fc.named_parameters() if n.endswith('weight')} == {
            'shared_fcs.0.weight': (8, 36),
            'shared_fcs.1.weight': (8, 8),
            'fc_cls.weight': (3, 8),
            'fc_reg.weight': (8, 8),
        }
        four_conv = build('Shared4Conv1FCBBoxHead', conv_out_channels=5, fc_out_channels=8)
        assert {n: tuple(p.shape) for n, p in four_conv.named_parameters() if n.endswith('weight')} == {
            'shared_convs.0.conv.weight': (5, 4, 3, 3),
            **{f'shared_convs.{i}.conv.weight': (5, 5, 3, 3) for i in (1, 2, 3)},
            'shared_fcs.0.weight': (8, 45),
            'fc_cls.weight': (3, 8),
            'fc_reg.weight': (8, 8),
        }

    def test_branches_of_their_own(self):
        head = build(
            'ConvFCBBoxHead', num_shared_convs=1, num_cls_fcs=1, num_reg_convs=1, conv_out_channels=5, fc_out_channels=8
        )
        assert head.cls_fcs[0].in_features == 45 and head.fc_cls.in_features == 8
        assert head.fc_reg.in_features == 45
        cls_score, bbox_pred = head(torch.randn(2, 4, 3, 3))
        assert cls_score.shape == (2, 3) and bbox_pred.shape == (2, 8)

    def test_one_task_alone(self):
        cls_score, bbox_pred = build(with_reg=False)(torch.randn(2, 4, 3, 3))
        assert cls_score.shape == (2, 3) and bbox_pred is None

    def test_initialisation_is_narrow_for_the_predictors(self):
        head = build('Shared2FCBBoxHead', in_channels=64, fc_out_channels=512)
        head.init_weights()
        assert head.fc_cls.weight.std().item() == pytest.approx(0.01, rel=0.1)
        assert head.fc_reg.weight.std().item() == pytest.approx(0.001, rel=0.1)
        # Xavier: uniform within sqrt(6 / (fan_in + fan_out))
        bound = (6 / (64 * 9 + 512)) ** 0.5
        assert head.shared_fcs[0].weight.abs().max().item() == pytest.approx(bound, rel=1e-2)

    @pytest.mark.parametrize(
        'changes',
        [{}, dict(num_shared_fcs=1, num_cls_convs=1), dict(with_reg=False, num_shared_fcs=1, num_reg_fcs=1)],
    )
    def test_layers_that_make_no_sense_are_refused(self, changes):
        with pytest.raises(ValueError, match='ConvFCBBoxHead'):
            build('ConvFCBBoxHead', **changes)

    def test_an_unknown_argument_names_the_near_one(self):
        with pytest.raises(ConfigTypeError, match='fc_out_channels'):
            build('Shared2FCBBoxHead', fc_out_channel=8)
