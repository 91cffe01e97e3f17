"""Print a config as it is after inheritance, options and translation: python tools/misc/print_config.py CONFIG."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a clone works without being installed

from mmdet_clone.apis.errors import clear_errors
from mmdet_clone.config import DictAction, config_text, dump_config, load_config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='a config file')
    parser.add_argument(
        '--cfg-options',
        '--options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='change entries: data.samples_per_gpu=4 "data.train.pipeline.2.img_scale=(640,480)"',
    )
    parser.add_argument('--save-path', help='write it to this .py, .json or .yaml file as well')
    args = parser.parse_args()
    with clear_errors():
        with contextlib.redirect_stdout(sys.stderr):  # notes of the reading, so that the output is the config alone
            cfg = load_config(args.config, args.cfg_options)
        print(config_text(cfg), end='')
        if args.save_path:
            print(f'# written to {dump_config(cfg, args.save_path)}')


if __name__ == '__main__':
    main()
