"""Training: from a model, its data sets and a config in MMDetection 2.x's keys to a finished run."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from torch import nn

from mmdet_clone.apis.checks import check_before_training, check_files
from mmdet_clone.config import loader_args
from mmdet_clone.datasets import build_dataloader, build_dataset, replace_ImageToTensor
from mmdet_clone.engine import (
    build_runner,
    find_latest_checkpoint,
    get_dist_info,
    init_random_seed,
    set_random_seed,
)
from mmdet_clone.engine.runner import ensure_writable

__all__ = [
    'build_train_datasets',
    'build_val_dataset',
    'init_random_seed',
    'scale_learning_rate',
    'set_random_seed',
    'train_detector',
]


def train_detector(
    model: nn.Module,
    dataset: Any,
    cfg: Config,
    distributed: bool = False,
    validate: bool = False,
    timestamp: str | None = None,
    meta: dict | None = None,
) -> Any:
    """Train ``model`` as ``cfg`` says.

    Args:
        model: a detector.
        dataset: the training data set; or a list of one for each step of ``cfg.workflow``, as
            :func:`build_train_datasets` makes it.
        cfg: keys of MMDetection 2.x; ``cfg.work_dir`` is where logs and checkpoints go. It is not changed.
        distributed: use the process group that is running.
        validate: evaluate on ``cfg.data.val`` as ``cfg.evaluation`` says.
        timestamp: names the log files.
        meta: entries for the checkpoints' meta, and for the log's first line.

    Returns:
        the runner, after the last epoch or iteration.
    """
    cfg = copy.deepcopy(cfg)
    datasets = list(dataset) if isinstance(dataset, list | tuple) else [dataset]
    check_files(cfg)
    ensure_writable(cfg.work_dir)
    val_dataset = build_val_dataset(cfg) if validate else None
    check_before_training(cfg, model, datasets, val_dataset)
    if getattr(model, 'CLASSES', None) is None:
        model.CLASSES = datasets[0].CLASSES
        model.PALETTE = getattr(datasets[0], 'PALETTE', None)
    scale_learning_rate(cfg, get_dist_info()[1])
    if cfg.get('auto_resume') and not cfg.get('resume_from'):
        cfg.resume_from = find_latest_checkpoint(cfg.work_dir)
        print_log(
            f'continuing from {cfg.resume_from}' if cfg.resume_from else 'no checkpoint to continue from', 'current'
        )
    runner = build_runner(
        cfg,
        model,
        [_train_loader(d, cfg, distributed) for d in datasets],
        eval_loader=_eval_loader(val_dataset, cfg, distributed),
        distributed=distributed,
        meta=meta,
        timestamp=timestamp,
        trust=cfg.get('trust_checkpoint', False),
    )
    runner.train()
    return runner


def build_train_datasets(cfg: Config) -> list:
    """A data set for each step of ``cfg.workflow``: ``data.train``; for ``('val', n)``, ``data.val`` with losses."""
    datasets = [build_dataset(cfg.data.train, path='data.train')]
    if len(cfg.get('workflow') or [1]) == 2:
        val = copy.deepcopy(cfg.data.val)
        val['pipeline'] = _train_pipeline(cfg.data.train)
        val.pop('test_mode', None)
        datasets.append(build_dataset(val, path='data.val'))
    return datasets


def build_val_dataset(cfg: Config) -> Any:
    """``data.val`` in test mode; a pipeline that makes batches where several images go into one."""
    if not cfg.data.get('val'):
        raise KeyError('the config has no data.val to evaluate on: add it, or train with --no-validate')
    val = copy.deepcopy(cfg.data.val)
    samples_per_gpu = _pop_samples_per_gpu(val, cfg.data, 'val')
    if samples_per_gpu > 1:
        for part in val if isinstance(val, list) else [val]:
            part['pipeline'] = replace_ImageToTensor(part['pipeline'])
    return build_dataset(val, dict(test_mode=True), path='data.val')


def scale_learning_rate(cfg: Config, world_size: int, logger: logging.Logger | None = None) -> None:
    """Scale ``cfg.optimizer.lr`` in place by the batch size over ``auto_scale_lr.base_batch_size``, if that is enabled.

    Goyal et al., "Accurate, Large Minibatch SGD", arXiv:1706.02677.
    """
    scaling = cfg.get('auto_scale_lr') or {}
    if not scaling.get('enable', False):
        return
    base = scaling.get('base_batch_size')
    if base is None:
        raise ValueError(
            'auto_scale_lr needs the batch size that the learning rate was chosen for: set '
            'auto_scale_lr = dict(enable=True, base_batch_size=16)'
        )
    batch_size = world_size * loader_args(cfg.data, 'train')['samples_per_gpu']
    if batch_size == base:
        return
    scaled = cfg.optimizer.lr * batch_size / base
    print_log(
        f'learning rate {cfg.optimizer.lr} for a batch of {base} becomes {scaled} for one of {batch_size}', 'current'
    )
    cfg.optimizer.lr = scaled
    cfg.auto_scale_lr.enable = False  # whoever trains by the dumped config must not scale again


def _train_loader(dataset: Any, cfg: Config, distributed: bool) -> Any:
    return build_dataloader(
        dataset,
        dist=distributed,
        seed=cfg.get('seed'),
        runner_type=(cfg.get('runner') or {}).get('type', 'EpochBasedRunner'),
        **loader_args(cfg.data, 'train'),
    )


def _eval_loader(dataset: Any, cfg: Config, distributed: bool) -> Any:
    if dataset is None:
        return None
    args = loader_args(cfg.data, 'val')
    args['samples_per_gpu'] = _pop_samples_per_gpu(copy.deepcopy(cfg.data.val), cfg.data, 'val')
    return build_dataloader(dataset, dist=distributed, **{'shuffle': False, **args})


def _pop_samples_per_gpu(dataset: Any, data: dict, split: str) -> int:
    """The batch size at test time; the older place of it, in the data set's own dict, is cleared."""
    parts = dataset if isinstance(dataset, list | tuple) else [dataset]
    of_parts = max(part.pop('samples_per_gpu', 1) for part in parts)
    return (data.get(f'{split}_dataloader') or {}).get('samples_per_gpu', of_parts)


def _train_pipeline(dataset: Any) -> Sequence[dict]:
    """The pipeline of a data set's config, which may stand inside wrappers."""
    while not (isinstance(dataset, dict) and dataset.get('pipeline') and 'dataset' not in dataset):
        if isinstance(dataset, list | tuple):
            dataset = dataset[0]
        else:
            dataset = dataset['dataset'] if 'dataset' in dataset else dataset['datasets'][0]
    return dataset['pipeline']
