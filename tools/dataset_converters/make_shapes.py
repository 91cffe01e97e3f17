#!/usr/bin/env python
"""Draw a small instance segmentation data set: shapes on textured backgrounds, as COCO json and png images.

    python tools/dataset_converters/make_shapes.py data/shapes

writes ``train/``, ``val/`` and ``annotations/{train,val}.json`` into ``data/shapes``. The same arguments draw the same
files, whatever the machine. Later shapes hide parts of earlier ones; masks hold what remains visible.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

CLASSES = ('circle', 'rectangle', 'triangle', 'ring')
SPLITS = ('train', 'val')
SUPERSAMPLING = 4  # contours are traced on a mask enlarged by this factor, so that they follow pixel borders


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out_dir', type=Path, help='folder to write')
    parser.add_argument('--train', type=int, default=400, help='number of training images (default %(default)s)')
    parser.add_argument('--val', type=int, default=60, help='number of validation images (default %(default)s)')
    parser.add_argument(
        '--size', type=int, nargs=2, default=(160, 128), metavar=('W', 'H'), help='image size in pixels'
    )
    parser.add_argument('--objects', type=int, nargs=2, default=(4, 7), metavar=('MIN', 'MAX'), help='shapes an image')
    parser.add_argument('--seed', type=int, default=0, help='the data set drawn; the two splits never share a seed')
    args = parser.parse_args()
    if args.train < 1 or args.val < 1:
        parser.error(f'--train and --val must be at least 1, got {args.train} and {args.val}')
    if min(args.size) < 64:
        parser.error(f'--size must be at least 64 64, got {args.size[0]} {args.size[1]}')
    if not 4 <= args.objects[0] <= args.objects[1]:
        parser.error(f'--objects must be MIN MAX with 4 <= MIN <= MAX, got {args.objects[0]} {args.objects[1]}')
    return args


def texture(rng: np.random.Generator, height: int, width: int, color: np.ndarray, strength: float) -> np.ndarray:
    """An (h, w, 3) uint8 surface around ``color``: plain, gradient, stripes, checks or noise."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    angle, period = rng.uniform(0, np.pi), rng.uniform(4, 16)
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    patterns = (
        np.zeros((height, width), np.float32),
        2 * (along - along.min()) / np.ptp(along) - 1,
        np.sign(np.sin(2 * np.pi * along / period)),
        np.sign(np.sin(2 * np.pi * along / period) * np.sin(2 * np.pi * across / period)),
        cv2.GaussianBlur(rng.standard_normal((height, width)).astype(np.float32), (0, 0), period / 4) * period / 3,
    )
    pattern = patterns[rng.integers(len(patterns))]
    noise = rng.normal(0, 4, (height, width, 3))
    return np.clip(color + strength * pattern[..., None] + noise, 0, 255).astype(np.uint8)


def shape_mask(rng: np.random.Generator, name: str, height: int, width: int) -> np.ndarray:
    """A boolean (h, w) mask of one shape of random place, size (a 3x range), proportion and rotation."""
    side = min(height, width) * 0.18 * 3 ** rng.uniform(0, 1)
    center = rng.uniform((0.4 * side,) * 2, (width - 0.4 * side, height - 0.4 * side))
    turn = rng.uniform(0, 2 * np.pi)
    ratio = rng.uniform(0.75, 1.0)
    corners = {
        'rectangle': np.pi / 4 + np.arange(4) * np.pi / 2,
        'triangle': np.arange(3) * 2 * np.pi / 3,
    }.get(name, np.linspace(0, 2 * np.pi, 48, endpoint=False))
    unit = np.stack([np.cos(corners), ratio * np.sin(corners)], axis=1)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    outline = unit @ rotation * side * 0.6
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.rint(center + outline).astype(np.int32)], 1)
    if name == 'ring':
        cv2.fillPoly(mask, [np.rint(center + outline * rng.uniform(0.45, 0.6)).astype(np.int32)], 0)
    return mask.astype(bool)


