"""Batches without end, for training by iterations.

Both samplers count their passes over the data: an index that comes again belongs to another pass, and is augmented
anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sized
from itertools import count

import numpy as np
from torch.utils.data import Sampler

from .distributed import rank_and_world
from .group import check_flag


class InfiniteBatchSampler(Sampler[list[int]]):
    """Batches of consecutive indices of an endless sequence of passes, each process every ``world_size``-th index.

    Args:
        dataset: its length is all that counts.
        batch_size: images in a batch of one process.
        world_size: number of processes; by default of the process group.
        rank: this process.
        seed: the same on all ranks.
        shuffle: draw a new order each pass.
    """

    def __init__(
        self,
        dataset: Sized,
        batch_size: int = 1,
        world_size: int | None = None,
        rank: int | None = None,
        seed: int | None = 0,
        shuffle: bool = True,
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.rank, self.world_size = rank_and_world(rank, world_size)
        self.seed = seed or 0
        self.shuffle = shuffle
        self.size = len(dataset)

    def _share(self) -> Iterator[tuple[int, int]]:
        """(pass, index) of this process, without end."""
        position = 0
        for number in count():
            order = np.arange(self.size)
            if self.shuffle:
                order = np.random.default_rng([self.seed, number]).permutation(order)
            for index in order.tolist():
                if position % self.world_size == self.rank:
                    yield number, index
                position += 1

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.numbered():
            yield [index for _, index in batch]

    def numbered(self) -> Iterator[list[tuple[int, int]]]:
        """Batches of (pass, index)."""
        batch = []
        for item in self._share():
            batch.append(item)
            if len(batch) == self.batch_size:
                yield batch
                batch = []

    def __len__(self) -> int:
        """The size of the data set."""
        return self.size

    def set_epoch(self, epoch: int) -> None:
        """Nothing to do: passes are counted here."""


class InfiniteGroupBatchSampler(InfiniteBatchSampler):
    """``InfiniteBatchSampler`` whose batches hold images of one group; ``dataset.flag`` tells the groups."""

    def __init__(
        self,
        dataset: Sized,
        batch_size: int = 1,
        world_size: int | None = None,
        rank: int | None = None,
        seed: int | None = 0,
        shuffle: bool = True,
    ) -> None:
        super().__init__(dataset, batch_size, world_size, rank, seed, shuffle)
        self.flag = check_flag(dataset)

    def numbered(self) -> Iterator[list[tuple[int, int]]]:
        """Batches of (pass, index)."""
        waiting: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for item in self._share():
            batch = waiting[self.flag[item[1]]]
            batch.append(item)
            if len(batch) == self.batch_size:
                yield list(batch)
                batch.clear()
