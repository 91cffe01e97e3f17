"""Averages of the weights, the switch of YOLOX to its last epochs, and sizes that hooks draw; in one process."""

from __future__ import annotations

import math
import os

import pytest
import torch
from engine_toys import ToyDataset, ToyDetector, collate, toy_loader, toy_runner
from torch import nn

from mmdet_clone.engine.checkpoint import read_checkpoint
from mmdet_clone.engine.hooks import HOOKS, Hook
from mmdet_clone.engine.hooks.sync_norm import average_norms

EPOCHS = dict(type='EpochBasedRunner', max_epochs=3)


class Trained(Hook):
    """The weights after each iteration."""

    def __init__(self) -> None:
        self.seen: list[dict] = []

    def after_train_iter(self, runner) -> None:
        state = runner.model.state_dict()
        self.seen.append({key: value.clone() for key, value in state.items() if not key.startswith('ema_')})


def recorded(work_dir, **changes):
    """A finished toy runner and the weights after each of its iterations, after those at the start."""
    runner = toy_runner(work_dir, **changes)
    runner.model.init_weights()
    start = {key: value.clone() for key, value in runner.model.state_dict().items()}
    trained = Trained()
    runner.register_hook(trained, priority=48)  # after the optimizer, before the average
    runner.train()
    return runner, [start, *trained.seen]


def averaged(states: list[dict], key: str, momentum_at) -> torch.Tensor:
    average = states[0][key].clone()
    for i, state in enumerate(states[1:]):
        m = momentum_at(i)
        average = (1 - m) * average + m * state[key] if m is not None else average
    return average


@pytest.mark.parametrize(
    ('hook', 'momentum_at'),
    [
        (
            dict(type='ExpMomentumEMAHook', momentum=0.01, total_iter=5),
            lambda i: 0.01 + 0.99 * math.exp(-(1 + i) / 5),
        ),
        (dict(type='LinearMomentumEMAHook', momentum=0.3, warm_up=20), lambda i: min(0.3, (1 + i) / (20 + i))),
        (
            dict(type='LinearMomentumEMAHook', momentum=0.3, warm_up=5, interval=3),
            lambda i: min(0.3**3, (1 + i) / (5 + i)) if (i + 1) % 3 == 0 else None,
        ),
    ],
)
def test_parameters_and_statistics_are_averaged_by_the_formula(tmp_path, hook, momentum_at):
    runner, states = recorded(tmp_path, custom_hooks=[dict(hook, priority=49)], runner=EPOCHS)
    saved = read_checkpoint(tmp_path / 'epoch_3.pth')['state_dict']
    for key in ('linear.weight', 'norm.weight', 'norm.running_mean', 'norm.running_var'):
        torch.testing.assert_close(saved[key], averaged(states, key, momentum_at))
        assert torch.equal(saved[f'ema_{key.replace(".", "_")}'], states[-1][key])
        assert not torch.equal(saved[key], states[-1][key])
    assert saved['norm.num_batches_tracked'] == 12
    assert all(torch.equal(value, saved[key]) for key, value in runner.model.state_dict().items())


def test_buffers_can_be_left_out_of_the_average(tmp_path):
    hook = dict(type='ExpMomentumEMAHook', skip_buffers=True, priority=49)
    _, states = recorded(tmp_path, custom_hooks=[hook])
    saved = read_checkpoint(tmp_path / 'epoch_2.pth')['state_dict']
    assert 'ema_norm_weight' in saved and 'ema_norm_running_mean' not in saved
    assert torch.equal(saved['norm.running_mean'], states[-1]['norm.running_mean'])


@pytest.mark.parametrize('name', ['EMAHook', 'ExpMomentumEMAHook', 'LinearMomentumEMAHook'])
@pytest.mark.parametrize('checkpoint', ['epoch_1.pth', 'iter_6.pth'])
def test_a_resumed_training_averages_as_the_whole_does(tmp_path, name, checkpoint):
    changes = dict(custom_hooks=[dict(type=name, momentum=0.1, priority=49)], runner=EPOCHS)
    if checkpoint.startswith('iter'):  # within an epoch, where the model holds the trained weights
        changes['checkpoint_config'] = dict(interval=3, by_epoch=False)
    whole = toy_runner(tmp_path / 'a', **changes).train().state_dict()
    resumed = toy_runner(tmp_path / 'b', resume_from=str(tmp_path / 'a' / checkpoint), **changes).train()
    assert all(torch.equal(value, whole[key]) for key, value in resumed.state_dict().items())
    (log,) = (tmp_path / 'b').glob('*.log')
    assert log.read_text().count('resumed from') == 1 and 'start from the weights' not in log.read_text()


def test_averages_that_the_checkpoint_lacks_start_from_its_weights_and_the_log_says_so(tmp_path):
    toy_runner(tmp_path / 'a', runner=EPOCHS).train()
    changes = dict(custom_hooks=[dict(type='EMAHook', priority=49)], runner=EPOCHS)
    checkpoint = str(tmp_path / 'a' / 'epoch_3.pth')
    model = toy_runner(tmp_path / 'b', resume_from=checkpoint, **changes).train()
    (log,) = (tmp_path / 'b').glob('*.log')
    assert 'epoch_3.pth holds 0 of 4 averages: the others start from the weights' in log.read_text()
    assert torch.equal(model.ema_linear_weight, model.linear.weight)


def test_a_momentum_outside_of_0_to_1_is_refused():
    with pytest.raises(ValueError, match=r'ExpMomentumEMAHook.momentum must lie between 0 and 1, got 1.5'):
        HOOKS.build(dict(type='ExpMomentumEMAHook', momentum=1.5))


# ---------------------------------------------------------------------- the switch


