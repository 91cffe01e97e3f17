"""ResNet and its variants: outputs as torchvision's, freezing, and their options."""

from __future__ import annotations

import copy

import pytest
import torch
import torchvision
from torch import nn

from mmdet_clone.models import BACKBONES, build_backbone
from mmdet_clone.models.backbones import ResNet, ResNetV1d, ResNeXt
from mmdet_clone.models.backbones.resnet import BasicBlock, Bottleneck
from mmdet_clone.models.layers import ResLayer

IMAGE = torch.linspace(-1, 1, 2 * 3 * 64 * 64).sin().reshape(2, 3, 64, 64)
SMALL = dict(depth=50, base_channels=8, norm_eval=False)


def bn_layers(module: nn.Module) -> list[nn.Module]:
    return [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]


def peer_features(peer: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    x = peer.maxpool(peer.relu(peer.bn1(peer.conv1(x))))
    features = []
    for stage in (peer.layer1, peer.layer2, peer.layer3, peer.layer4):
        x = stage(x)
        features.append(x)
    return features


@pytest.mark.parametrize(
    ('peer_name', 'make'),
    [
        ('resnet18', lambda: ResNet(18)),
        ('resnet50', lambda: ResNet(50)),
        ('resnext50_32x4d', lambda: ResNeXt(depth=50, groups=32, base_width=4)),
    ],
)
def test_features_equal_those_of_torchvision_with_the_same_weights(peer_name, make):
    peer, ours = getattr(torchvision.models, peer_name)().eval(), make().eval()
    for layer in bn_layers(peer):
        nn.init.normal_(layer.running_mean)
        nn.init.uniform_(layer.running_var, 0.5, 2)
    weights = {k: v for k, v in peer.state_dict().items() if not k.startswith('fc.')}
    ours.load_state_dict(weights)  # strict: the names are torchvision's
    with torch.no_grad():
        for feature, expected in zip(ours(IMAGE), peer_features(peer, IMAGE), strict=True):
            torch.testing.assert_close(feature, expected)


@pytest.mark.parametrize(('depth', 'million'), [(18, 11.18), (34, 21.28), (50, 23.51), (101, 42.50), (152, 58.14)])
def test_number_of_parameters_is_that_of_the_paper_without_its_classifier(depth, million):
    with torch.device('meta'):
        model = ResNet(depth)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(million, abs=0.01)


@pytest.mark.parametrize('name', ['ResNet', 'ResNetV1d', 'ResNeXt'])
def test_registered_backbone_runs_forward_and_backward(name):
    assert name in BACKBONES.names()
    model = build_backbone(dict(type=name, **SMALL))
    outs = model(IMAGE)
    assert [tuple(o.shape) for o in outs] == [(2, 32 * 2**i, 16 // 2**i, 16 // 2**i) for i in range(4)]
    sum(o.sum() for o in outs).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_caffe_style_strides_in_the_first_convolution():
    strides = {s: [c.stride[0] for c in (b.conv1, b.conv2)] for s in ('pytorch', 'caffe') for b in [_block(s)]}
    assert strides == {'pytorch': [1, 2], 'caffe': [2, 1]}


def _block(style: str) -> Bottleneck:
    return ResNet(50, base_channels=8, style=style).layer2[0]


def test_dilations_keep_the_resolution_and_out_indices_choose_stages():
    model = ResNet(18, base_channels=8, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), out_indices=[1, 3])
    assert [tuple(o.shape[1:]) for o in model(IMAGE)] == [(16, 8, 8), (64, 8, 8)]


def test_fewer_stages_are_built_than_the_four_there_are():
    model = ResNet(18, base_channels=8, num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,))
    assert model.res_layers == ['layer1', 'layer2', 'layer3']
    assert [tuple(o.shape[1:]) for o in model(IMAGE)] == [(32, 4, 4)]


def test_deep_stem_and_average_pooling_in_short_cuts_make_resnet_d():
    model = ResNetV1d(**SMALL)
    assert [k for k in model.state_dict() if k.startswith('stem') and k.endswith('weight')] == [
        'stem.0.weight',
        'stem.1.weight',
        'stem.3.weight',
        'stem.4.weight',
        'stem.6.weight',
        'stem.7.weight',
    ]
    shortcut = model.layer2[0].downsample
    assert isinstance(shortcut[0], nn.AvgPool2d)
    assert shortcut[0].stride == 2
    assert shortcut[1].stride == (1, 1)


@pytest.mark.parametrize('frozen_stages', [-1, 0, 1, 4])
@pytest.mark.parametrize('cls', [ResNet, ResNetV1d])
def test_frozen_stages_neither_learn_nor_update_their_statistics(cls, frozen_stages):
    model = cls(frozen_stages=frozen_stages, **SMALL).train()
    before = copy.deepcopy(model.state_dict())
    model(IMAGE)
    stem = ('stem', 'conv1', 'bn1')
    frozen = stem * (frozen_stages >= 0) + tuple(f'layer{i}' for i in range(1, frozen_stages + 1))
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad != (name.split('.')[0] in frozen), name
    for name, value in model.state_dict().items():
        if name.endswith('running_mean'):
            assert torch.equal(value, before[name]) == (name.split('.')[0] in frozen), name


def test_norm_eval_keeps_all_statistics_while_weights_learn():
    model = ResNet(18, base_channels=8, norm_eval=True).train()
    before = copy.deepcopy(model.state_dict())
    model(IMAGE)[-1].sum().backward()
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items() if 'running' in k)
    assert not any(layer.training for layer in bn_layers(model))
    assert model.layer1[0].bn1.weight.grad is not None


