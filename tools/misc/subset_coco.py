"""Take a part of a COCO json: some classes, objects or images of some size, a number of images.

    python tools/misc/subset_coco.py instances_val2017.json -o cats.json --classes cat dog
    python tools/misc/subset_coco.py instances_val2017.json -o small.json --max-area 1024 --number 500

Images that keep no object are left out, unless ``--keep-empty``. Ids, image entries and the order are as they were.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from _coco_json import read_coco, write_json

from mmdet_clone.apis.errors import clear_errors


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('ann_file', type=Path, help='the json')
    parser.add_argument('-o', '--out', type=Path, required=True, help='the json to write')
    parser.add_argument('--classes', nargs='+', help='names of the categories to keep')
    parser.add_argument('--min-area', type=float, help='leave out objects of fewer pixels')
    parser.add_argument('--max-area', type=float, help='leave out objects of this many pixels or more')
    parser.add_argument('--min-side', type=int, help='leave out images with a side of fewer pixels')
    parser.add_argument('--number', type=int, help='keep this many images, drawn at random')
    parser.add_argument('--seed', type=int, default=0, help='of --number (default: %(default)s)')
    parser.add_argument('--keep-empty', action='store_true', help='keep images that have no object left')
    args = parser.parse_args(argv)
    if args.out.resolve() == args.ann_file.resolve():
        parser.error('--out is the file that is read')
    if args.number is not None and args.number < 1:
        parser.error(f'--number must be 1 or more, got {args.number}')
    return args


def chosen_categories(content: dict, names: Sequence[str] | None, source: Path) -> list[dict]:
    known = {category['name']: category for category in content['categories']}
    for name in names or ():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3)
            raise SystemExit(
                f'{source} has no category {name!r}' + (f'; did you mean {", ".join(near)}?' if near else '')
            )
    return [category for category in content['categories'] if names is None or category['name'] in names]


def keeps_object(ann: dict, category_ids: set, image_ids: set, args: argparse.Namespace) -> bool:
    area = ann['area'] if 'area' in ann else ann['bbox'][2] * ann['bbox'][3]
    return (
        ann['category_id'] in category_ids
        and ann['image_id'] in image_ids
        and (args.min_area is None or area >= args.min_area)
        and (args.max_area is None or area < args.max_area)
    )


def chosen_images(images: Sequence[dict], annotations: Sequence[dict], args: argparse.Namespace) -> list[dict]:
    shown = {ann['image_id'] for ann in annotations}
    kept = [image for image in images if args.keep_empty or image['id'] in shown]
    if args.number is None or args.number >= len(kept):
        return kept
    drawn = np.random.RandomState(args.seed).choice(len(kept), args.number, replace=False)
    return [kept[i] for i in sorted(drawn)]


def take(content: dict, args: argparse.Namespace) -> dict:
    """The part of ``content`` that the options ask for."""
    categories = chosen_categories(content, args.classes, args.ann_file)
    category_ids = {category['id'] for category in categories}
    side = args.min_side or 0
    images = [image for image in content['images'] if not side or min(image['width'], image['height']) >= side]
    image_ids = {image['id'] for image in images}
    annotations = [ann for ann in content['annotations'] if keeps_object(ann, category_ids, image_ids, args)]
    images = chosen_images(images, annotations, args)
    image_ids = {image['id'] for image in images}
    annotations = [ann for ann in annotations if ann['image_id'] in image_ids]
    return {**content, 'images': images, 'annotations': annotations, 'categories': categories}


def report(content: dict, part: dict) -> None:
    """How many there were, and are."""
    for key in ('images', 'annotations', 'categories'):
        print(f'{key}: {len(part[key])} of {len(content[key])} kept')
    counts = Counter(ann['category_id'] for ann in part['annotations'])
    print('objects: ' + ', '.join(f'{c["name"]} {counts[c["id"]]}' for c in part['categories'][:50]))


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    content = read_coco(args.ann_file)
    part = take(content, args)
    if not part['images']:
        raise SystemExit(f'nothing of {args.ann_file} is left: {len(content["images"])} images, none fits the options')
    write_json(args.out, part)
    report(content, part)
    print(f'written to {args.out}')


if __name__ == '__main__':
    with clear_errors():
        main()
