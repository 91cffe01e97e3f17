"""Hooks of mmcv 1.x and of mmengine side by side, and the toolbox's own."""

from __future__ import annotations

import mmengine.hooks
import pytest
import torch
from engine_toys import ToyDataset, ToyDetector, toy_loader, toy_runner
from torch import nn

from mmdet_clone.engine.hooks import HOOKS, Hook, LoggerHook, OptimizerHook, check_num_classes


class Recorder(Hook):
    """Written for mmcv 1.x: every method takes the runner."""

    def __init__(self):
        self.calls = []

    def before_run(self, runner):
        self.calls.append(('before_run', runner.epoch, runner.iter))

    def before_epoch(self, runner):
        self.calls.append(('before_epoch', runner.mode, runner.epoch))

    def after_epoch(self, runner):
        self.calls.append(('after_epoch', runner.mode, runner.epoch))

    def after_train_iter(self, runner):
        super().after_train_iter(runner)
        if self.every_n_iters(runner, 3):
            self.calls.append(('every 3', runner.iter, runner.inner_iter))
        if self.every_n_inner_iters(runner, 3):
            self.calls.append(('every 3 inner', runner.iter, runner.inner_iter))
        if self.end_of_epoch(runner) and self.is_last_epoch(runner):
            self.calls.append(('end', self.is_last_iter(runner), runner.max_epochs, runner.max_iters))

    def after_train_epoch(self, runner):
        if self.every_n_epochs(runner, 2):
            self.calls.append(('every 2 epochs', runner.epoch))

    def after_run(self, runner):
        self.calls.append(('after_run', runner.epoch, runner.iter))


def test_a_hook_of_mmcv_1_runs_as_it_is(tmp_path):
    runner = toy_runner(tmp_path, workflow=[('train', 1), ('val', 1)], val_loader=toy_loader(ToyDataset(2)))
    recorder = Recorder()
    runner.register_hook(recorder, priority='LOW')
    runner.train()
    assert recorder.calls == [
        ('before_run', 0, 0),
        ('before_epoch', 'train', 0),
        ('every 3', 2, 2),
        ('every 3 inner', 2, 2),
        ('before_epoch', 'val', 1),
        ('after_epoch', 'val', 1),
        ('before_epoch', 'train', 1),
        ('every 3', 5, 1),
        ('every 3 inner', 6, 2),
        ('end', True, 2, 8),
        ('every 2 epochs', 1),
        ('before_epoch', 'val', 2),
        ('after_epoch', 'val', 2),
        ('after_run', 2, 8),
    ]


def test_hooks_of_mmcv_1_read_what_its_runner_offers(tmp_path):
    seen = {}

    class Reader(Hook):
        def after_train_iter(self, runner):
            seen.update(
                outputs=sorted(runner.outputs),
                samples=runner.outputs['num_samples'],
                names=sorted(runner.outputs['log_vars']),
                gradient=runner.model.module.linear.weight.grad is not None,
                lr=runner.optimizer.param_groups[0]['lr'] == runner.current_lr()[0],
                work_dir=runner.work_dir == str(tmp_path),
                batches=len(runner.data_loader),
                position=(runner.epoch, runner.iter, runner.inner_iter, runner.mode),
                rank=(runner.rank, runner.world_size),
            )
            runner.log_buffer.update({'mine': 1.5})

    runner = toy_runner(tmp_path)
    runner.register_hook(Reader())
    runner.train()
    assert seen == dict(
        outputs=['log_vars', 'loss', 'num_samples'],
        samples=2,
        names=['loss', 'loss_point'],
        gradient=True,
        lr=True,
        work_dir=True,
        batches=4,
        position=(1, 7, 3, 'train'),
        rank=(0, 1),
    )
    assert 'mine: 1.5000' in next(tmp_path.glob('*.log')).read_text()


def test_model_module_adds_nothing_to_the_state_dict(tmp_path):
    runner = toy_runner(tmp_path)
    assert runner.model.module is runner.model
    assert list(runner.model.state_dict()) == list(ToyDetector().state_dict())
    assert 'module' not in dict(runner.model.named_children())


