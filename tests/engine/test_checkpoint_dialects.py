"""Checkpoints of MMDetection 2.x and 3.x, of wrappers and averages: the same weights under several names."""

from __future__ import annotations

import logging
from collections import OrderedDict

import pytest
import torch
from engine_toys import ToyDetector, toy_runner
from mmengine.logging import HistoryBuffer
from torch import nn

from mmdet_clone.engine.checkpoint import load_checkpoint, load_state_dict
from mmdet_clone.engine.key_layouts import adapt_names, weights_of
from mmdet_clone.engine.safe_load import read_checkpoint


def saved(content, path):
    torch.save(content, path)
    return path


class Parts(nn.Module):
    """Entries of the given names, one number each."""

    def __init__(self, *names):
        super().__init__()
        self.names = names
        for name in names:
            parent, _, leaf = name.rpartition('.')
            module = self
            for part in filter(None, parent.split('.')):
                if part not in module._modules:
                    module.add_module(part, nn.Module())
                module = module._modules[part]
            module.register_buffer(leaf, torch.zeros(1))


def ones(*names):
    return {name: torch.ones(1) for name in names}


# ---------------------------------------------------------------- mmengine's own files


@pytest.fixture(scope='module')
def mmengine_file(tmp_path_factory):
    """What mmengine's runner, with its EMA hook, writes after two epochs."""
    from mmengine.model import BaseModel
    from mmengine.optim import OptimWrapper
    from mmengine.runner import Runner

    class Model(BaseModel):
        def __init__(self):
            super().__init__()
            self.linear, self.norm = nn.Linear(2, 1), nn.BatchNorm1d(2)

        def forward(self, inputs, data_samples=None, mode='loss'):
            return dict(loss=self.linear(self.norm(inputs)).square().mean())

    class Data(torch.utils.data.Dataset):
        metainfo = dict(classes=('cat', 'dog'), palette=[(1, 2, 3), (4, 5, 6)])

        def __len__(self):
            return 4

        def __getitem__(self, index):
            return dict(inputs=torch.ones(2) * index)

    folder = tmp_path_factory.mktemp('mmengine')
    model = Model()
    Runner(
        model=model,
        work_dir=str(folder),
        train_dataloader=torch.utils.data.DataLoader(Data(), 2),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=OptimWrapper(torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)),
        param_scheduler=[dict(type='MultiStepLR', milestones=[1])],
        custom_hooks=[dict(type='EMAHook', momentum=0.1)],
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1)),
        experiment_name='for_the_dialects',
        log_level=logging.ERROR,
    ).train()
    return folder / 'epoch_2.pth'


def test_a_file_of_mmengine_loads_with_its_statistics_and_class_names(mmengine_file):
    checkpoint = read_checkpoint(mmengine_file)
    assert checkpoint['meta']['CLASSES'] == ('cat', 'dog')
    assert checkpoint['meta']['PALETTE'] == [(1, 2, 3), (4, 5, 6)]
    history = checkpoint['message_hub']['log_scalars']['train/loss']
    assert isinstance(history, HistoryBuffer)
    assert history.data[0].shape == (4,)
    assert checkpoint['param_schedulers'][0]['milestones'] == {1: 1}


def test_a_model_takes_the_averages_of_mmengine(mmengine_file, capsys):
    model = ToyDetector()
    checkpoint = load_checkpoint(model, mmengine_file, strict=True)
    assert 'loaded 7 of 7 entries' in capsys.readouterr().out
    assert torch.equal(model.linear.weight, checkpoint['state_dict']['linear.weight'])
    trained = checkpoint['ema_state_dict']['module.linear.weight']
    assert not torch.equal(model.linear.weight, trained)


def test_the_other_weights_beside_averages_load_if_they_are_all_there_is(mmengine_file, tmp_path, capsys):
    checkpoint = read_checkpoint(mmengine_file)
    path = saved(dict(ema_state_dict=checkpoint['ema_state_dict']), tmp_path / 'a.pth')
    model = ToyDetector()
    load_checkpoint(model, path, strict=True)
    assert torch.equal(model.linear.weight, checkpoint['ema_state_dict']['module.linear.weight'])
    assert '1 ignored (of EMA)' in capsys.readouterr().out


def test_training_goes_on_from_a_file_of_mmengine(mmengine_file, tmp_path):
    runner = toy_runner(tmp_path, resume_from=str(mmengine_file), runner=dict(type='EpochBasedRunner', max_epochs=3))
    runner.train()
    assert runner.epoch == 3


# ---------------------------------------------------------------- names


def test_the_buffers_of_mmdetection_3_are_ignored_with_a_count(capsys):
    model = Parts('backbone.weight')
    state = ones('backbone.weight', 'data_preprocessor.mean', 'data_preprocessor.std')
    report = load_state_dict(model, state, strict=True)
    assert report.ignored == {'of data_preprocessor': 2}
    assert '0 unexpected, 0 of another shape, 2 ignored (of data_preprocessor)' in capsys.readouterr().out


def test_the_averages_of_mmdetection_2_are_ignored_with_a_count():
    state = ones('backbone.conv.weight', 'ema_backbone_conv_weight', 'ema_backbone_conv_bias')
    report = load_state_dict(Parts('backbone.conv.weight'), state, strict=True)
    assert (report.loaded, report.ignored) == (1, {'of EMA': 2})


def test_a_model_that_has_averages_takes_them():
    model = Parts('weight', 'ema_weight')
    report = load_state_dict(model, ones('weight', 'ema_weight'), strict=True)
    assert (report.loaded, report.ignored) == (2, {})


