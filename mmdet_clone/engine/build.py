"""A runner from the keys of an MMDetection 2.x config: the one place where they are translated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.config import Config
from torch import nn

from mmdet_clone.engine.hooks import LrUpdaterHook, MomentumUpdaterHook
from mmdet_clone.engine.optimizer import build_optim_wrapper, build_optimizer
from mmdet_clone.engine.runner import BaseRunner
from mmdet_clone.engine.schedules import Schedule
from mmdet_clone.registry import HOOKS, RUNNERS, UnknownTypeError

__all__ = ['build_runner']

# optimizer_config's hooks of mmcv 1.x for float16: the hook that does the same in any precision
FP16_HOOKS = {
    'Fp16OptimizerHook': 'OptimizerHook',
    'GradientCumulativeFp16OptimizerHook': 'GradientCumulativeOptimizerHook',
}
RENAMED_HOOKS = {'DistOptimizerHook': 'OptimizerHook', **FP16_HOOKS}
FP16_KEYS = ('loss_scale', 'coalesce', 'bucket_size_mb', 'distributed')


def build_runner(
    cfg: Config,
    model: nn.Module,
    train_loaders: Sequence[Any],
    val_loader: Any = None,
    eval_loader: Any = None,
    distributed: bool = False,
    meta: dict | None = None,
    timestamp: str | None = None,
    trust: bool = False,
) -> BaseRunner:
    """The runner that ``cfg`` describes; ``runner.train()`` starts it.

    Args:
        cfg: a config with MMDetection 2.x's keys.
        train_loaders: one loader for each flow of ``workflow``, or one that every ``('train', n)`` flow takes.
        val_loader: for the ``('val', n)`` flows, where ``train_loaders`` does not hold one.
        eval_loader: of the data that ``evaluation`` is about, in test mode; no evaluation without it.
        distributed: see ``BaseRunner``.
        meta: entries for the ``meta`` of logs and checkpoints.
        timestamp: names the log files.
        trust: load checkpoints that carry code.
    """
    by_epoch = cfg.runner['type'].rpartition('.')[2] != 'IterBasedRunner'
    workflow = [tuple(flow) for flow in cfg.get('workflow') or [('train', 1)]]
    common = dict(
        model=model,
        work_dir=cfg.work_dir,
        loaders=_loaders_of(workflow, train_loaders, val_loader),
        workflow=workflow,
        hooks=_hooks(cfg, by_epoch, eval_loader),
        cfg=cfg,
        distributed=distributed,
        meta=meta,
        timestamp=timestamp,
        load_from=cfg.get('load_from'),
        resume_from=cfg.get('resume_from'),
        trust=trust,
    )
    runner: BaseRunner = RUNNERS.build(_without_none(cfg.runner), default_args=common, path='runner')
    precision, loss_scale = _precision(cfg, runner)
    optimizer = build_optimizer(runner.model, cfg.optimizer)
    runner.optim_wrapper = build_optim_wrapper(optimizer, precision, loss_scale)
    return runner


def _hooks(cfg: Config, by_epoch: bool, eval_loader: Any) -> list[tuple[Any, str | int]]:
    """Every hook and its priority, in the order in which MMDetection 2.x registers them."""
    log_config = cfg.get('log_config') or {}
    log_args = dict(interval=log_config.get('interval', 10), by_epoch=by_epoch)
    hooks = [
        (dict(type='RuntimeInfoHook'), 'VERY_HIGH'),
        (_schedule_hook(cfg, 'lr_config', LrUpdaterHook, by_epoch), 'VERY_HIGH'),
        (_schedule_hook(cfg, 'momentum_config', MomentumUpdaterHook, by_epoch), 'HIGH'),
        (_optimizer_hook(cfg), 'ABOVE_NORMAL'),
        (_with(cfg.get('checkpoint_config'), type='CheckpointHook', by_epoch=by_epoch), 'NORMAL'),
        (dict(type='IterTimerHook'), 'LOW'),
        *((_logger_hook(hook, **log_args), 'VERY_LOW') for hook in log_config.get('hooks', [])),
        (_eval_hook(cfg.get('evaluation'), eval_loader, by_epoch), 'LOW'),
        *((_custom_hook(hook), hook.get('priority', 'NORMAL')) for hook in cfg.get('custom_hooks') or []),
    ]
    return [(hook, priority) for hook, priority in hooks if hook is not None]


def _with(cfg: dict | None, **defaults: Any) -> dict | None:
    return None if cfg is None else {**defaults, **cfg}


def _schedule_hook(cfg: Config, key: str, hook_type: type, by_epoch: bool) -> Any:
    given = cfg.get(key)
    if given is None:
        return None
    options = {'by_epoch': by_epoch, 'policy': given.get('type', ''), **given}
    options.pop('type', None)  # type='StepLrUpdaterHook' says the same as policy='step'
    return hook_type(Schedule(momentum=key == 'momentum_config', **options))


def _optimizer_hook(cfg: Config) -> dict:
    given = {'type': 'OptimizerHook', **(cfg.get('optimizer_config') or {})}
    if given['type'] in RENAMED_HOOKS:
        given = {key: value for key, value in given.items() if key not in FP16_KEYS}
        given['type'] = RENAMED_HOOKS[given['type']]
    return given


def _logger_hook(hook: dict, **defaults: Any) -> Any:
    try:
        return HOOKS.build(dict(hook), default_args=defaults, path='log_config.hooks')
    except UnknownTypeError as error:
        raise UnknownTypeError(
            f'{error}. There are TextLoggerHook and TensorboardLoggerHook; for another service, '
            'derive a hook from mmdet_clone.engine.hooks.LoggerHook with a method log(runner)'
        ) from error


def _eval_hook(evaluation: dict | None, loader: Any, by_epoch: bool) -> Any:
    if loader is None:
        return None
    given = {'type': 'EvalHook', 'by_epoch': by_epoch, **(evaluation or {})}
    return HOOKS.build(given, default_args=dict(dataloader=loader), path='evaluation')


def _custom_hook(hook: dict) -> Any:
    return HOOKS.build({k: v for k, v in hook.items() if k != 'priority'}, path='custom_hooks')


def _loaders_of(workflow: list[tuple[str, int]], train_loaders: Sequence[Any], val_loader: Any) -> list[Any]:
    """One loader for each flow."""
    unknown = [mode for mode, _ in workflow if mode not in ('train', 'val')]
    if unknown or 'train' not in dict(workflow):
        raise ValueError(
            f"workflow must be a list of ('train', n) and ('val', n) with a 'train' among them: {workflow}"
        )
    if len(train_loaders) == len(workflow):
        return list(train_loaders)
    if val_loader is None and any(mode == 'val' for mode, _ in workflow):
        raise ValueError(f"workflow {workflow} has a ('val', n) flow but no loader of validation data was given")
    return [train_loaders[0] if mode == 'train' else val_loader for mode, _ in workflow]


def _precision(cfg: Config, runner: BaseRunner) -> tuple[str, Any]:
    """``fp16 = dict(loss_scale=...)`` or ``precision='bf16'``: the precision, and the loss scale."""
    optimizer_config = cfg.get('optimizer_config') or {}
    fp16 = cfg.get('fp16')
    if fp16 is None and optimizer_config.get('type') in FP16_HOOKS:
        fp16 = dict(loss_scale=optimizer_config.get('loss_scale', 512.0))
    precision = cfg.get('precision') or ('fp16' if fp16 is not None else 'fp32')
    if precision == 'fp16' and next(runner.model.parameters()).device.type != 'cuda':
        runner.logger.warning("fp16 needs CUDA: training in float32. precision = 'bf16' in the config runs on CPUs")
        precision = 'fp32'
    return precision, (fp16 or {}).get('loss_scale', 512.0 if fp16 is not None else 'dynamic')


def _without_none(cfg: dict) -> dict:
    return {key: value for key, value in cfg.items() if value is not None}
