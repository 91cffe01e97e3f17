"""The base of hooks that log what training produced."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from mmdet_clone.engine.hooks.hook import Hook

__all__ = ['LoggerHook']


class LoggerHook(Hook):
    """Averages the values of an interval and hands them to ``log``.

    Args:
        interval: iterations between two lines.
        ignore_last: skip the incomplete interval at an epoch's end, unless the epoch is shorter than an interval.
        reset_flag: clear the values once logged; set on the last logger by itself.
        by_epoch: count iterations within the epoch.
    """

    priority = 'VERY_LOW'

    def __init__(
        self, interval: int = 10, ignore_last: bool = True, reset_flag: bool = False, by_epoch: bool = True
    ) -> None:
        self.interval, self.ignore_last = interval, ignore_last
        self.reset_flag, self.by_epoch = reset_flag, by_epoch

    @abstractmethod
    def log(self, runner: Any) -> None:
        """Write ``runner.log_buffer.output``."""

    def before_run(self, runner: Any) -> None:
        loggers = [hook for hook in runner.hooks if isinstance(hook, LoggerHook)]
        if loggers:
            loggers[-1].reset_flag = True

    def before_epoch(self, runner: Any) -> None:
        runner.log_buffer.clear()

    def after_train_iter(self, runner: Any) -> None:
        if self._is_due(runner) and not runner.log_buffer.ready:
            runner.log_buffer.average(self.interval)
        self._log_if_ready(runner)

    def after_train_epoch(self, runner: Any) -> None:
        self._log_if_ready(runner)

    def after_val_epoch(self, runner: Any) -> None:
        if not runner.log_buffer.ready:
            runner.log_buffer.average()
        self._log_if_ready(runner)

    def _is_due(self, runner: Any) -> bool:
        if not self.by_epoch:
            return self.every_n_iters(runner, self.interval)
        if self.every_n_inner_iters(runner, self.interval):
            return True
        short_epoch = len(runner.data_loader) < self.interval
        return self.end_of_epoch(runner) and (short_epoch or not self.ignore_last)

    def _log_if_ready(self, runner: Any) -> None:
        if runner.log_buffer.ready:
            self.log(runner)
            if self.reset_flag:
                runner.log_buffer.clear_output()

    def get_mode(self, runner: Any) -> str:
        """``'train'``, or ``'val'`` for validation losses and for results of an evaluation."""
        return 'train' if runner.mode == 'train' and 'time' in runner.log_buffer.output else 'val'

    def get_epoch(self, runner: Any) -> int:
        """The number of the epoch, from 1; in a ``('val', n)`` flow the trained epoch is counted already."""
        return runner.epoch + 1 if runner.mode == 'train' else runner.epoch

    def get_iter(self, runner: Any, inner_iter: bool = False) -> int:
        """The number of the iteration, from 1, within the epoch for ``inner_iter`` where epochs are counted."""
        done = runner.inner_iter if self.by_epoch and inner_iter else runner.iter
        return done + 1 if runner.mode == 'train' or inner_iter else done
