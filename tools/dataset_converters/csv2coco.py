"""Convert boxes in a csv, one a line, to COCO json.

The columns are ``filename, x1, y1, x2, y2, class`` and, optionally, ``width, height`` of the image: in this order, or
in any order where the first line names them (``image, path, xmin, label`` and the like are understood). Boxes are in
pixels. A line with an empty box lists an image without objects. Sizes that are not in the csv are read from the images.

    python tools/dataset_converters/csv2coco.py boxes.csv -o train.json --img-dir images
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.progress import track

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from _coco_json import CocoWriter, clip_box

from mmdet_clone.apis.errors import clear_errors
from mmdet_clone.datasets.image_files import image_size

COLUMNS = ('filename', 'x1', 'y1', 'x2', 'y2', 'class', 'width', 'height')
OTHER_NAMES = {
    **dict.fromkeys(('file_name', 'file', 'image', 'img', 'image_path', 'path', 'image_id', 'imageid'), 'filename'),
    **dict(xmin='x1', ymin='y1', xmax='x2', ymax='y2', label='class', class_name='class', name='class'),
    **dict(category='class', image_width='width', image_height='height', img_width='width', img_height='height'),
}


class Row(NamedTuple):
    """A line of the csv: ``box`` x1, y1, x2, y2 is ``None`` for an image without objects, ``size`` where unknown."""

    line: int
    filename: str
    box: tuple[float, ...] | None
    name: str
    size: tuple[int, int] | None


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('csv', type=Path, help='the csv')
    parser.add_argument('-o', '--out', type=Path, required=True, help='the json to write')
    parser.add_argument('--img-dir', type=Path, help='the folder of the images, for sizes that the csv does not have')
    parser.add_argument('--classes', nargs='+', help='class names in label order; by default those found, sorted')
    parser.add_argument('--delimiter', default=',', help='what separates the columns (default: a comma)')
    args = parser.parse_args(argv)
    if args.out.suffix != '.json':
        parser.error(f'--out must end in .json, got {str(args.out)!r}')
    if not args.csv.is_file():
        parser.error(f'no such file: {str(args.csv)!r}')
    return args


def read_rows(path: Path, delimiter: str) -> list[Row]:
    with path.open(encoding='utf-8-sig', newline='') as file:
        lines = [(number, row) for number, row in enumerate(csv.reader(file, delimiter=delimiter), 1) if any(row)]
    if not lines:
        raise SystemExit(f'{path} is empty')
    columns = find_columns(lines[0][1], path)
    has_header = columns is not None
    columns = columns or {name: i for i, name in enumerate(COLUMNS) if i < len(lines[0][1])}
    return [read_row(number, row, columns, path) for number, row in lines[has_header:]]


def find_columns(first: Sequence[str], path: Path) -> dict[str, int] | None:
    """Column numbers by name, ``None`` if the first line is data."""
    names = [OTHER_NAMES.get(cell.strip().lower(), cell.strip().lower()) for cell in first]
    if not set(names) & {'x1', 'y1', 'x2', 'y2'}:
        return None
    absent = [name for name in COLUMNS[:6] if name not in names]
    if absent:
        raise SystemExit(f'{path}: its first line lacks the columns {", ".join(absent)}; it has {", ".join(first)}')
    return {name: names.index(name) for name in COLUMNS if name in names}


def read_row(number: int, row: Sequence[str], columns: dict[str, int], path: Path) -> Row:
    try:
        cells = {name: row[column].strip() for name, column in columns.items()}
        corners = [cells[name] for name in ('x1', 'y1', 'x2', 'y2')]
        box = tuple(float(corner) for corner in corners) if any(corners) else None
        size = (int(cells['width']), int(cells['height'])) if cells.get('width') and cells.get('height') else None
        name = cells['class']
    except (ValueError, IndexError, KeyError) as error:
        wanted = ','.join(COLUMNS[:6])
        raise SystemExit(f'{path}, line {number}: {error}; expected {wanted}[,width,height], got {row}') from error
    if box is not None and not all(map(math.isfinite, box)):
        raise SystemExit(f'{path}, line {number}: the box has a number that is not finite: {row}')
    if box is not None and not name:
        raise SystemExit(f'{path}, line {number}: the box has no class: {row}')
    return Row(number, cells['filename'], box, name, size)


def sizes_of(rows: Sequence[Row], img_dir: Path | None, path: Path) -> dict[str, tuple[int, int]]:
    """Width and height of each image, in the order of the csv."""
    sizes: dict[str, tuple[int, int] | None] = {}
    for row in rows:
        known = sizes.setdefault(row.filename, row.size)
        if known and row.size and known != row.size:
            raise SystemExit(f'{path}, line {row.line}: {row.filename} is {row.size} here and {known} before')
        sizes[row.filename] = known or row.size
    if img_dir is None and not all(sizes.values()):
        first = next(name for name, size in sizes.items() if not size)
        raise SystemExit(f'{path} does not give the size of {first}: add the columns width,height, or --img-dir DIR')
    for name in track([name for name, size in sizes.items() if not size], description='Reading image sizes'):
        try:
            sizes[name] = image_size(str(img_dir / name))
        except OSError as error:
            raise SystemExit(f'{path} names {name}, which cannot be read from {img_dir}: {error}') from error
    return sizes


def choose_classes(asked: Sequence[str] | None, rows: Sequence[Row]) -> list[str]:
    found = sorted({row.name for row in rows if row.box is not None})
    left_out = sorted(set(found) - set(asked or found))
    if left_out:
        print(f'Left out, as not among --classes: {", ".join(left_out)}')
    return list(asked or found)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    rows = read_rows(args.csv, args.delimiter)
    sizes = sizes_of(rows, args.img_dir, args.csv)
    classes = choose_classes(args.classes, rows)
    writer = CocoWriter(classes)
    ids = {name: writer.add_image(name, *size) for name, size in sizes.items()}
    cut, empty = [], []
    for row in rows:
        if row.box is None or row.name not in classes:
            continue
        box = clip_box(row.box, *sizes[row.filename])
        if box[0] >= box[2] or box[1] >= box[3]:
            empty.append(row.line)
            continue
        if box != row.box:
            cut.append(row.line)
        writer.add_object(ids[row.filename], classes.index(row.name), box)
    if cut:
        print(f'{len(cut)} boxes reached outside their image and were cut: lines {cut[:10]}')
    if empty:
        print(f'Left out {len(empty)} boxes without a width or height inside their image: lines {empty[:10]}')
    writer.write(args.out)
    print(f'Label order: {", ".join(classes)}')


if __name__ == '__main__':
    with clear_errors():
        main()
