"""Mistakes in the keys that describe a training, and optimizers from config."""

from __future__ import annotations

import pytest
import torch
from engine_toys import ToyDetector, toy_runner
from torch import nn

from mmdet_clone.engine import build_optimizer
from mmdet_clone.engine.optimizer import DefaultOptimizerConstructor
from mmdet_clone.registry import OPTIMIZER_BUILDERS


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(runner=dict(type='EpochBasedRuner', max_epochs=1)), 'Did you mean EpochBasedRunner'),
        (dict(runner=dict(type='EpochBasedRunner')), 'EpochBasedRunner needs .max_epochs.'),
        (dict(runner=dict(type='EpochBasedRunner', max_epochs='12')), 'max_epochs must be a whole number'),
        (dict(optimizer=dict(type='SGDD', lr=0.1)), r"'SGDD' is not in the optimizer registry.*SGD"),
        (dict(optimizer=dict(type='SGD', lr=0.1, momentun=0.9)), "did you mean 'momentum'"),
        (dict(lr_config=dict(policy='stepp', step=[1])), 'did you mean step'),
        (dict(log_config=dict(hooks=[dict(type='WandbLoggerHook')])), 'log_config.hooks.*derive a hook from'),
        (dict(custom_hooks=[dict(type='NumClasCheckHook')]), 'Did you mean NumClassCheckHook'),
        (dict(optimizer_config=dict(grad_clips=None)), "did you mean 'grad_clip'"),
        (dict(checkpoint_config=dict(intervall=1)), "did you mean 'interval'"),
        (dict(workflow=[('val', 1)]), "with a 'train' among them"),
        (dict(workflow=[('train', 1), ('val', 1)]), 'no loader of validation data'),
        (dict(evaluation=dict(save_best='loudness'), eval_loader=[]), "evaluation.rule='greater' or 'less'"),
        (dict(precision='fp8'), "'fp32', 'fp16' or 'bf16'"),
    ],
)
def test_mistakes_are_named_before_training(tmp_path, changes, message):
    with pytest.raises((KeyError, TypeError, ValueError), match=message):
        toy_runner(tmp_path, **changes)


def test_a_schedule_by_epoch_needs_a_runner_that_counts_them(tmp_path):
    runner = toy_runner(
        tmp_path,
        runner=dict(type='IterBasedRunner', max_iters=2),
        lr_config=dict(policy='step', step=[1], by_epoch=True),
    )
    with pytest.raises(ValueError, match='by_epoch=False'):
        runner.train()


@pytest.mark.parametrize('by_epoch', [True, False])
def test_by_epoch_follows_the_runner(tmp_path, by_epoch):
    epochs, iters = dict(type='EpochBasedRunner', max_epochs=1), dict(type='IterBasedRunner', max_iters=2)
    built = toy_runner(tmp_path, runner=epochs if by_epoch else iters)
    counting = [hook for hook in built.hooks if hasattr(hook, 'by_epoch')]
    assert [hook.by_epoch for hook in counting] == [by_epoch] * 2


@pytest.mark.parametrize('kind', ['DistOptimizerHook', 'Fp16OptimizerHook', 'OptimizerHook'])
def test_optimizer_hooks_under_their_mmcv_names(tmp_path, kind):
    runner = toy_runner(tmp_path, optimizer_config=dict(type=kind, grad_clip=dict(max_norm=35)))
    hook = next(hook for hook in runner.hooks if hook.priority == 'ABOVE_NORMAL')
    assert type(hook).__name__ == 'OptimizerHook'
    assert hook.grad_clip == dict(max_norm=35)


def test_paramwise_options_reach_the_groups_and_the_config_is_left_alone():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    cfg = dict(
        type='SGD', lr=0.1, weight_decay=0.01,
        paramwise_cfg=dict(bias_lr_mult=2.0, bias_decay_mult=0.0, norm_decay_mult=0.5),
    )  # fmt: skip
    optimizer = build_optimizer(model, cfg)
    assert [group['lr'] for group in optimizer.param_groups] == pytest.approx([0.1, 0.2, 0.1, 0.1])
    assert [group['weight_decay'] for group in optimizer.param_groups] == pytest.approx([0.01, 0.0, 0.005, 0.005])
    assert 'paramwise_cfg' in cfg


def test_a_constructor_of_ones_own_is_used():
    @OPTIMIZER_BUILDERS.register_module(force=True)
    class OnlyBias(DefaultOptimizerConstructor):
        def add_params(self, params, module, **kwargs):
            params.append(dict(params=[p for name, p in module.named_parameters() if name.endswith('bias')]))

    cfg = dict(type='Adam', lr=0.1, constructor='OnlyBias', paramwise_cfg=dict(anything=1))
    optimizer = build_optimizer(ToyDetector(), cfg)
    assert isinstance(optimizer, torch.optim.Adam)
    assert [p.ndim for p in optimizer.param_groups[0]['params']] == [1, 1]
