"""Data sets made of others."""

from __future__ import annotations

import bisect
import math
from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from ..registry import DATASETS


class DatasetWrapper(Dataset):
    """A data set whose samples are those of one inner data set, under other indices.

    ``build_dataset`` builds the inner data set of every subclass before the wrapper. A subclass gives
    ``_inner_index`` and calls ``_take_over``.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.CLASSES = dataset.CLASSES
        self.PALETTE = getattr(dataset, 'PALETTE', None)

    def _inner_index(self, idx: int) -> int:
        raise NotImplementedError(f'{type(self).__name__} does not say which inner index an index stands for')

    def __getitem__(self, idx: int) -> dict:
        return self.dataset[self._inner_index(idx)]

    def get_cat_ids(self, idx: int) -> list[int]:
        return self.dataset.get_cat_ids(self._inner_index(idx))

    def get_ann_info(self, idx: int) -> dict[str, Any]:
        return self.dataset.get_ann_info(self._inner_index(idx))


def cat_ids_by_image(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """``get_cat_ids`` of all images of a data set: the image's index and the class of each box."""
    if hasattr(dataset, 'cat_ids_by_image'):
        return dataset.cat_ids_by_image()
    if isinstance(dataset, ConcatDataset):
        parts = [cat_ids_by_image(part) for part in dataset.datasets]
        starts = [0, *dataset.cumulative_sizes]
        owners = [owner + start for start, (owner, _) in zip(starts, parts)]
        return np.concatenate(owners), np.concatenate([cat_ids for _, cat_ids in parts])
    found = [list(dataset.get_cat_ids(i)) for i in range(len(dataset))]
    owner = np.repeat(np.arange(len(found)), [len(cat_ids) for cat_ids in found])
    return owner, np.array([cat_id for cat_ids in found for cat_id in cat_ids])


@DATASETS.register_module()
class RepeatDataset(DatasetWrapper):
    """A data set ``times`` over: an epoch gets longer, so that small data sets reload their workers less often."""

    def __init__(self, dataset: Dataset, times: int) -> None:
        super().__init__(dataset)
        self.times = times
        self._ori_len = len(dataset)
        if hasattr(dataset, 'flag'):
            self.flag = np.tile(dataset.flag, times)

    def __len__(self) -> int:
        return self.times * self._ori_len

    def _inner_index(self, idx: int) -> int:
        return idx % self._ori_len


@DATASETS.register_module()
class ClassBalancedDataset(DatasetWrapper):
    """Images of rare classes more often (Gupta et al., "LVIS", arXiv:1908.03195, section 4.2).

    With f(c) the fraction of images that show class c, an image is repeated ceil(max over its classes of
    max(1, sqrt(oversample_thr / f(c)))) times.

    Args:
        dataset: the data set to balance.
        oversample_thr: the frequency below which a class is repeated.
        filter_empty_gt: if ``False``, images without boxes count as a class of their own.
    """

    def __init__(self, dataset: Dataset, oversample_thr: float, filter_empty_gt: bool = True) -> None:
        super().__init__(dataset)
        self.oversample_thr = oversample_thr
        self.filter_empty_gt = filter_empty_gt
        factors = self._get_repeat_factors(dataset, oversample_thr)
        self.repeat_indices = [i for i, factor in enumerate(factors) for _ in range(math.ceil(factor))]
        if hasattr(dataset, 'flag'):
            self.flag = np.asarray(dataset.flag)[self.repeat_indices].astype(np.uint8)

    def _get_repeat_factors(self, dataset: Dataset, repeat_thr: float) -> list[float]:
        """The factor of each image, before it is rounded up."""
        owner, cat_ids = cat_ids_by_image(dataset)
        classes, of_box = np.unique(cat_ids, return_inverse=True)
        shown = np.unique(np.stack([owner, of_box.reshape(-1)], axis=1), axis=0).astype(np.int64)  # image, class
        if not self.filter_empty_gt:
            empty = np.setdiff1d(np.arange(len(dataset)), owner)
            shown = np.concatenate([shown, np.stack([empty, np.full(len(empty), len(classes))], axis=1)])
        images_of = np.maximum(np.bincount(shown[:, 1], minlength=1), 1)
        factor_of = np.maximum(1.0, np.sqrt(repeat_thr * len(dataset) / images_of))
        factors = np.ones(len(dataset))
        np.maximum.at(factors, shown[:, 0], factor_of[shown[:, 1]])
        return factors.tolist()

    def __len__(self) -> int:
        return len(self.repeat_indices)

    def _inner_index(self, idx: int) -> int:
        return self.repeat_indices[idx]


