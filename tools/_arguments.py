"""What the command lines of train.py and test.py share. Nothing heavy is imported, so that --help answers at once."""

from __future__ import annotations

import argparse
import os
from typing import Any


class Refused(argparse.Action):
    """An option of another toolbox's dialect: ends the program with the way that this one offers."""

    def __init__(self, option_strings: list[str], dest: str, instead: str = '', **_: Any) -> None:
        super().__init__(option_strings, dest, nargs='?', help=argparse.SUPPRESS, default=argparse.SUPPRESS)
        self.instead = instead

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None) -> None:
        parser.error(f'{option} belongs to MMDetection 3; {self.instead}')


def key_value(text: str) -> str:
    """A ``KEY=VALUE`` pair, as typed."""
    key, equals, _ = text.partition('=')
    if not equals or not key:
        raise argparse.ArgumentTypeError(
            f'{text!r} is not KEY=VALUE. Quote a value that holds spaces or brackets: "a.b=[1,2]"'
        )
    return text


def add_config_options(parser: argparse.ArgumentParser, *older: str) -> None:
    parser.add_argument(
        '--cfg-options',
        *older,
        nargs='+',
        action='extend',
        type=key_value,
        default=[],
        metavar='KEY=VALUE',
        help='change entries of the config: optimizer.lr=0.01 "data.test.img_scale=(640,480)" model.backbone.depth=18',
    )


def add_launcher(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm'],
        default='none',
        help='how the processes of a distributed job were started; dist_*.sh and slurm_*.sh set it',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def add_device(group: Any) -> None:
    group.add_argument('--gpus', type=int, help='number of GPUs; more than 1 needs dist_train.sh or dist_test.sh')
    group.add_argument('--gpu-ids', type=int, nargs='+', metavar='ID', help='as --gpu-id, in its older form; one id')
    group.add_argument('--gpu-id', type=int, metavar='ID', help='the GPU to use without a launcher (default 0)')


def settle_device(parser: argparse.ArgumentParser, args: argparse.Namespace, script: str) -> None:
    """Make ``args.gpu_id`` of the three spellings; more than one device in one process is an error."""
    count = args.gpus if args.gpus is not None else len(args.gpu_ids or [0])
    if count > 1:
        parser.error(f'one process drives one device: for {count} start {count} processes with {script}')
    if args.gpus is not None and args.gpus < 1:
        parser.error(f'--gpus {args.gpus}: without a GPU the CPU is used; leave the option out')
    args.gpu_id = args.gpu_id if args.gpu_id is not None else (args.gpu_ids or [0])[0]
    if args.launcher == 'pytorch':
        os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
