"""Two-stage detectors of the published configs have the published checkpoints' parameters."""

from __future__ import annotations

import gzip
import json

import pytest
import torch

from mmdet_clone.models import build_detector
from mmdet_clone.registry import UnknownTypeError

KINDS = ('FastRCNN', 'FasterRCNN', 'MaskRCNN')
OURS = ('fast_rcnn/', 'faster_rcnn/', 'mask_rcnn/', 'pascal_voc/faster_rcnn')


def read(path):
    with gzip.open(path, 'rt') as file:
        return json.load(file)


def without_pretrained(node):
    """The config without what would load weights."""
    if isinstance(node, list):
        return [without_pretrained(v) for v in node if not (isinstance(v, dict) and v.get('type') == 'Pretrained')]
    if not isinstance(node, dict):
        return node
    dropped = {
        k for k, v in node.items() if k == 'pretrained' or (isinstance(v, dict) and v.get('type') == 'Pretrained')
    }
    return {k: without_pretrained(v) for k, v in node.items() if k not in dropped}


@pytest.mark.parity
@pytest.mark.parametrize(
    ('folders', 'at_least'), [(OURS, 15), pytest.param(('',), 40, marks=pytest.mark.slow)], ids=['own', 'every']
)
def test_names_and_shapes_equal_the_references(shared, folders, at_least):
    configs, expected = read(shared / 'parity/configs.json.gz'), read(shared / 'parity/state_dicts.json.gz')
    checked, models = set(), set()
    for name, keys in expected.items():
        model = configs[name]['model']
        if not name.startswith(folders):
            continue
        layers = json.dumps({k: v for k, v in model.items() if not k.endswith('_cfg')}, sort_keys=True)
        if model['type'] not in KINDS or layers in models or isinstance(model.get('neck'), list):
            continue
        models.add(layers)
        try:
            with torch.device('meta'):
                built = build_detector(without_pretrained(model))
        except UnknownTypeError:  # a part that is not covered yet
            assert not name.startswith(OURS) or 'ohem' in name, name
            continue
        assert {k: list(v.shape) for k, v in built.state_dict().items()} == dict(keys), name
        checked.add(name)
    assert len(checked) >= at_least, len(checked)
