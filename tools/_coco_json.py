"""What the tools that write COCO json share: collecting entries, and writing a file in one go."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class CocoWriter:
    """Collects images and objects; ids count from 1, category ``i`` of the names has the id ``i + 1``."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.images: list[dict] = []
        self.annotations: list[dict] = []
        self.categories = [dict(id=i, name=name, supercategory='none') for i, name in enumerate(classes, 1)]

    def add_image(self, file_name: str, width: int, height: int) -> int:
        """The new image's id."""
        self.images.append(dict(id=len(self.images) + 1, file_name=file_name, width=width, height=height))
        return len(self.images)

    def add_object(
        self, image_id: int, label: int, corners: Sequence[float], polygon: list[float] | None = None
    ) -> None:
        """An object with its box x1, y1, x2, y2 and its polygon (x, y, x, y ...), in pixels."""
        x1, y1, x2, y2 = (round(float(value), 3) for value in corners)
        width, height = round(x2 - x1, 3), round(y2 - y1, 3)
        self.annotations.append(
            dict(
                id=len(self.annotations) + 1,
                image_id=image_id,
                category_id=label + 1,
                bbox=[x1, y1, width, height],
                area=round(width * height if polygon is None else polygon_area(polygon), 3),
                iscrowd=0,
                **({} if polygon is None else dict(segmentation=[polygon])),
            )
        )

    def write(self, path: Path) -> None:
        """Write the file and print what is in it."""
        write_json(path, dict(images=self.images, annotations=self.annotations, categories=self.categories))
        print(f'{path}: {len(self.images)} images, {len(self.annotations)} objects, {len(self.categories)} classes')


def polygon_area(polygon: Sequence[float]) -> float:
    """The area inside a polygon x, y, x, y ... that does not cross itself."""
    xs, ys = polygon[::2], polygon[1::2]
    following = zip([*xs[1:], xs[0]], [*ys[1:], ys[0]])
    return abs(sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in zip(zip(xs, ys), following))) / 2


def write_json(path: Path, content: Any) -> None:
    """Write a json at once: a run that is broken off leaves no half of it, and keeps what was there."""
    write_bytes(path, json.dumps(content).encode())


def write_bytes(path: Path, content: bytes) -> None:
    os.makedirs(path.parent, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
    try:
        with os.fdopen(handle, 'wb') as file:
            file.write(content)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def read_coco(path: Path) -> dict:
    """A COCO dict, or the program ends with what is wrong with the file."""
    if not path.is_file():
        raise SystemExit(f'no such file: {str(path)!r}')
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise SystemExit(f'{str(path)!r} is not valid JSON: {error}') from error
    lists = ('images', 'annotations', 'categories')
    absent = [key for key in lists if not isinstance(content, dict) or not isinstance(content.get(key), list)]
    if absent:
        raise SystemExit(f'{str(path)!r} is not in COCO format: it has no list {", ".join(map(repr, absent))}')
    return content


def clip_box(corners: Sequence[float], width: float, height: float) -> tuple[float, float, float, float]:
    """The part of a box x1, y1, x2, y2 that lies in its image."""
    x1, y1, x2, y2 = corners
    return max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
