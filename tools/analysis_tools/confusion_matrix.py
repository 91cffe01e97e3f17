"""Which class is taken for which: ``python tools/analysis_tools/confusion_matrix.py CONFIG results.pkl OUT_DIR``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from _arguments import add_config_options


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Draw the confusion matrix of results that test.py --out wrote.')
    parser.add_argument('config', help='config file')
    parser.add_argument('prediction_path', metavar='RESULTS.pkl', help='results that tools/test.py --out wrote')
    parser.add_argument('save_dir', help='folder for the picture and the csv files')
    parser.add_argument('--show', action='store_true', help='show the matrix in a window')
    parser.add_argument('--color-theme', default='plasma', help="one of matplotlib's colour maps (default plasma)")
    parser.add_argument('--score-thr', type=float, default=0.3, help='lowest score that counts (default 0.3)')
    parser.add_argument('--tp-iou-thr', type=float, default=0.5, help='IoU that counts as a hit (default 0.5)')
    parser.add_argument(
        '--nms-iou-thr', type=float, help='suppress the detections of a class anew at this IoU; not done by default'
    )
    add_config_options(parser)
    return parser.parse_args(argv)


def main() -> None:
    args = parse_args()
    from mmdet_clone.apis.errors import clear_errors

    with clear_errors():
        draw_matrix(args)


def draw_matrix(args: argparse.Namespace) -> None:
    from mmdet_clone.apis.entry import parse_options
    from mmdet_clone.apis.saved_results import load_saved_results
    from mmdet_clone.config import load_config
    from mmdet_clone.engine.process import ensure_writable
    from mmdet_clone.evaluation.confusion import confusion_matrix, normalise_rows
    from mmdet_clone.evaluation.csv_table import write_csv
    from mmdet_clone.visualization.plots import color_map, matrix_figure, save_figure, show_file

    color_map(args.color_theme)  # a wrong name is told before the work
    ensure_writable(args.save_dir, 'SAVE_DIR')
    saved = load_saved_results(load_config(args.config, parse_options(args.cfg_options)), args.prediction_path)
    saved.check_boxes()
    matrix = confusion_matrix(
        saved.results,
        saved.annotations('counting'),
        len(saved.class_names),
        args.score_thr,
        args.tp_iou_thr,
        args.nms_iou_thr,
    )
    if not matrix[:, :-1].any():
        print(f'no detection has a score of {args.score_thr} or more: every object counts as missed (--score-thr)')
    names = [*saved.class_names, 'background']
    percent = normalise_rows(matrix)
    folder = Path(args.save_dir)
    for name, values in (('confusion_matrix.csv', percent.round(2)), ('confusion_counts.csv', matrix)):
        write_csv(folder / name, ['true \\ detected', *names], [[n, *row] for n, row in zip(names, values)])
    title = f'Confusion matrix (score >= {args.score_thr:g}, IoU >= {args.tp_iou_thr:g})'
    picture = save_figure(matrix_figure(percent, names, title, args.color_theme), folder / 'confusion_matrix.png')
    print(f'picture: {picture}')
    print(f'per cent of each row: {folder / "confusion_matrix.csv"}, counts: {folder / "confusion_counts.csv"}')
    if args.show:
        show_file(picture)


if __name__ == '__main__':
    main()
