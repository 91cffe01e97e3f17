"""Small annotation files to make data sets of."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest

TOY = dict(
    images=[
        dict(id=1, file_name='wide.jpg', width=200, height=100),
        dict(id=2, file_name='high.jpg', width=100, height=200),
        dict(id=3, file_name='empty.jpg', width=200, height=100),
        dict(id=4, file_name='small.jpg', width=20, height=100),
    ],
    annotations=[
        dict(id=11, image_id=1, category_id=5, bbox=[10, 20, 30, 40], area=1200, iscrowd=0),
        dict(id=12, image_id=1, category_id=9, bbox=[0, 0, 50, 50], area=2500, iscrowd=1),
        dict(id=13, image_id=2, category_id=9, bbox=[5, 5, 20, 100], area=2000, iscrowd=0),
        dict(id=14, image_id=4, category_id=5, bbox=[0, 0, 10, 10], area=100, iscrowd=0),
    ],
    categories=[dict(id=5, name='cat'), dict(id=9, name='dog')],
)


@pytest.fixture
def toy() -> dict:
    """A COCO dict: a wide image (a cat, a crowd of dogs), a high one (a dog), an empty one, one under 32 pixels."""
    return copy.deepcopy(TOY)


@pytest.fixture
def write_json(tmp_path: Path) -> Callable[[object], str]:
    def write(content: object, name: str = 'annotations.json') -> str:
        path = tmp_path / name
        path.write_text(json.dumps(content))
        return str(path)

    return write
