"""Each process its share of the images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sized

import numpy as np
from mmengine.dist import get_dist_info
from torch.utils.data import Sampler


def rank_and_world(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """The given numbers, with those of the process group for ``None``."""
    current_rank, current_world = get_dist_info()
    return current_rank if rank is None else rank, current_world if world_size is None else world_size


class DistributedSampler(Sampler[int]):
    """Every ``num_replicas``-th index, filled up from the start so that each process gets as many.

    Results gathered from the ranks in turn, and cut to the data set's length, are in the data set's order.

    Args:
        dataset: its length is all that counts.
        num_replicas: number of processes; by default of the process group.
        rank: this process.
        shuffle: draw a new order each epoch.
        seed: the same on all ranks.
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int | None = 0,
    ) -> None:
        self.dataset = dataset
        self.rank, self.num_replicas = rank_and_world(rank, num_replicas)
        self.shuffle = shuffle
        self.seed = seed or 0
        self.epoch = 0
        self.num_samples = math.ceil(len(dataset) / self.num_replicas)
        self.total_size = self.num_samples * self.num_replicas

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        order = np.arange(len(self.dataset))
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(order)
        yield from np.resize(order, self.total_size)[self.rank :: self.num_replicas].tolist()

    def __len__(self) -> int:
        return self.num_samples
