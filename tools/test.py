"""Test a detector: ``python tools/test.py CONFIG CHECKPOINT --eval bbox segm``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from _arguments import Refused, add_config_options, add_device, add_launcher, key_value, settle_device


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Test a detector, and evaluate it.', allow_abbrev=False)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument('--work-dir', '--work_dir', help='where the figures of --eval are written, as json')
    parser.add_argument('--out', metavar='FILE.pkl', help='write the results of all images to this pickle file')
    parser.add_argument('--fuse-conv-bn', action='store_true', help='merge BatchNorm into convolutions: a bit faster')
    parser.add_argument(
        '--format-only', action='store_true', help="write the results in the benchmark's format without evaluating"
    )
    parser.add_argument(
        '--eval', nargs='+', metavar='METRIC', help='bbox segm proposal proposal_fast for COCO, mAP recall for VOC'
    )
    parser.add_argument('--show', action='store_true', help='show the detections in a window')
    parser.add_argument('--show-dir', metavar='DIR', help='write pictures of the detections to this folder')
    parser.add_argument('--show-score-thr', type=float, default=0.3, help='lowest score that is shown (default 0.3)')
    parser.add_argument('--gpu-collect', action='store_true', help='gather the results of all processes over the GPUs')
    parser.add_argument('--tmpdir', help='gather the results by files in this folder, which all processes see')
    parser.add_argument(
        '--eval-options', '--options', nargs='+', action='extend', type=key_value, default=[], metavar='KEY=VALUE',
        help="further arguments of the data set's evaluate(), such as classwise=True; of format_results() with "
        '--format-only',
    )  # fmt: skip
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='load a checkpoint that needs Python code to be run; only for files whose origin you trust',
    )
    add_config_options(parser)
    add_device(parser.add_mutually_exclusive_group())
    add_launcher(parser)
    parser.add_argument('--tta', action=Refused, instead='set flip=True or several img_scale in MultiScaleFlipAug')
    args = parser.parse_args(argv)
    settle_device(parser, args, 'tools/dist_test.sh CONFIG CHECKPOINT GPUS')
    check_purpose(parser, args)
    return args


def check_purpose(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if not (args.out or args.eval or args.format_only or args.show or args.show_dir):
        parser.error(
            'nothing to do with the results: give --eval bbox (or bbox segm, proposal ...) to evaluate, --out FILE.pkl '
            'to keep them, --format-only for a submission, --show or --show-dir DIR to see them'
        )
    if args.eval and args.format_only:
        parser.error('--eval and --format-only exclude each other: the one evaluates, the other only writes files')
    if args.out and not args.out.endswith(('.pkl', '.pickle')):
        parser.error(f'--out {args.out}: the results are a pickle file, end its name in .pkl or .pickle')


def main() -> None:
    args = parse_args()
    from mmdet_clone.apis.errors import clear_errors

    with clear_errors():
        from mmdet_clone.apis.entry import run_testing

        run_testing(args)


if __name__ == '__main__':
    main()
