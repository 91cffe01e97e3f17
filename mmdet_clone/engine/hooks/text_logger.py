"""Lines for people in the log, lines for programs in ``<timestamp>.log.json``."""

from __future__ import annotations

import datetime
import json
import os
import sys
from typing import Any

import torch

from mmdet_clone.engine.dist import is_rank_zero
from mmdet_clone.engine.hooks.hook import HOOKS
from mmdet_clone.engine.hooks.logger import LoggerHook

__all__ = ['TextLoggerHook']

IN_THE_HEAD = ('mode', 'epoch', 'iter', 'lr', 'time', 'data_time', 'memory')


@HOOKS.register_module()
class TextLoggerHook(LoggerHook):
    """Logs ``Epoch [1][50/100]`` and then ``lr, eta, time, data_time, memory`` and the losses, separated by commas.

    ``time`` and ``data_time`` are seconds an iteration, the second of them spent waiting for data; ``memory`` is the
    peak in MB, of the GPU or without one of this process. ``.log.json`` begins with a line of ``runner.meta``.

    Args:
        by_epoch, interval, ignore_last, reset_flag: as of ``LoggerHook``.
        interval_exp_name: iterations between two lines with the experiment's name.
    """

    def __init__(
        self,
        by_epoch: bool = True,
        interval: int = 10,
        ignore_last: bool = True,
        reset_flag: bool = False,
        interval_exp_name: int = 1000,
    ) -> None:
        super().__init__(interval, ignore_last, reset_flag, by_epoch)
        self.interval_exp_name = interval_exp_name
        self.seconds, self.iters = 0.0, 0

    def before_run(self, runner: Any) -> None:
        super().before_run(runner)
        self.json_path = os.path.join(runner.work_dir, f'{runner.timestamp}.log.json')
        self._write_json(runner.meta)

    def log(self, runner: Any) -> None:
        output = dict(runner.log_buffer.output)
        iteration = output.pop('eval_iter_num', self.get_iter(runner, inner_iter=True))
        lr = runner.current_lr()
        entry = {
            'mode': self.get_mode(runner),
            'epoch': self.get_epoch(runner),
            'iter': iteration,
            'lr': lr[0] if isinstance(lr, list) else {name: values[0] for name, values in lr.items()},
        }
        if 'time' in output:
            entry['memory'] = peak_memory_mb(runner)
        entry.update(output)
        runner.logger.info(self._line(entry, runner))
        self._write_json(entry)
        if runner.mode == 'train' and self.every_n_iters(runner, self.interval_exp_name):
            runner.logger.info(f'Exp name: {runner.experiment_name}')

    def _line(self, entry: dict, runner: Any) -> str:
        unit = 'Epoch' if self.by_epoch else 'Iter'
        if entry['mode'] == 'train':
            total = len(runner.data_loader) if self.by_epoch else runner.max_iters
            place = f'[{entry["epoch"]}]' if self.by_epoch else ''
            head = f'{unit} {place}[{entry["iter"]}/{total}]\t{_lr_text(entry["lr"])}, '
            head += self._time_text(entry, runner) if 'time' in entry else ''
        else:
            place = f'[{entry["epoch"]}]' if self.by_epoch else ''
            head = f'{unit}({entry["mode"]}) {place}[{entry["iter"]}]\t'
        items = (f'{name}: {_number(value)}' for name, value in entry.items() if name not in IN_THE_HEAD)
        return head + ', '.join(items)

    def _time_text(self, entry: dict, runner: Any) -> str:
        num_iters = min(self.interval, entry['iter']) if self.by_epoch else self.interval
        self.seconds, self.iters = self.seconds + entry['time'] * num_iters, self.iters + num_iters
        remaining = self.seconds / self.iters * (runner.max_iters - runner.iter - 1)
        eta = datetime.timedelta(seconds=int(remaining))
        return (
            f'eta: {eta}, time: {entry["time"]:.3f}, data_time: {entry["data_time"]:.3f}, memory: {entry["memory"]}, '
        )

    def _write_json(self, entry: dict) -> None:
        if is_rank_zero():
            with open(self.json_path, 'a', encoding='utf-8') as file:
                file.write(json.dumps(_rounded(entry), default=str) + '\n')


def peak_memory_mb(runner: Any) -> int:
    """The most memory in use so far, the largest of all processes on GPUs."""
    device = next(runner.model.parameters()).device
    if device.type == 'cuda':
        peak = torch.tensor([torch.cuda.max_memory_allocated(device) // 2**20], dtype=torch.int64, device=device)
        if runner.world_size > 1:
            torch.distributed.all_reduce(peak, op=torch.distributed.ReduceOp.MAX)
        return int(peak)
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == 'darwin' else 1024  # bytes on macOS, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit // 2**20


def _lr_text(lr: float | dict) -> str:
    if isinstance(lr, dict):
        return ' '.join(f'lr_{name}: {value:.3e}' for name, value in lr.items())
    return f'lr: {lr:.3e}'


def _number(value: Any) -> str:
    return f'{value:.4f}' if isinstance(value, float) else str(value)


def _rounded(value: Any) -> Any:
    """``value`` with its floats, numpy's among them, to five places."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    if hasattr(value, 'item') and getattr(value, 'size', 2) == 1:
        value = value.item()
    return round(value, 5) if isinstance(value, float) else value
