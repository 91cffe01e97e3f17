checkpoint_config = dict(interval=1)
log_config = dict(interval=50, hooks=[dict(type='TextLoggerHook')])  # add dict(type='TensorboardLoggerHook') for curves
custom_hooks = [dict(type='NumClassCheckHook')]
dist_params = dict(backend='nccl')
log_level = 'INFO'
load_from = None
resume_from = None
workflow = [('train', 1)]
opencv_num_threads = 0  # OpenCV's own threads get in the way of the loader's workers
mp_start_method = 'fork'
# the learning rates are meant for 8 GPUs x 2 images; tools/train.py --auto-scale-lr adapts them to the run at hand
auto_scale_lr = dict(enable=False, base_batch_size=16)
