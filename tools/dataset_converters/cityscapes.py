"""Convert Cityscapes' instances to COCO json, with masks as RLE.

    python tools/dataset_converters/cityscapes.py data/cityscapes -o data/cityscapes/annotations --nproc 8

reads ``leftImg8bit/<split>/<city>/*_leftImg8bit.png`` with ``gtFine/.../*_gtFine_instanceIds.png``, or where that is
absent ``*_gtFine_polygons.json``, and writes ``instancesonly_filtered_gtFine_{train,val,test}.json``. Groups of objects
become crowd regions. Category ids are those of Cityscapes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from _coco_json import write_json

from mmdet_clone.apis.errors import clear_errors
from mmdet_clone.datasets.image_files import image_size
from mmdet_clone.evaluation.cityscapes import LABEL_IDS

SPLITS = ('train', 'val', 'test')
SUFFIX = '_leftImg8bit.png'
ALL_IDS = {**LABEL_IDS, 'caravan': 29, 'trailer': 30}  # all classes with instances; the benchmark leaves the two out
NOT_DRAWN = ('license plate',)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('cityscapes_path', type=Path, help='the folder of leftImg8bit and gtFine')
    parser.add_argument('--img-dir', default='leftImg8bit', help='the folder of the images (default: %(default)s)')
    parser.add_argument('--gt-dir', default='gtFine', help='the folder of the annotations (default: %(default)s)')
    parser.add_argument('-o', '--out-dir', type=Path, help='where to write (default: annotations beside the images)')
    parser.add_argument('--nproc', type=int, default=1, help='number of processes (default: %(default)s)')
    args = parser.parse_args(argv)
    for name in (args.img_dir, args.gt_dir):
        if not (args.cityscapes_path / name).is_dir():
            parser.error(f'no folder {name!r} in {str(args.cityscapes_path)!r}')
    return args


def list_images(root: Path, img_dir: str, split: str) -> list[Path]:
    return sorted((root / img_dir / split).glob(f'*/*{SUFFIX}'))


def convert_image(image: Path, root: Path, img_dir: str, gt_dir: str, split: str) -> tuple[dict, list[dict]]:
    """An image's entry and its objects, both without ids."""
    folder = root / gt_dir / split / image.parent.name
    stem = image.name.removesuffix(SUFFIX)
    width, height = image_size(str(image))
    ids = instance_ids(folder / f'{stem}_{gt_dir}', (width, height))
    if ids.shape != (height, width):
        raise ValueError(f'{image} is {width}x{height}, its annotation {ids.shape[1]}x{ids.shape[0]}')
    name = image.relative_to(root / img_dir / split).as_posix()
    segm = f'{image.parent.name}/{stem}_{gt_dir}_labelIds.png'
    return dict(file_name=name, width=width, height=height, segm_file=segm), objects_of(ids)


def instance_ids(prefix: Path, size: tuple[int, int]) -> np.ndarray:
    """(h, w) ids: the class for a group, 1000 * class + number for an object; from the png or the polygons."""
    from PIL import Image

    png, polygons = (prefix.with_name(prefix.name + suffix) for suffix in ('_instanceIds.png', '_polygons.json'))
    if png.is_file():
        with Image.open(png) as image:
            return np.array(image, dtype=np.int32)
    if not polygons.is_file():
        raise FileNotFoundError(f'{prefix.parent} has neither {png.name} nor {polygons.name}')
    try:
        return draw_polygons(json.loads(polygons.read_bytes()), size)
    except json.JSONDecodeError as error:
        raise ValueError(f'{polygons} is not valid JSON: {error}') from error


def draw_polygons(annotation: dict, size: tuple[int, int]) -> np.ndarray:
    """Paint the objects in their order, later ones over earlier ones, as Cityscapes' own png are made."""
    from PIL import Image, ImageDraw

    canvas = Image.new('I', size, 0)
    draw = ImageDraw.Draw(canvas)
    numbers: dict[str, int] = {}
    for item in annotation['objects']:
        name = item['label']
        if item.get('deleted') or name in NOT_DRAWN:
            continue
        value = 0
        if name in ALL_IDS:
            value = 1000 * ALL_IDS[name] + numbers.get(name, 0)
            numbers[name] = numbers.get(name, 0) + 1
        elif name.removesuffix('group') in ALL_IDS:
            value = ALL_IDS[name.removesuffix('group')]
        draw.polygon([tuple(point) for point in item['polygon']], fill=value)
    return np.array(canvas, dtype=np.int32)


def objects_of(ids: np.ndarray) -> list[dict]:
    from pycocotools import mask as mask_api

    found = []
    for value in np.unique(ids).tolist():
        category = value // 1000 if value >= 1000 else value
        if category not in LABEL_IDS.values():
            continue
        rle = mask_api.encode(np.asfortranarray(ids == value, dtype=np.uint8))
        found.append(
            dict(
                category_id=category,
                bbox=mask_api.toBbox(rle).tolist(),
                area=int(mask_api.area(rle)),
                iscrowd=int(value < 1000),
                segmentation=dict(size=rle['size'], counts=rle['counts'].decode()),
            )
        )
    return found


def convert_all(one: Callable, images: Sequence[Path], nproc: int, description: str) -> list:
    if nproc < 2:
        return [one(image) for image in track(images, description=description)]
    with Pool(nproc) as pool:
        return list(track(pool.imap(one, images, chunksize=8), description=description, total=len(images)))


def convert_split(args: argparse.Namespace, split: str, images: Sequence[Path]) -> dict[str, Any]:
    root = args.cityscapes_path
    one = partial(convert_image, root=root, img_dir=args.img_dir, gt_dir=args.gt_dir, split=split)
    try:
        entries = convert_all(one, images, args.nproc, split)
    except (OSError, ValueError) as error:  # only here: a worker that ends with SystemExit leaves its pool waiting
        raise SystemExit(str(error)) from error
    content: dict[str, Any] = dict(images=[], annotations=[])
    for image_id, (image, objects) in enumerate(entries):
        content['images'].append(dict(id=image_id, **image))
        for item in objects:
            content['annotations'].append(dict(id=len(content['annotations']), image_id=image_id, **item))
    return {**content, 'categories': [dict(id=i, name=name) for name, i in LABEL_IDS.items()]}


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    splits = {split: list_images(args.cityscapes_path, args.img_dir, split) for split in SPLITS}
    if not any(splits.values()):
        raise SystemExit(f'no *{SUFFIX} in {args.cityscapes_path / args.img_dir}/{{{",".join(SPLITS)}}}/<city>/')
    out_dir = args.out_dir or args.cityscapes_path / 'annotations'
    for split, images in splits.items():
        if not images:
            continue
        content = convert_split(args, split, images)
        path = out_dir / f'instancesonly_filtered_{args.gt_dir}_{split}.json'
        write_json(path, content)
        crowd = sum(item['iscrowd'] for item in content['annotations'])
        print(f'{path}: {len(images)} images, {len(content["annotations"])} objects, {crowd} of them groups')


if __name__ == '__main__':
    with clear_errors():
        main()
