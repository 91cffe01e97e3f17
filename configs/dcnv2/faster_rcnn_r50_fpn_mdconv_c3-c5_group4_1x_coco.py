_base_ = './faster_rcnn_r50_fpn_mdconv_c3-c5_1x_coco.py'
model = dict(backbone=dict(dcn=dict(deform_groups=4)))