@pytest.mark.parametrize('prefix', ['module.', 'module.module.', '_orig_mod.', 'ema_model.', 'model.', 'module.model.'])
def test_prefixes_of_wrappers_are_dropped(prefix):
    state = ones(f'{prefix}backbone.weight', f'{prefix}neck.bias')
    report = load_state_dict(Parts('backbone.weight', 'neck.bias'), weights_of(state), strict=True)
    assert report.loaded == 2


def test_a_part_of_the_model_that_is_called_like_a_wrapper_keeps_its_name():
    assert load_state_dict(Parts('model.weight'), ones('model.weight'), strict=True).loaded == 1


@pytest.mark.parametrize('entry', ['state_dict', 'model', 'model_state_dict', 'state_dict_ema', 'model_ema'])
def test_weights_are_found_in_their_entry(entry):
    assert list(weights_of({entry: ones('a.weight'), 'epoch': 3})) == ['a.weight']


def test_a_state_dict_counts_before_averages():
    assert list(weights_of(dict(ema_state_dict=ones('b'), state_dict=ones('a')))) == ['a']


@pytest.mark.parametrize(
    ('given', 'here'),
    [
        ('bbox_head.rpn_conv.weight', 'rpn_head.rpn_conv.weight'),
        ('bbox_head.rpn_cls.bias', 'rpn_head.rpn_cls.bias'),
        ('backbone.l2_norm.weight', 'neck.l2_norm.weight'),
        ('backbone.extra.5.weight', 'neck.extra_layers.2.1.conv.weight'),
        ('backbone.extra.0.bias', 'neck.extra_layers.0.0.conv.bias'),
        ('bbox_head.cls_convs.3.weight', 'bbox_head.cls_convs.3.0.weight'),
        ('bbox_head.reg_convs.0.bias', 'bbox_head.reg_convs.0.0.bias'),
        ('bbox_head.reg_convs.1.weight', 'bbox_head.reg_convs.1.conv.weight'),
    ],
)
def test_names_of_other_versions_are_led_to_ours(given, here):
    report = load_state_dict(Parts(here, 'other'), ones(given))
    assert (report.loaded, report.missing, report.unexpected) == (1, ['other'], [])
    assert sum(report.renamed.values()) == 1


def test_a_name_that_the_model_has_is_never_changed():
    names = ('bbox_head.rpn_cls.bias', 'rpn_head.rpn_cls.bias')
    assert list(adapt_names(ones(*names), names).weights) == list(names)


def test_versions_of_modules_reach_them():
    model = nn.Sequential(nn.BatchNorm1d(2))
    state = OrderedDict((k, v) for k, v in model.state_dict().items() if 'num_batches' not in k)
    state._metadata = OrderedDict({'0': dict(version=1)})
    report = load_state_dict(model, state, strict=True)
    assert report.missing == []


def test_published_names_of_early_ssd_and_of_rpn_reach_every_entry_of_todays(shared):
    import gzip
    import json

    layouts = json.loads(gzip.decompress((shared / 'parity' / 'state_dicts.json.gz').read_bytes()))
    today = [key for key, _ in layouts['ssd/ssd300_coco.py']]
    early = []
    for key in today:
        if key.startswith('neck.extra_layers.'):
            _, _, i, j, _, leaf = key.split('.')
            key = f'backbone.extra.{2 * int(i) + int(j)}.{leaf}'
        elif key.startswith('bbox_head.'):
            key = key.replace('.0.weight', '.weight').replace('.0.bias', '.bias') if key.count('.') == 4 else key
        early.append(key.replace('neck.l2_norm', 'backbone.l2_norm'))
    assert not set(early) <= set(today)
    assert list(adapt_names(ones(*early), today).weights) == today

    today = [key for key, _ in layouts['rpn/rpn_r50_fpn_1x_coco.py']]
    version_3 = [key.replace('rpn_head.', 'bbox_head.') for key in today]
    assert list(adapt_names(ones(*version_3), today).weights) == today


# ---------------------------------------------------------------- a genuine file of MMDetection 2.24


def test_a_published_checkpoint_tells_its_classes_and_its_training(shared):
    path = shared / 'weights' / 'yunet_n_mmdet2.24.pth'
    checkpoint = read_checkpoint(path)
    assert set(checkpoint) == {'meta', 'state_dict', 'optimizer'}
    meta = checkpoint['meta']
    assert meta['mmdet_version'].startswith('2.24')
    assert meta['CLASSES'] == ('FG',)
    assert (meta['epoch'], meta['iter'], meta['seed']) == (560, 225680, 0)
    state = checkpoint['optimizer']['state']
    assert len(state) == len(checkpoint['optimizer']['param_groups'][0]['params'])
    assert all(entry['momentum_buffer'].isfinite().all() for entry in state.values())
    with pytest.raises(ValueError, match=r'Nothing fits this model: it needs .*, the file has backbone\.model0'):
        load_checkpoint(ToyDetector(), path)


@pytest.mark.parametrize('name', ['yolox_nano_coco_mmdet_keys.pth', 'mobilenet_v2_imagenet_mmdet_keys.pth'])
def test_bare_weights_are_read(shared, name):
    weights = weights_of(read_checkpoint(shared / 'weights' / name))
    assert len(weights) == {'y': 642, 'm': 312}[name[0]]
    assert all(isinstance(value, torch.Tensor) for value in weights.values())
