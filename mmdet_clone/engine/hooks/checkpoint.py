"""The hook that saves checkpoints during training."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mmdet_clone.engine.dist import is_rank_zero
from mmdet_clone.engine.hooks.hook import HOOKS, Hook

__all__ = ['CheckpointHook']


@HOOKS.register_module()
class CheckpointHook(Hook):
    """Saves ``epoch_N.pth`` or ``iter_N.pth`` and points ``latest.pth`` to it.

    Args:
        interval: in epochs or iterations; -1 saves only at the end.
        by_epoch: count epochs, else iterations.
        save_optimizer: also what a resume needs.
        out_dir: a folder in which one named like the work dir is made; the work dir itself by default.
        max_keep_ckpts: keep the newest so many; -1 keeps all.
        save_last: also save after the last epoch or iteration.
        sync_buffer: average the buffers (BatchNorm's statistics) over the processes before saving.
        meta: more entries for the checkpoint's ``meta``.
        filename_tmpl: a name with ``{}`` for the number.
        create_symlink: make ``latest.pth``.
    """

    priority = 'NORMAL'

    def __init__(
        self,
        interval: int = -1,
        by_epoch: bool = True,
        save_optimizer: bool = True,
        out_dir: str | None = None,
        max_keep_ckpts: int = -1,
        save_last: bool = True,
        sync_buffer: bool = False,
        meta: dict | None = None,
        filename_tmpl: str | None = None,
        create_symlink: bool = True,
    ) -> None:
        self.interval, self.by_epoch, self.save_last = interval, by_epoch, save_last
        self.out_dir, self.max_keep_ckpts, self.sync_buffer = out_dir, max_keep_ckpts, sync_buffer
        self.filename_tmpl = filename_tmpl or ('epoch_{}.pth' if by_epoch else 'iter_{}.pth')
        self.args = dict(save_optimizer=save_optimizer, meta=meta, create_symlink=create_symlink)

    def before_run(self, runner: Any) -> None:
        self.out_dir = output_folder(runner, self.out_dir)

    def after_train_epoch(self, runner: Any) -> None:
        due = self.every_n_epochs(runner, self.interval) or (self.save_last and self.is_last_epoch(runner))
        if self.by_epoch and due:
            self._save(runner, runner.epoch + 1, 'epochs')

    def after_train_iter(self, runner: Any) -> None:
        due = self.every_n_iters(runner, self.interval) or (self.save_last and self.is_last_iter(runner))
        if not self.by_epoch and due:
            self._save(runner, runner.iter + 1, 'iterations')

    def _save(self, runner: Any, number: int, unit: str) -> None:
        runner.logger.info(f'Saving checkpoint at {number} {unit}')
        if self.sync_buffer:
            from mmengine.dist import all_reduce_params

            all_reduce_params(runner.model.buffers(), op='mean')
        runner.collect_rng_states()
        if not is_rank_zero():
            return
        name = self.filename_tmpl.format(number)
        runner.save_checkpoint(self.out_dir, filename_tmpl=name, **self.args)
        runner.meta.setdefault('hook_msgs', {})['last_ckpt'] = os.path.join(self.out_dir, name)
        self._remove_old(number)

    def _remove_old(self, newest: int) -> None:
        """Keep the last ``max_keep_ckpts`` of those that this interval makes."""
        if self.max_keep_ckpts <= 0:
            return
        step = max(self.interval, 1)
        last = newest - newest % step if newest % step else newest
        keep = {newest, *range(last, 0, -step)}
        keep = set(sorted(keep, reverse=True)[: self.max_keep_ckpts])
        for number in sorted(set(range(last, 0, -step)) - keep, reverse=True):
            path = Path(self.out_dir) / self.filename_tmpl.format(number)
            if not path.exists():
                break
            path.unlink()


def output_folder(runner: Any, out_dir: str | None) -> str:
    """The work dir, or a folder of its name in ``out_dir``."""
    if not out_dir:
        return runner.work_dir
    return os.path.join(out_dir, os.path.basename(runner.work_dir.rstrip(os.sep)))
