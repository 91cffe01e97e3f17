"""A data set of drawn images and a Mask R-CNN small enough to train in a test."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

CLASSES = ('disc', 'square')
SIDE = 96

CONFIG = """
norm_cfg = dict(type='BN', requires_grad=True)
classes = ('disc', 'square')
model = dict(
    type='MaskRCNN',
    backbone=dict(type='ResNet', depth=18, base_channels=8, stem_channels=8, num_stages=4, out_indices=(0, 1, 2, 3),
                  frozen_stages=-1, norm_cfg=norm_cfg, norm_eval=True, style='pytorch'),
    neck=dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=16, num_outs=5),
    rpn_head=dict(
        type='RPNHead', in_channels=16, feat_channels=16,
        anchor_generator=dict(type='AnchorGenerator', scales=[4], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[1.0] * 4),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        loss_bbox=dict(type='L1Loss', loss_weight=1.0)),
    roi_head=dict(
        type='StandardRoIHead',
        bbox_roi_extractor=dict(
            type='SingleRoIExtractor', roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=2),
            out_channels=16, featmap_strides=[4, 8, 16, 32]),
        bbox_head=dict(
            type='Shared2FCBBoxHead', in_channels=16, fc_out_channels=32, roi_feat_size=7, num_classes=len(classes),
            bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[0.1, 0.1, 0.2, 0.2]),
            reg_class_agnostic=False,
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
            loss_bbox=dict(type='L1Loss', loss_weight=1.0)),
        mask_roi_extractor=dict(
            type='SingleRoIExtractor', roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=2),
            out_channels=16, featmap_strides=[4, 8, 16, 32]),
        mask_head=dict(
            type='FCNMaskHead', num_convs=1, in_channels=16, conv_out_channels=16, num_classes=len(classes),
            loss_mask=dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0))),
    train_cfg=dict(
        rpn=dict(
            assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3,
                          match_low_quality=True, ignore_iof_thr=-1),
            sampler=dict(type='RandomSampler', num=64, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=False),
            allowed_border=-1, pos_weight=-1, debug=False),
        rpn_proposal=dict(nms_pre=100, max_per_img=50, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0),
        rcnn=dict(
            assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5,
                          match_low_quality=True, ignore_iof_thr=-1),
            sampler=dict(type='RandomSampler', num=32, pos_fraction=0.25, neg_pos_ub=-1, add_gt_as_proposals=True),
            mask_size=28, pos_weight=-1, debug=False)),
    test_cfg=dict(
        rpn=dict(nms_pre=100, max_per_img=50, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0),
        rcnn=dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=10, mask_thr_binary=0.5)))
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', img_scale=(96, 96), keep_ratio=True),
    dict(type='RandomFlip', flip_ratio=0.5),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='Pad', size_divisor=32),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels', 'gt_masks'])]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiScaleFlipAug', img_scale=(96, 96), flip=False, transforms=[
        dict(type='Resize', keep_ratio=True),
        dict(type='RandomFlip'),
        dict(type='Normalize', **img_norm_cfg),
        dict(type='Pad', size_divisor=32),
        dict(type='ImageToTensor', keys=['img']),
        dict(type='Collect', keys=['img'])])]
data = dict(
    samples_per_gpu=1,
    workers_per_gpu=0,
    train=dict(type='CocoDataset', classes=classes, ann_file='{data}/train.json', img_prefix='{data}/train/',
               pipeline=train_pipeline),
    val=dict(type='CocoDataset', classes=classes, ann_file='{data}/val.json', img_prefix='{data}/val/',
             pipeline=test_pipeline),
    test=dict(type='CocoDataset', classes=classes, ann_file='{data}/val.json', img_prefix='{data}/val/',
              pipeline=test_pipeline))
optimizer = dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0001)
optimizer_config = dict(grad_clip=None)
lr_config = dict(policy='step', warmup='linear', warmup_iters=2, warmup_ratio=0.1, step=[1])
runner = dict(type='EpochBasedRunner', max_epochs=1)
checkpoint_config = dict(interval=1)
log_config = dict(interval=1, hooks=[dict(type='TextLoggerHook')])
evaluation = dict(interval=1, metric=['bbox', 'segm'])
custom_hooks = [dict(type='NumClassCheckHook')]
dist_params = dict(backend='nccl')
log_level = 'INFO'
load_from = None
resume_from = None
workflow = [('train', 1)]
"""


def make_data(folder: Path, num_train: int = 4, num_val: int = 5) -> Path:
    """Write ``train.json``, ``val.json`` and their images: discs and squares on noise."""
    rng = np.random.default_rng(7)
    for split, number in (('train', num_train), ('val', num_val)):
        (folder / split).mkdir(parents=True)
        images, annotations = [], []
        for i in range(number):
            img, objects = _draw(rng)
            name = f'{split}_{i}.png'
            cv2.imwrite(str(folder / split / name), img)
            images.append(dict(id=i, file_name=name, width=SIDE, height=SIDE))
            annotations += [dict(o, id=len(annotations) + k, image_id=i) for k, o in enumerate(objects)]
        categories = [dict(id=i + 1, name=name) for i, name in enumerate(CLASSES)]
        content = dict(images=images, annotations=annotations, categories=categories)
        (folder / f'{split}.json').write_text(json.dumps(content))
    return folder


def _draw(rng: np.random.Generator) -> tuple[np.ndarray, list[dict]]:
    img = rng.integers(0, 60, (SIDE, SIDE, 3), dtype=np.uint8)
    objects = []
    for left in (4, 52):
        kind, side = int(rng.integers(2)), int(rng.integers(16, 40))
        x, y = left, int(rng.integers(2, SIDE - side - 2))
        corners = [[x, y], [x + side, y], [x + side, y + side], [x, y + side]]
        if kind == 0:
            angles = np.arange(0, 2 * np.pi, 0.3)
            corners = np.stack([np.cos(angles), np.sin(angles)], 1) * side / 2 + [x + side / 2, y + side / 2]
        polygon = np.rint(corners).astype(np.int32)
        cv2.fillPoly(img, [polygon], (40, 220, 240) if kind == 0 else (230, 90, 60))
        objects.append(
            dict(
                category_id=kind + 1,
                bbox=[x, y, side, side],
                area=float(cv2.contourArea(polygon)),
                iscrowd=0,
                segmentation=[polygon.reshape(-1).tolist()],
            )
        )
    return img, objects


def write_config(path: Path, data: Path, extra: str = '') -> Path:
    """Write the config for ``data``, with lines of Python added at its end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(CONFIG.replace('{data}', str(data)) + extra)
    return path
