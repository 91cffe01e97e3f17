"""An exponential moving average of the weights."""

from __future__ import annotations

from typing import Any

import torch

from mmdet_clone.engine.checkpoint import unwrap_model
from mmdet_clone.engine.hooks.hook import HOOKS, Hook

__all__ = ['EMAHook']


@HOOKS.register_module()
class EMAHook(Hook):
    """Keeps ``average = (1 - m) * average + m * weight`` of each parameter, for evaluation and checkpoints.

    Between two epochs the model holds the averages and its buffers ``ema_*`` the trained weights, and so do the
    checkpoints saved then, as mmcv 1.x has it.

    Args:
        momentum: the largest m.
        interval: iterations between two updates.
        warm_up: ``m = min(momentum ** interval, (1 + iter) / (warm_up + iter))``.
        resume_from: a checkpoint to resume from with its averages; the runner's ``resume_from`` restores them as well.
    """

    def __init__(
        self, momentum: float = 0.0002, interval: int = 1, warm_up: int = 100, resume_from: str | None = None
    ) -> None:
        if not 0 < momentum < 1:
            raise ValueError(f'EMAHook.momentum must lie between 0 and 1, got {momentum}')
        self.momentum, self.interval, self.warm_up = momentum**interval, interval, warm_up
        self.resume_from = resume_from

    def before_run(self, runner: Any) -> None:
        model = unwrap_model(runner.model)
        for name, parameter in list(model.named_parameters()):
            model.register_buffer(_buffer_name(name), parameter.detach().clone())
        self.pairs = [(p, model.get_buffer(_buffer_name(name))) for name, p in model.named_parameters()]
        resume_from = self.resume_from or runner.resume_from
        if resume_from is not None:  # again, now that the buffers are there to be filled
            runner.resume(resume_from)

    def before_train_epoch(self, runner: Any) -> None:
        self._swap()

    def after_train_iter(self, runner: Any) -> None:
        if runner.iter % self.interval != 0:
            return
        momentum = min(self.momentum, (1 + runner.iter) / (self.warm_up + runner.iter))
        for parameter, average in self.pairs:
            average.lerp_(parameter.detach(), momentum)

    def after_train_epoch(self, runner: Any) -> None:
        self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for parameter, average in self.pairs:
            held = parameter.detach().clone()
            parameter.copy_(average)
            average.copy_(held)


def _buffer_name(parameter: str) -> str:
    return f'ema_{parameter.replace(".", "_")}'
