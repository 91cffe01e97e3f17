"""Batches of one group of images (wide or high), which are padded less."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sized

import numpy as np
from torch.utils.data import Sampler

from .distributed import rank_and_world


def grouped_order(flag: np.ndarray, chunk: int, multiple: int, rng: np.random.Generator) -> np.ndarray:
    """A random order in which each run of ``chunk`` indices is of one group.

    Each group is shuffled, filled up to a multiple of ``multiple`` with indices drawn from it again, and cut into
    chunks; then the chunks are shuffled.

    Args:
        flag: (n,) the group of each index.
        chunk: images in a batch of one process.
        multiple: ``chunk`` times the number of processes.
        rng: the source of randomness.
    """
    members = [np.flatnonzero(flag == group) for group in np.unique(flag)]
    filled = [_fill(rng.permutation(indices), multiple, rng) for indices in members]
    chunks = np.concatenate(filled).reshape(-1, chunk)
    return rng.permutation(chunks, axis=0).reshape(-1)


def _fill(indices: np.ndarray, multiple: int, rng: np.random.Generator) -> np.ndarray:
    missing = -len(indices) % multiple
    return np.concatenate([indices, rng.choice(indices, missing, replace=missing > len(indices))])


def check_flag(dataset: Sized) -> np.ndarray:
    """The ``flag`` of a data set that can be sampled by groups."""
    if not hasattr(dataset, 'flag'):
        raise TypeError(
            f'{type(dataset).__name__} has no flag, the group of each image: training needs a data set built with '
            'test_mode=False'
        )
    return np.asarray(dataset.flag).astype(np.int64)


class GroupSampler(Sampler[int]):
    """Shuffled indices in which each run of ``samples_per_gpu`` is of one group.

    Args:
        dataset: has ``flag``, the group of each image.
        samples_per_gpu: images in a batch.
        seed: with the epoch, it settles the order.
    """

    def __init__(self, dataset: Sized, samples_per_gpu: int = 1, seed: int = 0) -> None:
        self.dataset = dataset
        self.samples_per_gpu = samples_per_gpu
        self.flag = check_flag(dataset)
        self.group_sizes = np.bincount(self.flag)
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        yield from grouped_order(self.flag, self.samples_per_gpu, self.samples_per_gpu, rng).tolist()

    def __len__(self) -> int:
        return sum(math.ceil(size / self.samples_per_gpu) * self.samples_per_gpu for size in self.group_sizes.tolist())


class DistributedGroupSampler(Sampler[int]):
    """``GroupSampler`` for several processes, each of which takes as many batches.

    Args:
        dataset: has ``flag``, the group of each image.
        samples_per_gpu: images in a batch of one process.
        num_replicas: number of processes; by default of the process group.
        rank: this process.
        seed: the same on all ranks; with the epoch, it settles the order.
    """

    def __init__(
        self,
        dataset: Sized,
        samples_per_gpu: int = 1,
        num_replicas: int | None = None,
        rank: int | None = None,
        seed: int | None = 0,
    ) -> None:
        self.dataset = dataset
        self.samples_per_gpu = samples_per_gpu
        self.rank, self.num_replicas = rank_and_world(rank, num_replicas)
        self.flag = check_flag(dataset)
        self.group_sizes = np.bincount(self.flag)
        self.seed = seed or 0
        self.epoch = 0
        multiple = samples_per_gpu * self.num_replicas
        self.num_samples = sum(math.ceil(size / multiple) * samples_per_gpu for size in self.group_sizes.tolist())
        self.total_size = self.num_samples * self.num_replicas

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order = grouped_order(self.flag, self.samples_per_gpu, self.samples_per_gpu * self.num_replicas, rng)
        yield from order[self.rank * self.num_samples : (self.rank + 1) * self.num_samples].tolist()

    def __len__(self) -> int:
        return self.num_samples
