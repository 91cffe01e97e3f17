import numpy  # noqa: F401  (a line above _base_ must not turn the file into another dialect)

_base_ = ['./base/level1.py', './base/schedule.py']

val_scale = {{_base_.scale}}  # noqa: F821
test_pipeline = [dict(type='Resize', img_scale={{_base_.scale}})]  # noqa: F821
model = dict(backbone=dict(depth=101), neck=dict(_delete_=True, type='PAFPN', num_outs=5))
data = dict(train=dict(pipeline={{_base_.train_pipeline}}), val=dict(pipeline=test_pipeline))  # noqa: F821
work_dir = '{{ fileDirname }}/{{ fileBasenameNoExtension }}'
