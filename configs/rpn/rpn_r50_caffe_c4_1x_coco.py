_base_ = [
    '../_base_/models/rpn_r50_caffe_c4.py',
    '../_base_/datasets/coco_rpn_caffe.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]
