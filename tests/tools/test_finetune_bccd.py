"""Fine-tuning on blood cells: its configs, and its script as a person runs it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import torch

from mmdet_clone.config import load_config
from mmdet_clone.models import build_detector

FOLDER = Path(__file__).resolve().parents[2] / 'configs' / 'bccd'
CONFIG, RANDOM = FOLDER / 'retinanet_mbv2_fpn_bccd.py', FOLDER / 'retinanet_mbv2_fpn_bccd_random.py'
WEIGHTS = 'weights/mobilenet_v2_imagenet_mmdet_keys.pth'


@pytest.fixture(scope='module')
def script(root) -> Path:
    return root / 'demo' / 'finetune_bccd.sh'


def run(*command) -> subprocess.CompletedProcess:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True)


def differences(a: dict, b: dict, path: str = '') -> set[str]:
    """The keys, with dots, under which two configs differ."""
    if not (isinstance(a, dict) and isinstance(b, dict)):
        return {path} if a != b else set()
    keys = a.keys() | b.keys()
    return set().union(*(differences(a.get(k), b.get(k), f'{path}.{k}'.lstrip('.')) for k in keys))


def test_the_run_to_compare_with_differs_in_where_the_backbone_starts_alone():
    tuned, random = load_config(CONFIG).to_dict(), load_config(RANDOM).to_dict()
    assert differences(tuned, random) == {f'model.backbone.{k}' for k in ('init_cfg', 'frozen_stages', 'norm_eval')}


def test_every_imagenet_weight_finds_its_place_in_the_backbone(shared):
    cfg = load_config(CONFIG)
    cfg.model.backbone.init_cfg.checkpoint = str(shared / WEIGHTS)
    model = build_detector(cfg.model)
    model.init_weights()
    weights = torch.load(shared / WEIGHTS, weights_only=True)['state_dict']
    state = model.backbone.state_dict()
    assert len(weights) == 312 and weights.keys() == state.keys()
    assert all(torch.equal(weights[key], state[key]) for key in weights)


def test_the_stem_is_frozen_and_a_step_reaches_all_other_weights():
    model = build_detector({**load_config(RANDOM).model, 'backbone': {**load_config(CONFIG).model.backbone}}).train()
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert {name.split('.')[1] for name in frozen} == {'conv1', 'layer1'}
    meta = dict(img_shape=(64, 96, 3), pad_shape=(64, 96, 3), ori_shape=(64, 96, 3), scale_factor=1.0, flip=False)
    cell = dict(gt_bboxes=[torch.tensor([[8.0, 8.0, 40.0, 40.0]])], gt_labels=[torch.tensor([1])])
    losses = model.forward_train(torch.randn(1, 3, 64, 96), [meta], **cell)
    model.parse_losses(losses)[0].backward()
    # one without a gradient would stop training in several processes
    assert {name for name, p in model.named_parameters() if p.grad is None} == frozen


def test_the_readme_lists_the_configs():
    text = (FOLDER / 'README.md').read_text()
    assert [path.stem for path in FOLDER.glob('*.py') if f'`{path.stem}`' not in text] == []


def test_the_tutorial_shows_the_configs_as_they_are(root):
    text = (root / 'docs' / 'finetune.md').read_text()
    assert CONFIG.read_text() in text
    assert RANDOM.read_text().split('\n', 1)[1] in text  # without the comment above it


@pytest.mark.parametrize(
    'arguments, message',
    [
        ((), 'usage: '),
        (('/nowhere', 'weights.pth'), 'there is no /nowhere/ImageSets/Main'),
        (('DATA', '/nowhere/weights.pth'), 'there is no file of weights /nowhere/weights.pth'),
        (('DATA', 'weights.pth', '--epochs'), 'unknown option --epochs'),
    ],
)
def test_a_wrong_argument_is_told_before_anything_runs(script, tmp_path, arguments, message):
    (tmp_path / 'BCCD' / 'ImageSets' / 'Main').mkdir(parents=True)
    done = run(script, *(tmp_path if argument == 'DATA' else argument for argument in arguments))
    assert done.returncode == 2
    assert message in done.stderr


@pytest.fixture
def few_images(shared, tmp_path, load_tool) -> list[str]:
    """Entries of the config that leave eight images to train on and two to validate."""
    load_tool('dataset_converters/pascal_voc').main(
        [str(shared / 'data/bccd'), '-o', str(tmp_path), '--out-format', 'coco', '--classes', 'RBC', 'WBC', 'Platelets']
    )
    options = []
    for split, source, count in (('train', 'train', 8), ('val', 'val', 2), ('test', 'val', 2)):
        content = json.loads((tmp_path / f'bccd_{source}.json').read_text())
        content['images'] = content['images'][:count]
        kept = {image['id'] for image in content['images']}
        content['annotations'] = [a for a in content['annotations'] if a['image_id'] in kept]
        path = tmp_path / f'few_{split}.json'
        path.write_text(json.dumps(content))
        options.append(f'data.{split}.ann_file={path}')
    return options


@pytest.mark.slow
def test_the_script_trains_both_and_says_where_everything_is(script, shared, few_images, tmp_path):
    work_dir = tmp_path / 'work'
    options = [*few_images, 'runner.max_epochs=2', 'log_config.interval=1']
    done = run(script, shared / 'data/bccd', shared / WEIGHTS, work_dir, *options)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert 'loaded 312 of 312 entries' in done.stdout
    *_, tuned, random = done.stdout.strip().splitlines()
    assert re.fullmatch(r'fine-tuned: bbox_mAP=-?\d\.\d{3} bbox_mAP_50=-?\d\.\d{3}', tuned)
    assert re.fullmatch(r'from random weights: bbox_mAP=-?\d\.\d{3} bbox_mAP_50=-?\d\.\d{3}', random)
    assert (work_dir / 'curves.png').stat().st_size > 1000
    for name in ('finetuned', 'random'):
        assert len(list((work_dir / name / 'images').rglob('*.jpg'))) == 2
        assert (work_dir / name / 'latest.pth').is_file()