@DATASETS.register_module()
class ConcatDataset(Dataset):
    """Data sets one after another.

    Args:
        datasets: data sets with the same ``CLASSES``.
        separate_eval: evaluate each by itself; keys get the prefix ``0_``, ``1_`` ... . Otherwise as one data set,
            which data sets in the middle or xml format can do.
    """

    def __init__(self, datasets: Sequence[Dataset], separate_eval: bool = True) -> None:
        if not len(datasets):
            raise ValueError('ConcatDataset needs at least one data set')
        self.datasets = list(datasets)
        self.separate_eval = separate_eval
        self.cumulative_sizes = list(accumulate(len(dataset) for dataset in self.datasets))
        self.CLASSES = self.datasets[0].CLASSES
        self.PALETTE = getattr(self.datasets[0], 'PALETTE', None)
        self._check_classes()
        if all(hasattr(dataset, 'flag') for dataset in self.datasets):
            self.flag = np.concatenate([dataset.flag for dataset in self.datasets])

    def _check_classes(self) -> None:
        for i, dataset in enumerate(self.datasets):
            if tuple(dataset.CLASSES or ()) != tuple(self.CLASSES or ()):
                raise ValueError(
                    f'data set {i} of a ConcatDataset has the classes {dataset.CLASSES}, the first has {self.CLASSES}: '
                    'label numbers would mean different things. Give both the same classes=[...]'
                )

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def _locate(self, idx: int) -> tuple[Dataset, int]:
        """The data set that ``idx`` falls into, and the index there."""
        if not -len(self) <= idx < len(self):
            raise IndexError(f'index {idx} of a data set of {len(self)} images')
        idx %= len(self)
        which = bisect.bisect_right(self.cumulative_sizes, idx)
        return self.datasets[which], idx - (self.cumulative_sizes[which - 1] if which else 0)

    def __getitem__(self, idx: int) -> dict:
        dataset, inner = self._locate(idx)
        return dataset[inner]

    def get_cat_ids(self, idx: int) -> list[int]:
        dataset, inner = self._locate(idx)
        return dataset.get_cat_ids(inner)

    def get_ann_info(self, idx: int) -> dict[str, Any]:
        dataset, inner = self._locate(idx)
        return dataset.get_ann_info(inner)

    def evaluate(self, results: list, logger: Any = None, **kwargs: Any) -> OrderedDict[str, float | str]:
        """Evaluate each part, or the whole; further arguments are those of the data sets' ``evaluate``."""
        if len(results) != len(self):
            raise ValueError(f'{len(results)} results for {len(self)} images')
        if not self.separate_eval:
            return self._evaluate_as_one(results, logger, kwargs)
        numbers: OrderedDict[str, float | str] = OrderedDict()
        start = 0
        for i, (dataset, stop) in enumerate(zip(self.datasets, self.cumulative_sizes, strict=True)):
            _say(f'\nEvaluating {dataset.ann_file} with {len(dataset)} images', logger)
            part = dataset.evaluate(results[start:stop], logger=logger, **kwargs)
            numbers.update({f'{i}_{key}': value for key, value in part.items()})
            start = stop
        return numbers

    def _evaluate_as_one(self, results: list, logger: Any, kwargs: dict) -> OrderedDict[str, float | str]:
        first = self.datasets[0]
        if hasattr(first, 'coco') or any(type(dataset) is not type(first) for dataset in self.datasets):
            kinds = sorted({type(dataset).__name__ for dataset in self.datasets})
            raise NotImplementedError(
                f'{", ".join(kinds)} cannot be evaluated as one data set: set separate_eval=True, or join the '
                'annotation files'
            )
        own_infos = first.data_infos
        first.data_infos = [info for dataset in self.datasets for info in dataset.data_infos]
        try:
            return first.evaluate(results, logger=logger, **kwargs)
        finally:
            first.data_infos = own_infos


def _say(message: str, logger: Any) -> None:
    from ..evaluation.report import say

    say(message, logger)
