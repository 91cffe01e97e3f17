"""Scalars for TensorBoard."""

from __future__ import annotations

import os
from numbers import Number
from typing import Any

from mmdet_clone.engine.dist import is_rank_zero
from mmdet_clone.engine.hooks.hook import HOOKS
from mmdet_clone.engine.hooks.logger import LoggerHook

__all__ = ['TensorboardLoggerHook']


@HOOKS.register_module()
class TensorboardLoggerHook(LoggerHook):
    """Writes ``train/...``, ``val/...``, ``learning_rate`` and ``momentum`` against iterations.

    Args:
        log_dir: where to; ``tf_logs`` in the work dir by default.
        interval, ignore_last, reset_flag, by_epoch: as of ``LoggerHook``.
    """

    def __init__(
        self,
        log_dir: str | None = None,
        interval: int = 10,
        ignore_last: bool = True,
        reset_flag: bool = False,
        by_epoch: bool = True,
    ) -> None:
        super().__init__(interval, ignore_last, reset_flag, by_epoch)
        self.log_dir = log_dir
        self.writer: Any = None

    def before_run(self, runner: Any) -> None:
        super().before_run(runner)
        if not is_rank_zero():
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError(
                f'TensorboardLoggerHook needs tensorboard ({error}): pip install tensorboard, or remove it from '
                'log_config.hooks'
            ) from error
        self.writer = SummaryWriter(self.log_dir or os.path.join(runner.work_dir, 'tf_logs'))

    def log(self, runner: Any) -> None:
        if self.writer is None:
            return
        mode, now = self.get_mode(runner), self.get_iter(runner)
        for name, value in runner.log_buffer.output.items():
            if name in ('time', 'data_time', 'eval_iter_num'):
                continue
            if isinstance(value, Number):
                self.writer.add_scalar(f'{mode}/{name}', value, now)
            else:
                self.writer.add_text(f'{mode}/{name}', str(value), now)
        if mode == 'train':
            self.writer.add_scalar('learning_rate', runner.current_lr()[0], now)
            self.writer.add_scalar('momentum', runner.current_momentum()[0], now)

    def after_run(self, runner: Any) -> None:
        if self.writer is not None:
            self.writer.close()
