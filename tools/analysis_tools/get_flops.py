"""Count parameters and operations: ``python tools/analysis_tools/get_flops.py CONFIG --shape 1280 800``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from _arguments import add_config_options


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Count the parameters and operations of a detector.')
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--shape',
        type=int,
        nargs='+',
        default=[1280, 800],
        help='height and width of the input, or its side (1280 800)',
    )
    parser.add_argument(
        '--size-divisor', type=int, default=32, help='the sides are rounded up to a multiple of it (32)'
    )
    add_config_options(parser)
    args = parser.parse_args()
    if len(args.shape) not in (1, 2):
        parser.error(f'--shape takes one or two numbers, got {len(args.shape)}')
    return args


def main() -> None:
    args = parse_args()
    from mmdet_clone.apis.errors import clear_errors

    with clear_errors():
        report(args)


def report(args: argparse.Namespace) -> None:
    from mmdet_clone.apis.entry import parse_options
    from mmdet_clone.apis.inference import without_pretrained
    from mmdet_clone.config import load_config
    from mmdet_clone.models import build_detector

    cfg = load_config(args.config, parse_options(args.cfg_options))
    height, width = (args.shape * 2)[:2]
    if args.size_divisor > 0:
        height, width = (-(-side // args.size_divisor) * args.size_divisor for side in (height, width))
    model = build_detector(without_pretrained(cfg.model)).eval()
    flops = count(model, (1, 3, height, width))
    rule = '=' * 46
    print(f'{rule}\nInput shape: (3, {height}, {width})')
    print(f'Flops: {flops.pop("") / 1e9:.2f} GFLOPs\nParams: {parameters(model) / 1e6:.2f} M\n{rule}')
    for name, part in model.named_children():
        if not parameters(part):
            continue
        print(f'{name:20s} {flops.get(name, 0) / 1e9:9.2f} GFLOPs {parameters(part) / 1e6:9.2f} M')
    print('A multiply and its add count as one operation, as MMDetection counts. Convolutions and matrix products are')
    print('counted; normalisation, activations, pooling, RoI extraction and post-processing are not.')


def count(model: Any, shape: tuple[int, ...]) -> dict[str, int]:
    """Multiply-adds of the raw outputs of ``model`` on an input of ``shape``: in total under ``''``, and by part."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(torch.zeros(shape), mode='tensor')
    by_module = {key: sum(ops.values()) // 2 for key, ops in counter.get_flop_counts().items()}
    prefix = f'{type(model).__name__}.'
    return {'': counter.get_total_flops() // 2} | {
        name: by_module.get(prefix + name, 0) for name, _ in model.named_children()
    }


def parameters(module: Any) -> int:
    return sum(p.numel() for p in module.parameters())


if __name__ == '__main__':
    main()
