"""Every pipeline of the reference's configs builds, and every step it has is here."""

from __future__ import annotations

import gzip
import inspect
import json
from collections.abc import Iterator
from typing import Any

import pytest

from mmdet_clone.registry import PIPELINES, type_name

PACKAGES = {'Albu': 'albumentations', 'Corrupt': 'imagecorruptions', 'InstaBoost': 'instaboostfast'}


@pytest.fixture(scope='module')
def known(shared) -> set[str]:
    return set(json.loads((shared / 'parity/registries.json').read_text())['PIPELINES'])


def test_no_step_of_the_reference_is_missing(known):
    assert not known - set(PIPELINES.names())


def steps_in(node: Any, known: set[str]) -> Iterator[dict]:
    if isinstance(node, dict) and type_name(node) in known:
        yield node
    elif isinstance(node, dict | list):
        for child in node.values() if isinstance(node, dict) else node:
            yield from steps_in(child, known)


def test_every_step_of_the_published_configs_builds(shared, known):
    configs = json.loads(gzip.decompress((shared / 'parity/configs.json.gz').read_bytes()))
    distinct = {json.dumps(step, sort_keys=True): step for c in configs.values() for step in steps_in(c, known)}
    absent = {name for name, package in PACKAGES.items() if _absent(package)}
    for step in distinct.values():
        if type_name(step) not in absent:
            PIPELINES.build(step)
    assert {'Albu', 'InstaBoost', 'CopyPaste', 'RandomCenterCropPad'} <= {type_name(s) for s in distinct.values()}


def _absent(package: str) -> bool:
    try:
        __import__(package)
    except Exception:  # packages of another age fail in many ways
        return True
    return False


def test_the_page_of_augmentations_lists_every_step_with_its_arguments(root):
    lines = (root / 'docs/augmentations.md').read_text().splitlines()
    rows = [line for line in lines if line.startswith('|')]
    inherited = {'LoadImageFromWebcam': {'color_type', 'channel_order', 'file_client_args', 'on_error'}}
    for name in PIPELINES.names():
        if not PIPELINES.get(name).__module__.startswith('mmdet_clone.'):
            continue  # registered by a test
        (row,) = [row for row in rows if f'`{name}`' in row.split('|')[1]]
        arguments = set(inspect.signature(PIPELINES.get(name)).parameters) - {'normed_bbox'}
        missing = [a for a in arguments - inherited.get(name, set()) if f'`{a}`' not in row]
        assert not missing, (name, missing)
