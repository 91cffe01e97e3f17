"""The hook that evaluates during training and keeps the best checkpoint."""

from __future__ import annotations

import bisect
import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmdet_clone.engine.checkpoint import read_checkpoint
from mmdet_clone.engine.dist import broadcast_object, is_rank_zero
from mmdet_clone.engine.hooks.checkpoint import output_folder
from mmdet_clone.engine.hooks.hook import HOOKS, Hook
from mmdet_clone.engine.hooks.logger import LoggerHook
from mmdet_clone.engine.loops import EvalLoop

__all__ = ['DistEvalHook', 'EvalHook']

GREATER_KEYS = ('acc', 'top', 'AR@', 'auc', 'precision', 'mAP', 'mDice', 'mIoU', 'mAcc', 'aAcc', 'AR', 'AP', 'PQ')
LESS_KEYS = ('loss',)


@HOOKS.register_module(name=['EvalHook', 'DistEvalHook'])
class EvalHook(Hook):
    """Runs the model over the validation data and logs what ``dataset.evaluate`` returns.

    Args:
        dataloader: of the validation data, in test mode.
        start: first epoch or iteration that is evaluated; 0 also evaluates before training.
        interval: in epochs or iterations.
        by_epoch: count epochs, else iterations.
        save_best: name of the result by which ``best_<name>_<epoch>.pth`` is kept; ``'auto'`` takes the first.
        rule: ``'greater'`` or ``'less'`` is better; told from the name by default.
        greater_keys, less_keys: what to look for in the name, in place of the usual ones.
        out_dir: as of ``CheckpointHook``.
        dynamic_intervals: ``[(milestone, interval), ...]``, each in force from its milestone.
        broadcast_bn_buffer: evaluate with rank 0's BatchNorm statistics on every rank.
        tmpdir: gather the results of several processes through files in this folder.
        gpu_collect: gather them over the GPUs.
        eval_kwargs: passed to ``dataset.evaluate``.
    """

    priority = 'LOW'

    def __init__(
        self,
        dataloader: Any,
        start: int | None = None,
        interval: int = 1,
        by_epoch: bool = True,
        save_best: str | None = None,
        rule: str | None = None,
        greater_keys: Sequence[str] | None = None,
        less_keys: Sequence[str] | None = None,
        out_dir: str | None = None,
        dynamic_intervals: Sequence[tuple[int, int]] | None = None,
        broadcast_bn_buffer: bool = True,
        tmpdir: str | None = None,
        gpu_collect: bool = False,
        **eval_kwargs: Any,
    ) -> None:
        if interval <= 0:
            raise ValueError(f'evaluation.interval must be positive, got {interval}')
        if rule not in (None, 'greater', 'less'):
            raise ValueError(f"evaluation.rule must be 'greater' or 'less', got {rule!r}")
        self.dataloader, self.broadcast_bn_buffer = dataloader, broadcast_bn_buffer
        self.gathering, self.eval_kwargs = dict(tmpdir=tmpdir, gpu_collect=gpu_collect), eval_kwargs
        self.start, self.interval, self.by_epoch = start, interval, by_epoch
        self.save_best, self.rule, self.out_dir = save_best, rule, out_dir
        self.greater_keys = _as_tuple(greater_keys) or GREATER_KEYS
        self.less_keys = _as_tuple(less_keys) or LESS_KEYS
        self._intervals = [(0, interval), *(tuple(pair) for pair in dynamic_intervals or ())]
        self._before_first = True
        if save_best not in (None, 'auto'):
            self.rule = self._rule_of(save_best)

    def before_run(self, runner: Any) -> None:
        self.out_dir = output_folder(runner, self.out_dir)
        runner.set_eval_loop(
            EvalLoop(runner, self.dataloader, self.eval_kwargs, self.broadcast_bn_buffer, self.gathering)
        )
        if self.save_best is not None and runner.resume_from is not None:
            runner.meta.setdefault('hook_msgs', {}).update(broadcast_object(self._best_on_disk()))

    def before_train_epoch(self, runner: Any) -> None:
        if self.by_epoch:
            self._before(runner, runner.epoch)

    def before_train_iter(self, runner: Any) -> None:
        if not self.by_epoch:
            self._before(runner, runner.iter)

    def after_train_epoch(self, runner: Any) -> None:
        if self.by_epoch and self._is_due(runner.epoch):
            self._evaluate(runner)

    def after_train_iter(self, runner: Any) -> None:
        if not self.by_epoch and self._is_due(runner.iter):
            _log_training_first(runner)
            self._evaluate(runner)

    def _before(self, runner: Any, done: int) -> None:
        i = bisect.bisect_right([milestone for milestone, _ in self._intervals], done + 1)
        self.interval = self._intervals[i - 1][1]
        if self._before_first and self.start is not None and done >= self.start and self._is_due(done):
            self._evaluate(runner)
        self._before_first = False

    def _is_due(self, done: int) -> bool:
        if self.start is None:
            return (done + 1) % self.interval == 0
        return done + 1 >= self.start and (done + 1 - self.start) % self.interval == 0

    def _evaluate(self, runner: Any) -> None:
        metrics = runner.val_loop.run()
        for name, value in metrics.items():
            runner.log_buffer.output[name] = value
        runner.log_buffer.output['eval_iter_num'] = len(self.dataloader)
        runner.log_buffer.ready = True
        if self.save_best is not None and metrics:
            self._keep_best(runner, metrics)

    def _keep_best(self, runner: Any, metrics: dict) -> None:
        if self.save_best == 'auto':
            self.save_best = next(iter(metrics))
            self.rule = self._rule_of(self.save_best)
        if self.save_best not in metrics:
            raise KeyError(
                f'evaluation.save_best={self.save_best!r} is not among what the evaluation gives: {", ".join(metrics)}'
            )
        score, messages = metrics[self.save_best], runner.meta.setdefault('hook_msgs', {})
        best = messages.get('best_score')
        if best is not None and not (score > best if self.rule == 'greater' else score < best):
            return
        old = messages.get('best_ckpt')
        when = f'epoch_{runner.epoch + 1}' if self.by_epoch else f'iter_{runner.iter + 1}'
        name = f'best_{self.save_best.replace("/", "_")}_{when}.pth'
        messages.update(best_score=float(score), best_ckpt=os.path.join(self.out_dir, name))
        runner.collect_rng_states()
        if not is_rank_zero():
            return
        runner.save_checkpoint(self.out_dir, filename_tmpl=name, create_symlink=False)
        if old and old != messages['best_ckpt']:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(old)
        runner.logger.info(f'Best {self.save_best} is {score:.4f} at {when.replace("_", " ")}, saved as {name}')

    def _best_on_disk(self) -> dict:
        """The best score so far, of the file that holds it: ``epoch_N.pth`` is saved before epoch N is evaluated."""
        name = '*' if self.save_best == 'auto' else self.save_best.replace('/', '_')
        files = sorted(Path(self.out_dir).glob(f'best_{name}_*.pth'), key=lambda path: path.stat().st_mtime)
        if not files or not is_rank_zero():
            return {}
        messages = read_checkpoint(files[-1]).get('meta', {}).get('hook_msgs', {})
        return {key: messages[key] for key in ('best_score', 'best_ckpt') if key in messages}

    def _rule_of(self, name: str) -> str:
        if self.rule is not None:
            return self.rule
        lowered = name.lower()
        for rule, keys in (('greater', self.greater_keys), ('less', self.less_keys)):
            if any(key.lower() == lowered for key in keys):
                return rule
        for rule, keys in (('greater', self.greater_keys), ('less', self.less_keys)):
            if any(key.lower() in lowered for key in keys):
                return rule
        raise ValueError(
            f"cannot tell whether more or less of save_best={name!r} is better: set evaluation.rule='greater' or 'less'"
        )


DistEvalHook = EvalHook


def _as_tuple(keys: Sequence[str] | str | None) -> tuple[str, ...]:
    return (keys,) if isinstance(keys, str) else tuple(keys or ())


def _log_training_first(runner: Any) -> None:
    """Write the line of training losses that is due, lest it mix with that of the evaluation."""
    for hook in runner.hooks:
        if isinstance(hook, LoggerHook):
            hook.after_train_iter(runner)
    runner.log_buffer.clear()
