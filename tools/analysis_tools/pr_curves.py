"""Precision-recall and F1 curves with the best score threshold of each class.

``python tools/analysis_tools/pr_curves.py CONFIG results.pkl OUT_DIR``
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from _arguments import add_config_options


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Draw precision-recall and F1 curves of results that test.py --out wrote, and find the score '
        'threshold of the best F1 for each class.'
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('prediction_path', metavar='RESULTS.pkl', help='results that tools/test.py --out wrote')
    parser.add_argument('out_dir', help='folder for the pictures and the csv files')
    parser.add_argument('--iou-thr', type=float, default=0.5, help='IoU that counts as found (default 0.5)')
    parser.add_argument('--classes', nargs='+', metavar='NAME', help='only these classes; all by default')
    parser.add_argument('--show', action='store_true', help='show the pictures in windows')
    add_config_options(parser)
    return parser.parse_args(argv)


def main() -> None:
    args = parse_args()
    from mmdet_clone.apis.errors import clear_errors

    with clear_errors():
        draw_curves(args)


def draw_curves(args: argparse.Namespace) -> None:
    from mmdet_clone.apis.entry import parse_options
    from mmdet_clone.apis.saved_results import load_saved_results
    from mmdet_clone.config import load_config
    from mmdet_clone.engine.process import ensure_writable
    from mmdet_clone.evaluation.curves import class_curves, select_classes

    ensure_writable(args.out_dir, 'OUT_DIR')
    saved = load_saved_results(load_config(args.config, parse_options(args.cfg_options)), args.prediction_path)
    saved.check_any_detection('curves')
    wanted = select_classes(saved.class_names, args.classes)
    curves = class_curves(saved.results, saved.annotations('matching'), len(saved.class_names), args.iou_thr)
    named = {saved.class_names[label]: curves[label] for label in wanted}
    write_tables(named, Path(args.out_dir))
    draw(named, args)


def write_tables(curves: dict[str, Any], folder: Path) -> None:
    import numpy as np

    from mmdet_clone.evaluation.csv_table import write_csv
    from mmdet_clone.evaluation.curves import THRESHOLD_HEADER, at_thresholds, threshold_rows
    from mmdet_clone.evaluation.report import table

    rows = threshold_rows(curves)
    print(table(THRESHOLD_HEADER, [[as_text(value) for value in row] for row in rows]))
    write_csv(folder / 'best_thresholds.csv', THRESHOLD_HEADER, rows)
    grid = np.linspace(0, 1, 101).round(2)
    numbers = {name: at_thresholds(curve, grid) for name, curve in curves.items()}
    lines = [
        [name, threshold, *(round(float(of_class[key][i]), 6) for key in ('precision', 'recall', 'f1'))]
        for name, of_class in numbers.items()
        for i, threshold in enumerate(grid.tolist())
    ]
    write_csv(folder / 'curves.csv', ['class', 'score threshold', 'precision', 'recall', 'F1'], lines)
    print(f'best thresholds: {folder / "best_thresholds.csv"}, curves: {folder / "curves.csv"}')


def as_text(value: Any) -> str:
    """A cell of the printed table: three digits, ``-`` where a figure is undefined."""
    if value is None:
        return '-'
    return str(value) if isinstance(value, str | int) else f'{value:.3f}'


def draw(curves: dict[str, Any], args: argparse.Namespace) -> None:
    from mmdet_clone.visualization.plots import f1_figure, precision_recall_figure, save_figure, show_file

    for name, title, lines, figure in (
        ('pr_curves.png', 'Precision and recall', precision_recall_lines, precision_recall_figure),
        ('f1_curves.png', 'F1 over the score threshold', f1_lines, f1_figure),
    ):
        picture = figure(*lines(curves), f'{title} at an IoU of {args.iou_thr:g}')
        path = save_figure(picture, Path(args.out_dir) / name)
        print(f'picture: {path}')
        if args.show:
            show_file(path)


def precision_recall_lines(curves: dict[str, Any]) -> tuple[list, Any]:
    """A line for each class with objects, and their mean."""
    import numpy as np

    from mmdet_clone.evaluation.curves import RECALL_POINTS, best_operating_point
    from mmdet_clone.visualization.plots import Curve

    lines = []
    for name, curve in curves.items():
        if curve.num_gts:
            best = best_operating_point(curve)
            marked = best and (best.recall, best.precision)
            lines.append(Curve(name, curve.recall, curve.precision, curve.average_precision, marked))
    if not lines:
        raise ValueError(f'no object of {", ".join(curves)} is annotated: there is nothing to find')
    mean = np.mean([curve.interpolated_precision for curve in curves.values() if curve.num_gts], axis=0)
    return lines, Curve('mean', RECALL_POINTS, mean, float(mean.mean()))


def f1_lines(curves: dict[str, Any]) -> tuple[list, Any]:
    """A line for each class with objects, and their mean."""
    import numpy as np

    from mmdet_clone.evaluation.curves import (
        THRESHOLD_GRID,
        at_thresholds,
        best_common_threshold,
        best_operating_point,
    )
    from mmdet_clone.visualization.plots import Curve

    lines = []
    for name, curve in curves.items():
        if curve.num_gts:
            best = best_operating_point(curve)
            f1, marked = at_thresholds(curve, THRESHOLD_GRID)['f1'], best and (best.score, best.f1)
            lines.append(Curve(name, THRESHOLD_GRID, f1, best.f1 if best else 0.0, marked))
    common = best_common_threshold(list(curves.values()), THRESHOLD_GRID)
    marked = common and (common.score, common.f1)
    mean = np.mean([line.y for line in lines], axis=0)
    return lines, Curve('mean', THRESHOLD_GRID, mean, common.f1 if common else 0.0, marked)


if __name__ == '__main__':
    main()
