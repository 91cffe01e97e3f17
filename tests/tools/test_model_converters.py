"""tools/model_converters: publishing a checkpoint, converting one of an older MMDetection."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import pytest
import torch
from torch import nn

from mmdet_clone.engine.safe_load import read_checkpoint


@pytest.fixture
def publish(load_tool):
    tool = load_tool('model_converters/publish_model')
    return lambda *args: tool.main([str(a) for a in args])


@pytest.fixture
def upgrade(load_tool, tmp_path):
    """``upgrade(weights, version, *options)``: the converted weights, and the file's meta."""
    tool = load_tool('model_converters/upgrade_model_version')

    def run(weights, version='1.2.0+abc', *options, **meta):
        meta = {'mmdet_version': version, 'config': 'raise SystemExit', **meta}
        content = dict(meta=meta, state_dict=OrderedDict(weights), optimizer=dict(state={}, param_groups=[]))
        torch.save(content, tmp_path / 'old.pth')
        tool.main([str(tmp_path / 'old.pth'), str(tmp_path / 'new.pth'), *options])
        converted = read_checkpoint(tmp_path / 'new.pth')
        assert set(converted) == {'meta', 'state_dict'}
        return converted['state_dict'], converted['meta']

    return run


def rows(count, *shape):
    """A weight whose row i holds i."""
    return torch.arange(float(count)).reshape(-1, *[1] * len(shape)).expand(count, *shape).clone()


# ---------------------------------------------------------------- publishing


def test_what_is_published_is_named_by_its_hash_and_holds_weights_and_classes(publish, tmp_path, capsys):
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    meta = dict(CLASSES=('cat', 'dog'), epoch=12, env_info='my machine', hook_msgs=dict(last_ckpt='/home/me/a.pth'))
    optimizer = torch.optim.SGD(model.parameters(), 0.1).state_dict()
    state = model.state_dict()
    state['ema_0_weight'] = torch.zeros(2, 3)
    state['data_preprocessor.mean'] = torch.zeros(3)
    content = dict(meta=meta, state_dict=state, optimizer=optimizer, message_hub={}, ema_state_dict={}, rng_states=[])
    torch.save(content, tmp_path / 'in.pth')
    final = publish(tmp_path / 'in.pth', tmp_path / 'out.pth')
    assert final.name == f'out-{hashlib.sha256(final.read_bytes()).hexdigest()[:8]}.pth'
    assert sorted(path.name for path in tmp_path.iterdir()) == ['in.pth', final.name]
    published = read_checkpoint(final)
    assert published['meta'] == dict(CLASSES=('cat', 'dog'), epoch=12)
    assert list(published['state_dict']) == list(model.state_dict())
    assert published['state_dict']._metadata[''] == dict(version=1)
    nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).load_state_dict(published['state_dict'])
    assert 'without ema_state_dict, message_hub, optimizer, rng_states' in capsys.readouterr().out


def test_the_averages_are_published_also_from_within_an_epoch(publish, tmp_path):
    state = {'a.weight': torch.zeros(1), 'a.bias': torch.zeros(1), 'ema_a_weight': torch.ones(1)}
    for inner_iter, expected in ((0, 0), (5, 1)):
        torch.save(dict(meta=dict(inner_iter=inner_iter), state_dict=state), tmp_path / 'in.pth')
        published = read_checkpoint(publish(tmp_path / 'in.pth', tmp_path / 'out'))
        assert published['state_dict'] == {'a.weight': torch.tensor([expected]), 'a.bias': torch.zeros(1)}


def test_a_genuine_checkpoint_is_published(publish, shared, tmp_path):
    source = shared / 'weights' / 'yunet_n_mmdet2.24.pth'
    final = publish(source, tmp_path / 'yunet.pth')
    published, before = read_checkpoint(final), read_checkpoint(source)
    assert published['meta']['CLASSES'] == ('FG',)
    assert published['state_dict'].keys() == before['state_dict'].keys()
    assert all(torch.equal(v, before['state_dict'][k]) for k, v in published['state_dict'].items())
    assert final.stat().st_size < 0.6 * source.stat().st_size


