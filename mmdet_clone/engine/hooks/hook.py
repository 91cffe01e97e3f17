"""The base of hooks as mmcv 1.x has them: methods take the runner and nothing else."""

from __future__ import annotations

from typing import Any

import mmengine.hooks

from mmdet_clone.registry import HOOKS

__all__ = ['HOOKS', 'Hook']

VAL_STAGES = ('before_val_epoch', 'before_val_iter', 'after_val_iter', 'after_val_epoch')
_FEEDS = {
    'before_epoch': ('before_train_epoch', 'before_val_epoch'),
    'after_epoch': ('after_train_epoch', 'after_val_epoch'),
    'before_iter': ('before_train_iter', 'before_val_iter'),
    'after_iter': ('after_train_iter', 'after_val_iter'),
}


class Hook(mmengine.hooks.Hook):
    """A hook written for mmcv 1.x derives from this and runs as it is, beside mmengine's.

    The runner passes each method the arguments that it names (``batch_idx, data_batch, outputs`` or none). The
    ``*_val_*`` methods run in the ``('val', n)`` part of a workflow, not during evaluation, as in mmcv 1.x; mmengine's
    own hooks are called the other way round.
    """

    stages = (
        'before_run',
        'before_train_epoch',
        'before_train_iter',
        'after_train_iter',
        'after_train_epoch',
        'before_val_epoch',
        'before_val_iter',
        'after_val_iter',
        'after_val_epoch',
        'after_run',
    )

    def before_epoch(self, runner: Any) -> None:
        """Before an epoch of either mode; once before the training of an ``IterBasedRunner``."""

    def after_epoch(self, runner: Any) -> None:
        """After an epoch of either mode; once after the training of an ``IterBasedRunner``."""

    def before_iter(self, runner: Any) -> None:
        """Before an iteration of either mode."""

    def after_iter(self, runner: Any) -> None:
        """After an iteration of either mode."""

    def before_train_epoch(self, runner: Any) -> None:
        self.before_epoch(runner)

    def after_train_epoch(self, runner: Any) -> None:
        self.after_epoch(runner)

    def before_val_epoch(self, runner: Any) -> None:
        self.before_epoch(runner)

    def after_val_epoch(self, runner: Any) -> None:
        self.after_epoch(runner)

    def before_train_iter(self, runner: Any) -> None:
        self.before_iter(runner)

    def after_train_iter(self, runner: Any) -> None:
        self.after_iter(runner)

    def before_val_iter(self, runner: Any) -> None:
        self.before_iter(runner)

    def after_val_iter(self, runner: Any) -> None:
        self.after_iter(runner)

    def every_n_epochs(self, runner: Any, n: int) -> bool:
        return n > 0 and (runner.epoch + 1) % n == 0

    def every_n_inner_iters(self, runner: Any, n: int) -> bool:
        return n > 0 and (runner.inner_iter + 1) % n == 0

    def every_n_iters(self, runner: Any, n: int) -> bool:
        return n > 0 and (runner.iter + 1) % n == 0

    def end_of_epoch(self, runner: Any) -> bool:
        return runner.inner_iter + 1 == len(runner.data_loader)

    def is_last_epoch(self, runner: Any) -> bool:
        return runner.epoch + 1 == runner.max_epochs

    def is_last_iter(self, runner: Any) -> bool:
        return runner.iter + 1 == runner.max_iters

    def get_triggered_stages(self) -> list[str]:
        """The stages at which this hook does something, in their order."""
        cls = type(self)
        own = {stage for stage in self.stages if getattr(cls, stage) is not getattr(Hook, stage, None)}
        for name, stages in _FEEDS.items():
            if getattr(cls, name) is not getattr(Hook, name):
                own.update(stages)
        return [stage for stage in self.stages if stage in own]
