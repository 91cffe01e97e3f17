_base_ = './retinanet_r50_fpn_mstrain_640-800_3x_coco.py'
model = dict(pretrained='torchvision://resnet101', backbone=dict(depth=101))
