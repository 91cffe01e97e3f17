"""Online hard example mining in the second stage."""

from __future__ import annotations

import torch

from mmdet_clone.models import build_head

ROI_HEAD = dict(
    type='StandardRoIHead',
    bbox_roi_extractor=dict(
        type='SingleRoIExtractor',
        roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0),
        out_channels=8,
        featmap_strides=[4, 8],
    ),
    bbox_head=dict(type='Shared2FCBBoxHead', in_channels=8, fc_out_channels=16, num_classes=3),
    train_cfg=dict(
        assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5),
        sampler=dict(type='OHEMSampler', num=8, pos_fraction=0.25),
    ),
)


def test_the_sampled_regions_are_the_hardest_of_the_head_as_it_is():
    head = build_head(ROI_HEAD)
    feats = [torch.randn(1, 8, 64 // s, 64 // s) for s in (4, 8)]
    corner = torch.rand(40, 2) * 40
    proposals = torch.cat((corner, corner + torch.rand(40, 2) * 20 + 4), 1)
    gt_bboxes, gt_labels = torch.tensor([[8.0, 8, 30, 30]]), torch.tensor([2])
    (sample,) = head.sample_proposals(feats, [proposals], [gt_bboxes], [gt_labels], None)
    assert 1 <= len(sample.pos_inds) <= 2
    assert len(sample.neg_inds) == 8 - len(sample.pos_inds)

    everything = torch.cat((gt_bboxes, proposals))  # as the sampler saw it: the ground truth first
    scores = head._bbox_forward(feats, torch.cat((torch.zeros(41, 1), everything), 1))['cls_score']
    loss = -scores.log_softmax(1)[:, 3].detach()  # as background
    overlap = head.bbox_assigner.assign(everything, gt_bboxes, None, gt_labels).gt_inds
    left_out = torch.ones(41, dtype=torch.bool)
    left_out[sample.neg_inds], left_out[overlap > 0] = False, False
    assert loss[sample.neg_inds].min() >= loss[left_out].max()

    losses = head.forward_train(feats, [{}], [proposals], [gt_bboxes], [gt_labels])
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
