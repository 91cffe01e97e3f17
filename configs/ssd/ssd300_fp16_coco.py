_base_ = './ssd300_coco.py'
fp16 = dict(loss_scale='dynamic')
lr_config = dict(warmup_iters=1000, warmup_ratio=0.1)  # a gentler start, so that losses stay in float16's range
