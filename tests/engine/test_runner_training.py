"""Training of a toy model by the runners: logs, checkpoints, evaluation, resume."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_toys import ToyDataset, ToyDetector, toy_loader, toy_runner
from torch import nn

from mmdet_clone.engine.safe_load import read_checkpoint


def json_lines(work_dir):
    return [json.loads(line) for line in next(Path(work_dir).glob('*.log.json')).read_text().splitlines()]


def log_text(work_dir):
    return next(path for path in Path(work_dir).glob('*.log')).read_text()


def weights(path):
    return read_checkpoint(path)['state_dict']


def same_weights(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_log_lines_and_json_are_those_of_mmcv(tmp_path):
    toy_runner(tmp_path, meta=dict(env_info='here')).train()
    line = next(line for line in log_text(tmp_path).splitlines() if 'Epoch [1][2/4]' in line)
    assert re.search(
        r'Epoch \[1\]\[2/4\]\tlr: 1\.000e-01, eta: \d:\d\d:\d\d, time: \d+\.\d{3}, data_time: \d+\.\d{3}, '
        r'memory: \d+, .*loss: \d+\.\d{4}',
        line,
    )
    meta, *lines = json_lines(tmp_path)
    assert meta['env_info'] == 'here'
    assert meta['seed'] == 3
    assert [(entry['epoch'], entry['iter']) for entry in lines] == [(1, 2), (1, 4), (2, 2), (2, 4)]
    assert {'mode', 'epoch', 'iter', 'lr', 'memory', 'data_time', 'loss', 'loss_point', 'time'} == set(lines[0])


def test_logged_losses_are_means_of_the_interval(tmp_path):
    runner = toy_runner(tmp_path, log_config=dict(interval=4, hooks=[dict(type='TextLoggerHook')]))
    seen = []
    runner.call_hook, call = (lambda name, **kw: (_note(runner, name, seen), call(name, **kw))), runner.call_hook
    runner.train()
    logged = [entry['loss'] for entry in json_lines(tmp_path)[1:]]
    assert logged == pytest.approx([sum(seen[:4]) / 4, sum(seen[4:]) / 4], abs=1e-5)


def _note(runner, name, seen):
    if name == 'after_train_iter':
        seen.append(runner.outputs['loss'].item())


def test_a_data_set_shorter_than_the_interval_is_logged_at_the_epochs_end(tmp_path):
    toy_runner(tmp_path, log_config=dict(interval=50, hooks=[dict(type='TextLoggerHook')])).train()
    assert [(entry['epoch'], entry['iter']) for entry in json_lines(tmp_path)[1:]] == [(1, 4), (2, 4)]


def test_checkpoints_carry_meta_and_the_latest_is_linked(tmp_path):
    toy_runner(tmp_path, checkpoint_config=dict(interval=1, meta=dict(mmdet_version='2.28.2'))).train()
    checkpoint = read_checkpoint(tmp_path / 'latest.pth')
    meta = checkpoint['meta']
    assert os.readlink(tmp_path / 'latest.pth') == 'epoch_2.pth'
    assert (meta['epoch'], meta['iter'], meta['seed'], meta['CLASSES']) == (2, 8, 3, ('thing',))
    assert "optimizer = dict(type='SGD', lr=0.1, momentum=0.9)" in meta['config']
    assert meta['mmdet_version'] == '2.28.2'
    assert 'torch' in meta['versions']
    assert set(checkpoint['optimizer']) == {'state', 'param_groups'}


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    toy_runner(
        tmp_path,
        runner=dict(type='EpochBasedRunner', max_epochs=7),
        checkpoint_config=dict(interval=2, max_keep_ckpts=2),
        log_config=dict(interval=50, hooks=[]),
    ).train()
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == ['epoch_6.pth', 'epoch_7.pth', 'latest.pth']


def test_evaluation_is_logged_and_the_best_checkpoint_kept(tmp_path):
    dataset = ToyDataset(5)
    dataset.scores = iter([0.3, 0.5, 0.4])
    toy_runner(
        tmp_path,
        eval_loader=toy_loader(dataset, shuffle=False),
        evaluation=dict(interval=1, metric='bbox', save_best='auto'),
        runner=dict(type='EpochBasedRunner', max_epochs=3),
    ).train()
    assert [path.name for path in tmp_path.glob('best*')] == ['best_bbox_mAP_epoch_2.pth']
    assert 'Epoch(val) [2][3]\tbbox_mAP: 0.5000' in log_text(tmp_path)
    assert dict(mode='val', epoch=2, iter=3, lr=0.1, bbox_mAP=0.5) in json_lines(tmp_path)
    assert [result[0][0, 4] for result in dataset.evaluated[0]] == [0, 1, 2, 3, 4]


def test_the_best_score_is_remembered_by_a_resume(tmp_path):
    def run(scores, max_epochs, **changes):
        dataset = ToyDataset(4)
        dataset.scores = iter(scores)
        toy_runner(
            tmp_path,
            eval_loader=toy_loader(dataset, shuffle=False),
            evaluation=dict(save_best='bbox_mAP'),
            runner=dict(type='EpochBasedRunner', max_epochs=max_epochs),
            **changes,
        ).train()

    run([0.3, 0.6], 2)
    run([0.5], 3, resume_from=str(tmp_path / 'epoch_2.pth'))
    assert [path.name for path in tmp_path.glob('best*')] == ['best_bbox_mAP_epoch_2.pth']


def test_evaluation_intervals_may_change_on_the_way(tmp_path):
    dataset = ToyDataset(2)
    toy_runner(
        tmp_path,
        eval_loader=toy_loader(dataset, shuffle=False),
        evaluation=dict(interval=3, dynamic_intervals=[(5, 1)]),
        runner=dict(type='EpochBasedRunner', max_epochs=6),
        checkpoint_config=None,
    ).train()
    assert [entry['epoch'] for entry in json_lines(tmp_path) if entry.get('mode') == 'val'] == [3, 5, 6]


def test_an_evaluation_changes_nothing_for_the_training(tmp_path):
    plain = toy_runner(tmp_path / 'a').train().state_dict()
    evaluated = toy_runner(tmp_path / 'b', eval_loader=toy_loader(shuffle=False, workers=1)).train().state_dict()
    assert same_weights(plain, evaluated)


def test_a_validation_flow_logs_losses_and_leaves_weights_and_statistics_alone(tmp_path):
    workflow = [('train', 1), ('val', 1)]
    plain = toy_runner(tmp_path / 'a').train().state_dict()
    with_val = toy_runner(tmp_path / 'b', workflow=workflow, val_loader=toy_loader(ToyDataset(6))).train()
    assert with_val.training is False
    assert same_weights(plain, with_val.state_dict())
    val = [entry for entry in json_lines(tmp_path / 'b') if entry.get('mode') == 'val']
    assert [(entry['epoch'], entry['iter'], 'loss' in entry) for entry in val] == [(1, 3, True), (2, 3, True)]
    assert 'Epoch(val) [1][3]\t' in log_text(tmp_path / 'b')


def test_iterations_are_counted_by_the_iter_based_runner(tmp_path):
    dataset = ToyDataset(4)
    toy_runner(
        tmp_path,
        runner=dict(type='IterBasedRunner', max_iters=10),
        lr_config=dict(policy='step', step=[6]),
        checkpoint_config=dict(interval=5),
        log_config=dict(interval=5, hooks=[dict(type='TextLoggerHook')]),
        evaluation=dict(interval=5, metric='bbox'),
        eval_loader=toy_loader(dataset, shuffle=False),
    ).train()
    assert {'iter_5.pth', 'iter_10.pth', 'latest.pth'} == {path.name for path in tmp_path.glob('*.pth')}
    assert re.search(r'Iter \[5/10\]\tlr: 1\.000e-01, eta: .*, loss', log_text(tmp_path))
    assert 'Iter(val) [2]\tbbox_mAP: 0.2500' in log_text(tmp_path)
    assert [(e['mode'], e['iter'], e['lr']) for e in json_lines(tmp_path)[1:]] == [
        ('train', 5, 0.1), ('val', 2, 0.1), ('train', 10, 0.01), ('val', 2, 0.01),
    ]  # fmt: skip


@pytest.mark.parametrize('kind', ['epoch boundary', 'within an epoch', 'iterations'])
def test_a_resumed_training_ends_with_the_same_weights(tmp_path, kind):
    runner = dict(type='EpochBasedRunner', max_epochs=4)
    checkpoints = dict(interval=2)
    if kind == 'within an epoch':
        checkpoints = dict(interval=6, by_epoch=False)
    if kind == 'iterations':
        runner, checkpoints = dict(type='IterBasedRunner', max_iters=16), dict(interval=6)
    changes = dict(
        runner=runner,
        checkpoint_config=checkpoints,
        lr_config=dict(policy='CosineAnnealing', min_lr=0, warmup='linear', warmup_iters=7),
    )
    whole = toy_runner(tmp_path / 'a', **changes).train().state_dict()
    start = tmp_path / 'a' / ('epoch_2.pth' if kind == 'epoch boundary' else 'iter_6.pth')
    torch.rand(7)
    resumed = toy_runner(tmp_path / 'b', resume_from=str(start), **changes)
    assert same_weights(whole, resumed.train().state_dict())
    assert resumed.iter == 16


KILLED = """
import os, signal, sys
from engine_toys import toy_runner
from mmdet_clone.engine.hooks import Hook
class Kill(Hook):
    def after_train_iter(self, runner):
        if runner.iter == 10:
            os.kill(os.getpid(), signal.SIGKILL)
