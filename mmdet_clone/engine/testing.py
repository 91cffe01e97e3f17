"""Running a model over a data set: the results of every image, in order, from any number of processes."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from mmengine.device import get_device
from torch import nn

from mmdet_clone.engine.checkpoint import unwrap_model
from mmdet_clone.engine.dist import broadcast_object, gather_by_files, gather_objects, get_dist_info
from mmdet_clone.engine.result_store import ResultStore, compact_result, encode_result
from mmdet_clone.structures.results import results_to_cpu

__all__ = ['encode_result', 'merge_results', 'run_test', 'to_device']

_ROUND = 256  # images of a process that travel at a time


def run_test(
    model: nn.Module,
    loader: Any,
    progress: bool = True,
    on_result: Callable[[int, Any, dict], None] | None = None,
    tmpdir: str | os.PathLike | None = None,
    gpu_collect: bool = False,
) -> Sequence | None:
    """The results of ``loader``'s data set in its order.

    With several processes each runs its share, which is every ``world_size``-th image beginning at its rank, and
    rank 0 gets all of them. An image's result is made small as soon as it is there (``compact_result``), and results
    that outgrow the memory given to them go to a temporary file (``ResultStore``).

    Args:
        model: with ``test_step(batch)``, else called as ``model(return_loss=False, rescale=True, **batch)``.
        loader: a data loader of test batches.
        progress: show images per second and the time left (rank 0).
        on_result: called with the image's number within this process, its result before masks are encoded, and the
            batch that it comes from.
        tmpdir: gather the results of several processes through files in this folder, which all of them see.
        gpu_collect: gather them over the GPUs; by default they travel over the network between the CPUs.

    Returns:
        A list over images, masks RLE-encoded and panoptic maps packed, or where it is large a ``ResultStore`` that
        reads like one; ``None`` on ranks other than 0.
    """
    rank, world_size = get_dist_info()
    num_images = len(loader.dataset)
    core = unwrap_model(model)
    was_training = core.training
    core.eval()
    results = ResultStore()
    try:
        with _progress(num_images, progress and rank == 0) as advance, torch.no_grad():
            for batch in loader:
                batch_results = results_to_cpu(_predict(core, batch))
                for result in batch_results:
                    if on_result is not None:
                        on_result(len(results), result, batch)
                    results.append(compact_result(result))
                advance(len(batch_results) * world_size)
    finally:
        core.train(was_training)
    gather = partial(gather_by_files, folder=tmpdir) if tmpdir else partial(gather_objects, over_gpus=gpu_collect)
    return _gather(results, num_images, gather)


def _gather(own: ResultStore, num_images: int, gather: Callable[[list], list[list] | None]) -> Sequence | None:
    """The results of all ranks in order, on rank 0; they travel in rounds, so that no copy of them all is made."""
    rank, world_size = get_dist_info()
    if world_size == 1:
        _check_complete(len(own), num_images, 1)
        return own.finished()[:num_images] if len(own) > num_images else own.finished()
    most = broadcast_object(max(gather_objects(len(own)) or [0]))
    left, merged = own.drain(), ResultStore()
    for _ in range(0, most, _ROUND):
        parts = gather(list(itertools.islice(left, _ROUND)))
        if rank == 0:
            merged.extend(itertools.islice(_interleaved(parts), num_images - len(merged)))
    if rank != 0:
        return None
    _check_complete(len(merged), num_images, world_size)
    return merged.finished()


def merge_results(parts: list[list], num_images: int) -> list:
    """Interleave what each rank found, dropping the repeated images that filled up the last round.

    >>> merge_results([['a', 'c'], ['b', 'a']], num_images=3)
    ['a', 'b', 'c']
    """
    merged = list(itertools.islice(_interleaved(parts), num_images))
    _check_complete(len(merged), num_images, len(parts))
    return merged


def _interleaved(parts: Sequence[Iterable]) -> Iterator[Any]:
    absent = object()
    rounds = itertools.zip_longest(*parts, fillvalue=absent)
    return (result for one_round in rounds for result in one_round if result is not absent)


def _check_complete(found: int, num_images: int, processes: int) -> None:
    if found < num_images:
        raise RuntimeError(f'expected results for {num_images} images, got {found} from {processes} processes')


def _predict(model: nn.Module, batch: dict) -> list:
    if hasattr(model, 'test_step'):
        return model.test_step(batch)
    device = next((p.device for p in model.parameters()), torch.device(get_device()))
    return model(return_loss=False, rescale=True, **to_device(batch, device))


def to_device(data: Any, device: torch.device) -> Any:
    """Move every tensor of nested dicts and lists."""
    if isinstance(data, torch.Tensor):
        return data.to(device, non_blocking=True)
    if isinstance(data, dict):
        return {key: to_device(value, device) for key, value in data.items()}
    if isinstance(data, list):
        return [to_device(value, device) for value in data]
    return data


@contextlib.contextmanager
def _progress(total: int, enabled: bool) -> Iterator[Callable[[int], None]]:
    """A function to call with the number of images just done."""
    if not enabled:
        yield lambda count: None
    elif sys.stdout.isatty():
        with _rich_bar(total) as advance:
            yield advance
    else:
        yield _PlainLines(total)


@contextlib.contextmanager
def _rich_bar(total: int) -> Iterator[Callable[[int], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn('testing'),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn('{task.fields[speed]}'),
        TextColumn('ETA'),
        TimeRemainingColumn(),
    )
    start, done = time.perf_counter(), 0
    with Progress(*columns) as bar:
        task = bar.add_task('testing', total=total, speed='')

        def advance(count: int) -> None:
            nonlocal done
            done = min(done + count, total)
            speed = done / max(time.perf_counter() - start, 1e-9)
            bar.update(task, completed=done, speed=f'{speed:.1f} images/s')

        yield advance


class _PlainLines:
    """Progress for log files: a line every ten seconds, and one at the end."""

    def __init__(self, total: int, every_seconds: float = 10.0) -> None:
        self.total, self.every_seconds = total, every_seconds
        self.done, self.start = 0, time.perf_counter()
        self.last_line = self.start

    def __call__(self, count: int) -> None:
        now = time.perf_counter()
        self.done = min(self.done + count, self.total)
        if self.done < self.total and now - self.last_line < self.every_seconds:
            return
        self.last_line = now
        speed = self.done / max(now - self.start, 1e-9)
        eta = time.strftime('%H:%M:%S', time.gmtime((self.total - self.done) / max(speed, 1e-9)))
        print(f'testing [{self.done}/{self.total}] {speed:.1f} images/s, ETA: {eta}', flush=True)