def test_code_in_what_shall_be_published_is_refused(publish, tmp_path):
    torch.save(dict(state_dict=dict(a=print)), tmp_path / 'in.pth')
    with pytest.raises(ValueError, match=r'builtins\.print'):
        publish(tmp_path / 'in.pth', tmp_path / 'out.pth')


# ---------------------------------------------------------------- converting


def test_a_two_stage_model_of_1x(upgrade):
    weights, meta = upgrade(
        {
            'backbone.conv1.weight': rows(4, 3, 1, 1),
            'rpn_head.rpn_cls.weight': rows(3, 2, 1, 1),
            'rpn_head.rpn_reg.weight': rows(12, 2, 1, 1),
            'bbox_head.shared_fcs.0.weight': rows(5, 2),
            'bbox_head.fc_cls.weight': rows(4, 2),
            'bbox_head.fc_cls.bias': rows(4),
            'bbox_head.fc_reg.weight': rows(16, 2),
            'bbox_head.fc_reg.bias': rows(16),
            'mask_head.conv_logits.weight': rows(4, 2, 1, 1),
            'mask_head.conv_logits.bias': rows(4),
        }
    )
    first = {key: value.reshape(len(value), -1)[:, 0].tolist() for key, value in weights.items()}
    assert first == {
        'backbone.conv1.weight': [0, 1, 2, 3],
        'rpn_head.rpn_cls.weight': [0, 1, 2],
        'rpn_head.rpn_reg.weight': list(range(12)),
        'roi_head.bbox_head.shared_fcs.0.weight': [0, 1, 2, 3, 4],
        'roi_head.bbox_head.fc_cls.weight': [1, 2, 3, 0],
        'roi_head.bbox_head.fc_cls.bias': [1, 2, 3, 0],
        'roi_head.bbox_head.fc_reg.weight': list(range(4, 16)),
        'roi_head.bbox_head.fc_reg.bias': list(range(4, 16)),
        'roi_head.mask_head.conv_logits.weight': [1, 2, 3],
        'roi_head.mask_head.conv_logits.bias': [1, 2, 3],
    }
    assert meta['upgraded_from'] == '1.2'


def test_layers_that_are_the_same_for_all_classes_stay(upgrade):
    cascade = {}
    for stage in range(2):
        cascade[f'bbox_head.{stage}.fc_cls.weight'] = rows(81, 1)
        cascade[f'bbox_head.{stage}.fc_reg.weight'] = rows(4, 1)
        cascade[f'mask_head.{stage}.conv_logits.weight'] = rows(1, 1, 1, 1)
    cascade['semantic_head.conv_logits.weight'] = rows(81, 1, 1, 1)
    weights, _ = upgrade(cascade)
    assert weights['roi_head.bbox_head.1.fc_cls.weight'][:, 0].tolist() == [*range(1, 81), 0]
    assert torch.equal(weights['roi_head.bbox_head.1.fc_reg.weight'], rows(4, 1))
    assert torch.equal(weights['roi_head.mask_head.0.conv_logits.weight'], rows(1, 1, 1, 1))
    assert torch.equal(weights['roi_head.semantic_head.conv_logits.weight'], rows(81, 1, 1, 1))


@pytest.mark.parametrize('version', ['1.0rc1', '2.0.0', '2.4.0'])
def test_the_background_of_a_softmax_rpn_moves_behind(upgrade, version):
    weights, _ = upgrade(
        {'rpn_head.rpn_cls.bias': rows(6), 'rpn_head.rpn_reg.bias': rows(12)}, version, '--num-classes', '81'
    )
    assert weights['rpn_head.rpn_cls.bias'].tolist() == [1, 0, 3, 2, 5, 4]