def test_norm_cfg_can_make_normalisation_untrainable():
    model = ResNet(18, base_channels=8, norm_cfg=dict(type='BN', requires_grad=False))
    assert not any(p.requires_grad for layer in bn_layers(model) for p in layer.parameters())
    assert model.conv1.weight.requires_grad


def test_group_normalisation_is_named_after_its_type():
    keys = set(ResNet(50, base_channels=32, norm_cfg=dict(type='GN', num_groups=8)).state_dict())
    assert {'gn1.weight', 'layer1.0.gn3.bias'} <= keys
    assert not any('bn' in key for key in keys)


@pytest.mark.parametrize('norm', ['SyncBN', 'MMSyncBN'])
def test_synchronised_normalisation_has_the_names_of_batch_normalisation(norm):
    model = ResNet(18, base_channels=8, norm_cfg=dict(type=norm)).eval()
    assert 'layer1.0.bn1.running_var' in model.state_dict()
    assert model(IMAGE)[0].isfinite().all()


@pytest.mark.parametrize('depth', [18, 50])
def test_checkpointing_changes_neither_outputs_nor_gradients(depth):
    plain = ResNet(depth, base_channels=8).train()
    saving = ResNet(depth, base_channels=8, with_cp=True).train()
    saving.load_state_dict(plain.state_dict())
    for model in (plain, saving):
        sum(o.sum() for o in model(IMAGE)).backward()
    for (name, p), q in zip(plain.named_parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(q.grad, p.grad, msg=name)


@pytest.mark.parametrize(('depth', 'last'), [(18, 'bn2'), (50, 'bn3')])
@pytest.mark.parametrize('zero', [True, False])
def test_blocks_start_as_identities_if_asked(depth, last, zero, caplog):
    model = ResNet(depth, base_channels=8, zero_init_residual=zero)
    model.init_weights()
    weight = getattr(model.layer3[1], last).weight
    assert weight.eq(0 if zero else 1).all()
    assert model.layer3[1].bn1.weight.eq(1).all()
    assert model.conv1.weight.std().item() == pytest.approx((2 / (8 * 49)) ** 0.5, rel=0.1)  # He et al., fan out


def test_context_blocks_are_inserted_where_plugins_say():
    plugin = dict(cfg=dict(type='ContextBlock', ratio=0.25), stages=(False, True, False, False), position='after_conv3')
    model = ResNet(plugins=[plugin], **SMALL)
    assert 'layer2.0.context_block.conv_mask.weight' in model.state_dict()
    assert not any('context_block' in k for k in model.state_dict() if not k.startswith('layer2.'))
    block = model.layer2[1].eval()
    x = torch.rand(1, 64, 4, 4)
    last = block.norm3(block.conv3(block.relu(block.norm2(block.conv2(block.relu(block.norm1(block.conv1(x))))))))
    torch.testing.assert_close(block(x), (block.context_block(last) + x).relu())


@pytest.mark.parametrize('downsample_first', [True, False])
def test_a_stage_changes_its_shape_in_the_first_or_the_last_block(downsample_first):
    stage = ResLayer(BasicBlock, 8, 16, 3, stride=2, downsample_first=downsample_first)
    assert [block.downsample is not None for block in stage] == [downsample_first, False, not downsample_first]
    assert stage(torch.rand(1, 8, 6, 6)).shape == (1, 16, 3, 3)


@pytest.mark.parametrize(
    ('args', 'words'),
    [
        (dict(depth=20), 'depths'),
        (dict(depth=18, num_stages=5), 'stages'),
        (dict(depth=18, strides=(1, 2)), 'stride'),
        (dict(depth=18, num_stages=2, strides=(1, 2), dilations=(1, 1)), 'out_indices'),
        (dict(depth=18, style='tensorflow'), 'style'),
        (dict(depth=18, pretrained='a.pth', init_cfg=dict(type='Pretrained', checkpoint='b.pth')), 'pretrained'),
        (dict(depth=18, dcn=dict(type='DCN'), stage_with_dcn=(False, True, True, True)), '50 or more'),
    ],
)
def test_wrong_arguments_are_explained(args, words):
    with pytest.raises(ValueError, match=words):
        ResNet(**args)


@pytest.mark.parametrize(
    'args',
    [
        dict(dcn=dict(type='NoSuchConv', fallback_on_stride=False), stage_with_dcn=(False, True, True, True)),
        dict(conv_cfg=dict(type='NoSuchConv')),
        dict(norm_cfg=dict(type='NoSuchConv')),
        dict(plugins=[dict(cfg=dict(type='NoSuchConv'), position='after_conv2')]),
    ],
)
def test_a_layer_that_is_not_registered_is_named(args):
    with pytest.raises(KeyError, match=r"'NoSuchConv' is not in the registry"):
        ResNet(50, base_channels=8, **args)


def test_pretrained_is_the_older_way_to_write_an_init_cfg():
    assert ResNet(18, base_channels=8, pretrained='a.pth').init_cfg == dict(type='Pretrained', checkpoint='a.pth')
