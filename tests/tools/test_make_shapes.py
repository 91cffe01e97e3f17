"""The embedded data set: deterministic, and as varied as its purpose asks."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest


@pytest.fixture(scope='module')
def script(root: Path) -> Path:
    return root / 'tools/dataset_converters/make_shapes.py'


@pytest.fixture(scope='module')
def make_shapes(script: Path):
    spec = importlib.util.spec_from_file_location('make_shapes', script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(script: Path, out_dir: Path, *args: str) -> dict[str, dict]:
    command = [sys.executable, str(script), str(out_dir), '--train', '12', '--val', '6', *args]
    subprocess.run(command, check=True, capture_output=True)
    return {split: json.loads((out_dir / f'annotations/{split}.json').read_text()) for split in ('train', 'val')}


def decode(annotation: dict, image: dict) -> np.ndarray:
    from pycocotools import mask as mask_utils

    rles = mask_utils.frPyObjects(annotation['segmentation'], image['height'], image['width'])
    return mask_utils.decode(mask_utils.merge(rles)).astype(bool)


@pytest.fixture(scope='module')
def shapes(script: Path, tmp_path_factory) -> tuple[Path, dict[str, dict]]:
    out_dir = tmp_path_factory.mktemp('shapes')
    return out_dir, run(script, out_dir)


def test_same_seed_draws_the_same_files_and_another_seed_does_not(script, shapes, tmp_path):
    out_dir, content = shapes
    assert run(script, tmp_path / 'again') == content
    image = 'train/000000.png'
    assert (tmp_path / 'again' / image).read_bytes() == (out_dir / image).read_bytes()
    assert run(script, tmp_path / 'other', '--seed', '1') != content


def test_validation_images_differ_from_training_images(shapes):
    out_dir, _ = shapes
    train = {path.read_bytes() for path in (out_dir / 'train').iterdir()}
    assert len(train) == 12
    assert not train & {path.read_bytes() for path in (out_dir / 'val').iterdir()}


def test_every_image_has_four_objects_and_sizes_span_a_factor_of_three(shapes):
    annotations = shapes[1]['train']['annotations']
    counts = np.bincount([a['image_id'] for a in annotations])[1:]
    assert counts.min() >= 4
    sides = np.sqrt([a['bbox'][2] * a['bbox'][3] for a in annotations])
    assert sides.max() / sides.min() >= 3
    assert len({a['category_id'] for a in annotations}) == 4


def test_polygons_cover_the_visible_mask_and_agree_with_area_and_box(shapes):
    content = shapes[1]['train']
    images = {image['id']: image for image in content['images']}
    for annotation in content['annotations']:
        mask = decode(annotation, images[annotation['image_id']])
        assert abs(mask.sum() - annotation['area']) <= 0.03 * annotation['area']
        x, y, w, h = annotation['bbox']
        assert mask[y : y + h, x : x + w].sum() == mask.sum()


def test_objects_of_one_image_overlap_but_their_masks_do_not(shapes):
    content = shapes[1]['train']
    images = {image['id']: image for image in content['images']}
    boxes_overlap = False
    for image_id, image in images.items():
        annotations = [a for a in content['annotations'] if a['image_id'] == image_id]
        covered = sum(decode(a, image).astype(int) for a in annotations)
        assert (covered > 1).mean() < 0.01  # borders may share a pixel
        filled = np.zeros(covered.shape, int)
        for x, y, w, h in (a['bbox'] for a in annotations):
            filled[y : y + h, x : x + w] += 1
        boxes_overlap |= bool((filled > 1).any())
    assert boxes_overlap


def test_a_mask_with_two_holes_becomes_polygons_without_filling_them(make_shapes):
    mask = np.zeros((40, 60), bool)
    mask[5:35, 5:55] = True
    mask[10:20, 10:20] = mask[15:30, 35:50] = False
    decoded = decode({'segmentation': make_shapes.polygons(mask)}, {'height': 40, 'width': 60})
    assert (decoded == mask).all()


def test_images_match_their_records(shapes):
    out_dir, content = shapes
    for image in content['val']['images']:
        assert cv2.imread(str(out_dir / 'val' / image['file_name'])).shape == (image['height'], image['width'], 3)


@pytest.mark.parametrize('args', [('--train', '0'), ('--size', '10', '10'), ('--objects', '1', '3')])
def test_impossible_arguments_are_refused_with_the_rule(script, tmp_path, args):
    done = subprocess.run([sys.executable, str(script), str(tmp_path), *args], capture_output=True, text=True)
    assert done.returncode == 2
    assert args[0] in done.stderr
