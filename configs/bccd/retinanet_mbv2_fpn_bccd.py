# RetinaNet on MobileNetV2 for three kinds of blood cells, fine-tuned from ImageNet weights on two CPU cores in a few
# minutes: docs/finetune.md walks through it.
_base_ = ['../_base_/models/retinanet_r50_fpn.py', '../_base_/default_runtime.py']
classes = ('RBC', 'WBC', 'Platelets')
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        out_indices=(2, 4, 7),  # strides 8, 16, 32
        frozen_stages=1,
        norm_cfg=norm_cfg,
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://mmdet/mobilenet_v2'),
    ),
    neck=dict(
        in_channels=[32, 96, 1280],
        out_channels=64,
        start_level=0,
        add_extra_convs=False,
        num_outs=3,
        norm_cfg=norm_cfg,
    ),
    bbox_head=dict(
        num_classes=len(classes),
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        norm_cfg=dict(type='GN', num_groups=16),
        # squares of 24 to 152 pixels, and half and twice as wide: platelets are 25 pixels wide, most white cells 135
        anchor_generator=dict(octave_base_scale=3, strides=[8, 16, 32]),
    ),
)

data_root = 'data/bccd/'
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', img_scale=[(352, 264), (448, 336)], multiscale_mode='range', keep_ratio=True),
    # cells have no upper side
    dict(type='RandomFlip', flip_ratio=[0.25, 0.25, 0.25], direction=['horizontal', 'vertical', 'diagonal']),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='Pad', size_divisor=32),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels']),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='MultiScaleFlipAug',
        img_scale=(416, 312),
        flip=False,
        transforms=[
            dict(type='Resize', keep_ratio=True),
            dict(type='RandomFlip'),
            dict(type='Normalize', **img_norm_cfg),
            dict(type='Pad', size_divisor=32),
            dict(type='ImageToTensor', keys=['img']),
            dict(type='Collect', keys=['img']),
        ],
    ),
]
cells = dict(type='CocoDataset', classes=classes, img_prefix=data_root)
data = dict(
    samples_per_gpu=8,
    workers_per_gpu=1,
    train=dict(ann_file=data_root + 'bccd_train.json', pipeline=train_pipeline, **cells),
    val=dict(ann_file=data_root + 'bccd_val.json', pipeline=test_pipeline, **cells),
    test=dict(ann_file=data_root + 'bccd_val.json', pipeline=test_pipeline, **cells),
)
evaluation = dict(interval=1, metric='bbox')
# for batches of 8 images
optimizer = dict(type='AdamW', lr=1e-3, weight_decay=0.05)
optimizer_config = dict(grad_clip=dict(max_norm=10, norm_type=2))
lr_config = dict(policy='CosineAnnealing', min_lr=1e-5, warmup='linear', warmup_iters=50, warmup_ratio=0.01)
runner = dict(type='EpochBasedRunner', max_epochs=12)
checkpoint_config = dict(interval=4, max_keep_ckpts=1)
log_config = dict(interval=13, hooks=[dict(type='TextLoggerHook')])
auto_scale_lr = dict(base_batch_size=8)
