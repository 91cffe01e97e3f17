"""What changes in the course of a YOLOX training (arXiv 2107.08430)."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from mmengine.dist import broadcast

from mmdet_clone.engine.checkpoint import unwrap_model
from mmdet_clone.engine.hooks.hook import HOOKS, Hook

__all__ = ['SyncRandomSizeHook', 'YOLOXModeSwitchHook']

STATE_KEY = 'yolox_training_state'


@HOOKS.register_module()
class YOLOXModeSwitchHook(Hook):
    """For the last epochs, takes the mixing steps out of the pipeline and adds an L1 loss.

    As in MMDetection 2.x, this begins with the epoch before the last ``num_last_epochs``. A resumed training switches
    too; beside that, checkpoints take along what else a ``YOLOX`` detector needs for it: the current image size.

    Args:
        num_last_epochs: how many.
        skip_type_keys: the steps that ``MultiImageMixDataset`` leaves out then.
    """

    def __init__(
        self, num_last_epochs: int = 15, skip_type_keys: Sequence[str] = ('Mosaic', 'RandomAffine', 'MixUp')
    ) -> None:
        self.num_last_epochs, self.skip_type_keys = num_last_epochs, tuple(skip_type_keys)

    def before_run(self, runner: Any) -> None:
        self._switched = False
        if not runner.counts_epochs:
            runner.logger.warning('YOLOXModeSwitchHook counts epochs, the runner iterations: it does nothing')

    def before_train_epoch(self, runner: Any) -> None:
        if self._switched or runner.epoch + 1 < runner.max_epochs - self.num_last_epochs:
            return
        self._switched = True
        loader, head = runner.data_loader, getattr(unwrap_model(runner.model), 'bbox_head', None)
        datasets = list(_having(loader.dataset, 'update_skip_type_keys'))
        for dataset in datasets:
            dataset.update_skip_type_keys(self.skip_type_keys)
        if datasets:
            restart_workers(loader)
            runner.logger.info(f'{", ".join(self.skip_type_keys)} are left out from now on')
        else:
            runner.logger.warning('YOLOXModeSwitchHook: data.train has no MultiImageMixDataset to take steps out of')
        if hasattr(head, 'use_l1'):
            head.use_l1 = True
            runner.logger.info('an L1 loss is added from now on')

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        model = unwrap_model(runner.model)
        if hasattr(model, 'training_state'):
            checkpoint['meta'][STATE_KEY] = model.training_state()

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        model, state = unwrap_model(runner.model), checkpoint.get('meta', {}).get(STATE_KEY)
        if state is not None and hasattr(model, 'load_training_state'):
            model.load_training_state(state)


@HOOKS.register_module()
class SyncRandomSizeHook(Hook):
    """Draws a new size of the training images after epochs, the same on every process.

    The ``YOLOX`` detector draws sizes itself, more often; this is for configs older than that.

    Args:
        ratio_range: the smallest and largest height in multiples of 32 pixels; both may be drawn.
        img_scale: gives the aspect ratio.
        interval: epochs between two draws.
        device: not used; the process group knows where its tensors must be.
    """

    def __init__(
        self,
        ratio_range: Sequence[int] = (14, 26),
        img_scale: Sequence[int] = (640, 640),
        interval: int = 1,
        device: str = 'cuda',
    ) -> None:
        warnings.warn(
            'SyncRandomSizeHook is deprecated: set random_size_range of the YOLOX model, or several scales in Resize '
            "(img_scale=[(448, 448), (832, 832)], multiscale_mode='range')",
            DeprecationWarning,
            stacklevel=2,
        )
        self.ratio_range, self.img_scale, self.interval = tuple(ratio_range), tuple(img_scale), interval

    def after_train_epoch(self, runner: Any) -> None:
        if not self.every_n_epochs(runner, self.interval):
            return
        rows = random.randint(*self.ratio_range)
        size = torch.tensor([rows, int(rows * self.img_scale[1] / self.img_scale[0])]) * 32
        broadcast(size, src=0)
        loader = runner.data_loader
        for dataset in _having(loader.dataset, 'update_dynamic_scale'):
            dataset.update_dynamic_scale(tuple(size.tolist()))
        restart_workers(loader)


def restart_workers(loader: Any) -> None:
    """Let persistent workers end, so that the next epoch starts new ones: they hold copies of the data set."""
    if getattr(loader, 'persistent_workers', False):
        loader._iterator = None


def _having(dataset: Any, method: str) -> Iterator[Any]:
    """``dataset`` or those that it wraps, whichever have ``method``."""
    if hasattr(dataset, method):
        yield dataset
    elif hasattr(dataset, 'dataset'):
        yield from _having(dataset.dataset, method)
    else:
        for part in getattr(dataset, 'datasets', ()):
            yield from _having(part, method)
