"""Training and testing loops over mmengine's runner; importing this registers hooks and runners."""

from __future__ import annotations

import mmdet_clone.engine.hooks  # noqa: F401  (registers them)
from mmdet_clone.engine.build import build_runner
from mmdet_clone.engine.checkpoint import find_latest_checkpoint, load_checkpoint, save_checkpoint
from mmdet_clone.engine.dist import get_dist_info, init_dist
from mmdet_clone.engine.optimizer import build_optimizer
from mmdet_clone.engine.runner import EpochBasedRunner, IterBasedRunner
from mmdet_clone.engine.seed import init_random_seed, set_random_seed
from mmdet_clone.engine.testing import run_test

__all__ = [
    'EpochBasedRunner',
    'IterBasedRunner',
    'build_optimizer',
    'build_runner',
    'find_latest_checkpoint',
    'get_dist_info',
    'init_dist',
    'init_random_seed',
    'load_checkpoint',
    'run_test',
    'save_checkpoint',
    'set_random_seed',
]
