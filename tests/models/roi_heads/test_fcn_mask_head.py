"""Mask targets, losses, and masks pasted into the image."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mmdet_clone.models import build_head
from mmdet_clone.registry import UnknownTypeError
from mmdet_clone.structures.masks import BitmapMasks, PolygonMasks

TEST_CFG = dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=10, mask_thr_binary=0.5)


def build(**changes):
    cfg = dict(type='FCNMaskHead', num_convs=1, in_channels=4, conv_out_channels=4, num_classes=3)
    return build_head({**cfg, **changes})


def paste(head, mask_pred, boxes, labels, ori_shape=(20, 20, 3), scale_factor=1.0, rescale=True, **cfg):
    boxes, labels = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), torch.tensor(labels, dtype=torch.long)
    return head.get_seg_masks(mask_pred, boxes, labels, {**TEST_CFG, **cfg}, ori_shape, scale_factor, rescale)


class TestLayers:
    @pytest.mark.parametrize('method', ['deconv', 'nearest', 'bilinear'])
    def test_upsampling_doubles_the_size(self, method):
        head = build(upsample_cfg=dict(type=method, scale_factor=2))
        assert head(torch.randn(2, 4, 14, 14)).shape == (2, 3, 28, 28)

    def test_without_upsampling_the_size_stays(self):
        assert build(upsample_cfg=dict(type=None))(torch.randn(2, 4, 14, 14)).shape == (2, 3, 14, 14)

    def test_class_agnostic_masks(self):
        assert build(class_agnostic=True)(torch.randn(2, 4, 14, 14)).shape == (2, 1, 28, 28)

    def test_parameter_names(self):
        assert {n for n in build().state_dict() if n.endswith('weight')} == {
            'convs.0.conv.weight',
            'upsample.weight',
            'conv_logits.weight',
        }

    def test_logits_start_with_the_fan_out_of_their_layer(self):
        head = build(conv_out_channels=64, num_classes=80)
        head.init_weights()
        assert head.conv_logits.weight.std().item() == pytest.approx((2 / 80) ** 0.5, rel=0.1)
        assert not head.conv_logits.bias.any()

    def test_an_unknown_upsampling_is_told_with_the_known_ones(self):
        with pytest.raises(UnknownTypeError, match="'deconv', 'nearest', 'bilinear'"):
            build(upsample_cfg=dict(type='carafe', scale_factor=2))


class TestTargets:
    def sampled(self, bboxes, inds):
        boxes = torch.tensor(bboxes, dtype=torch.float32).reshape(-1, 4)
        return SimpleNamespace(pos_bboxes=boxes, pos_assigned_gt_inds=torch.tensor(inds, dtype=torch.long))

    def test_a_region_gets_its_part_of_its_objects_mask(self):
        masks = np.zeros((2, 16, 16), np.uint8)
        masks[1, :8] = 1  # the upper half is the second object's
        targets = build().get_targets(
            [self.sampled([[0, 0, 16, 16], [0, 0, 8, 8]], [1, 0])], [BitmapMasks(masks, 16, 16)], dict(mask_size=4)
        )
        assert targets.tolist() == [[[1] * 4, [1] * 4, [0] * 4, [0] * 4], [[0] * 4] * 4]

    def test_polygons_and_bitmaps_give_the_same_targets(self):
        polygon = [[np.array([2.0, 2, 14, 2, 14, 14, 2, 14])]]
        bitmap = np.zeros((1, 16, 16), np.uint8)
        bitmap[0, 2:14, 2:14] = 1
        sample, cfg = [self.sampled([[0, 0, 16, 16]], [0])], dict(mask_size=8)
        by_polygon = build().get_targets(sample, [PolygonMasks(polygon, 16, 16)], cfg)
        by_bitmap = build().get_targets(sample, [BitmapMasks(bitmap, 16, 16)], cfg)
        assert by_bitmap.sum() == 36
        assert torch.equal(by_polygon, by_bitmap)

    def test_images_without_positives_add_nothing(self):
        masks = BitmapMasks(np.ones((1, 16, 16), np.uint8), 16, 16)
        none = BitmapMasks(np.zeros((0, 16, 16), np.uint8), 16, 16)
        samples = [self.sampled([], []), self.sampled([[0, 0, 9, 9]], [0])]
        assert build().get_targets(samples, [none, masks], dict(mask_size=(4, 6))).shape == (1, 4, 6)

    def test_soft_targets_are_the_share_of_each_cell(self):
        masks = np.zeros((1, 8, 8), np.uint8)
        masks[0, :, ::2] = 1
        cfg = dict(mask_size=4, soft_mask_target=True)
        targets = build().get_targets([self.sampled([[0, 0, 8, 8]], [0])], [BitmapMasks(masks, 8, 8)], cfg)
        torch.testing.assert_close(targets, torch.full((1, 4, 4), 0.5))


class TestLoss:
    def test_only_the_mask_of_the_regions_class_counts(self):
        head, mask_pred = build(), torch.randn(2, 3, 4, 4, requires_grad=True)
        targets, labels = torch.randint(0, 2, (2, 4, 4)).float(), torch.tensor([2, 0])
        loss = head.loss(mask_pred, targets, labels)['loss_mask']
        chosen = torch.stack([mask_pred[0, 2], mask_pred[1, 0]])
        torch.testing.assert_close(loss.squeeze(), F.binary_cross_entropy_with_logits(chosen, targets))

    def test_no_region_gives_a_zero_with_gradients(self):
        head = build()
        loss = head.loss(head(torch.zeros(0, 4, 14, 14)), torch.zeros(0, 28, 28), torch.zeros(0, dtype=torch.long))
        loss['loss_mask'].backward()
        assert loss['loss_mask'] == 0
        assert all(p.grad is not None for p in head.parameters())


class TestPasting:
    def test_a_full_mask_fills_its_box(self):
        result = paste(build(), torch.full((1, 3, 28, 28), 9.0), [[4, 6, 12, 16]], [1])
        assert [len(masks) for masks in result] == [0, 1, 0]
        expected = np.zeros((20, 20), bool)
        expected[6:16, 4:12] = True
        assert result[1][0].dtype == bool
        assert np.array_equal(result[1][0], expected)

    def test_masks_of_a_class_keep_the_order_of_their_boxes(self):
        boxes = [[0, 0, 4, 4], [0, 0, 8, 8], [0, 0, 12, 12]]
        result = paste(build(), torch.full((3, 3, 28, 28), 9.0), boxes, [2, 0, 2])
        assert [[int(m.sum()) for m in masks] for masks in result] == [[64], [], [16, 144]]

    @pytest.mark.parametrize(('rescale', 'shape', 'area'), [(True, (20, 30), 36), (False, (40, 60), 144)])
    def test_the_mask_is_of_the_original_image_or_of_the_networks_input(self, rescale, shape, area):
        result = paste(
            build(), torch.full((1, 3, 28, 28), 9.0), [[8, 8, 20, 20]], [0], (20, 30, 3), np.full(4, 2.0), rescale
        )
        assert result[0][0].shape == shape
        assert result[0][0].sum() == area

    def test_the_mask_of_the_detections_class_is_pasted(self):
        logits = torch.full((1, 3, 28, 28), -9.0)
        logits[:, 2] = 9.0
        assert paste(build(), logits, [[0, 0, 10, 10]], [2])[2][0].sum() == 100
        assert paste(build(), logits, [[0, 0, 10, 10]], [1])[1][0].sum() == 0

    def test_half_precision_logits_are_thresholded_in_single_precision(self):
        just_outside = torch.full((1, 3, 28, 28), -0.002, dtype=torch.bfloat16)  # sigmoid .4995, in bfloat16 .5
        assert paste(build(), just_outside, [[0, 0, 10, 10]], [0])[0][0].sum() == 0

    def test_arrays_are_probabilities_already(self):
        half = np.full((1, 3, 28, 28), 0.4, np.float32)
        assert paste(build(), half, [[0, 0, 10, 10]], [0])[0][0].sum() == 0
        assert paste(build(), half, [[0, 0, 10, 10]], [0], mask_thr_binary=0.3)[0][0].sum() == 100

    def test_a_negative_threshold_keeps_probabilities(self):
        mask = paste(build(), np.ones((1, 3, 28, 28), np.float32), [[0, 0, 10, 10]], [0], mask_thr_binary=-1)[0][0]
        assert mask.dtype == np.uint8 and mask[5, 5] == 255 and mask[15, 15] == 0

    def test_boxes_beyond_the_image_are_cut(self):
        result = paste(build(class_agnostic=True), torch.full((1, 1, 28, 28), 9.0), [[-10, -10, 5, 50]], [0])
        assert result[0][0].shape == (20, 20) and result[0][0].sum() == 5 * 20

    def test_no_detection_gives_an_empty_list_for_each_class(self):
        assert paste(build(), torch.zeros(0, 3, 28, 28), [], []) == [[], [], []]
