"""MMDetection 2.28's 634 zoo configs read to their values; ours resolve to the same."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from mmdet_clone.config import config_text, dump_config, load_config, translate_legacy

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
OURS = sorted(p.relative_to(CONFIGS).as_posix() for p in CONFIGS.glob('[!_]*/*.py'))
FOLDERS = (
    'cityscapes',
    'common',
    'dcn',
    'dcnv2',
    'deepfashion',
    'empirical_attention',
    'fast_rcnn',
    'faster_rcnn',
    'gcnet',
    'gn',
    'gn+ws',
    'lvis',
    'mask_rcnn',
    'objects365',
    'openimages',
    'pascal_voc',
    'regnet',
    'retinanet',
    'rpn',
    'ssd',
    'wider_face',
)


@pytest.fixture(scope='module')
def zoo(shared) -> dict[str, dict]:
    with gzip.open(shared / 'parity' / 'configs.json.gz') as file:
        return json.load(file)


def lists(value):
    """``value`` with lists for tuples, as the reference has them."""
    if isinstance(value, dict):
        return {key: lists(item) for key, item in value.items()}
    return [lists(item) for item in value] if isinstance(value, list | tuple) else value


def as_translated(values: dict) -> dict:
    """What the 1.x spellings that a few zoo configs still have must turn into."""
    values = json.loads(json.dumps(values))
    values.pop('total_epochs', None)
    if 'imgs_per_gpu' in values['data']:
        values['data']['samples_per_gpu'] = values['data'].pop('imgs_per_gpu')
    for key in ('train_cfg', 'test_cfg'):
        if key in values:
            values['model'][key] = values.pop(key)
    return values


@pytest.mark.parity
@pytest.mark.parametrize('shard', range(4))
def test_every_zoo_config_reads_to_its_values_and_translation_leaves_it_alone(zoo, tmp_path, shard):
    changed = []
    for name, values in list(zoo.items())[shard::4]:
        path = tmp_path / name.replace('/', '-')
        path.write_text(config_text(values))
        cfg = load_config(path)
        got = lists(cfg.to_dict())
        assert got == as_translated(values), name
        assert lists(translate_legacy(cfg).to_dict()) == got, name
        changed += [name] * (got != values)
    assert len(changed) <= 3  # autoassign (total_epochs), deepfashion (imgs_per_gpu), guided_anchoring (train_cfg)


@pytest.mark.parity
@pytest.mark.parametrize('name', [name for name in OURS if name.split('/')[0] in FOLDERS])
def test_our_config_resolves_to_the_zoos_values(zoo, name):
    assert name in zoo, f'{name} is not a name of the zoo'
    assert lists(load_config(CONFIGS / name).to_dict()) == as_translated(zoo[name])


@pytest.mark.parametrize('path', sorted(CONFIGS.glob('_base_/**/*.py')), ids=lambda p: p.stem)
def test_each_base_file_reads_alone(path):
    assert load_config(path).to_dict()


def test_a_resolved_config_is_written_and_read_back_equal(tmp_path):
    cfg = load_config(CONFIGS / 'mask_rcnn' / 'mask_rcnn_r50_fpn_1x_coco.py')
    assert load_config(dump_config(cfg, tmp_path / 'out.py')).to_dict() == cfg.to_dict()


def test_every_algorithm_folder_has_a_readme_that_lists_its_configs():
    for folder in FOLDERS:
        text = (CONFIGS / folder / 'README.md').read_text()
        missing = [p.stem for p in (CONFIGS / folder).glob('*.py') if p.stem not in text]
        assert not missing, f'{folder}/README.md does not mention {missing}'
