_base_ = [
    '../_base_/models/rpn_r50_fpn.py',
    '../_base_/datasets/coco_rpn.py',
    '../_base_/schedules/schedule_2x.py',
    '../_base_/default_runtime.py',
]
