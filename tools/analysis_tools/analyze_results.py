"""The images that were detected best and worst.

``python tools/analysis_tools/analyze_results.py CONFIG results.pkl SHOW_DIR``
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
        description='Rank images by their mean AP, or PQ where results are panoptic, and draw the best and the worst, '
        'ground truth beside detections.'
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('prediction_path', metavar='RESULTS.pkl', help='results that tools/test.py --out wrote')
    parser.add_argument('show_dir', help='folder for the pictures, in good/ and bad/, and image_scores.csv')
    parser.add_argument('--show', action='store_true', help='show the pictures in a window too')
    parser.add_argument(
        '--wait-time', type=float, default=0, help='seconds a window stays (default 0: until a key is pressed)'
    )
    parser.add_argument('--topk', type=int, default=20, help='how many of the best and of the worst (default 20)')
    parser.add_argument('--show-score-thr', type=float, default=0, help='lowest score that is drawn (default 0)')
    parser.add_argument(
        '--overlay-gt',
        action='store_true',
        help='draw the boxes of both in one picture, ground truth green, detections red',
    )
    add_config_options(parser)
    args = parser.parse_args(argv)
    if args.topk < 1:
        parser.error(f'--topk {args.topk}: give 1 or more')
    return args


def main() -> None:
    args = parse_args()
    from mmdet_clone.apis.errors import clear_errors

    with clear_errors():
        analyze(args)


def analyze(args: argparse.Namespace) -> None:
    from mmdet_clone.apis.entry import parse_options
    from mmdet_clone.apis.saved_results import image_name, load_saved_results
    from mmdet_clone.config import load_config
    from mmdet_clone.engine.process import ensure_writable
    from mmdet_clone.evaluation.csv_table import write_csv
    from mmdet_clone.evaluation.image_scores import ranked

    ensure_writable(args.show_dir, 'SHOW_DIR')
    saved = load_saved_results(load_config(args.config, parse_options(args.cfg_options)), args.prediction_path)
    measure, scores = score(saved)
    if measure == 'PQ' and (args.overlay_gt or args.show_score_thr):
        raise SystemExit('error: --overlay-gt and --show-score-thr are for boxes, the results are panoptic')
    order = ranked(scores)
    if not order:
        raise SystemExit('error: no image of data.test has an annotated object: there is nothing to compare with')
    rest = sorted(set(range(len(scores))) - set(order))
    rows = [
        [image_name(saved.dataset, i), round(scores[i].value, 6), scores[i].num_objects, scores[i].num_detections]
        for i in [*order, *rest]
    ]
    table = Path(args.show_dir) / 'image_scores.csv'
    write_csv(table, ['image', measure, 'objects', 'detections'], rows)
    count = min(args.topk, max(len(order) // 2, 1))
    chosen = {'bad': order[:count], 'good': order[::-1][:count]}
    draw_chosen(saved, measure, scores, chosen, args)
    print(f'scores of {len(scores)} images, the worst first: {table}')
    if rest:
        print(f'{len(rest)} of them have no annotated object: they stand last, without a score')


def score(saved: Any) -> tuple[str, list]:
    """The measure and each image's score: mAP of boxes, PQ of panoptic results."""
    from rich.progress import track

    from mmdet_clone.evaluation.image_scores import score_images

    if not isinstance(saved.results[0], dict):
        saved.check_boxes()
        return 'mAP', score_images(saved.results, saved.annotations('scoring'))
    from mmdet_clone.apis.panoptic_results import check_panoptic, score_panoptic

    check_panoptic(saved)
    return 'PQ', score_panoptic(saved, track(range(len(saved.results)), description='scoring'))


def draw_chosen(saved: Any, measure: str, scores: list, chosen: dict[str, list[int]], args: argparse.Namespace) -> None:
    from rich.progress import track

    from mmdet_clone.apis.saved_results import image_name
    from mmdet_clone.visualization import show_image
    from mmdet_clone.visualization.draw import write_image

    for folder, indices in chosen.items():
        taken: set[str] = set()
        for i in track(indices, description=f'drawing {folder}'):
            name = picture_name(image_name(saved.dataset, i), scores[i].value, taken)
            shown = f' (shown: score >= {args.show_score_thr:g})' if args.show_score_thr > 0 else ''
            heading = f'{image_name(saved.dataset, i)}: {measure} {scores[i].value:.3f}{shown}'
            picture = draw_image(saved, i, heading, args)
            write_image(picture, Path(args.show_dir) / folder / name)
            if args.show and not show_image(picture, name, args.wait_time):
                return
        print(f'{len(indices)} pictures: {Path(args.show_dir) / folder}')


def picture_name(image: str, value: float, taken: set[str]) -> str:
    """``<image>_<score>.<suffix>``, numbered where folders hold images of the same name."""
    suffix = Path(image).suffix.lower()
    suffix = suffix if suffix in ('.jpg', '.jpeg', '.png', '.bmp') else '.png'
    stem = name = f'{Path(image).stem}_{value:.3f}'
    number = 2
    while name in taken:
        name, number = f'{stem}_{number}', number + 1
    taken.add(name)
    return name + suffix


def draw_image(saved: Any, index: int, heading: str, args: argparse.Namespace) -> Any:
    """Ground truth on the left and detections on the right, or both in one picture."""
    from mmdet_clone.apis.saved_results import annotated_image
    from mmdet_clone.visualization.comparison import Objects, comparison
    from mmdet_clone.visualization.draw import flatten_result

    if isinstance(saved.results[index], dict):
        return draw_segments(saved, index, heading)
    boxes, labels, masks = flatten_result(saved.results[index])
    sure = boxes[:, 4] >= args.show_score_thr
    masks = None if masks is None else [mask for mask, keep in zip(masks, sure) if keep]
    image, truth_boxes, truth_labels, truth_masks = annotated_image(saved.dataset, index, with_masks=masks is not None)
    return comparison(
        image,
        Objects(truth_boxes, truth_labels, truth_masks),
        Objects(boxes[sure], labels[sure], masks),
        saved.class_names,
        saved.palette,
        heading,
        overlay=args.overlay_gt,
    )


def draw_segments(saved: Any, index: int, heading: str) -> Any:
    """The segments of a panoptic annotation on the left, those found on the right."""
    from mmdet_clone.apis.panoptic_results import panoptic_image
    from mmdet_clone.visualization.comparison import Objects, comparison

    image, truth, found = panoptic_image(saved, index)
    return comparison(image, Objects(None, *truth), Objects(None, *found), saved.class_names, saved.palette, heading)


if __name__ == '__main__':
    main()