runner = toy_runner(sys.argv[1], runner=dict(type='EpochBasedRunner', max_epochs=4))
runner.register_hook(Kill())
runner.train()
"""


def test_after_kill_9_a_resume_ends_with_the_same_weights(tmp_path, root):
    whole = toy_runner(tmp_path / 'a', runner=dict(type='EpochBasedRunner', max_epochs=4)).train().state_dict()
    paths = os.pathsep.join([str(root), str(root / 'tests' / 'engine')])
    killed = subprocess.run(
        [sys.executable, '-c', KILLED, str(tmp_path / 'b')], env={**os.environ, 'PYTHONPATH': paths}, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    latest = tmp_path / 'b' / 'latest.pth'
    assert os.readlink(latest) == 'epoch_2.pth'
    resumed = toy_runner(
        tmp_path / 'b', resume_from=str(latest), runner=dict(type='EpochBasedRunner', max_epochs=4)
    ).train()
    assert same_weights(whole, resumed.state_dict())


def test_load_from_takes_the_weights_only(tmp_path):
    toy_runner(tmp_path / 'a').train()
    start = tmp_path / 'a' / 'epoch_2.pth'
    runner = toy_runner(tmp_path / 'b', load_from=str(start), runner=dict(type='EpochBasedRunner', max_epochs=0))
    assert same_weights(weights(start), runner.train().state_dict())
    assert (runner.epoch, runner.iter) == (0, 0)


def test_resuming_from_bare_weights_is_refused(tmp_path):
    torch.save(dict(state_dict=ToyDetector().state_dict()), tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='use load_from'):
        toy_runner(tmp_path, resume_from=str(tmp_path / 'a.pth')).train()


def test_learning_rates_of_parameter_groups_keep_their_ratio(tmp_path):
    optimizer = dict(type='SGD', lr=0.1, paramwise_cfg=dict(custom_keys={'norm': dict(lr_mult=0.1)}))
    runner = toy_runner(tmp_path, optimizer=optimizer, lr_config=dict(policy='step', step=[1]))
    runner.train()
    assert sorted(set(runner.current_lr())) == pytest.approx([0.001, 0.01])


def test_gradients_are_clipped_and_their_norm_is_logged(tmp_path):
    runner = toy_runner(tmp_path, optimizer_config=dict(grad_clip=dict(max_norm=0.001)))
    runner.train()
    norm = torch.stack([p.grad.norm() for p in runner.model.parameters()]).norm()
    assert float(norm) <= 0.00101
    assert json_lines(tmp_path)[1]['grad_norm'] > 0.001


def test_accumulated_iterations_make_the_step_of_one_large_batch(tmp_path):
    class Line(ToyDetector):
        def forward(self, img, target, img_metas, mode='loss'):
            return dict(loss=((self.linear(img)[:, 0] - torch.stack(target)) ** 2).mean())

    small = toy_runner(
        tmp_path / 'a', model=Line(), optimizer_config=dict(type='GradientCumulativeOptimizerHook', cumulative_iters=2)
    ).train()
    large = toy_runner(tmp_path / 'b', loaders=[toy_loader(batch_size=4)], model=Line()).train()
    assert torch.allclose(small.linear.weight, large.linear.weight, atol=1e-6)


def test_a_train_step_of_mmdetection_2_is_driven(tmp_path):
    class Old(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(2, 1)

        def train_step(self, data, optimizer):
            loss = self.linear(data['img']).pow(2).mean()
            return dict(loss=loss, log_vars=dict(loss=loss.item()), num_samples=len(data['img']))

    model = Old()
    before = model.linear.weight.detach().clone()
    toy_runner(tmp_path, model=model).train()
    assert not torch.equal(before, model.linear.weight)


def test_workers_do_not_change_the_training(tmp_path):
    alone = toy_runner(tmp_path / 'a').train().state_dict()
    with_workers = toy_runner(tmp_path / 'b', loaders=[toy_loader(workers=1)]).train().state_dict()
    assert same_weights(alone, with_workers)


def test_bf16_trains_on_a_cpu_with_float32_weights(tmp_path):
    seen = []

    class Watched(ToyDetector):
        def forward(self, img, target, img_metas, mode='loss'):
            seen.append(self.linear(img).dtype)
            return super().forward(img, target, img_metas, mode)

    model = toy_runner(tmp_path, model=Watched(), precision='bf16').train()
    assert set(seen) == {torch.bfloat16}
    assert model.linear.weight.dtype == torch.float32


@pytest.mark.skipif(torch.cuda.is_available(), reason='about machines without CUDA')
def test_fp16_without_cuda_says_so_and_trains_in_float32(tmp_path):
    runner = toy_runner(tmp_path, fp16=dict(loss_scale=512.0))
    runner.train()
    assert 'fp16 needs CUDA: training in float32' in log_text(tmp_path)


def test_synchronised_batchnorm_becomes_batchnorm_with_the_same_entries(tmp_path):
    model = ToyDetector()
    model.norm = nn.SyncBatchNorm(2)
    keys = list(model.state_dict())
    runner = toy_runner(tmp_path, model=model)
    runner.train()
    assert list(runner.model.state_dict()) == keys
    assert '1 SyncBatchNorm layers run as BatchNorm' in log_text(tmp_path)


def test_an_unwritable_work_dir_is_an_error_before_training(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(OSError, match=r'cannot write to .*file/work .*--work-dir'):
        toy_runner(tmp_path / 'file' / 'work')


def test_a_loader_without_batches_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r'ToyDataset \(1 images\) gives no batch'):
        toy_runner(tmp_path, loaders=[torch.utils.data.DataLoader(ToyDataset(1), batch_size=2, drop_last=True)])


@pytest.mark.parametrize('workers', [0, 1])
@pytest.mark.parametrize('kind', ['EpochBasedRunner', 'IterBasedRunner'])
def test_a_resume_within_an_epoch_is_exact_with_the_toolboxs_own_loader(tmp_path, kind, workers):
    from mmdet_clone.datasets import build_dataloader

    class Noisy(ToyDataset):
        flag = np.zeros(8, dtype=np.uint8)

        def __getitem__(self, index):
            sample = super().__getitem__(index)
            return dict(img=sample['img'] + np.random.rand(), target=sample['target'], img_metas=dict(index=index))

    class Padded(ToyDetector):
        def forward(self, img, target, img_metas, mode='loss'):
            return super().forward(torch.stack(list(img)), target, img_metas, mode)

    def train(name, **changes):
        loader = build_dataloader(Noisy(), 2, workers, dist=False, seed=3, runner_type=kind)
        length = dict(max_epochs=4) if kind == 'EpochBasedRunner' else dict(max_iters=16)
        changes.update(runner=dict(type=kind, **length), checkpoint_config=dict(interval=6, by_epoch=False))
        runner = toy_runner(tmp_path / name, [loader], model=Padded(), **changes)
        runner.train()
        return runner.model.state_dict()

    whole = train('a')
    assert same_weights(whole, train('b', resume_from=str(tmp_path / 'a' / 'iter_6.pth')))
