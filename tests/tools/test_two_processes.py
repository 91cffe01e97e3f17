"""Two processes on the CPU, started by the scripts that users start."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import rank_spy
import tiny_detector
import torch

from mmdet_clone.config import load_config
from mmdet_clone.datasets import build_dataset, collate
from mmdet_clone.engine import load_checkpoint, save_checkpoint
from mmdet_clone.models import build_detector

# Every anchor and proposal is sampled, no image is flipped, and the learning rate stays.
DETERMINISTIC = """
for part in ('rpn', 'rcnn'):
    model['train_cfg'][part]['sampler'].update(num=1000000, pos_fraction=1.0)
train_pipeline[3]['flip_ratio'] = 0.0
lr_config = dict(policy='fixed')
data['imgs_per_gpu'] = data.pop('samples_per_gpu')
runner['max_epochs'] = 2
load_from = '{start}'
model['test_cfg']['rcnn']['score_thr'] = 0.0
"""


def environment(root):
    env = {
        k: v for k, v in os.environ.items() if k not in ('PORT', 'MASTER_PORT', 'MASTER_ADDR', 'NNODES', 'NODE_RANK')
    }
    return {**env, 'PYTHON': sys.executable, 'PYTHONPATH': str(root / 'tests'), 'OMP_NUM_THREADS': '1'}


def run(root, script, *arguments, **env):
    command = [str(root / 'tools' / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env={**environment(root), **env})


@pytest.fixture(scope='module')
def trained(root, tmp_path_factory):
    """A run of two processes on 4 images: config, checkpoint, and what each rank saw."""
    folder = tmp_path_factory.mktemp('two')
    data = tiny_detector.make_data(folder / 'data', num_train=4, num_val=5)
    start, seen = folder / 'start.pth', folder / 'seen'
    extra = DETERMINISTIC.replace('{start}', str(start)) + rank_spy.EXTRA.replace('{out}', str(seen))
    config = tiny_detector.write_config(folder / 'tiny.py', data, extra)
    torch.manual_seed(1)
    model = build_detector(load_config(config).model)
    model.init_weights()
    save_checkpoint(model, start)
    done = run(root, 'dist_train.sh', config, 2, '--work-dir', folder / 'run', '--seed', 5, '--no-validate')
    assert done.returncode == 0, done.stdout + done.stderr
    ranks = [torch.load(seen / f'rank_{rank}.pth', weights_only=True) for rank in range(2)]
    return SimpleNamespace(
        config=config, start=start, work_dir=folder / 'run', ranks=ranks, log=done.stdout + done.stderr
    )


def test_both_ranks_end_with_the_same_weights(trained):
    first, second = (rank['weights'] for rank in trained.ranks)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    initial = torch.load(trained.start, weights_only=True)['state_dict']
    assert any(not torch.equal(value, initial[name]) for name, value in first.items())


def test_each_rank_takes_other_images(trained):
    files = [rank['files'] for rank in trained.ranks]
    assert len(files[0]) == len(files[1]) == 1 and files[0] != files[1]


def test_gradient_is_the_mean_of_the_two_single_image_gradients(trained):
    single = [gradients(trained, rank['files'][0]) for rank in trained.ranks]
    for name, grad in trained.ranks[0]['grads'].items():
        assert torch.equal(grad, trained.ranks[1]['grads'][name]), name
        expected = (single[0][name] + single[1][name]) / 2
        torch.testing.assert_close(grad, expected, rtol=1e-3, atol=1e-5, msg=lambda m, name=name: f'{name}: {m}')
    assert trained.ranks[0]['grads'].keys() == single[0].keys()


def gradients(trained, file):
    cfg = load_config(trained.config)
    model = build_detector(cfg.model)
    load_checkpoint(model, trained.start)
    dataset = build_dataset(cfg.data.train)
    index = [info['filename'] for info in dataset.data_infos].index(file)
    loss, _ = model.train().parse_losses(model(**collate([dataset[index]])))
    loss.backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def test_log_tells_the_processes_once(trained):
    for text in ('Start running', '1.x config: data.imgs_per_gpu=1', 'entries from'):
        assert trained.log.count(text) == 1, text
    assert 'Warning' not in trained.log and 'Hooks will be' not in trained.log
    assert 'Processes: 2' in trained.log
    assert 'terminate called' not in trained.log


def test_testing_by_two_processes_equals_testing_by_one_image_by_image(root, run_tool, trained, tmp_path):
    checkpoint = trained.work_dir / 'latest.pth'
    arguments = ['--eval', 'bbox', 'segm', '--work-dir']
    two = run(
        root, 'dist_test.sh', trained.config, checkpoint, 2, '--out', tmp_path / 'two.pkl', *arguments, tmp_path / 'two'
    )  # fmt: skip
    assert two.returncode == 0, two.stdout + two.stderr
    run_tool('test', trained.config, checkpoint, '--out', tmp_path / 'one.pkl', *arguments, tmp_path / 'one')
    single, double = (pickle.loads((tmp_path / f'{name}.pkl').read_bytes()) for name in ('one', 'two'))
    assert len(single) == len(double) == 5  # odd, so one rank tests an image more
    for (boxes_a, masks_a), (boxes_b, masks_b) in zip(single, double, strict=True):
        assert sum(map(len, boxes_a)) > 0
        for a, b in zip(boxes_a, boxes_b, strict=True):
            np.testing.assert_array_equal(a, b)
        assert masks_a == masks_b
    figures = [next((tmp_path / name).glob('eval_*.json')).read_text() for name in ('one', 'two')]
    assert figures[0] == figures[1]


def test_port_in_use_is_told_with_the_variable_to_set(root, trained):
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run(root, 'dist_train.sh', trained.config, 2, '--work-dir', trained.work_dir / 'other', PORT=port)
    assert done.returncode != 0
    assert f'port {port} cannot be used' in done.stderr and 'set PORT' in done.stderr
    assert 'Traceback' not in done.stderr