def test_heads_of_2_0_are_left_alone(upgrade):
    given = {'roi_head.bbox_head.fc_cls.weight': rows(81, 1), 'rpn_head.rpn_cls.bias': rows(3)}
    weights, _ = upgrade({**given, 'rpn_head.rpn_reg.bias': rows(12)}, '2.3.0')
    assert all(torch.equal(weights[key], value) for key, value in given.items())


def test_an_ssd_has_a_background_for_each_prior(upgrade):
    weights, _ = upgrade(
        {
            'backbone.l2_norm.weight': rows(2),
            'bbox_head.cls_convs.0.weight': rows(12, 1, 1, 1),
            'bbox_head.cls_convs.0.bias': rows(12),
            'bbox_head.reg_convs.0.weight': rows(16, 1, 1, 1),
            'bbox_head.reg_convs.0.bias': rows(16),
        }
    )
    assert weights['bbox_head.cls_convs.0.bias'].tolist() == [1, 2, 0, 4, 5, 3, 7, 8, 6, 10, 11, 9]
    assert weights['bbox_head.cls_convs.0.weight'].flatten().tolist() == [1, 2, 0, 4, 5, 3, 7, 8, 6, 10, 11, 9]
    assert torch.equal(weights['bbox_head.reg_convs.0.bias'], rows(16))


def test_a_retinanet_of_sigmoids_keeps_its_classes_and_gets_longer_names(upgrade):
    given = {
        'bbox_head.cls_convs.0.weight': rows(12, 1, 1, 1),
        'bbox_head.reg_convs.3.bias': rows(12),
        'bbox_head.retina_cls.weight': rows(6, 1, 3, 3),  # 3 priors, 2 classes: as many as 2 priors with 3 would have
        'bbox_head.retina_reg.weight': rows(12, 1, 3, 3),
    }
    weights, _ = upgrade(given, '0.5.3', CLASSES=('cat', 'dog'))
    assert list(weights) == [
        'bbox_head.cls_convs.0.conv.weight',
        'bbox_head.reg_convs.3.conv.bias',
        'bbox_head.retina_cls.weight',
        'bbox_head.retina_reg.weight',
    ]
    assert all(torch.equal(a, b) for a, b in zip(weights.values(), given.values()))


def test_a_retinanet_of_softmax_moves_its_background(upgrade):
    weights, _ = upgrade(
        {'bbox_head.retina_cls.bias': rows(9), 'bbox_head.retina_reg.bias': rows(12)}, '1.1', '--num-classes', '3'
    )
    assert weights['bbox_head.retina_cls.bias'].tolist() == [1, 2, 0, 4, 5, 3, 7, 8, 6]


def test_scores_are_the_same_after_the_conversion(upgrade):
    old = nn.Linear(5, 4)
    weights, _ = upgrade({'bbox_head.fc_cls.weight': old.weight.detach(), 'bbox_head.fc_cls.bias': old.bias.detach()})
    new, x = nn.Linear(5, 4), torch.randn(3, 5)
    new.load_state_dict({key.rpartition('.')[2]: value for key, value in weights.items()})
    assert torch.allclose(new(x).softmax(1), old(x).softmax(1)[:, [1, 2, 3, 0]])


def test_what_cannot_be_converted_is_said(upgrade):
    with pytest.raises(ValueError, match='--num-classes must be 4, not 81'):
        upgrade({'bbox_head.fc_cls.weight': rows(4, 1)}, '1.2.0', '--num-classes', '81')
    with pytest.raises(ValueError, match='give --num-classes'):
        upgrade({'bbox_head.retina_cls.weight': rows(6, 1, 1, 1)})
    with pytest.raises(ValueError, match=r'since 2\.5 nothing has changed'):
        upgrade({'bbox_head.retina_cls.weight': rows(6, 1, 1, 1)}, '2.28.2')
    with pytest.raises(ValueError, match='give --from-version'):
        upgrade({'a': rows(1)}, None)
    weights, _ = upgrade({'a': rows(1)}, None, '--from-version', '1.0')
    assert list(weights) == ['a']
