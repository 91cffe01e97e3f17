"""Configs of tiny models that people's own parts are put into."""

from __future__ import annotations

SINGLE_STAGE = """
model = dict(
    type='RetinaNet', backbone=model['backbone'],
    neck=dict(type='FPN', in_channels=[8, 16, 32, 64], start_level=1, out_channels=16, num_outs=3,
              add_extra_convs='on_input'),
    bbox_head=dict(
        type='RetinaHead', num_classes=2, in_channels=16, feat_channels=16, stacked_convs=1,
        anchor_generator=dict(type='AnchorGenerator', octave_base_scale=4, scales_per_octave=1, ratios=[1.0],
                              strides=[8, 16, 32]),
        loss_bbox=dict(type='L1Loss', loss_weight=1.0)),
    train_cfg=dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0,
                                 ignore_iof_thr=-1), allowed_border=-1, pos_weight=-1, debug=False),
    test_cfg=dict(nms_pre=100, min_bbox_size=0, score_thr=0.0, nms=dict(type='nms', iou_thr=0.5), max_per_img=10))
train_pipeline[1]['with_mask'] = False
train_pipeline[-1]['keys'] = ['img', 'gt_bboxes', 'gt_labels']
evaluation['metric'] = 'bbox'
"""
