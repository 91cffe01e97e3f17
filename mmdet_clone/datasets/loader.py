"""From samples to batches, reproducibly.

A batch sampler hands out keys (epoch, index, repeat). Before a sample is made, python's, numpy's and torch's random
states are set from (seed, key), so that augmentation depends on neither the number of workers nor of processes, nor on
where a resumed run starts.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate, get_worker_info

from .pipelines.formatting import STACKED

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


class SampleKey(NamedTuple):
    """Which draw of which image: the ``repeat``-th time (from 0) that ``index`` comes up in ``epoch``."""

    epoch: int
    index: int
    repeat: int = 0


class KeyedBatchSampler(Sampler[list]):
    """Batches of ``SampleKey`` from a sampler of indices or of batches.

    Args:
        sampler: yields indices; or, with ``batch_size=None``, has ``numbered()``: endless batches of (pass, index).
        batch_size: images in a batch.
        drop_last: leave out a last batch that is not full.
    """

    def __init__(self, sampler: Sampler | Iterable, batch_size: int | None, drop_last: bool = False) -> None:
        self.sampler = sampler
        self.batch_size = batch_size if batch_size is not None else sampler.batch_size
        self.drop_last = drop_last
        self.endless = batch_size is None
        self.epoch = 0
        self._skipped = 0

    def set_epoch(self, epoch: int) -> None:
        """Called before each epoch: it settles the order of the images and their augmentation."""
        self.epoch = epoch
        if hasattr(self.sampler, 'set_epoch'):
            self.sampler.set_epoch(epoch)

    def skip(self, num_batches: int) -> None:
        """Start the next iteration ``num_batches`` batches late, without making their samples."""
        self._skipped = num_batches

    def __iter__(self) -> Iterator[list[SampleKey]]:
        skipped, self._skipped = self._skipped, 0
        for number, batch in enumerate(self._numbered()):
            if number >= skipped:
                yield batch

    def _numbered(self) -> Iterator[list[SampleKey]]:
        drawn: Counter = Counter()
        for batch in self.sampler.numbered() if self.endless else self._finite():
            keys = []
            for epoch, index in batch:
                keys.append(SampleKey(epoch, index, drawn[index] if not self.endless else 0))
                drawn[index] += 1
            yield keys

    def _finite(self) -> Iterator[list[tuple[int, int]]]:
        batch: list[tuple[int, int]] = []
        for index in self.sampler:
            batch.append((self.epoch, int(index)))
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def __len__(self) -> int:
        if self.endless:
            return len(self.sampler)
        full, rest = divmod(len(self.sampler), self.batch_size)
        return full + (rest > 0 and not self.drop_last)


class SeededSamples(Dataset):
    """A data set indexed by ``SampleKey``: random states are set before each sample.

    In the main process the states are put back afterwards, so that training draws the same numbers with and without
    workers.
    """

    def __init__(self, dataset: Dataset, seed: int) -> None:
        self.dataset = dataset
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: SampleKey) -> Any:
        keep = _kept_random_state() if get_worker_info() is None else contextlib.nullcontext()
        with keep:
            set_sample_seed(self.seed, key)
            return self.dataset[key.index]


def set_sample_seed(seed: int, key: SampleKey) -> None:
    """Set the random states of python, numpy and torch (CPU) for one sample."""
    words = np.random.SeedSequence([seed, key.epoch, key.index, key.repeat]).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))
    torch.default_generator.manual_seed(int(words[2]))


@contextlib.contextmanager
def _kept_random_state() -> Iterator[None]:
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


class DetectionLoader(DataLoader):
    """A ``DataLoader`` over ``SampleKey`` batches; ``dataset`` is the user's own.

    Args:
        dataset: yields the dicts that a pipeline makes.
        batch_sampler: a ``KeyedBatchSampler``.
        seed: the run's seed, the same on all ranks.
        loader_args: further arguments of ``DataLoader``.
    """

    def __init__(self, dataset: Dataset, batch_sampler: KeyedBatchSampler, seed: int, loader_args: dict) -> None:
        self._making_iterator = False
        arguments = {'collate_fn': collate, **loader_args}
        if arguments.get('num_workers'):
            arguments['worker_init_fn'] = partial(start_worker, then=arguments.get('worker_init_fn'))
        # an own generator: iterating must not draw from the global one
        generator = torch.Generator().manual_seed(seed)
        super().__init__(SeededSamples(dataset, seed), batch_sampler=batch_sampler, generator=generator, **arguments)

    @property
    def dataset(self) -> Dataset:
        """The data set that was given; while torch makes an iterator, the one that seeds each sample."""
        return self._samples if self._making_iterator else self._samples.dataset

    @dataset.setter
    def dataset(self, samples: SeededSamples) -> None:
        self._samples = samples

    def _get_iterator(self) -> Any:
        self._making_iterator = True
        try:
            return super()._get_iterator()
        finally:
            self._making_iterator = False

    def set_epoch(self, epoch: int) -> None:
        self.batch_sampler.set_epoch(epoch)


# ---------------------------------------------------------------------- workers


def start_worker(worker_id: int, then: Callable[[int], None] | None = None) -> None:
    """What a worker process does first; ``then`` is the user's ``worker_init_fn``."""
    keep_freed_memory()
    if then is not None:
        then(worker_id)


