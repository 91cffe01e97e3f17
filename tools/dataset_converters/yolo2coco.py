"""Convert YOLO's txt labels to COCO json, one json a split.

A txt has a line for each object: ``class x_center y_center width height`` as shares of the image, or ``class`` and the
corners of a polygon. The txt of ``images/train/a.jpg`` is ``labels/train/a.txt``, or lies beside the image; an image
without one has no objects.

    python tools/dataset_converters/yolo2coco.py data/site                           # data/site/data.yaml
    python tools/dataset_converters/yolo2coco.py data/site --classes classes.txt     # images/ (its folders are splits)

File names in the json are relative to the folder given.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.progress import track

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from _coco_json import CocoWriter, clip_box

from mmdet_clone.apis.errors import clear_errors
from mmdet_clone.datasets.image_files import image_size

IMAGES = {'.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff'}
SLACK = 0.01  # of the image that a box may exceed it by, from rounding


class Shape(NamedTuple):
    """An object: its label, corners x1, y1, x2, y2 and polygon (flat, or ``None``), as shares of the image."""

    label: int
    box: tuple[float, float, float, float]
    polygon: list[float] | None


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('root', type=Path, help='the folder of the data set')
    parser.add_argument('--data', type=Path, help='the yaml of class names and splits (default: data.yaml in root)')
    parser.add_argument('--classes', type=Path, help='a text file with one class name a line, in place of the yaml')
    parser.add_argument('-o', '--out-dir', type=Path, help='where to write (default: root/annotations)')
    args = parser.parse_args(argv)
    if not args.root.is_dir():
        parser.error(f'no such folder: {str(args.root)!r}')
    args.data = args.data or next(iter(sorted(args.root.glob('data.y*ml'))), None)
    for path in (args.classes, args.data):
        if path is not None and not path.is_file():
            parser.error(f'no such file: {str(path)!r}')
    if args.classes is None and args.data is None:
        parser.error(f'no data.yaml in {str(args.root)!r}: give --data FILE or --classes FILE')
    return args


# ---------------------------------------------------------------------- which images


def splits_of_yaml(path: Path, root: Path) -> tuple[list[str], dict[str, list[Path]]]:
    """Class names, and the images of each split, as a yaml tells."""
    import yaml

    content = yaml.safe_load(path.read_text(encoding='utf-8'))
    names = content.get('names') if isinstance(content, dict) else None
    if isinstance(names, dict):
        names = [names[i] for i in sorted(names)] if sorted(names) == list(range(len(names))) else None
    if not names or not isinstance(names, list):
        raise SystemExit(f'{path} has no "names", a list of the classes or a table 0: name, 1: name ...')
    splits = {key: content[key] for key in ('train', 'val', 'test') if content.get(key)}
    if not splits:
        raise SystemExit(f'{path} names none of train, val, test')
    places = [root / str(content.get('path') or ''), path.parent, root]
    return [str(name) for name in names], {key: images_at(value, places, path) for key, value in splits.items()}


def images_at(value: str | list[str], places: Sequence[Path], source: Path) -> list[Path]:
    """The images of a folder, of several, or of a text file that lists them."""
    if isinstance(value, list):
        return [image for item in value for image in images_at(item, places, source)]
    # some exports write ../train/images for a folder beside the yaml
    candidates = [place / name for place in places for name in (value, value.removeprefix('../'))]
    found = next((path for path in candidates if path.exists()), None)
    if found is None:
        raise SystemExit(f'{source} names {value!r}, which is not in {", ".join(sorted({str(p) for p in places}))}')
    if found.is_dir():
        return list_images(found)
    listed = [line.strip() for line in found.read_text(encoding='utf-8').splitlines() if line.strip()]
    return [found.parent / line for line in listed]


def splits_of_folder(root: Path) -> dict[str, list[Path]]:
    """``images/train``, ``images/val`` ... are the splits; without such folders, all images are one."""
    images = root / 'images' if (root / 'images').is_dir() else root
    folders = sorted(path for path in images.iterdir() if path.is_dir() and list_images(path))
    if images.name == 'images' and folders and not any(is_image(path) for path in images.iterdir()):
        return {folder.name: list_images(folder) for folder in folders}
    return {root.resolve().name: list_images(images)}


def list_images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob('*') if is_image(path))


def is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGES and not path.name.startswith('.')


def label_file(image: Path, root: Path) -> Path:
    """The txt of an image: in ``labels`` where the image is in ``images``, else beside it."""
    parts = list(image.parts)
    inside = len(root.parts) if image.is_relative_to(root) else 0
    at = [i for i, part in enumerate(parts[:-1]) if part == 'images' and i >= inside]
    if at:
        parts[at[-1]] = 'labels'
        labels = Path(*parts).with_suffix('.txt')
        if labels.is_file():
            return labels
    return image.with_suffix('.txt')


# ---------------------------------------------------------------------- what is in them


def read_shapes(path: Path, num_classes: int) -> Iterator[Shape]:
    for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), 1):
        if not line.strip():
            continue
        try:
            values = [float(value) for value in line.split()]
        except ValueError as error:
            raise SystemExit(f'{path}, line {number}: {error}') from error
        if not all(map(math.isfinite, values)):
            raise SystemExit(f'{path}, line {number}: {line.strip()!r} holds a number that is not finite')
        label, numbers = int(values[0]), values[1:]
        if label != values[0] or not 0 <= label < num_classes:
            raise SystemExit(f'{path}, line {number}: class {values[0]:g}, but the classes are 0 to {num_classes - 1}')
        if len(numbers) != 4 and (len(numbers) < 6 or len(numbers) % 2):
            raise SystemExit(
                f'{path}, line {number}: expected "class x y width height", or "class" and the corners of a polygon, '
                f'got {len(values)} numbers'
            )
        yield _box(label, numbers) if len(numbers) == 4 else _polygon(label, numbers)


def _box(label: int, numbers: Sequence[float]) -> Shape:
    x, y, w, h = numbers
    return Shape(label, (x - w / 2, y - h / 2, x + w / 2, y + h / 2), None)


def _polygon(label: int, numbers: list[float]) -> Shape:
    xs, ys = numbers[::2], numbers[1::2]
    return Shape(label, (min(xs), min(ys), max(xs), max(ys)), numbers)


def convert(split: str, images: Sequence[Path], root: Path, classes: Sequence[str]) -> CocoWriter:
    writer = CocoWriter(classes)
    without, empty = 0, []
    for image in track(images, description=split):
        try:
            width, height = image_size(str(image))
        except OSError as error:
            raise SystemExit(f'{image} cannot be read: {error}') from error
        name = image.relative_to(root) if image.is_relative_to(root) else image
        image_id = writer.add_image(name.as_posix(), width, height)
        labels = label_file(image, root)
        if not labels.is_file():
            without += 1
            continue
        for shape in read_shapes(labels, len(classes)):
            if not add_shape(writer, image_id, shape, width, height, labels):
                empty.append(str(labels))
    if without == len(images):
        raise SystemExit(f'{split}: none of {len(images)} images has a txt; looked for {label_file(images[0], root)}')
    if without:
        print(f'{split}: {without} of {len(images)} images have no txt: they are listed without objects')
    if empty:
        print(f'{split}: left out {len(empty)} objects without a width or height inside their image: {empty[:5]}')
    return writer


def add_shape(writer: CocoWriter, image_id: int, shape: Shape, width: int, height: int, source: Path) -> bool:
    """Whether the object lies in its image, and so was added."""
    if min(shape.box) < -SLACK or max(shape.box) > 1 + SLACK:
        raise SystemExit(
            f'{source}: the object {[round(v, 4) for v in shape.box]} (x1, y1, x2, y2) reaches beyond 1, the width and '
            'height of the image: are these pixels?'
        )
    scaled = [value * (height if i % 2 else width) for i, value in enumerate(shape.box)]
    box = clip_box(scaled, width, height)
    if box[0] >= box[2] or box[1] >= box[3]:
        return False
    polygon = None
    if shape.polygon is not None:
        polygon = [round(v * (height if i % 2 else width), 3) for i, v in enumerate(shape.polygon)]
    writer.add_object(image_id, shape.label, box, polygon)
    return True


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if args.classes is not None:
        classes = [line.strip() for line in args.classes.read_text(encoding='utf-8').splitlines() if line.strip()]
        splits = splits_of_folder(args.root)
    else:
        classes, splits = splits_of_yaml(args.data, args.root)
    empty = [split for split, images in splits.items() if not images]
    if empty:
        raise SystemExit(f'no image found for {", ".join(empty)} in {str(args.root)!r}')
    out_dir = args.out_dir or args.root / 'annotations'
    writers = {split: convert(split, images, args.root, classes) for split, images in splits.items()}
    for split, writer in writers.items():
        writer.write(out_dir / f'{split}.json')
    print(f'Label order: {", ".join(classes)}')


if __name__ == '__main__':
    with clear_errors():
        main()
