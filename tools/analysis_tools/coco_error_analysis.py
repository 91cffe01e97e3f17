"""What kinds of errors cost how much precision, as COCO's analysis tells it.

``python tools/analysis_tools/coco_error_analysis.py results.bbox.json OUT_DIR --ann instances_val2017.json``
``python tools/analysis_tools/coco_error_analysis.py CONFIG results.pkl OUT_DIR --types bbox segm``
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from _arguments import add_config_options

COCO_ANNOTATIONS = 'data/coco/annotations/instances_val2017.json'


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        usage='%(prog)s RESULT.json OUT_DIR --ann ANNOTATIONS.json [options]\n'
        '       %(prog)s CONFIG RESULTS.pkl OUT_DIR [options]',
        description='Draw precision-recall curves that forgive one kind of error after the other.',
    )
    parser.add_argument(
        'inputs', nargs='+', metavar='PATH', help='a COCO result file, or a config and results of test.py --out; then '
        'the folder to write to',
    )  # fmt: skip
    parser.add_argument('--ann', help=f'COCO annotations that belong to RESULT.json (default {COCO_ANNOTATIONS})')
    parser.add_argument('--types', nargs='+', choices=['bbox', 'segm'], default=['bbox'], help='default: bbox')
    parser.add_argument('--extraplots', action='store_true', help='also draw bars of the APs, and the sizes of objects')
    parser.add_argument(
        '--areas', type=float, nargs=3, default=[1024, 9216, 1e10], metavar=('SMALL', 'MEDIUM', 'LARGE'),
        help='the largest areas of small, medium and large objects (default 1024 9216 10000000000 square pixels)',
    )  # fmt: skip
    add_config_options(parser)
    args = parser.parse_args(argv)
    check_inputs(parser, args)
    return args


def check_inputs(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Make ``config, result, out_dir`` of the two or three paths."""
    if len(args.inputs) not in (2, 3):
        parser.error(f'expected RESULT.json OUT_DIR or CONFIG RESULTS.pkl OUT_DIR, got {len(args.inputs)} paths')
    *config, args.result, args.out_dir = args.inputs
    args.config = config[0] if config else None
    if args.config and args.ann:
        parser.error('--ann goes with a result file; with a config data.test.ann_file is used (--cfg-options)')
    if args.cfg_options and not args.config:
        parser.error('--cfg-options changes a config: give CONFIG RESULTS.pkl OUT_DIR')
    if not args.config and args.result.endswith(('.pkl', '.pickle')):
        parser.error(f'{args.result}: a pickle of results needs its config: give CONFIG RESULTS.pkl OUT_DIR')


def main() -> None:
    args = parse_args()
    from mmdet_clone.apis.errors import clear_errors

    with clear_errors():
        analyze(args)


def analyze(args: argparse.Namespace) -> None:
    from rich.progress import track

    from mmdet_clone.apis.coco_records import from_config, from_result_file
    from mmdet_clone.engine.process import ensure_writable
    from mmdet_clone.evaluation.coco_errors import area_ranges, error_curves

    area_ranges(args.areas)  # a wrong number is told before the work
    ensure_writable(args.out_dir, 'OUT_DIR')
    if args.config:
        ground_truth, records = from_config(args.config, args.result, args.types, args.cfg_options)
    else:
        ground_truth, records = from_result_file(args.result, args.ann or COCO_ANNOTATIONS, args.types)
    for kind in args.types:
        curves = error_curves(
            ground_truth,
            records[kind],
            kind,
            args.areas,
            track=lambda items, kind=kind: track(items, description=f'evaluating {kind}'),
        )
        folder = Path(args.out_dir) / kind
        write_table(curves, kind, folder)
        draw(curves, kind, folder, args.extraplots)
        if args.extraplots:
            draw_sizes(curves, ground_truth, args.areas, folder)


def write_table(curves: Any, kind: str, folder: Path) -> None:
    from mmdet_clone.evaluation.coco_errors import ERROR_HEADER, KINDS, MEANINGS, error_rows
    from mmdet_clone.evaluation.csv_table import write_csv
    from mmdet_clone.evaluation.report import table

    rows = error_rows(curves)
    shown = [row[1:] for row in rows if row[0] == 'allclass' and row[2]]
    print(f'\nMean AP of {kind} under each rule:')
    print(table(ERROR_HEADER[1:], [[f'{v:.3f}' if isinstance(v, float) else str(v) for v in row] for row in shown]))
    print('; '.join(f'{name}: {MEANINGS[name]}' for name in KINDS))
    write_csv(folder / 'error_analysis.csv', ERROR_HEADER, rows)
    print(f'the APs of each class: {folder / "error_analysis.csv"}')


def draw(curves: Any, kind: str, folder: Path, bars: bool) -> None:
    """A picture of the curves for each class and size that there are objects of, as MMDetection names them."""
    import numpy as np
    from rich.progress import track

    from mmdet_clone.evaluation.coco_errors import AREA_NAMES, KINDS, MEANINGS, RECALLS
    from mmdet_clone.visualization.plots import error_figure, file_name, grouped_bars_figure, save_figure

    rules = [f'{name}: {MEANINGS[name]}' for name in KINDS]
    by_class = {'allclass': curves.mean_curves()}
    by_class |= {name: curves.precision[:, :, k] for k, name in enumerate(curves.names)}
    count = 0
    for name, precision in track(by_class.items(), description='drawing'):
        for a, area in enumerate(AREA_NAMES):
            if not np.isnan(precision[..., a]).any():
                title = f'{kind}-{name}-{area}'
                figure = error_figure(RECALLS, precision[..., a], rules, title)
                save_figure(figure, folder / f'{file_name(title)}.png')
                count += 1
        if bars:
            figure = grouped_bars_figure(precision.mean(axis=1).T, AREA_NAMES, KINDS, 'AP', f'{kind}-{name}')
            save_figure(figure, folder / f'{file_name(f"{kind}-{name}-ap-bar")}.png')
    print(f'{count} pictures of curves: {folder}, the mean of the classes in {kind}-allclass-allarea.png')


def draw_sizes(curves: Any, ground_truth: dict, areas: Sequence[float], folder: Path) -> None:
    """How many objects there are of each size."""
    from mmdet_clone.evaluation.coco_errors import AREA_NAMES, object_area
    from mmdet_clone.visualization.plots import area_histogram_figure, grouped_bars_figure, save_figure

    counts = curves.num_objects.sum(axis=0)[:, None].astype(float)
    bars = grouped_bars_figure(counts, AREA_NAMES, ['objects'], 'objects', 'Objects of each size', digits=0)
    save_figure(bars, folder / 'gt_area_group_numbers.png')
    sizes = [object_area(ann) for ann in ground_truth['annotations'] if not ann.get('iscrowd')]
    histogram = area_histogram_figure(sizes, areas[:2], 'Sizes of the objects; dashed: limits of small and medium')
    save_figure(histogram, folder / 'gt_area_histogram.png')
    print(f'sizes of the objects: {folder / "gt_area_group_numbers.png"}, {folder / "gt_area_histogram.png"}')


if __name__ == '__main__':
    main()