def keep_freed_memory() -> None:
    """Have the C library keep freed memory of this process for the next image, up to 512 MB.

    By default glibc hands arrays of an image's size back to the system at once and asks for new pages for the next:
    the system fills them with zeros first, which takes more time than the steps of a pipeline do. Other C libraries are
    left as they are.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # the largest that glibc takes
        mallopt(_M_TRIM_THRESHOLD, 512 << 20)


# ---------------------------------------------------------------------- collating


def collate(samples: Sequence[Any]) -> Any:
    """One batch from the dicts that ``Collect`` makes.

    Images and semantic maps (and the keys a sample names in ``stack_fields``) are padded at the bottom and right to the
    largest and stacked; every other key becomes a list over images. Samples of test-time augmentation, whose keys hold
    lists over augmentations, become lists over augmentations of such batches. Values in a ``DataContainer``, as a step
    of the user's own may leave them, are taken out and stacked if it says so.
    """
    first = samples[0]
    if not isinstance(first, dict):
        return default_collate(list(samples))
    pads = dict(STACKED)
    for sample in samples:
        pads.update(sample.get('stack_fields', {}))
    pads = {**{k: v for k, v in pads.items() if not _is_container(first.get(k))}, **_pads_of_containers(first)}
    samples = [{key: _contained(value) for key, value in sample.items()} for sample in samples]
    first = samples[0]
    keys = [key for key in first if key != 'stack_fields']
    if isinstance(first.get('img_metas', first.get('img')), list | tuple):
        return {key: _per_augmentation(key, [sample[key] for sample in samples], pads) for key in keys}
    return {key: _join([sample[key] for sample in samples], pads.get(key)) for key in keys}


def _is_container(value: Any) -> bool:
    """Whether ``value``, or what a list over augmentations holds, is a ``DataContainer`` by its attributes."""
    value = value[0] if isinstance(value, list) and value else value
    return all(hasattr(value, name) for name in ('data', 'stack', 'cpu_only', 'padding_value'))


def _pads_of_containers(sample: dict) -> dict[str, float]:
    """The fill value of each key whose ``DataContainer`` asks for stacking."""
    marks = {k: v[0] if isinstance(v, list) else v for k, v in sample.items() if _is_container(v)}
    return {key: mark.padding_value for key, mark in marks.items() if mark.stack}


def _contained(value: Any) -> Any:
    if not _is_container(value):
        return value
    return [item.data for item in value] if isinstance(value, list) else value.data


def _per_augmentation(key: str, values: list, pads: dict[str, float]) -> list:
    if not all(isinstance(value, list | tuple) for value in values):
        return _join(values, pads.get(key))
    return [_join(list(of_one), pads.get(key)) for of_one in zip(*values, strict=True)]


def _join(values: list, pad: float | None) -> Any:
    if pad is None or not all(isinstance(value, torch.Tensor) for value in values):
        return values
    return stack_padded(values, pad)


def stack_padded(tensors: Sequence[torch.Tensor], pad: float = 0) -> torch.Tensor:
    """(N, C, H, W) from (C, h, w) tensors, filled with ``pad`` below and to the right; likewise without C."""
    if all(tensor.shape == tensors[0].shape for tensor in tensors):
        return torch.stack(list(tensors), out=_empty_batch(tensors[0], (len(tensors), *tensors[0].shape)))
    if any(tensor.shape[:-2] != tensors[0].shape[:-2] for tensor in tensors):
        raise ValueError(f'cannot stack images of the shapes {[tuple(tensor.shape) for tensor in tensors]}')
    height, width = (max(tensor.shape[axis] for tensor in tensors) for axis in (-2, -1))
    batch = _empty_batch(tensors[0], (len(tensors), *tensors[0].shape[:-2], height, width))
    for row, tensor in zip(batch, tensors, strict=True):
        h, w = tensor.shape[-2:]
        row[..., h:, :] = pad
        row[..., :h, w:] = pad
        row[..., :h, :w] = tensor
    return batch


def _empty_batch(like: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """A tensor to fill; in a worker it lies where the main process can read it, so that it need not be copied there."""
    if get_worker_info() is None or like.device.type != 'cpu':
        return like.new_empty(shape)
    storage = torch.UntypedStorage._new_shared(math.prod(shape) * like.element_size())  # as torch's own collation does
    return torch.empty(0, dtype=like.dtype).set_(storage, 0, shape)
