"""Keys of mmengine's (MMDetection 3's) config dialect are refused, with the 2.x key to use.

The two dialects cannot be mixed: an ``optim_wrapper`` beside an ``optimizer`` would be ignored without a word.
"""

from __future__ import annotations

from typing import Any

# top-level key of MMDetection 3 -> how MMDetection 2.x says it
MMENGINE_KEYS: dict[str, str] = {
    'train_dataloader': 'data=dict(samples_per_gpu=..., workers_per_gpu=..., train=dict(...))',
    'val_dataloader': 'data=dict(val=dict(...), val_dataloader=dict(samples_per_gpu=...))',
    'test_dataloader': 'data=dict(test=dict(...), test_dataloader=dict(samples_per_gpu=...))',
    'optim_wrapper': 'optimizer=dict(type=..., lr=...), optimizer_config=dict(grad_clip=...), fp16=dict(...)',
    'param_scheduler': "lr_config=dict(policy='step', step=[8, 11], warmup='linear', ...)",
    'default_hooks': 'checkpoint_config=dict(interval=...), log_config=dict(interval=..., hooks=[...])',
    'train_cfg': "runner=dict(type='EpochBasedRunner', max_epochs=...), evaluation=dict(interval=...)",
    'val_cfg': 'evaluation=dict(interval=..., metric=...)',
    'test_cfg': 'data=dict(test=dict(...))',
    'val_evaluator': "evaluation=dict(metric=['bbox'])",
    'test_evaluator': 'the --eval option of tools/test.py',
    'log_processor': 'log_config=dict(interval=...)',
    'visualizer': "log_config=dict(hooks=[dict(type='TextLoggerHook'), dict(type='TensorboardLoggerHook')])",
    'vis_backends': "log_config=dict(hooks=[dict(type='TextLoggerHook'), dict(type='TensorboardLoggerHook')])",
    'env_cfg': "cudnn_benchmark=..., mp_start_method=..., dist_params=dict(backend='nccl')",
    'randomness': 'seed=..., or the --seed option of tools/train.py',
    'resume': "resume_from='work_dirs/.../latest.pth', or the --resume-from and --auto-resume options",
    'default_scope': 'nothing: delete the line',
}

# dotted options whose 2.x counterpart is a single key
_OPTIONS = {
    'train_dataloader.batch_size': 'data.samples_per_gpu',
    'train_dataloader.num_workers': 'data.workers_per_gpu',
    'train_dataloader.dataset': 'data.train',
    'val_dataloader.batch_size': 'data.val_dataloader.samples_per_gpu',
    'val_dataloader.dataset': 'data.val',
    'test_dataloader.batch_size': 'data.test_dataloader.samples_per_gpu',
    'test_dataloader.dataset': 'data.test',
    'optim_wrapper.optimizer': 'optimizer',
    'optim_wrapper.clip_grad': 'optimizer_config.grad_clip',
    'optim_wrapper.paramwise_cfg': 'optimizer.paramwise_cfg',
    'train_cfg.max_epochs': 'runner.max_epochs',
    'train_cfg.max_iters': 'runner.max_iters',
    'train_cfg.val_interval': 'evaluation.interval',
    'default_hooks.checkpoint': 'checkpoint_config',
    'default_hooks.logger': 'log_config',
    'randomness.seed': 'seed',
}
_LOOP_KEYS = {'by_epoch', 'max_epochs', 'max_iters', 'val_interval', 'val_begin', 'dynamic_intervals'}


def refuse_mmengine_keys(cfg: dict[str, Any], source: str) -> None:
    """Raise ``ValueError`` if ``cfg`` (a config, or options by dotted key) speaks mmengine's dialect.

    Args:
        source: the file or command-line option that ``cfg`` comes from, for the message.
    """
    found = [f'  {key} -> {_counterpart(key)}' for key, value in cfg.items() if _is_mmengines(key, value)]
    model = cfg.get('model')
    if isinstance(model, dict) and 'data_preprocessor' in model:
        found.append("  model.data_preprocessor -> the 'Normalize' and 'Pad' steps of the pipelines")
    if found:
        raise ValueError(
            f"{source}: these keys belong to mmengine's own config dialect (MMDetection 3); here the keys are "
            "MMDetection 2.x's:\n" + '\n'.join(found)
        )


def _is_mmengines(key: str, value: Any) -> bool:
    head, _, rest = key.partition('.')
    if head == 'resume':  # a bool in mmengine; a file name of that key would be somebody's variable
        return isinstance(value, bool)
    if head not in ('train_cfg', 'test_cfg'):
        return head in MMENGINE_KEYS
    if rest:  # train_cfg.max_epochs, not train_cfg.rcnn.assigner
        return rest in _LOOP_KEYS or (rest == 'type' and str(value).endswith('Loop'))
    return isinstance(value, dict) and (bool(_LOOP_KEYS & set(value)) or str(value.get('type', '')).endswith('Loop'))


def _counterpart(key: str) -> str:
    for theirs, ours in _OPTIONS.items():
        if key == theirs or key.startswith(theirs + '.'):
            return ours + key[len(theirs) :]
    return MMENGINE_KEYS[key.partition('.')[0]]
