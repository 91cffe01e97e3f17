"""Split a COCO json by images: labelled and unlabelled parts, training and validation, or folds.

    python tools/misc/split_coco.py --data-root data/coco --labeled-percent 1 2 5 10 --fold 5
    python tools/misc/split_coco.py train.json --out-dir splits --val-percent 20 --seed 0
    python tools/misc/split_coco.py train.json --out-dir splits --kfold 5 --seed 0

The first writes ``<name>.<fold>@<percent>.json`` and ``...-unlabeled.json``, the splits of semi-supervised detection as
MMDetection draws them: the fold is the seed, and an image drawn twice counts once, so that slightly fewer images than
asked for are labelled. The others are exact: ``<name>_train.json`` and ``_val.json``; ``<name>_fold1_train.json`` ... .
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from _coco_json import read_coco, write_json

from mmdet_clone.apis.errors import clear_errors


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'ann_file', nargs='?', type=Path, help='the json; by default instances_train2017 of --data-root'
    )
    parser.add_argument('--data-root', type=Path, default=Path('data/coco'), help='default: %(default)s')
    parser.add_argument('--out-dir', type=Path, help='where to write (default: semi_anns in --data-root)')
    parser.add_argument('--seed', type=int, default=0, help='of --val-percent and --kfold (default: %(default)s)')
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument('--labeled-percent', type=float, nargs='+', metavar='P', help='default: 1 2 5 10')
    kind.add_argument('--val-percent', type=float, metavar='P', help='split into training and this much validation')
    kind.add_argument('--kfold', type=int, metavar='K', help='split into K folds')
    parser.add_argument('--fold', type=int, default=5, help='draw --labeled-percent this often (default: %(default)s)')
    args = parser.parse_args(argv)
    percents = args.labeled_percent or ([args.val_percent] if args.val_percent is not None else [])
    if not all(0 < percent < 100 for percent in percents):
        parser.error(f'percentages lie between 0 and 100, got {", ".join(f"{p:g}" for p in percents)}')
    if args.kfold is not None and args.kfold < 2:
        parser.error(f'--kfold must be 2 or more, got {args.kfold}')
    if args.fold < 1:
        parser.error(f'--fold must be 1 or more, got {args.fold}')
    args.ann_file = args.ann_file or args.data_root / 'annotations' / 'instances_train2017.json'
    args.out_dir = args.out_dir or args.data_root / 'semi_anns'
    return args


def labeled_images(count: int, percent: float, fold: int) -> np.ndarray:
    """(count,) bool: which images are labelled; drawn with replacement, with the fold as the seed."""
    rng = np.random.RandomState(fold)
    chosen = np.zeros(count, dtype=bool)
    chosen[rng.choice(count, size=int(percent / 100.0 * count))] = True
    return chosen


def shares(count: int, parts: int, seed: int) -> list[np.ndarray]:
    """Random shares of ``range(count)``, as equal as can be."""
    return np.array_split(np.random.RandomState(seed).permutation(count), parts)


def mask_of(indices: np.ndarray, count: int) -> np.ndarray:
    mask = np.zeros(count, dtype=bool)
    mask[indices] = True
    return mask


def parts(args: argparse.Namespace, count: int) -> dict[str, np.ndarray]:
    """Which images each file holds, (count,) bool by the ending of its name."""
    if args.val_percent is not None:
        order = np.random.RandomState(args.seed).permutation(count)
        val = mask_of(order[: round(args.val_percent / 100 * count)], count)
        return {'_train': ~val, '_val': val}
    if args.kfold is not None:
        folds = [mask_of(share, count) for share in shares(count, args.kfold, args.seed)]
        pairs = [{f'_fold{i}_train': ~fold, f'_fold{i}_val': fold} for i, fold in enumerate(folds, 1)]
        return {name: mask for pair in pairs for name, mask in pair.items()}
    found = {}
    for fold in range(1, args.fold + 1):
        for percent in args.labeled_percent or (1, 2, 5, 10):
            labeled = labeled_images(count, percent, fold)
            found[f'.{fold}@{percent:g}'], found[f'.{fold}@{percent:g}-unlabeled'] = labeled, ~labeled
    return found


def subset(content: dict, keep: np.ndarray) -> dict:
    """The content with the images of ``keep`` alone; all other entries are as they were."""
    images = [image for image, kept in zip(content['images'], keep, strict=True) if kept]
    ids = {image['id'] for image in images}
    annotations = [ann for ann in content['annotations'] if ann['image_id'] in ids]
    return {**content, 'images': images, 'annotations': annotations}


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    content = read_coco(args.ann_file)
    count = len(content['images'])
    found = parts(args, count)
    empty = [name for name, keep in found.items() if not keep.any()]
    if empty:
        raise SystemExit(f'{args.ann_file} has {count} images: {args.ann_file.stem}{empty[0]} would hold none')
    for name, keep in found.items():
        part = subset(content, keep)
        path = args.out_dir / f'{args.ann_file.stem}{name}.json'
        write_json(path, part)
        print(f'{path}: {len(part["images"])} images, {len(part["annotations"])} annotations')


if __name__ == '__main__':
    with clear_errors():
        main()
