"""A hook for tests of several processes, named in a config's ``custom_imports``: each rank writes what it saw."""

from __future__ import annotations

from pathlib import Path

import torch
from mmengine.hooks import Hook

from mmdet_clone.registry import HOOKS

EXTRA = """
custom_imports = dict(imports=['rank_spy'], allow_failed_imports=False)
custom_hooks = [dict(type='RankSpy', out_dir='{out}')]
"""


@HOOKS.register_module()
class RankSpy(Hook):
    """Writes ``rank_N.pth``: the images and gradients of the first iteration, and the weights after the last."""

    priority = 'VERY_LOW'

    def __init__(self, out_dir: str) -> None:
        self.out_dir = Path(out_dir)
        self.seen: dict = {}

    def after_train_iter(self, runner, batch_idx, data_batch, outputs) -> None:
        if not self.seen:
            parameters = runner.model.module.named_parameters()
            self.seen['files'] = [meta['ori_filename'] for meta in data_batch['img_metas']]
            self.seen['grads'] = {name: p.grad.clone() for name, p in parameters if p.grad is not None}

    def after_run(self, runner) -> None:
        self.out_dir.mkdir(parents=True, exist_ok=True)
        self.seen['weights'] = runner.model.module.state_dict()
        torch.save(self.seen, self.out_dir / f'rank_{runner.rank}.pth')
