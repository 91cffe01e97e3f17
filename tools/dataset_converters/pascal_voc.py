"""Convert data in Pascal VOC's layout to COCO json or to the middle format.

The devkit is a folder of years (``VOCdevkit/VOC2007``), or any folder with ``Annotations``, ``ImageSets/Main`` and
``JPEGImages``. Each list ``train, val, trainval, test`` that is there becomes a file: ``voc07_train.json`` and, where
both years are there, ``voc0712_train.json``. File names in it are relative to the devkit.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.progress import track

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from _coco_json import write_bytes

from mmdet_clone.apis.errors import clear_errors
from mmdet_clone.datasets.xml_style import VOCFile, VOCObject, has_size, parse_voc_xml
from mmdet_clone.evaluation.class_names import VOC_CLASSES

SPLITS = ('train', 'val', 'trainval', 'test')
YEARS = {'VOC2007': 'voc07', 'VOC2012': 'voc12'}
SUFFIXES = dict(pkl='.pkl', coco='.json', json='.json')


class Entry(NamedTuple):
    """An image of a list: its name relative to the devkit and its annotation."""

    filename: str
    annotation: VOCFile


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('devkit_path', type=Path, help='the devkit, or one folder of its layout')
    parser.add_argument('-o', '--out-dir', type=Path, help='where to write; the devkit by default')
    parser.add_argument(
        '--out-format',
        default='pkl',
        choices=tuple(SUFFIXES),
        help='coco: COCO json; pkl or json: the middle format (default: pkl)',
    )
    parser.add_argument(
        '--classes',
        nargs='+',
        help='class names in label order; by default the 20 of VOC, or those found where others are',
    )
    args = parser.parse_args(argv)
    if not args.devkit_path.is_dir():
        parser.error(f'no such folder: {str(args.devkit_path)!r}')
    return args


def find_sets(devkit: Path) -> dict[str, Path]:
    """The folders laid out as VOC's in the devkit (or the devkit itself), by the name that their files get."""
    folders = [devkit, *sorted(path for path in devkit.iterdir() if path.is_dir())]
    found = [folder for folder in folders if (folder / 'ImageSets' / 'Main').is_dir()]
    if not found:
        raise SystemExit(
            f'no ImageSets/Main in {str(devkit)!r} or in a folder of it: give the folder that holds VOC2007, or one '
            'that holds Annotations, ImageSets and JPEGImages'
        )
    return {YEARS.get(folder.name, Path(os.path.abspath(folder)).name.lower()): folder for folder in found}


def read_split(devkit: Path, folder: Path, split: str) -> list[Entry] | None:
    """The images of a list, ``None`` if the folder has no such list."""
    listing = folder / 'ImageSets' / 'Main' / f'{split}.txt'
    if not listing.is_file():
        return None
    names = [line.split()[0] for line in listing.read_text(encoding='utf-8').splitlines() if line.strip()]
    images = (folder / 'JPEGImages').relative_to(devkit)
    entries = []
    for name in track(names, description=f'{folder.name} {split}'):
        path = folder / 'Annotations' / f'{name}.xml'
        if not path.is_file():
            raise SystemExit(f'{listing} lists {name!r}, but there is no {path}')
        annotation = parse_voc_xml(path.read_bytes(), str(path))
        if not (annotation.width and annotation.height):
            raise SystemExit(f'{path} does not give the size of its image')
        filename = annotation.image_name(name, str(folder / 'JPEGImages'))
        entries.append(Entry((images / filename).as_posix(), annotation))
    return entries


def choose_classes(asked: Sequence[str] | None, entries: Sequence[Entry]) -> list[str]:
    """``asked``, else VOC's 20 classes if all names are of them, else the sorted names found."""
    found = {item.name for entry in entries for item in entry.annotation.objects}
    if asked:
        left_out = sorted(found - set(asked))
        if left_out:
            print(f'Left out, as not among --classes: {", ".join(left_out)}')
        return list(asked)
    if found <= set(VOC_CLASSES):
        return list(VOC_CLASSES)
    print(f'Classes found: {", ".join(sorted(found))}')
    return sorted(found)


