"""Hooks that update the weights after each iteration."""

from __future__ import annotations

from typing import Any

import torch

from mmdet_clone.engine.hooks.hook import HOOKS, Hook

__all__ = ['GradientCumulativeOptimizerHook', 'OptimizerHook']


@HOOKS.register_module()
class OptimizerHook(Hook):
    """Backward and a step of the optimizer.

    Args:
        grad_clip: arguments of ``torch.nn.utils.clip_grad_norm_``: ``dict(max_norm=35, norm_type=2)``.
        detect_anomalous_params: name the parameters that the loss does not reach, which is slow.
    """

    priority = 'ABOVE_NORMAL'
    cumulative_iters = 1

    def __init__(self, grad_clip: dict | None = None, detect_anomalous_params: bool = False) -> None:
        self.grad_clip = grad_clip
        self.detect_anomalous_params = detect_anomalous_params

    def before_run(self, runner: Any) -> None:
        runner.optim_wrapper.configure(self.grad_clip, self.cumulative_iters)
        runner.optim_wrapper.initialize_count_status(runner.model, runner.iter, runner.max_iters)

    def after_train_iter(self, runner: Any) -> None:
        loss, wrapper = runner.outputs['loss'], runner.optim_wrapper
        if self.detect_anomalous_params:
            from mmengine.model.wrappers.utils import detect_anomalous_params

            detect_anomalous_params(loss, runner.model)
        wrapper.apply(loss)
        if wrapper.grad_norm is not None:
            runner.log_buffer.update({'grad_norm': wrapper.grad_norm}, runner.outputs['num_samples'])

    def clip_grads(self, params: Any) -> torch.Tensor | None:
        """Clip the gradients of ``params`` by ``grad_clip``; for subclasses that write their own update."""
        params = [p for p in params if p.requires_grad and p.grad is not None]
        return torch.nn.utils.clip_grad_norm_(params, **self.grad_clip) if params and self.grad_clip else None


@HOOKS.register_module()
class GradientCumulativeOptimizerHook(OptimizerHook):
    """A step of the optimizer every ``cumulative_iters`` iterations, by the mean of their gradients."""

    def __init__(
        self, cumulative_iters: int = 1, grad_clip: dict | None = None, detect_anomalous_params: bool = False
    ) -> None:
        super().__init__(grad_clip, detect_anomalous_params)
        if not isinstance(cumulative_iters, int) or cumulative_iters < 1:
            raise ValueError(f'cumulative_iters must be a whole number from 1, got {cumulative_iters!r}')
        self.cumulative_iters = cumulative_iters
