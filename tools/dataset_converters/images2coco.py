"""List the images of a folder as a COCO json without annotations, to test a detector on them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.progress import track

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from _coco_json import write_json

from mmdet_clone.apis.errors import clear_errors
from mmdet_clone.datasets.image_files import image_size


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('img_path', type=Path, help='the folder of the images, searched through')
    parser.add_argument('classes', type=Path, help='a text file with one class name a line')
    parser.add_argument(
        'out', type=Path, help='the json to write; a bare name goes into the folder annotations beside img_path'
    )
    parser.add_argument(
        '-e', '--exclude-extensions', nargs='+', default=[], help='suffixes to leave out, such as png bmp'
    )
    args = parser.parse_args(argv)
    if args.out.suffix != '.json':
        parser.error(f'out must end in .json, got {str(args.out)!r}')
    for path, is_there, kind in ((args.img_path, Path.is_dir, 'folder'), (args.classes, Path.is_file, 'file')):
        if not is_there(path):
            parser.error(f'no such {kind}: {str(path)!r}')
    return args


def list_files(folder: Path, excluded: Sequence[str]) -> list[Path]:
    """All files below ``folder``, sorted by path, without hidden ones and those of an excluded suffix."""
    suffixes = {'.' + suffix.lower().lstrip('.') for suffix in excluded}
    found = (path for path in folder.rglob('*') if path.is_file() and not path.name.startswith('.'))
    return sorted(path for path in found if path.suffix.lower() not in suffixes)


def collect(folder: Path, excluded: Sequence[str]) -> tuple[list[dict], list[Path]]:
    """The ``images`` entries of the folder's images, and the files that are none."""
    images, others = [], []
    for path in track(list_files(folder, excluded), description='Reading image sizes'):
        try:
            width, height = image_size(str(path))
        except OSError:
            others.append(path)
            continue
        name = path.relative_to(folder).as_posix()
        images.append(dict(id=len(images), file_name=name, width=width, height=height))
    return images, others


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    classes = [line.strip() for line in args.classes.read_text(encoding='utf-8').splitlines() if line.strip()]
    images, others = collect(args.img_path, args.exclude_extensions)
    if others:
        print(f'Left out {len(others)} files that are no images: {", ".join(map(str, others[:5]))}')
    if not images:
        raise SystemExit(f'no image found in {str(args.img_path)!r}')
    beside = Path(os.path.abspath(args.img_path)).parent / 'annotations' / args.out  # links are not followed
    out = args.out if len(args.out.parts) > 1 else beside
    categories = [dict(id=i, name=name) for i, name in enumerate(classes)]
    write_json(out, dict(images=images, annotations=[], categories=categories))
    print(f'{len(images)} images and {len(categories)} classes written to {out}')


if __name__ == '__main__':
    with clear_errors():
        main()