def draw_image(
    rng: np.random.Generator, height: int, width: int, num_objects: int
) -> tuple[np.ndarray, list[tuple[int, np.ndarray]]]:
    """An image and its objects as (class index, visible mask); no object is hidden by more than half."""
    ground = rng.uniform(30, 225, 3)
    image = texture(rng, height, width, ground, strength=25)
    objects: list[tuple[int, np.ndarray, int]] = []  # class, visible mask, area before occlusion
    while len(objects) < num_objects:
        label = int(rng.integers(len(CLASSES)))
        mask = shape_mask(rng, CLASSES[label], height, width)
        area = int(mask.sum())
        if area < 60 or any((visible & ~mask).sum() < 0.5 * full for _, visible, full in objects):
            continue
        objects = [(c, visible & ~mask, full) for c, visible, full in objects] + [(label, mask, area)]
        color = ground
        while np.abs(color - ground).max() < 70:
            color = rng.uniform(20, 235, 3)
        image[mask] = texture(rng, height, width, color, strength=20)[mask]
    return image, [(label, visible) for label, visible, _ in objects]


def polygons(mask: np.ndarray) -> list[list[float]]:
    """The COCO polygons of a boolean mask, in pixels with the origin at the image's corner.

    A COCO polygon cannot have a hole: a part with holes is cut in two at the middle of one until none is left.
    """
    big = cv2.resize(mask.astype(np.uint8), None, fx=SUPERSAMPLING, fy=SUPERSAMPLING, interpolation=cv2.INTER_NEAREST)
    contours, hierarchy = cv2.findContours(big, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    for contour, (_, _, _, parent) in zip(contours, hierarchy[0] if len(contours) else ()):
        if parent >= 0:
            cut = round(float(contour[:, 0, 0].mean()) / SUPERSAMPLING)
            left, right = mask.copy(), mask.copy()
            left[:, cut:], right[:, :cut] = False, False
            return polygons(left) + polygons(right)
    # a contour passes through the centres of the enlarged border pixels, half a pixel inside the border
    return [np.round((c[:, 0] + 0.5) / SUPERSAMPLING, 2).ravel().tolist() for c in contours if len(c) >= 3]


def annotate(mask: np.ndarray) -> dict:
    """The geometry keys of one COCO annotation."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    x, y = int(columns[0]), int(rows[0])
    return dict(
        bbox=[x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y],
        area=int(mask.sum()),
        segmentation=polygons(mask),
        iscrowd=0,
    )


def draw_split(out_dir: Path, split: str, args: argparse.Namespace) -> Iterator[tuple[dict, list[dict]]]:
    """Draw one split image by image; yields the COCO records of each."""
    width, height = args.size
    (out_dir / split).mkdir(parents=True, exist_ok=True)
    for index in track(range(getattr(args, split)), description=f'{split:>5}'):
        rng = np.random.default_rng([args.seed, SPLITS.index(split), index])
        image, objects = draw_image(rng, height, width, int(rng.integers(args.objects[0], args.objects[1] + 1)))
        file_name = f'{index:06d}.png'
        cv2.imwrite(str(out_dir / split / file_name), image)
        record = dict(id=index + 1, file_name=file_name, width=width, height=height)
        yield record, [dict(image_id=index + 1, category_id=c + 1, **annotate(mask)) for c, mask in objects]


def main() -> None:
    args = parse_args()
    (args.out_dir / 'annotations').mkdir(parents=True, exist_ok=True)
    categories = [dict(id=i + 1, name=name) for i, name in enumerate(CLASSES)]
    for split in SPLITS:
        images, per_image = zip(*draw_split(args.out_dir, split, args))
        annotations = [dict(id=i + 1, **ann) for i, ann in enumerate(a for anns in per_image for a in anns)]
        content = dict(images=list(images), annotations=annotations, categories=categories)
        path = args.out_dir / 'annotations' / f'{split}.json'
        path.write_text(json.dumps(content))
        print(f'{path}: {len(images)} images, {len(annotations)} objects')


if __name__ == '__main__':
    main()
