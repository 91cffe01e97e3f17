# The same from random weights: nothing can be frozen, and the batch statistics have to be learnt.
_base_ = './retinanet_mbv2_fpn_bccd.py'
model = dict(backbone=dict(init_cfg=None, frozen_stages=-1, norm_eval=False))
