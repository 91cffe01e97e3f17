"""A data set whose samples are made of several images of another."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
from torch.utils.data import Dataset

from ..registry import DATASETS, PIPELINES, type_name
from .wrappers import DatasetWrapper

Size = tuple[int, int]
_AS_READ = ('img_info', 'ann_info')


@DATASETS.register_module()
class MultiImageMixDataset(DatasetWrapper):
    """Runs a second pipeline over the samples of ``dataset``, with steps that mix in further ones.

    A step that mixes has a method ``get_indexes(dataset)`` and finds the samples that it asked for in
    ``results['mix_results']``.

    Args:
        dataset: the data set with the images; its pipeline loads them and their annotations.
        pipeline: the steps after that.
        dynamic_scale: ``scale`` of each sample, which ``MixUp`` and ``Resize`` look at in place of their ``img_scale``.
        skip_type_keys: names of steps to leave out.
        max_refetch: how often a step is tried that drops the sample, and further samples are looked for.
    """

    def __init__(
        self,
        dataset: Dataset,
        pipeline: Sequence[dict | Callable],
        dynamic_scale: Size | None = None,
        skip_type_keys: Sequence[str] | None = None,
        max_refetch: int = 15,
    ) -> None:
        super().__init__(dataset)
        if not isinstance(pipeline, list | tuple):
            raise TypeError(f'the pipeline of MultiImageMixDataset is a list of steps, got {type(pipeline).__name__}')
        self.max_refetch = max_refetch
        self.pipeline = [_step(step, i) for i, step in enumerate(pipeline)]
        self.pipeline_types = [_name(step) for step in pipeline]
        self.update_dynamic_scale(dynamic_scale)
        self.update_skip_type_keys(skip_type_keys)
        if hasattr(dataset, 'flag'):
            self.flag = dataset.flag

    def update_skip_type_keys(self, skip_type_keys: Sequence[str] | None) -> None:
        """Leave out the steps of these names from now on; worker processes that run already do not notice."""
        if isinstance(skip_type_keys, str):
            raise TypeError(f'skip_type_keys is a list of names of steps, got the string {skip_type_keys!r}')
        self._skip_type_keys = tuple(skip_type_keys or ())

    def update_dynamic_scale(self, dynamic_scale: Size | None) -> None:
        """Use another ``dynamic_scale`` from now on; worker processes that run already do not notice."""
        self._dynamic_scale = None if dynamic_scale is None else tuple(dynamic_scale)

    def __len__(self) -> int:
        return len(self.dataset)

    def _inner_index(self, idx: int) -> int:
        return idx

    def __getitem__(self, idx: int) -> dict:
        results = self._sample(idx)
        if self._dynamic_scale is not None:
            results['scale'] = self._dynamic_scale
        for step, name in zip(self.pipeline, self.pipeline_types):
            if name in self._skip_type_keys:
                continue
            if hasattr(step, 'get_indexes'):
                results['mix_results'] = self._further_samples(step)
            results = self._apply(step, name, results, idx)
            results.pop('mix_results', None)
        return results

    def _sample(self, idx: int) -> dict | None:
        """A copy: a data set may keep its samples in memory, and a step may write into them.

        Annotations in the form of the file can be long, and are what a data set hands out as they are anyway.
        """
        sample = self.dataset[idx]
        if sample is None:
            return None
        return {key: value if key in _AS_READ else copy.deepcopy(value) for key, value in sample.items()}

    def _further_samples(self, step: Callable) -> list[dict]:
        for _ in range(self.max_refetch):
            indices = step.get_indexes(self.dataset)
            samples = [self._sample(int(i)) for i in np.atleast_1d(indices)]
            if all(sample is not None for sample in samples):
                return samples
        raise RuntimeError(
            f'{self.max_refetch} times {type(step).__name__} asked for samples that the pipeline of '
            f'{type(self.dataset).__name__} drops: its steps should load alone'
        )

    def _apply(self, step: Callable, name: str, results: dict, idx: int) -> dict:
        for _ in range(self.max_refetch):
            changed = step(dict(results))
            if changed is not None:
                return changed
        raise RuntimeError(
            f'{name} of MultiImageMixDataset dropped sample {idx} {self.max_refetch} times: it leaves no box. '
            'FilterAnnotations gives such samples on with keep_empty=False'
        )


def _step(step: dict | Callable, index: int) -> Callable:
    if isinstance(step, dict):
        return PIPELINES.build(step, path=f'pipeline.{index}')
    if callable(step):
        return step
    raise TypeError(f'step {index} of the pipeline of MultiImageMixDataset is neither a dict nor callable: {step!r}')


def _name(step: dict | Callable) -> str:
    """The name by which ``skip_type_keys`` knows a step: the registered one, without a prefix."""
    return type_name(step) if isinstance(step, dict) else type(step).__name__
