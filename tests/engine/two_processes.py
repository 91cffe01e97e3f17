"""What each of two processes does for test_engine_dist.py: train, resume, evaluate over gloo, and save what it saw."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from engine_toys import ToyDataset, ToyDetector, toy_loader, toy_runner
from torch import nn

from mmdet_clone.engine import get_dist_info, init_dist, init_random_seed, run_test
from mmdet_clone.engine.dist import broadcast_object, gather_objects
from mmdet_clone.engine.hooks import Hook


class Line(ToyDetector):
    """Without random numbers, so that gradients can be worked out."""

    def forward(self, img, target, img_metas, mode='loss'):
        return dict(loss=((self.linear(img)[:, 0] - torch.stack(target)) ** 2).mean())


class KeepGradient(Hook):
    def after_train_iter(self, runner):
        if runner.iter == 0:
            linear = runner.model.module.linear
            self.found = torch.cat([linear.weight.grad.flatten(), linear.bias.grad])


def main(out: Path) -> None:
    init_dist('pytorch')
    rank, world_size = get_dist_info()
    sharded = dict(rank=rank, world_size=world_size)
    result = dict(info=(rank, world_size), seed=init_random_seed(), objects=gather_objects({'rank': rank}))
    result['broadcast'] = broadcast_object(f'from {rank}')

    runner = toy_runner(
        out / 'gradient',
        [toy_loader(ToyDataset(2), 1, shuffle=False, **sharded)],
        model=Line(),
        distributed=True,
        find_unused_parameters=True,  # of the norm
        runner=dict(type='EpochBasedRunner', max_epochs=1),
    )
    keep = KeepGradient()
    runner.register_hook(keep)
    runner.train()
    result['gradient'] = keep.found

    def train(name: str, **changes) -> dict:
        dataset = ToyDataset(5)
        model = ToyDetector()
        model.norm = nn.SyncBatchNorm(2)
        changes.setdefault('runner', dict(type='EpochBasedRunner', max_epochs=3))
        runner = toy_runner(
            out / name,
            [toy_loader(ToyDataset(7), 2, **sharded)],
            model=model,
            eval_loader=toy_loader(dataset, 2, shuffle=False, **sharded),
            evaluation=dict(save_best='auto'),
            distributed=True,
            **changes,
        )
        torch.manual_seed(100 + rank)  # each process draws its own dropout
        runner.train()
        result[f'{name} evaluated'] = [[r[0][0, 4] for r in results] for results in dataset.evaluated]
        return runner.model.module.state_dict()

    result['whole'] = train('whole')
    result['resumed'] = train('resumed', resume_from=str(out / 'whole' / 'epoch_2.pth'))
    odd = run_test(ToyDetector(), toy_loader(ToyDataset(5), 2, shuffle=False, **sharded), progress=False)
    result['odd'] = None if odd is None else [int(r[0][0, 4]) for r in odd]
    for name, way in (('by files', dict(tmpdir=str(out / 'gathered'))), ('by gpu_collect', dict(gpu_collect=True))):
        loader = toy_loader(ToyDataset(5), 2, shuffle=False, **sharded)
        gathered = run_test(ToyDetector(), loader, progress=False, **way)
        result[name] = None if gathered is None else [int(r[0][0, 4]) for r in gathered]
    torch.save(result, out / f'rank{rank}.pth')


if __name__ == '__main__':
    os.environ['OMP_NUM_THREADS'] = '1'
    main(Path(sys.argv[1]))
