"""Classes in turn, an image of each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sized

import numpy as np
from torch.utils.data import Sampler

from .distributed import rank_and_world


class ClassAwareSampler(Sampler[int]):
    """Draw a class, then images that show it (Shen et al., "Relay Backpropagation", arXiv:1512.05830).

    Args:
        dataset: has ``get_cat2imgs``.
        samples_per_gpu: images in a batch of one process.
        num_replicas: number of processes; by default of the process group.
        rank: this process.
        seed: the same on all ranks.
        num_sample_class: how many images to take of a class before the next; of one that has fewer, again and again.
    """

    def __init__(
        self,
        dataset: Sized,
        samples_per_gpu: int = 1,
        num_replicas: int | None = None,
        rank: int | None = None,
        seed: int | None = 0,
        num_sample_class: int = 1,
    ) -> None:
        if num_sample_class < 1:
            raise ValueError(f'num_sample_class must be at least 1, got {num_sample_class}')
        if not hasattr(dataset, 'get_cat2imgs'):
            raise TypeError(
                f'{type(dataset).__name__} has no get_cat2imgs, the images of each class: class_aware_sampler takes a '
                'data set that stands in no wrapper'
            )
        self.dataset = dataset
        self.rank, self.num_replicas = rank_and_world(rank, num_replicas)
        self.samples_per_gpu = samples_per_gpu
        self.seed = seed or 0
        self.epoch = 0
        self.num_sample_class = num_sample_class
        self.cat_dict = {label: images for label, images in dataset.get_cat2imgs().items() if images}
        self.valid_cat_inds = sorted(self.cat_dict)
        if not self.valid_cat_inds:
            raise ValueError(f'no image of {type(dataset).__name__} shows a class to draw')
        per_step = self.num_replicas * samples_per_gpu
        self.num_samples = math.ceil(len(dataset) / per_step) * samples_per_gpu
        self.total_size = self.num_samples * self.num_replicas

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        classes = _endless(self.valid_cat_inds, rng)
        images = {label: _endless(self.cat_dict[label], rng) for label in self.valid_cat_inds}
        order: list[int] = []
        while len(order) < self.total_size:
            label = next(classes)
            order += [next(images[label]) for _ in range(self.num_sample_class)]
        order = order[: self.total_size]
        yield from order[self.rank * self.num_samples : (self.rank + 1) * self.num_samples]

    def __len__(self) -> int:
        return self.num_samples


def _endless(values: list[int], rng: np.random.Generator) -> Iterator[int]:
    """``values`` in random order, over and over."""
    while True:
        yield from rng.permutation(values).tolist()
