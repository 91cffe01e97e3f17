"""Exponential moving averages of the weights."""

from __future__ import annotations

import math
from typing import Any

import torch

from mmdet_clone.engine.checkpoint import unwrap_model, weights_of
from mmdet_clone.engine.hooks.hook import HOOKS, Hook

__all__ = ['BaseEMAHook', 'EMAHook', 'ExpMomentumEMAHook', 'LinearMomentumEMAHook']


class BaseEMAHook(Hook):
    """Keeps ``average = (1 - m) * average + m * weight`` of each weight, for evaluation and checkpoints.

    Between two epochs the model holds the averages and its buffers ``ema_*`` the trained weights, and so do the
    checkpoints saved then, as MMDetection 2.x has it; within an epoch it is the other way round.

    Args:
        momentum: m, or what a subclass makes its m of.
        interval: iterations between two updates.
        skip_buffers: average the parameters alone, and not the statistics of BatchNorm.
        resume_from: a checkpoint to resume from with its averages; the runner's ``resume_from`` restores them as well.
    """

    def __init__(
        self, momentum: float = 0.0002, interval: int = 1, skip_buffers: bool = False, resume_from: str | None = None
    ) -> None:
        if not 0 < momentum < 1:
            raise ValueError(f'{type(self).__name__}.momentum must lie between 0 and 1, got {momentum}')
        self.momentum, self.interval, self.skip_buffers = momentum, interval, skip_buffers
        self.resume_from = resume_from
        self._resumed: dict[str, torch.Tensor] = {}  # the averages of the checkpoint that the runner resumed from

    def momentum_at(self, iteration: int) -> float:
        """m of the update after iteration ``iteration``, from 0."""
        return self.momentum

    def is_due(self, iteration: int) -> bool:
        """Whether to update the averages after iteration ``iteration``, from 0."""
        return (iteration + 1) % self.interval == 0

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        weights = weights_of(checkpoint).items()
        self._resumed = {name: value for name, value in weights if name.startswith('ema_')}

    def before_run(self, runner: Any) -> None:
        model = unwrap_model(runner.model)
        weights = dict(model.named_parameters()) if self.skip_buffers else model.state_dict(keep_vars=True)
        for name, weight in weights.items():
            model.register_buffer(_buffer_name(name), weight.detach().clone())
        self.pairs = [(weight.detach(), model.get_buffer(_buffer_name(name))) for name, weight in weights.items()]
        if self.resume_from is not None:
            runner.resume(self.resume_from)
        elif runner.resume_from is not None:  # before the buffers were there to be filled
            self._fill({_buffer_name(name): model.get_buffer(_buffer_name(name)) for name in weights}, runner)
        self._resumed = {}

    def _fill(self, buffers: dict[str, torch.Tensor], runner: Any) -> None:
        there = [name for name in buffers if getattr(self._resumed.get(name), 'shape', None) == buffers[name].shape]
        for name in there:
            buffers[name].copy_(self._resumed[name])
        if len(there) < len(buffers):
            runner.logger.warning(
                f'{runner.resume_from} holds {len(there)} of {len(buffers)} averages: the others start from the weights'
            )

    def before_train_epoch(self, runner: Any) -> None:
        if runner.inner_iter == 0:  # a checkpoint from within an epoch has the trained weights in place
            self._swap()

    @torch.no_grad()
    def after_train_iter(self, runner: Any) -> None:
        if not self.is_due(runner.iter):
            return
        real = [pair for pair in self.pairs if pair[0].is_floating_point()]
        torch._foreach_lerp_([average for _, average in real], [w for w, _ in real], self.momentum_at(runner.iter))
        for weight, average in self.pairs:
            if not weight.is_floating_point():  # counts have no average
                average.copy_(weight)

    def after_train_epoch(self, runner: Any) -> None:
        self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for weight, average in self.pairs:
            held = weight.clone()
            weight.copy_(average)
            average.copy_(held)


@HOOKS.register_module()
class EMAHook(BaseEMAHook):
    """The average of mmcv 1.x: of parameters alone, with ``m = min(momentum ** interval, (1 + i) / (warm_up + i))``.

    i counts iterations from 0. The other arguments are those of :class:`BaseEMAHook`.

    Args:
        warm_up: the larger, the slower m rises.
    """

    def __init__(
        self, momentum: float = 0.0002, interval: int = 1, warm_up: int = 100, resume_from: str | None = None
    ) -> None:
        super().__init__(momentum, interval, skip_buffers=True, resume_from=resume_from)
        self.warm_up = warm_up

    def momentum_at(self, iteration: int) -> float:
        return min(self.momentum**self.interval, (1 + iteration) / (self.warm_up + iteration))

    def is_due(self, iteration: int) -> bool:
        return iteration % self.interval == 0


@HOOKS.register_module()
class ExpMomentumEMAHook(BaseEMAHook):
    """``m = momentum + (1 - momentum) * exp(-(1 + i) / total_iter)``: from nearly 1 down to ``momentum``.

    i counts iterations from 0. The other arguments are those of :class:`BaseEMAHook`.

    Args:
        total_iter: the larger, the slower m falls.
    """

    def __init__(
        self,
        total_iter: int = 2000,
        momentum: float = 0.0002,
        interval: int = 1,
        skip_buffers: bool = False,
        resume_from: str | None = None,
    ) -> None:
        super().__init__(momentum, interval, skip_buffers, resume_from)
        self.total_iter = total_iter

    def momentum_at(self, iteration: int) -> float:
        return self.momentum + (1 - self.momentum) * math.exp(-(1 + iteration) / self.total_iter)


@HOOKS.register_module()
class LinearMomentumEMAHook(BaseEMAHook):
    """``m = min(momentum ** interval, (1 + i) / (warm_up + i))``, of parameters and buffers.

    i counts iterations from 0. The other arguments are those of :class:`BaseEMAHook`.

    Args:
        warm_up: the larger, the slower m rises.
    """

    def __init__(
        self,
        warm_up: int = 100,
        momentum: float = 0.0002,
        interval: int = 1,
        skip_buffers: bool = False,
        resume_from: str | None = None,
    ) -> None:
        super().__init__(momentum, interval, skip_buffers, resume_from)
        self.warm_up = warm_up

    def momentum_at(self, iteration: int) -> float:
        return min(self.momentum**self.interval, (1 + iteration) / (self.warm_up + iteration))


def _buffer_name(weight: str) -> str:
    return f'ema_{weight.replace(".", "_")}'
