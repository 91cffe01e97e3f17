"""Optimizers from config, and the wrappers through which mmengine's ``train_step`` drives them."""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.logging import MMLogger
from mmengine.optim import AmpOptimWrapper as _MMEngineAmpOptimWrapper
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.optim import OptimWrapper as _MMEngineOptimWrapper
from torch import nn

from mmdet_clone.engine.checkpoint import unwrap_model
from mmdet_clone.registry import OPTIMIZER_BUILDERS, OPTIMIZERS

__all__ = ['AmpOptimWrapper', 'Bf16OptimWrapper', 'OptimWrapper', 'build_optim_wrapper', 'build_optimizer']


def build_optimizer(model: nn.Module, cfg: dict) -> torch.optim.Optimizer:
    """The optimizer that a config's ``optimizer`` describes, with ``paramwise_cfg`` and ``constructor`` of it.

    A constructor is a class of ``OPTIMIZER_BUILDERS`` that takes ``(optimizer_cfg, paramwise_cfg)`` and is called with
    the model; one written for mmengine, which takes ``optim_wrapper_cfg``, serves as well.
    """
    cfg = dict(cfg)
    name, paramwise_cfg = cfg.pop('constructor', 'DefaultOptimizerConstructor'), cfg.pop('paramwise_cfg', None)
    constructor = OPTIMIZER_BUILDERS.get(name)
    takes_wrapper = constructor is not None and 'optim_wrapper_cfg' in inspect.signature(constructor).parameters
    described = dict(optim_wrapper_cfg=dict(optimizer=cfg)) if takes_wrapper else dict(optimizer_cfg=cfg)
    construct = OPTIMIZER_BUILDERS.build(dict(type=name, paramwise_cfg=paramwise_cfg, **described))
    with _quiet():
        built = construct(unwrap_model(model))
    return getattr(built, 'optimizer', built)


@OPTIMIZER_BUILDERS.register_module()
class DefaultOptimizerConstructor(DefaultOptimWrapperConstructor):
    """One parameter group, or with ``paramwise_cfg`` one a parameter with its own learning rate and weight decay.

    Args:
        optimizer_cfg: ``type`` and arguments of the optimizer.
        paramwise_cfg: ``custom_keys, bias_lr_mult, bias_decay_mult, norm_decay_mult, dwconv_decay_mult,
            dcn_offset_lr_mult, bypass_duplicate``. Subclasses override ``add_params``.
    """

    def __init__(self, optimizer_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        super().__init__(dict(optimizer=dict(optimizer_cfg)), paramwise_cfg)

    def __call__(self, model: nn.Module) -> torch.optim.Optimizer:
        if self.paramwise_cfg:
            params: Any = []
            self.add_params(params, model)
        else:
            params = model.parameters()
        cls = OPTIMIZERS.get(self.optimizer_cfg['type'])
        first_argument = next(iter(inspect.signature(cls).parameters)) if cls is not None else 'params'
        return OPTIMIZERS.build(dict(self.optimizer_cfg), default_args={first_argument: params}, path='optimizer')


class _UpdateLater:
    """Makes ``update_params`` keep the loss until ``OptimizerHook`` applies it.

    In mmcv 1.x the update is made by a hook after ``train_step``: hooks before it see the loss with its graph, hooks
    after it see the gradients, and another hook may take its place. mmengine's ``train_step`` calls ``update_params``.
    """

    pending: torch.Tensor | None = None
    grad_norm: torch.Tensor | None = None

    def update_params(self, loss: torch.Tensor, *_: Any, **__: Any) -> None:
        if self.pending is not None:  # a train_step that updates more than once
            self.apply(self.pending)
        self.pending = loss

    def take_pending(self) -> torch.Tensor | None:
        loss, self.pending = self.pending, None
        return loss

    def apply(self, loss: torch.Tensor) -> None:
        """Backward, and a step of the optimizer if enough iterations have been accumulated."""
        if self._inner_count % self._accumulative_counts == 0:
            self.zero_grad()
        self.grad_norm = None
        self.backward(self.scale_loss(loss))
        if self.should_update():
            self.step()

    def configure(self, grad_clip: dict | None, accumulate: int = 1) -> None:
        """Clip by ``torch.nn.utils.clip_grad_norm_(**grad_clip)``; step once in ``accumulate`` iterations."""
        self.clip_grad_kwargs = dict(grad_clip) if grad_clip else None
        self._accumulative_counts = accumulate

    def _clip_grad(self) -> None:
        params = [p for group in self.optimizer.param_groups for p in group['params'] if p.grad is not None]
        if params:
            self.grad_norm = torch.nn.utils.clip_grad_norm_(params, **self.clip_grad_kwargs)


class OptimWrapper(_UpdateLater, _MMEngineOptimWrapper):
    """Float32 training."""


class AmpOptimWrapper(_UpdateLater, _MMEngineAmpOptimWrapper):
    """Float16 training on a GPU, with a scaled loss."""


class Bf16OptimWrapper(OptimWrapper):
    """Bfloat16 training on any device; its range needs no scaled loss."""

    @contextlib.contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, dtype=torch.bfloat16):
            yield


def build_optim_wrapper(
    optimizer: torch.optim.Optimizer, precision: str = 'fp32', loss_scale: Any = 'dynamic'
) -> _MMEngineOptimWrapper:
    """The wrapper for a precision.

    Args:
        precision: ``'fp32'``, ``'fp16'`` (needs CUDA) or ``'bf16'``.
        loss_scale: of fp16: a constant, ``'dynamic'``, or the arguments of torch's ``GradScaler``.
    """
    if precision == 'fp16':
        scale = loss_scale if loss_scale == 'dynamic' else _loss_scale(loss_scale)
        return AmpOptimWrapper(optimizer=optimizer, loss_scale=scale)
    classes = {'fp32': OptimWrapper, 'bf16': Bf16OptimWrapper}
    if precision not in classes:
        raise ValueError(f"precision must be 'fp32', 'fp16' or 'bf16', got {precision!r}")
    return classes[precision](optimizer=optimizer)


def _loss_scale(value: Any) -> float | dict:
    if isinstance(value, dict):
        # mmcv's own scaler before torch 1.6 took these two, which say nothing to torch's
        return {k: v for k, v in value.items() if k not in ('mode', 'scale_window')}
    if isinstance(value, int | float):
        return float(value)
    raise TypeError(f"fp16.loss_scale must be a number, 'dynamic' or a dict for torch's GradScaler, got {value!r}")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep mmengine's line for each parameter of a ``paramwise_cfg`` out of the log."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
