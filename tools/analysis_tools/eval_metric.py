"""Evaluate saved results: ``python tools/analysis_tools/eval_metric.py CONFIG results.pkl --eval bbox segm``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from _arguments import add_config_options, key_value


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Evaluate results that test.py --out wrote.')
    parser.add_argument('config', help='config file')
    parser.add_argument('pkl_results', metavar='RESULTS.pkl', help='results that tools/test.py --out wrote')
    parser.add_argument(
        '--format-only', action='store_true', help="write the results in the benchmark's format without evaluating"
    )
    parser.add_argument(
        '--eval', nargs='+', metavar='METRIC', help='bbox segm proposal proposal_fast for COCO, mAP recall for VOC'
    )
    parser.add_argument(
        '--eval-options', nargs='+', action='extend', type=key_value, default=[], metavar='KEY=VALUE',
        help="further arguments of the data set's evaluate(), such as classwise=True; of format_results() with "
        '--format-only',
    )  # fmt: skip
    parser.add_argument('--work-dir', help='where the figures of --eval are written, as json')
    add_config_options(parser)
    args = parser.parse_args(argv)
    if not args.eval and not args.format_only:
        parser.error('nothing to do: give --eval bbox (or bbox segm, proposal ...), or --format-only for a submission')
    if args.eval and args.format_only:
        parser.error('--eval and --format-only exclude each other: the one evaluates, the other only writes files')
    return args


def main() -> None:
    args = parse_args()
    from mmdet_clone.apis.errors import clear_errors

    with clear_errors():
        evaluate_results(args)


def evaluate_results(args: argparse.Namespace) -> None:
    from mmdet_clone.apis.checks import check_evaluation
    from mmdet_clone.apis.entry import evaluate, evaluation_arguments, format_results, parse_options
    from mmdet_clone.apis.saved_results import load_saved_results
    from mmdet_clone.config import load_config
    from mmdet_clone.engine.process import ensure_writable

    cfg = load_config(args.config, parse_options(args.cfg_options))
    saved = load_saved_results(cfg, args.pkl_results)
    if args.work_dir:
        ensure_writable(args.work_dir)
    if args.format_only:
        format_results(saved.dataset, saved.results, args)
        return
    check_evaluation(saved.dataset, evaluation_arguments(cfg, args), '--eval and --eval-options')
    evaluate(saved.dataset, saved.results, cfg, args)


if __name__ == '__main__':
    main()
