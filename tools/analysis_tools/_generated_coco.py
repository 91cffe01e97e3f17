"""Annotations and images of COCO's size and kind, drawn at random: for benchmarks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ANNOTATIONS_PER_IMAGE = 860_000 / 118_000  # as in train2017
NUM_CLASSES = 80
WIDTH, HEIGHT = 640, 480
CLASSES = tuple(f'class {i}' for i in range(NUM_CLASSES))


def write_annotations(path: Path, num_images: int) -> None:
    """A json like ``instances_train2017.json``: as many annotations an image, polygons as long."""
    rng = np.random.default_rng(0)
    ids = rng.permutation(5 * num_images)[:num_images].tolist()
    part = path.with_suffix('.part')
    with open(part, 'w') as file:
        file.write('{"info": {"year": 2017}, "licenses": [{"id": 1, "name": "none"}], "images": [')
        file.write(','.join(json.dumps(_image(i)) for i in ids))
        file.write('], "annotations": [')
        for chunk in _annotations(ids, rng):
            file.write(chunk)
        categories = [dict(supercategory='thing', id=i + 1, name=name) for i, name in enumerate(CLASSES)]
        file.write(f'], "categories": {json.dumps(categories)}}}')
    part.replace(path)


def _image(image_id: int) -> dict:
    name = f'{image_id:012d}.jpg'
    return dict(
        license=1,
        file_name=name,
        coco_url=f'http://images.cocodataset.org/train2017/{name}',
        height=HEIGHT,
        width=WIDTH,
        date_captured='2013-11-14 11:18:45',
        flickr_url='http://farm7.staticflickr.com/6116/6255196340_da26cf2c9e_z.jpg',
        id=image_id,
    )


def _annotations(image_ids: list[int], rng: np.random.Generator) -> Iterator[str]:
    from rich.progress import track

    count = round(len(image_ids) * ANNOTATIONS_PER_IMAGE)
    owners = rng.integers(0, len(image_ids), count).tolist()
    lengths = np.clip(rng.lognormal(3.15, 0.6, count).astype(int), 3, 300)  # points of a polygon
    for i in track(range(count), description='writing annotations'):
        ann = _annotation(i, image_ids[owners[i]], lengths[i], rng)
        yield ',' * (i > 0) + json.dumps(ann, separators=(',', ':'))


def _annotation(index: int, image_id: int, num_points: int, rng: np.random.Generator) -> dict:
    w, h = rng.uniform(5, 300, 2)
    x, y = rng.uniform(0, (WIDTH - w, HEIGHT - h))
    turns = np.sort(rng.uniform(0, 2 * np.pi, num_points))
    outline = np.stack([x + w / 2 * (1 + np.cos(turns)), y + h / 2 * (1 + np.sin(turns))], axis=1)
    return dict(
        segmentation=[outline.round(2).reshape(-1).tolist()],
        area=round(w * h * np.pi / 4, 4),
        iscrowd=0,
        image_id=image_id,
        bbox=np.round([x, y, w, h], 2).tolist(),
        category_id=int(rng.integers(NUM_CLASSES)) + 1,
        id=index + 1,
    )


def write_images(folder: Path, count: int) -> list[str]:
    """JPEG files of about 100 kB, smooth with a little noise as photographs are; their names."""
    import cv2

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    names = [f'{i:06d}.jpg' for i in range(count)]
    for name in names:
        coarse = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        image = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).astype(np.int16)
        image += rng.normal(0, 6, image.shape).astype(np.int16)
        cv2.imwrite(str(folder / name), image.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 92])
    return names