class Mixing(ToyDataset):
    """Counts in ``target`` how many steps are left out, as the process that makes the sample knows it."""

    def __init__(self, size: int = 4) -> None:
        super().__init__(size)
        self.skipped: tuple = ()
        self.scale: tuple = (0, 0)

    def update_skip_type_keys(self, keys) -> None:
        self.skipped = keys

    def update_dynamic_scale(self, scale) -> None:
        self.scale = scale

    def __getitem__(self, index: int) -> dict:
        target = torch.tensor(float(len(self.skipped) + self.scale[0]))
        return dict(super().__getitem__(index), target=target)


class WithHead(ToyDetector):
    def __init__(self) -> None:
        super().__init__()
        self.bbox_head = nn.Module()
        self.bbox_head.use_l1 = False


class Watch(Hook):
    def __init__(self) -> None:
        self.epochs: list[tuple] = []

    def after_train_iter(self, runner, data_batch=None) -> None:
        if runner.inner_iter == 0:
            left_out = int(data_batch['target'][0])
            self.epochs.append((runner.epoch, left_out, runner.model.bbox_head.use_l1))


def switch_runner(work_dir, loader=None, max_epochs=4, hook=None, **changes):
    hook = hook or dict(type='YOLOXModeSwitchHook', num_last_epochs=2)
    runner = toy_runner(
        work_dir,
        [loader or toy_loader(Mixing())],
        model=WithHead(),
        custom_hooks=[hook],
        runner=dict(type='EpochBasedRunner', max_epochs=max_epochs),
        **changes,
    )
    watch = Watch()
    runner.register_hook(watch)
    return runner, watch


def persistent_loader():
    return torch.utils.data.DataLoader(
        Mixing(), batch_size=2, collate_fn=collate, num_workers=1, persistent_workers=True
    )


@pytest.mark.parametrize('persistent', [False, True], ids=['no workers', 'persistent workers'])
def test_mixing_ends_and_an_l1_loss_begins_for_the_last_epochs(tmp_path, persistent):
    runner, watch = switch_runner(tmp_path, persistent_loader() if persistent else None)
    runner.train()
    assert watch.epochs == [(0, 0, False), (1, 3, True), (2, 3, True), (3, 3, True)]
    log = next(tmp_path.glob('*.log')).read_text()
    assert log.count('Mosaic, RandomAffine, MixUp are left out') == log.count('an L1 loss is added') == 1


def test_persistent_workers_live_on_where_nothing_changes(tmp_path):
    loader, pids = persistent_loader(), []

    class Pids(Hook):
        def after_train_epoch(self, runner) -> None:
            pids.append(loader._iterator._workers[0].pid)

    runner, _ = switch_runner(tmp_path, loader)
    runner.register_hook(Pids())
    runner.train()
    assert pids[0] != pids[1] == pids[2] == pids[3]
    assert os.getpid() not in pids


def test_a_training_resumed_in_the_last_epochs_is_switched(tmp_path):
    switch_runner(tmp_path / 'a')[0].train()
    runner, watch = switch_runner(tmp_path / 'b', resume_from=str(tmp_path / 'a' / 'epoch_3.pth'))
    runner.train()
    assert watch.epochs == [(3, 3, True)]


def test_the_detectors_own_state_goes_through_checkpoints(tmp_path):
    class Sized(WithHead):
        state = dict(input_size=[64, 64], progress_in_iter=0)

        def training_state(self) -> dict:
            return self.state

        def load_training_state(self, state: dict) -> None:
            self.state = state

    def runner_of(folder, **changes):
        hook = dict(type='YOLOXModeSwitchHook', num_last_epochs=1)
        return toy_runner(tmp_path / folder, [toy_loader(Mixing())], model=Sized(), custom_hooks=[hook], **changes)

    first = runner_of('a')
    first.model.state = dict(input_size=[96, 96], progress_in_iter=4)
    first.train()
    second = runner_of('b', resume_from=str(tmp_path / 'a' / 'epoch_1.pth'))
    second.train()
    assert second.model.state == dict(input_size=[96, 96], progress_in_iter=4)


def test_without_a_mixing_data_set_the_switch_says_so_and_adds_the_loss(tmp_path):
    runner, watch = switch_runner(tmp_path, toy_loader(ToyDataset(2)), max_epochs=2)
    runner.train()
    assert watch.epochs[0][2] is True
    assert 'has no MultiImageMixDataset' in next(tmp_path.glob('*.log')).read_text()


def test_the_switch_finds_the_data_set_inside_of_wrappers(tmp_path):
    class Wrapper(ToyDataset):
        def __init__(self) -> None:
            super().__init__(4)
            self.dataset = Mixing()

    wrapper = Wrapper()
    switch_runner(tmp_path, toy_loader(wrapper))[0].train()
    assert wrapper.dataset.skipped == ('Mosaic', 'RandomAffine', 'MixUp')


def test_sizes_are_drawn_after_epochs(tmp_path):
    with pytest.warns(DeprecationWarning, match='random_size_range'):
        hook = HOOKS.build(dict(type='SyncRandomSizeHook', ratio_range=(3, 3), img_scale=(640, 1280), interval=2))
    dataset = Mixing()
    runner = toy_runner(tmp_path, [toy_loader(dataset)], runner=EPOCHS)
    runner.register_hook(hook)
    seen = Trained()
    seen.after_train_epoch = lambda runner: seen.seen.append(dataset.scale)
    runner.register_hook(seen, priority='LOWEST')
    runner.train()
    assert dataset.scale == (96, 192)


def test_norms_of_one_process_are_left_alone():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    model[1].running_mean += 0.3
    before = {key: value.clone() for key, value in model.state_dict().items()}
    average_norms(model)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
