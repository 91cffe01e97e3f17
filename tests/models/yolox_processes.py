"""What each of two processes does for test_yolox_two_processes.py over gloo; it saves what it saw."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import torch
from engine_toys import ToyDataset, ToyDetector, toy_loader, toy_runner
from mmengine.config import Config
from torch import nn

from mmdet_clone.engine import get_dist_info, init_dist
from mmdet_clone.engine.dist import wrap_ddp
from mmdet_clone.engine.hooks import Hook
from mmdet_clone.models import build_detector
from mmdet_clone.models.layers import MMSyncBN

DETECTOR = dict(
    type='YOLOX',
    input_size=(64, 64),
    random_size_interval=2,
    random_size_range=(2, 6),
    backbone=dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.125),
    neck=dict(type='YOLOXPAFPN', in_channels=[32, 64, 128], out_channels=16, num_csp_blocks=1),
    bbox_head=dict(type='YOLOXHead', num_classes=3, in_channels=16, feat_channels=16),
    train_cfg=dict(assigner=dict(type='SimOTAAssigner')),
)


def detector(norm: str) -> nn.Module:
    """A small YOLOX with normalisation layers of one type and the same weights each time."""
    cfg = Config(DETECTOR)
    for part in ('backbone', 'neck', 'bbox_head'):
        cfg[part].norm_cfg = dict(type=norm, momentum=0.03, eps=0.001)
    model = build_detector(cfg._cfg_dict)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for _, parameter in sorted(model.named_parameters()):
            scale = parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.1
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator) + (parameter.dim() == 1))
    model.bbox_head.use_l1 = True
    return model.train()


def images() -> dict:
    """Two images with 3 and 1 objects."""
    generator = torch.Generator().manual_seed(7)
    shape = (64, 64, 3)
    return dict(
        img=torch.randn(2, 3, 64, 64, generator=generator),
        img_metas=[dict(img_shape=shape, pad_shape=shape, scale_factor=[1.0] * 4) for _ in range(2)],
        gt_bboxes=[
            torch.tensor([[4.0, 6, 40, 50], [30, 30, 44, 60], [0, 0, 16, 20]]),
            torch.tensor([[8.0, 8, 60, 50]]),
        ],
        gt_labels=[torch.tensor([0, 2, 1]), torch.tensor([1])],
    )


def one_image(rank: int) -> dict:
    return {key: value[rank : rank + 1] for key, value in images().items()}


def train_once(model: nn.Module, data: dict) -> dict:
    """Losses, gradients and statistics of one iteration."""
    losses = model(**data)
    sum(losses.values()).backward()
    module = getattr(model, 'module', model)
    return dict(
        losses={name: value.detach() for name, value in losses.items()},
        gradients={name: p.grad for name, p in module.named_parameters()},
        statistics={name: b for name, b in module.named_buffers() if 'running' in name},
    )


def normalise(layer: nn.Module, inputs: list[torch.Tensor]) -> dict:
    """Outputs, gradients and statistics of several passes; the loss weighs every output differently."""
    outs, grads = [], []
    for x in inputs:
        x = x.clone().requires_grad_()
        out = layer(x)
        (out * torch.sin(torch.arange(out.numel()).view_as(out) + 1.0) ** 2 * out).sum().backward()
        outs.append(out.detach())
        grads.append(x.grad)
    parameters = dict(weight=layer.weight.grad, bias=layer.bias.grad)
    return dict(outs=outs, grads=grads, parameters=parameters, state=layer.state_dict())


class Raw(Hook):
    """The trained weights after each iteration, before anything is averaged."""

    def __init__(self) -> None:
        self.seen: list[dict] = []

    def after_train_iter(self, runner) -> None:
        state = runner.model.module.state_dict()
        self.seen.append({key: value.clone() for key, value in state.items() if not key.startswith('ema_')})


def average_weights(out: Path, rank: int, world_size: int) -> dict:
    hooks = [
        dict(type='SyncNormHook', num_last_epochs=1, interval=2, priority=48),
        dict(type='ExpMomentumEMAHook', momentum=0.01, total_iter=4, priority=49),
    ]
    runner = toy_runner(
        out / 'averages',
        [toy_loader(ToyDataset(8), 2, rank=rank, world_size=world_size)],
        model=ToyDetector(),
        distributed=True,
        custom_hooks=hooks,
        runner=dict(type='EpochBasedRunner', max_epochs=2),
    )
    raw = Raw()
    runner.register_hook(raw, priority=47)
    runner.train()
    return dict(raw=raw.seen, final=runner.model.module.state_dict())


def main(out: Path) -> None:
    init_dist('pytorch')
    rank, world_size = get_dist_info()
    result: dict = {}

    generator = torch.Generator().manual_seed(1)
    x = [torch.randn(4, 3, 5, 2, generator=generator) * (i + 1) + i for i in range(3)]
    layer = MMSyncBN(3, momentum=0.2)
    nn.init.uniform_(layer.weight, generator=torch.Generator().manual_seed(2))
    result['equal shares'] = normalise(layer, [part[2 * rank : 2 * rank + 2] for part in x])
    parts = [part[:3] if rank == 0 else part[3:] for part in x]
    result['by images'] = normalise(MMSyncBN(3, momentum=None, stats_mode='N'), parts)
    empty = normalise(MMSyncBN(3, stats_mode='N'), [x[0] if rank == 0 else x[0][:0]])
    result['empty'] = empty['outs'][0], empty['grads'][0]
    layer.eval()
    result['eval'] = layer(x[0]).detach()

    result['synchronised'] = train_once(wrap_ddp(detector('MMSyncBN')), one_image(rank))

    random.seed(rank)
    model, sizes = detector('BN'), []
    for _ in range(8):
        with torch.no_grad():
            model.forward_train(**one_image(rank))
        sizes.append(model._input_size)
    result['sizes'] = sizes

    result['averages'] = average_weights(out, rank, world_size)
    torch.save(result, out / f'rank{rank}.pth')


if __name__ == '__main__':
    os.environ['OMP_NUM_THREADS'] = '1'
    main(Path(sys.argv[1]))
