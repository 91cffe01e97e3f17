_base_ = './level2.py'
scale = (1333, 800)
train_pipeline = [dict(type='Resize', img_scale=scale)]
model = dict(neck=dict(type='FPN', in_channels=[256, 512]))
