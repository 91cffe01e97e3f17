"""Tell what is wrong with the data of a config before training: ``python tools/misc/check_dataset.py CONFIG``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a clone works without being installed
from _arguments import add_config_options


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Check annotations, images, classes and heads of a config. The exit status is 1 where a training '
        'would fail or learn something wrong.'
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--out-dir', help='write findings.csv, summary.json and suspicious.jpg, a sheet of pictures, to this folder'
    )
    parser.add_argument(
        '--parts', nargs='+', choices=['train', 'val', 'test'], default=['train', 'val', 'test'], help='what to check'
    )
    images = parser.add_mutually_exclusive_group()
    images.add_argument('--no-images', action='store_true', help='do not open image files; they must exist')
    images.add_argument('--max-images', type=int, metavar='N', help='open N images of each part, evenly spread')
    parser.add_argument('--workers', type=int, default=4, help='threads that read images (default 4)')
    add_config_options(parser)
    args = parser.parse_args(argv)
    for name in ('max_images', 'workers'):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error(f'--{name.replace("_", "-")} must be 1 or more, got {getattr(args, name)}')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from mmdet_clone.apis.errors import clear_errors

    with clear_errors():
        raise SystemExit(check(args))


def check(args: argparse.Namespace) -> int:
    """Check, report, and return the exit status."""
    from mmdet_clone.apis.check_dataset import check_config
    from mmdet_clone.apis.check_report import summary_text, write_report
    from mmdet_clone.apis.entry import parse_options
    from mmdet_clone.config import load_config
    from mmdet_clone.engine.process import ensure_writable

    if args.out_dir:
        ensure_writable(args.out_dir, '--out-dir')
    cfg = load_config(args.config, parse_options(args.cfg_options))
    result = check_config(cfg, args.parts, not args.no_images, args.max_images, args.workers)
    print(summary_text(result))
    if args.out_dir:
        print('Written: ' + ', '.join(map(str, write_report(result, args.out_dir))))
    return 1 if result.num_errors else 0


if __name__ == '__main__':
    main()
