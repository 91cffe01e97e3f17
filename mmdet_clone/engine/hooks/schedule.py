"""Hooks that set learning rates and momenta, at the times at which mmcv 1.x sets them."""

from __future__ import annotations

from typing import Any

from mmdet_clone.engine.hooks.hook import HOOKS, Hook
from mmdet_clone.engine.schedules import Moment, Schedule

__all__ = ['LrUpdaterHook', 'MomentumUpdaterHook']


def moment_of(runner: Any) -> Moment:
    return Moment(runner.epoch, runner.iter, runner.max_epochs, runner.max_iters, len(runner.data_loader))


class _ScheduleHook(Hook):
    """Sets a value of each parameter group by a schedule, from the group's initial one.

    A schedule by epoch is set before each epoch, and before each iteration up to the end of the warm-up; a schedule by
    iteration before each iteration.
    """

    key = ''  # under which a parameter group keeps the initial value

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def before_run(self, runner: Any) -> None:
        if self.schedule.by_epoch and not runner.counts_epochs:
            raise ValueError(
                f'{self.schedule.kind} counts epochs but the runner counts iterations: set {self.schedule.kind}.'
                'by_epoch=False and give its milestones in iterations'
            )
        for group in runner.optimizer.param_groups:
            group.setdefault(self.key, self.get(group))

    def before_train_epoch(self, runner: Any) -> None:
        if self.schedule.by_epoch:
            moment = moment_of(runner)
            self._set(runner, lambda base: self.schedule.regular(base, moment))

    def before_train_iter(self, runner: Any) -> None:
        moment = moment_of(runner)
        if not self.schedule.by_epoch or (self.schedule.warmup and moment.iter <= self.schedule.warmup_end(moment)):
            self._set(runner, lambda base: self.schedule.at(base, moment))

    def _set(self, runner: Any, value_of: Any) -> None:
        for group in runner.optimizer.param_groups:
            self.put(group, value_of(group[self.key]))

    def get(self, group: dict) -> float:
        raise NotImplementedError

    def put(self, group: dict, value: float) -> None:
        raise NotImplementedError


@HOOKS.register_module()
class LrUpdaterHook(_ScheduleHook):
    """``lr_config``."""

    priority = 'VERY_HIGH'
    key = 'initial_lr'

    def get(self, group: dict) -> float:
        return group['lr']

    def put(self, group: dict, value: float) -> None:
        group['lr'] = value


@HOOKS.register_module()
class MomentumUpdaterHook(_ScheduleHook):
    """``momentum_config``: ``momentum`` of SGD and its kin, the first of ``betas`` of Adam and its kin."""

    priority = 'HIGH'
    key = 'initial_momentum'

    def get(self, group: dict) -> float:
        return group['momentum'] if 'momentum' in group else group['betas'][0]

    def put(self, group: dict, value: float) -> None:
        if 'momentum' in group:
            group['momentum'] = value
        else:
            group['betas'] = (value, *group['betas'][1:])
