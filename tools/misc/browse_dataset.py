"""See what a training pipeline makes of a data set.

``python tools/misc/browse_dataset.py CONFIG --output-dir DIR`` writes pictures, ``--html FILE`` one page of samples.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from _arguments import add_config_options

_ON_A_PAGE = 100  # samples of an html page; more make it slow to open


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Draw the annotations of a data set as training sees them.')
    parser.add_argument('config', help='config file; its data.train is browsed')
    parser.add_argument(
        '--skip-type',
        nargs='+',
        default=['DefaultFormatBundle', 'Normalize', 'Collect'],
        help='pipeline steps left out (default: DefaultFormatBundle Normalize Collect)',
    )
    parser.add_argument('--output-dir', help='folder to write the pictures to')
    parser.add_argument('--not-show', action='store_true', help='open no window')
    parser.add_argument(
        '--show-interval', type=float, default=2, help='seconds a window stays (default 2; 0: until a key)'
    )
    parser.add_argument('--number', type=int, help=f'how many images; all by default, {_ON_A_PAGE} for --html')
    parser.add_argument(
        '--html', metavar='FILE', help='write one page: pictures, boxes, masks and what each step did; no other output'
    )
    add_config_options(parser)
    args = parser.parse_args()
    if args.number is not None and args.number < 1:
        parser.error(f'--number must be 1 or more, got {args.number}')
    if args.not_show and not args.output_dir and not args.html:
        parser.error('nothing to do: --not-show needs --output-dir DIR or --html FILE')
    if args.html and args.output_dir:
        parser.error('--html FILE and --output-dir DIR are two kinds of output: give one of them')
    return args


def main() -> None:
    args = parse_args()
    from mmdet_clone.apis.errors import clear_errors

    with clear_errors():
        browse_as_html(args) if args.html else browse(args)


def browse_as_html(args: argparse.Namespace) -> None:
    from rich.progress import track

    from mmdet_clone.apis.browse import sample_views
    from mmdet_clone.engine.process import ensure_writable
    from mmdet_clone.visualization.html_report import write_html

    ensure_writable(Path(args.html).parent, '--html')
    dataset = build(args)
    count = min(args.number or _ON_A_PAGE, len(dataset))
    views = track(sample_views(dataset, range(count)), description='Samples', total=count)
    title = f'{Path(args.config).stem}: data.train'
    path = write_html(args.html, views, dataset.CLASSES, getattr(dataset, 'PALETTE', None), title)
    print(f'{count} of {len(dataset)} samples in {path} ({path.stat().st_size / 2**20:.1f} MB)')


def build(args: argparse.Namespace) -> Any:
    """The training data set, without the steps to be left out."""
    from mmdet_clone.apis.browse import without_steps
    from mmdet_clone.apis.entry import parse_options
    from mmdet_clone.config import load_config
    from mmdet_clone.datasets import build_dataset

    cfg = load_config(args.config, parse_options(args.cfg_options))
    return build_dataset(without_steps(cfg.data.train, set(args.skip_type)), path='data.train')


def browse(args: argparse.Namespace) -> None:
    from mmengine.utils import track_iter_progress

    from mmdet_clone.engine.process import ensure_writable
    from mmdet_clone.visualization import show_image

    if args.output_dir:
        ensure_writable(args.output_dir, '--output-dir')
    dataset = build(args)
    count = min(args.number or len(dataset), len(dataset))
    names: set[str] = set()
    for i in track_iter_progress(range(count)):
        sample = dataset[i]
        name = free_name(Path(str(sample['filename'])).with_suffix('.jpg').name, names)
        drawn = draw_annotations(sample, dataset.CLASSES, getattr(dataset, 'PALETTE', None))
        if args.output_dir:
            write(drawn, Path(args.output_dir) / name)
        if not args.not_show and not show_image(drawn, 'annotations', args.show_interval):
            break
    if args.output_dir:
        print(f'\n{count} pictures in {args.output_dir}')


def draw_annotations(sample: dict, class_names: Any, palette: Any) -> Any:
    """The sample's image with its boxes and masks; ignored boxes are white."""
    import numpy as np

    from mmdet_clone.visualization import draw_detections

    masks = sample.get('gt_masks')
    labels = sample.get('gt_labels', np.zeros(len(sample.get('gt_bboxes', ())), dtype=int))
    segms = None if masks is None else list(masks.to_ndarray())
    boxes = sample.get('gt_bboxes', np.zeros((0, 4)))
    drawn = draw_detections(sample['img'], boxes, labels, segms, class_names, palette=palette)
    ignored = sample.get('gt_bboxes_ignore', ())
    if len(ignored):
        drawn = draw_detections(drawn, ignored, np.zeros(len(ignored), dtype=int), None, ['ignored'], palette='white')
    return drawn


def write(img: Any, path: Path) -> None:
    from mmdet_clone.visualization.draw import write_image

    write_image(img, path)


def free_name(name: str, taken: set[str]) -> str:
    """``name``, numbered where an image of that name was met before."""
    candidates: Iterator[str] = (f'{Path(name).stem}_{i}{Path(name).suffix}' for i in range(2, 10**9))
    chosen = name
    while chosen in taken:
        chosen = next(candidates)
    taken.add(chosen)
    return chosen


if __name__ == '__main__':
    main()