def test_a_hook_of_mmengine_gets_its_arguments_and_sees_evaluations(tmp_path):
    calls = []

    class Modern(mmengine.hooks.Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            calls.append((batch_idx, sorted(data_batch), sorted(outputs)))

        def after_val_epoch(self, runner, metrics=None):
            calls.append(metrics)

    runner = toy_runner(
        tmp_path,
        runner=dict(type='EpochBasedRunner', max_epochs=1),
        loaders=[toy_loader(ToyDataset(2))],
        eval_loader=toy_loader(ToyDataset(2), shuffle=False),
    )
    modern, recorder = Modern(), Recorder()
    runner.register_hook(modern)
    runner.register_hook(recorder)
    runner.train()
    assert calls == [(0, ['img', 'img_metas', 'target'], ['loss', 'loss_point']), {'bbox_mAP': 0.25}]
    assert [call for call in recorder.calls if 'epoch' in call[0] and call[1] == 'val'] == []


def test_custom_hooks_are_built_by_name_with_their_priority(tmp_path):
    HOOKS.register_module(module=Recorder, force=True)
    runner = toy_runner(tmp_path, custom_hooks=[dict(type='Recorder', priority='VERY_HIGH'), dict(type='Recorder')])
    names = [(type(hook).__name__, hook.priority) for hook in runner.hooks]
    assert names == [
        ('RuntimeInfoHook', 'VERY_HIGH'),
        ('LrUpdaterHook', 'VERY_HIGH'),
        ('Recorder', 'VERY_HIGH'),
        ('OptimizerHook', 'ABOVE_NORMAL'),
        ('CheckpointHook', 'NORMAL'),
        ('Recorder', 'NORMAL'),
        ('IterTimerHook', 'LOW'),
        ('TextLoggerHook', 'VERY_LOW'),
    ]


def test_an_optimizer_hook_of_ones_own_replaces_the_update(tmp_path):
    @HOOKS.register_module(force=True)
    class SignDescent(OptimizerHook):
        def after_train_iter(self, runner):
            runner.optimizer.zero_grad()
            runner.outputs['loss'].backward()
            self.clip_grads(runner.model.parameters())
            for parameter in runner.model.parameters():
                if parameter.grad is not None:
                    parameter.data -= 0.125 * parameter.grad.sign()

    config = dict(type='SignDescent', grad_clip=dict(max_norm=1))
    model = toy_runner(tmp_path, optimizer_config=config).train()
    assert torch.equal(model.linear.weight * 8, (model.linear.weight * 8).round())


def test_a_logger_of_ones_own_logs_what_the_others_do(tmp_path):
    lines = []

    @HOOKS.register_module(force=True)
    class ListLogger(LoggerHook):
        def log(self, runner):
            lines.append((self.get_mode(runner), self.get_iter(runner), sorted(runner.log_buffer.output)))

    toy_runner(
        tmp_path,
        log_config=dict(interval=4, hooks=[dict(type='ListLogger'), dict(type='TextLoggerHook')]),
        eval_loader=toy_loader(shuffle=False),
        evaluation=dict(interval=2),
    ).train()
    assert lines == [
        ('train', 4, ['data_time', 'loss', 'loss_point', 'time']),
        ('train', 8, ['data_time', 'loss', 'loss_point', 'time']),
        ('val', 9, ['bbox_mAP', 'eval_iter_num']),
    ]


def test_tensorboard_gets_the_scalars(tmp_path):
    pytest.importorskip('tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    toy_runner(tmp_path, log_config=dict(interval=4, hooks=[dict(type='TensorboardLoggerHook')])).train()
    events = EventAccumulator(str(tmp_path / 'tf_logs'))
    events.Reload()
    assert {'train/loss', 'train/loss_point', 'learning_rate', 'momentum'} <= set(events.Tags()['scalars'])
    assert [event.step for event in events.Scalars('train/loss')] == [4, 8]


def test_missing_tensorboard_is_said_with_the_command(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', None)
    runner = toy_runner(tmp_path, log_config=dict(interval=4, hooks=[dict(type='TensorboardLoggerHook')]))
    with pytest.raises(ImportError, match='pip install tensorboard'):
        runner.train()


class Head(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.num_classes = num_classes


def detector(*numbers):
    model = nn.Module()
    model.backbone = Head(1000)
    model.backbone.__class__ = type('SSDVGG', (Head,), {})
    model.rpn_head = Head(1)
    model.roi_head = nn.Module()
    model.roi_head.bbox_head = nn.ModuleList([Head(n) for n in numbers[:-1]])
    model.roi_head.mask_head = Head(numbers[-1])
    return model


def test_every_wrong_head_is_listed_with_its_config_key():
    with pytest.raises(ValueError, match='ToyDataset has 1 classes') as caught:
        check_num_classes(detector(1, 80, 80), ToyDataset())
    lines = str(caught.value).splitlines()[1:]
    assert lines == [
        '  model.roi_head.bbox_head.1.num_classes=80 (Head)',
        '  model.roi_head.mask_head.num_classes=80 (Head)',
    ]
    check_num_classes(detector(1, 1, 1), ToyDataset())


def test_classes_as_a_string_are_refused(tmp_path):
    dataset = ToyDataset()
    dataset.CLASSES = 'person'
    runner = toy_runner(tmp_path, loaders=[toy_loader(dataset)], custom_hooks=[dict(type='NumClassCheckHook')])
    with pytest.raises(ValueError, match=r"write \('person',\) with a comma"):
        runner.train()


def test_a_loss_that_is_not_a_number_stops_the_training(tmp_path):
    class Bad(ToyDetector):
        def forward(self, img, target, img_metas, mode='loss'):
            return dict(loss_cls=self.linear(img).sum() / 0, loss_bbox=self.linear(img).sum())

    runner = toy_runner(tmp_path, model=Bad(), custom_hooks=[dict(type='CheckInvalidLossHook', interval=1)])
    with pytest.raises(FloatingPointError, match=r'iteration 1: .*loss_cls: -?inf'):
        runner.train()


def test_models_are_told_the_epoch(tmp_path):
    class Told(ToyDetector):
        epochs = ()

        def set_epoch(self, epoch):
            self.epochs = (*self.epochs, epoch)

    model = toy_runner(tmp_path, model=Told(), custom_hooks=[dict(type='SetEpochInfoHook')]).train()
    assert model.epochs == (0, 1)


def test_averaged_weights_are_saved_and_resumed(tmp_path):
    changes = dict(
        custom_hooks=[dict(type='EMAHook', momentum=0.1, warm_up=1, priority=49)],
        runner=dict(type='EpochBasedRunner', max_epochs=3),
    )
    whole = toy_runner(tmp_path / 'a', **changes).train().state_dict()
    assert not torch.equal(whole['linear.weight'], whole['ema_linear_weight'])
    resumed = toy_runner(tmp_path / 'b', resume_from=str(tmp_path / 'a' / 'epoch_2.pth'), **changes).train()
    assert all(torch.equal(value, whole[key]) for key, value in resumed.state_dict().items())
