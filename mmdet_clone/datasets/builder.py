"""From the ``data`` part of a config to data sets and loaders."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from mmengine.dist import sync_random_seed
from torch.utils.data import Dataset, SequentialSampler

from ..registry import DATASETS, PIPELINES
from .loader import DetectionLoader, KeyedBatchSampler
from .samplers import (
    ClassAwareSampler,
    DistributedGroupSampler,
    DistributedSampler,
    GroupSampler,
    InfiniteBatchSampler,
    InfiniteGroupBatchSampler,
)
from .sharing import share_with_workers
from .wrappers import ConcatDataset, DatasetWrapper

__all__ = ['DATASETS', 'PIPELINES', 'build_dataloader', 'build_dataset']

_PER_FILE = ('ann_file', 'img_prefix', 'seg_prefix', 'proposal_file')


def build_dataset(cfg: dict | Sequence[dict], default_args: dict | None = None, path: str = '') -> Dataset:
    """Build the data set that a config describes.

    A list of configs, or of ``ann_file``, makes a ``ConcatDataset``; the inner data set of a wrapper is built first.

    Args:
        cfg: a ``data.train`` or the like; it is left as it was.
        default_args: arguments for the keys that ``cfg`` (or a wrapper's inner data set) lacks, as ``test_mode=True``.
        path: where ``cfg`` stands in the config, for error messages (``'data.train'``).
    """
    if isinstance(cfg, list | tuple):
        return ConcatDataset([build_dataset(item, default_args, _at(path, i)) for i, item in enumerate(cfg)])
    cls = _class_of(cfg)
    if cls is ConcatDataset:
        inner = enumerate(cfg['datasets'])
        parts = [build_dataset(item, default_args, _at(path, f'datasets.{i}')) for i, item in inner]
        return DATASETS.build({**cfg, 'datasets': parts}, path=path)
    if isinstance(cls, type) and issubclass(cls, DatasetWrapper):
        inner = build_dataset(cfg['dataset'], default_args, _at(path, 'dataset'))
        return DATASETS.build({**cfg, 'dataset': inner}, path=path)
    if isinstance(cfg, dict) and isinstance(cfg.get('ann_file'), list | tuple):
        return _one_per_file(cfg, default_args, path)
    with _named_by(path):
        return DATASETS.build(cfg, default_args, path=path)


@contextlib.contextmanager
def _named_by(path: str) -> Iterator[None]:
    """Begin the messages of a data set's own checks with its place in the config."""
    try:
        yield
    except (FileNotFoundError, ValueError, TypeError) as error:
        if not path or path in str(error) or type(error) not in (FileNotFoundError, ValueError, TypeError):
            raise
        raise type(error)(f'{path}: {error}').with_traceback(error.__traceback__) from error.__cause__


def _class_of(cfg: Any) -> Any:
    """The class that ``cfg`` names; ``None`` lets the registry explain what is wrong."""
    kind = cfg.get('type') if isinstance(cfg, dict) else None
    return DATASETS.get(kind) if isinstance(kind, str) else kind


def _at(path: str, key: Any) -> str:
    return f'{path}.{key}' if path else str(key)


def _one_per_file(cfg: dict, default_args: dict | None, path: str) -> ConcatDataset:
    """A data set for each ``ann_file``; other paths are given once for all, or as lists of the same length."""
    count = len(cfg['ann_file'])
    for key in _PER_FILE:
        if isinstance(cfg.get(key), list | tuple) and len(cfg[key]) != count:
            raise ValueError(f'{_at(path, key)} has {len(cfg[key])} entries, ann_file has {count}: give one for each')
    shared = {key: value for key, value in cfg.items() if key != 'separate_eval'}
    parts = []
    for i in range(count):
        own = {key: cfg[key][i] for key in _PER_FILE if isinstance(cfg.get(key), list | tuple)}
        parts.append(build_dataset({**shared, **own}, default_args, path))
    return ConcatDataset(parts, separate_eval=cfg.get('separate_eval', True))


def build_dataloader(
    dataset: Dataset,
    samples_per_gpu: int,
    workers_per_gpu: int,
    num_gpus: int = 1,
    dist: bool = True,
    shuffle: bool = True,
    seed: int | None = None,
    runner_type: str = 'EpochBasedRunner',
    persistent_workers: bool = False,
    class_aware_sampler: dict | None = None,
    drop_last: bool = False,
    pin_memory: bool | None = None,
    prefetch_factor: int | None = None,
    **loader_args: Any,
) -> DetectionLoader:
    """Build the loader of one process.

    Before each epoch call ``loader.set_epoch(epoch)``; ``loader.batch_sampler.skip(n)`` starts it at batch ``n``.

    Args:
        dataset: what ``build_dataset`` returned.
        samples_per_gpu: images in a batch of one process.
        workers_per_gpu: worker processes of this process; 0 loads in it.
        num_gpus: devices that this process feeds; only without ``dist``.
        dist: each process of the process group takes its share.
        shuffle: draw a new order each epoch, in batches of wide or of high images; otherwise the data set's order.
        seed: settles order and augmentation; drawn at random (the same on all ranks) if ``None``.
        runner_type: ``'IterBasedRunner'`` for batches without end.
        persistent_workers: keep the workers between epochs.
        class_aware_sampler: ``dict(num_sample_class=1)`` to draw classes in turn.
        drop_last: leave out a last batch that is not full.
        pin_memory: put batches where a GPU fetches them fastest; by default if there is a CUDA device.
        prefetch_factor: batches that each worker makes in advance; torch makes 2.
        **loader_args: further arguments of ``torch.utils.data.DataLoader``, such as ``timeout``.
    """
    if not isinstance(samples_per_gpu, int) or samples_per_gpu < 1:
        raise ValueError(f'samples_per_gpu, the images in a batch, must be 1 or more, got {samples_per_gpu!r}')
    seed = sync_random_seed() if seed is None else int(seed)
    batch_size = samples_per_gpu if dist else num_gpus * samples_per_gpu
    num_workers = workers_per_gpu if dist else num_gpus * workers_per_gpu
    alone = {} if dist else dict(rank=0)
    replicas = {} if dist else dict(num_replicas=1)
    if runner_type == 'IterBasedRunner':
        kind = InfiniteGroupBatchSampler if shuffle else InfiniteBatchSampler
        world = {} if dist else dict(world_size=1)
        batches = KeyedBatchSampler(kind(dataset, batch_size, seed=seed, shuffle=shuffle, **world, **alone), None)
    else:
        if class_aware_sampler is not None:
            number = class_aware_sampler.get('num_sample_class', 1)
            sampler = ClassAwareSampler(
                dataset, samples_per_gpu, seed=seed, num_sample_class=number, **replicas, **alone
            )
        elif shuffle and dist:
            sampler = DistributedGroupSampler(dataset, samples_per_gpu, seed=seed)
        elif shuffle:
            sampler = GroupSampler(dataset, samples_per_gpu, seed=seed)
        else:
            sampler = DistributedSampler(dataset, shuffle=False, seed=seed) if dist else SequentialSampler(dataset)
        batches = KeyedBatchSampler(sampler, batch_size, drop_last)
    pinned = pin_memory is not False and torch.cuda.is_available()
    arguments = dict(num_workers=num_workers, pin_memory=pinned, **loader_args)
    if num_workers:
        arguments.update(persistent_workers=persistent_workers, prefetch_factor=prefetch_factor)
        share_with_workers(dataset)
    return DetectionLoader(dataset, batches, seed, arguments)