def to_middle_format(entries: Sequence[Entry], classes: Sequence[str]) -> list[dict]:
    """The list of dicts that ``CustomDataset`` reads; difficult objects are to be ignored."""
    return [
        dict(
            filename=entry.filename,
            width=entry.annotation.width,
            height=entry.annotation.height,
            ann={
                **_arrays(entry, classes, difficult=False, suffix=''),
                **_arrays(entry, classes, difficult=True, suffix='_ignore'),
            },
        )
        for entry in entries
    ]


def _arrays(entry: Entry, classes: Sequence[str], difficult: bool, suffix: str) -> dict[str, np.ndarray]:
    objects = [item for item in _wanted(entry, classes) if item.difficult == difficult]
    boxes = np.array([item.box for item in objects], dtype=np.float32).reshape(-1, 4) - 1
    labels = np.array([classes.index(item.name) for item in objects], dtype=np.int64)
    return {f'bboxes{suffix}': boxes, f'labels{suffix}': labels}


def _wanted(entry: Entry, classes: Sequence[str]) -> list[VOCObject]:
    return [item for item in entry.annotation.objects if item.name in classes]


def to_coco(entries: Sequence[Entry], classes: Sequence[str]) -> dict:
    """A COCO dict with boxes only; ids count from 1, difficult objects have ``ignore=1``."""
    images, annotations = [], []
    for img_id, entry in enumerate(entries, 1):
        size = dict(width=entry.annotation.width, height=entry.annotation.height)
        images.append(dict(id=img_id, file_name=entry.filename, **size))
        for item in _wanted(entry, classes):
            x1, y1, x2, y2 = item.box
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=img_id,
                    category_id=classes.index(item.name) + 1,
                    bbox=[x1 - 1, y1 - 1, x2 - x1, y2 - y1],
                    area=(x2 - x1) * (y2 - y1),
                    iscrowd=0,
                    ignore=int(item.difficult),
                )
            )
    categories = [dict(id=i, name=name, supercategory='none') for i, name in enumerate(classes, 1)]
    return dict(images=images, annotations=annotations, categories=categories)


def write(entries: Sequence[Entry], classes: Sequence[str], out_format: str, path: Path) -> None:
    if out_format == 'coco':
        content = json.dumps(to_coco(entries, classes)).encode()
    elif out_format == 'json':
        content = json.dumps(to_middle_format(entries, classes), default=_as_list).encode()
    else:
        content = pickle.dumps(to_middle_format(entries, classes))
    write_bytes(path, content)
    boxes = sum(len(_wanted(entry, classes)) for entry in entries)
    print(f'{path}: {len(entries)} images, {boxes} boxes, {len(classes)} classes')


def _as_list(value: Any) -> list:
    return value.tolist()


def report_empty_boxes(entries: Sequence[Entry]) -> None:
    """Name the images whose boxes have no width or height: they are kept, and left out in training."""
    empty = [entry.filename for entry in entries for item in entry.annotation.objects if not has_size(item)]
    if empty:
        print(f'{len(empty)} boxes have a width or height of zero or less (training leaves them out): {empty[:10]}')


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    sets = find_sets(args.devkit_path)
    lists = {
        (name, split): entries
        for name, folder in sets.items()
        for split in SPLITS
        if (entries := read_split(args.devkit_path, folder, split)) is not None
    }
    if not lists:
        folders = ', '.join(map(str, sets.values()))
        raise SystemExit(f'none of {", ".join(SPLITS)} (.txt) in ImageSets/Main of {folders}')
    for split in ('train', 'val', 'trainval'):
        if ('voc07', split) in lists and ('voc12', split) in lists:
            lists['voc0712', split] = lists['voc07', split] + lists['voc12', split]
    everything = {entry.filename: entry for entries in lists.values() for entry in entries}.values()
    classes = choose_classes(args.classes, list(everything))
    report_empty_boxes(list(everything))
    out_dir = args.out_dir or args.devkit_path
    os.makedirs(out_dir, exist_ok=True)
    for (name, split), entries in lists.items():
        write(entries, classes, args.out_format, out_dir / f'{name}_{split}{SUFFIXES[args.out_format]}')
    print(f'{len(everything)} images in all. Label order: {", ".join(classes)}')


if __name__ == '__main__':
    with clear_errors():
        main()
