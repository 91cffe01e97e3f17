"""Train a detector: ``python tools/train.py configs/faster_rcnn/faster_rcnn_r50_fpn_1x_coco.py``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from _arguments import Refused, add_config_options, add_device, add_launcher, settle_device


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train a detector.', allow_abbrev=False)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--work-dir', '--work_dir', help='where logs, checkpoints and the config go (default work_dirs/<config name>)'
    )
    parser.add_argument('--resume-from', '--resume_from', metavar='FILE', help='checkpoint to continue from')
    parser.add_argument(
        '--auto-resume', action='store_true', help='continue from the latest checkpoint in the work dir'
    )
    parser.add_argument('--no-validate', action='store_true', help='do not evaluate during training')
    parser.add_argument('--validate', action='store_true', help=argparse.SUPPRESS)  # the default nowadays
    add_device(parser.add_mutually_exclusive_group())
    parser.add_argument('--seed', type=int, help='random seed; drawn and logged by default')
    parser.add_argument('--diff-seed', action='store_true', help='a seed of its own for each process')
    parser.add_argument(
        '--deterministic', action='store_true', help='choose algorithms that give the same bits each run'
    )
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help="scale the learning rate by the batch size and the config's base"
    )
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='load checkpoints that need Python code to be run; only files whose origin you trust',
    )
    add_config_options(parser, '--options')
    add_launcher(parser)
    parser.add_argument(
        '--resume', action=Refused, instead='use --resume-from FILE, or --auto-resume for the latest one'
    )
    parser.add_argument(
        '--amp', action=Refused, instead='use --cfg-options fp16.loss_scale=dynamic, or fp16 = dict(...) in the config'
    )
    args = parser.parse_args(argv)
    settle_device(parser, args, 'tools/dist_train.sh CONFIG GPUS')
    if args.resume_from and args.auto_resume:
        parser.error('--resume-from names a checkpoint and --auto-resume looks for one: give one of them')
    return args


def main() -> None:
    args = parse_args()
    from mmdet_clone.apis.errors import clear_errors

    with clear_errors():
        from mmdet_clone.apis.entry import run_training

        run_training(args)


if __name__ == '__main__':
    main()
