_base_ = [
    '../_base_/models/faster_rcnn_r50_fpn.py',
    '../_base_/datasets/objects365v1_detection.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]
# As published: the base is a Faster R-CNN, which has no bbox_head of its own, so this model does not build.
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(backbone=dict(norm_cfg=norm_cfg), bbox_head=dict(num_classes=365))
optimizer = dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0001)
optimizer_config = dict(_delete_=True, grad_clip=dict(max_norm=35, norm_type=2))
lr_config = dict(policy='step', warmup='linear', warmup_iters=10000, warmup_ratio=0.001, step=[900000, 1200000])
runner = dict(_delete_=True, type='IterBasedRunner', max_iters=1350000)
checkpoint_config = dict(interval=150000)
evaluation = dict(interval=150000, metric='bbox')
