"""Hooks that keep time, tell models and samplers where training stands."""

from __future__ import annotations

import time
from typing import Any

from mmdet_clone.engine.checkpoint import unwrap_model
from mmdet_clone.engine.hooks.hook import HOOKS, Hook
from mmdet_clone.engine.loops import set_epoch

__all__ = ['DistSamplerSeedHook', 'IterTimerHook', 'RuntimeInfoHook', 'SetEpochInfoHook']


@HOOKS.register_module()
class IterTimerHook(Hook):
    """Seconds that each iteration takes, and of them those spent waiting for data."""

    priority = 'LOW'

    def before_train(self, runner: Any) -> None:
        self.last = time.perf_counter()

    def before_epoch(self, runner: Any) -> None:
        self.last = time.perf_counter()

    def before_iter(self, runner: Any) -> None:
        runner.log_buffer.update({'data_time': time.perf_counter() - self.last})

    def after_iter(self, runner: Any) -> None:
        now = time.perf_counter()
        runner.log_buffer.update({'time': now - self.last})
        self.last = now

    def after_val(self, runner: Any) -> None:
        """An evaluation between two iterations counts for neither."""
        self.last = time.perf_counter()


@HOOKS.register_module()
class DistSamplerSeedHook(Hook):
    """Tells the loader the epoch, by which its samplers shuffle."""

    def before_epoch(self, runner: Any) -> None:
        if runner.counts_epochs:
            set_epoch(runner.data_loader, runner.epoch)


@HOOKS.register_module()
class RuntimeInfoHook(Hook):
    """Puts epoch and iteration into mmengine's message hub, where models that cannot see the runner read them."""

    priority = 'VERY_HIGH'

    def before_train(self, runner: Any) -> None:
        counts = ('epoch', 'iter', 'max_epochs', 'max_iters')
        runner.message_hub.update_info_dict({name: getattr(runner, name) for name in counts})

    def before_train_epoch(self, runner: Any) -> None:
        runner.message_hub.update_info('epoch', runner.epoch)

    def before_train_iter(self, runner: Any) -> None:
        runner.message_hub.update_info('iter', runner.iter)


@HOOKS.register_module()
class SetEpochInfoHook(Hook):
    """Calls ``model.set_epoch(epoch)`` before each epoch."""

    def before_train_epoch(self, runner: Any) -> None:
        unwrap_model(runner.model).set_epoch(runner.epoch)
