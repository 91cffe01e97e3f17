"""The configs of YOLOX: the zoo's values, and models that train and take the published weights."""

from __future__ import annotations

import ast
import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmdet_clone.config import load_config

FOLDER = Path(__file__).resolve().parents[2] / 'configs' / 'yolox'
LEGACY = FOLDER / 'yolox_nano_8x8_300e_coco_legacy.py'
ZOO = sorted(path for path in FOLDER.glob('*.py') if path != LEGACY)


def lists(value):
    """``value`` with lists for tuples, as the reference has them."""
    if isinstance(value, dict):
        return {key: lists(item) for key, item in value.items()}
    return [lists(item) for item in value] if isinstance(value, list | tuple) else value


@pytest.mark.parity
def test_they_resolve_to_the_values_of_the_zoo(shared):
    with gzip.open(shared / 'parity' / 'configs.json.gz') as file:
        zoo = {name: values for name, values in json.load(file).items() if name.startswith('yolox/')}
    assert {f'yolox/{path.name}' for path in ZOO} == set(zoo)
    for path in ZOO:
        assert lists(load_config(path).to_dict()) == zoo[f'yolox/{path.name}'], path.name


def test_the_readme_lists_them_all():
    text = (FOLDER / 'README.md').read_text()
    assert [path.stem for path in (*ZOO, LEGACY) if f'`{path.stem}`' not in text] == []


def test_the_legacy_config_differs_in_the_images_alone():
    new, legacy = load_config(FOLDER / 'yolox_nano_8x8_300e_coco.py'), load_config(LEGACY)
    assert legacy.model.backbone == new.model.backbone and legacy.custom_hooks == new.custom_hooks
    for split in ('val', 'test'):
        steps = [step.type for step in legacy.data[split].pipeline[1].transforms]
        assert steps == ['Resize', 'RandomFlip', 'Pad', 'Normalize', 'DefaultFormatBundle', 'Collect']
    training = [step for step in legacy.data.train.pipeline if step.type != 'Normalize']
    assert training == new.data.train.pipeline


@pytest.mark.parity
def test_published_weights_fit_without_a_rest(shared):
    from mmdet_clone.models import build_detector

    weights = torch.load(shared / 'weights/yolox_nano_coco_mmdet_keys.pth', weights_only=True)
    weights = weights.get('state_dict', weights)
    detector = build_detector(load_config(LEGACY).model)
    assert len(weights) == len(detector.state_dict()) == 642
    detector.load_state_dict(weights, strict=True)


@pytest.mark.slow
@pytest.mark.parity
def test_published_weights_reach_mmdetections_figures_on_coco(shared, root):
    data = shared / 'data/coco_mini'
    command = [
        *(sys.executable, str(root / 'tools/test.py'), str(LEGACY)),
        str(shared / 'weights/yolox_nano_coco_mmdet_keys.pth'),
        *('--eval', 'bbox', '--cfg-options'),
        f'data.test.ann_file={data / "annotations/instances_val2017.json"}',
        f'data.test.img_prefix={data / "val2017"}',
        *('data.workers_per_gpu=0', 'data.persistent_workers=False'),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    figures = ast.literal_eval(next(line for line in done.stdout.splitlines() if line.startswith("{'bbox_mAP'")))
    for name, expected in dict(bbox_mAP=0.3156, bbox_mAP_50=0.5047, bbox_mAP_75=0.3223).items():
        assert figures[name] == pytest.approx(expected, abs=0.001), name


@pytest.mark.slow
def test_a_training_of_two_epochs_goes_through_every_stage(shared, tmp_path):
    """Mixing, other sizes, averaged weights, the switch to the last epoch, evaluation and the best checkpoint."""
    from mmdet_clone.apis import train_detector
    from mmdet_clone.datasets import build_dataset
    from mmdet_clone.models import build_detector

    data = shared / 'data/coco_mini'
    options = {
        'model.input_size': [96, 96],
        'model.random_size_range': [3, 4],
        'model.random_size_interval': 2,
        'data.samples_per_gpu': 16,
        'data.workers_per_gpu': 1,
        'data.train.dataset.ann_file': str(data / 'annotations/instances_train2017.json'),
        'data.train.dataset.img_prefix': str(data / 'train2017'),
        'data.val.ann_file': str(data / 'annotations/instances_val2017.json'),
        'data.val.img_prefix': str(data / 'val2017'),
        'runner.max_epochs': 2,
        'lr_config.warmup_iters': 1,
        'lr_config.num_last_epochs': 0,
        'custom_hooks.0.num_last_epochs': 0,
        'custom_hooks.1.num_last_epochs': 0,
        'checkpoint_config.interval': 1,
        'evaluation.interval': 2,
        'log_config.interval': 1,
    }
    cfg = load_config(FOLDER / 'yolox_nano_8x8_300e_coco.py', options)
    for step in cfg.data.train.pipeline:
        if 'img_scale' in step:
            step.img_scale = (96, 96)
        if 'border' in step:
            step.border = (-48, -48)
    cfg.work_dir, cfg.seed, cfg.device = str(tmp_path), 0, 'cpu'
    detector = build_detector(cfg.model)
    train_detector(detector, build_dataset(cfg.data.train), cfg, validate=True)
    log = next(tmp_path.glob('*.log')).read_text()
    assert log.count('loss_l1') == log.count('Epoch [2][') > 0 and 'are left out from now on' in log
    assert list(tmp_path.glob('best_bbox_mAP_epoch_2.pth'))
    assert detector.bbox_head.use_l1
