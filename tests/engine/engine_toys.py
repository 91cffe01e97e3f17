"""A model, a data set and a loader small enough to train in milliseconds, for the tests of the engine."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from torch import nn

from mmdet_clone.engine import build_runner, set_random_seed


class ToyDetector(BaseModel):
    """A line through points, with a dropout that makes the weights depend on the random state."""

    CLASSES = ('thing',)

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 1)
        self.norm = nn.BatchNorm1d(2)

    def init_weights(self) -> None:
        with torch.no_grad():
            self.linear.weight.fill_(0.5)
            self.linear.bias.fill_(0.0)
        self._is_init = True

    def forward(self, img: torch.Tensor, target: list[torch.Tensor], img_metas: list, mode: str = 'loss') -> Any:
        predicted = self.linear(nn.functional.dropout(self.norm(img), 0.5, self.training))[:, 0]
        if mode == 'predict':
            return [[np.array([[0, 0, 1, 1, meta['index']]], dtype=np.float32)] for meta in img_metas]
        return dict(loss_point=((predicted - torch.stack(target)) ** 2).mean())


class ToyDataset:
    CLASSES = ('thing',)
    PALETTE = [(1, 2, 3)]

    def __init__(self, size: int = 8) -> None:
        self.size = size
        self.evaluated: list = []
        self.scores = iter(())

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict:
        point = torch.tensor([index / 8, 1 - index / 4])
        return dict(img=point, target=point.sum(), img_metas=dict(index=index))

    def evaluate(self, results: list, logger: Any = None, metric: str = 'bbox', **_: Any) -> dict:
        self.evaluated.append(results)
        return {f'{metric}_mAP': next(self.scores, 0.25)}


class ToyBatches:
    """Shuffles by (seed, epoch) and can start at a later batch, as the toolbox's own batch sampler does."""

    def __init__(self, size: int, batch_size: int, rank: int = 0, world_size: int = 1, shuffle: bool = True) -> None:
        self.size, self.batch_size, self.shuffle = size, batch_size, shuffle
        self.rank, self.world_size = rank, world_size
        self.epoch = self.skipped = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def skip(self, count: int) -> None:
        self.skipped = count

    def __iter__(self):
        order = np.random.RandomState(self.epoch).permutation(self.size) if self.shuffle else np.arange(self.size)
        padded = np.resize(order, math.ceil(self.size / self.world_size) * self.world_size)
        own = padded[self.rank :: self.world_size].tolist()
        batches = [own[i : i + self.batch_size] for i in range(0, len(own), self.batch_size)]
        start, self.skipped = self.skipped, 0
        yield from batches[start:]

    def __len__(self) -> int:
        return math.ceil(math.ceil(self.size / self.world_size) / self.batch_size)


def collate(samples: list[dict]) -> dict:
    return dict(
        img=torch.stack([s['img'] for s in samples]),
        target=[s['target'] for s in samples],
        img_metas=[s['img_metas'] for s in samples],
    )


def toy_loader(dataset: Any = None, batch_size: int = 2, workers: int = 0, **sampling: Any) -> Any:
    dataset = dataset or ToyDataset()
    batches = ToyBatches(len(dataset), batch_size, **sampling)
    return torch.utils.data.DataLoader(dataset, batch_sampler=batches, collate_fn=collate, num_workers=workers)


def toy_config(work_dir: Any, **changes: Any) -> Config:
    """A config with MMDetection 2.x's keys; ``changes`` replace top-level ones."""
    return Config(
        {
            'work_dir': str(work_dir),
            'seed': 3,
            'optimizer': dict(type='SGD', lr=0.1, momentum=0.9),
            'optimizer_config': dict(grad_clip=None),
            'lr_config': dict(policy='step', step=[2]),
            'runner': dict(type='EpochBasedRunner', max_epochs=2),
            'checkpoint_config': dict(interval=1),
            'log_config': dict(interval=2, hooks=[dict(type='TextLoggerHook')]),
            'workflow': [('train', 1)],
            **changes,
        }
    )


def toy_runner(work_dir: Any, loaders: list | None = None, model: nn.Module | None = None, **changes: Any) -> Any:
    """A seeded runner; ``eval_loader`` and ``val_loader`` among ``changes`` are passed on."""
    given = {key: changes.pop(key) for key in ('eval_loader', 'val_loader', 'distributed', 'meta') if key in changes}
    cfg = toy_config(work_dir, **changes)
    set_random_seed(cfg.seed)
    return build_runner(cfg, model or ToyDetector(), loaders or [toy_loader()], **given)
