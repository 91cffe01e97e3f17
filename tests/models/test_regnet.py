"""RegNet: the design space's stages, outputs as torchvision's, and ResNet's options on it."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from mmdet_clone.models import build_backbone
from mmdet_clone.models.backbones import RegNet
from mmdet_clone.models.backbones.regnet import plan_stages

IMAGE = torch.linspace(-1, 1, 2 * 3 * 64 * 64).sin().reshape(2, 3, 64, 64)
SMALL = dict(w0=16, wa=16, wm=2, group_w=8, depth=6, bot_mul=1.0)
# Table 5 of the paper: blocks and widths of the stages
PAPER = {
    'regnetx_400mf': ([1, 2, 7, 12], [32, 64, 160, 384]),
    'regnetx_800mf': ([1, 3, 7, 5], [64, 128, 288, 672]),
    'regnetx_1.6gf': ([2, 4, 10, 2], [72, 168, 408, 912]),
    'regnetx_3.2gf': ([2, 6, 15, 2], [96, 192, 432, 1008]),
    'regnetx_4.0gf': ([2, 5, 14, 2], [80, 240, 560, 1360]),
    'regnetx_6.4gf': ([2, 4, 10, 1], [168, 392, 784, 1624]),
    'regnetx_8.0gf': ([2, 5, 15, 1], [80, 240, 720, 1920]),
    'regnetx_12gf': ([2, 5, 11, 1], [224, 448, 896, 2240]),
}
# torchvision's regnet_x_400mf ends in 400 channels instead of the paper's 384
PEERS = {'regnetx_800mf': 'regnet_x_800mf', 'regnetx_1.6gf': 'regnet_x_1_6gf', 'regnetx_3.2gf': 'regnet_x_3_2gf'}


@pytest.mark.parametrize('arch', PAPER)
def test_blocks_and_widths_are_those_of_the_paper(arch):
    stages = plan_stages(**RegNet.arch_settings[arch])
    assert (stages.blocks, stages.widths) == PAPER[arch]
    group_width = RegNet.arch_settings[arch]['group_w']
    in_groups = [w // g for w, g in zip(stages.inner_widths, stages.groups, strict=True)]
    assert in_groups == [min(group_width, w) for w in stages.widths]


def peer_name(name: str) -> str:
    """Our parameter's name as torchvision has it."""
    if name.startswith(('conv1.', 'bn1.')):
        return name.replace('conv1', 'stem.0').replace('bn1', 'stem.1')
    stage, block, layer, *rest = name.split('.')
    i = int(stage[-1])
    branch = {'conv': '0', 'bn': '1'}
    if layer == 'downsample':
        where = f'proj.{rest.pop(0)}'
    else:
        where = f'f.{"abc"[int(layer[-1]) - 1]}.{branch[layer[:-1]]}'
    return f'trunk_output.block{i}.block{i}-{block}.{where}.{rest[0]}'


@pytest.mark.parametrize('arch', PEERS)
def test_parameters_have_the_shapes_of_torchvisions(arch):
    ours, peer = RegNet(arch), getattr(torchvision.models, PEERS[arch])()
    expected = {k: v.shape for k, v in peer.state_dict().items() if not k.startswith('fc.')}
    assert {peer_name(k): v.shape for k, v in ours.state_dict().items()} == expected


def test_features_equal_those_of_torchvision_with_the_same_weights():
    ours, peer = RegNet('regnetx_800mf').eval(), torchvision.models.regnet_x_800mf().eval()
    for layer in peer.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2)
    weights = peer.state_dict()
    ours.load_state_dict({k: weights[peer_name(k)] for k in ours.state_dict()})
    with torch.no_grad():
        x = peer.stem(IMAGE)
        for stage, feature in zip(peer.trunk_output, ours(IMAGE), strict=True):
            x = stage(x)
            torch.testing.assert_close(feature, x)


def test_a_design_of_ones_own_is_a_dict():
    model = build_backbone(dict(type='RegNet', arch=SMALL, norm_eval=False))
    outs = model(IMAGE)
    shapes = [tuple(o.shape[1:]) for o in outs]
    assert shapes == [(16, 16, 16), (32, 8, 8), (64, 4, 4), (128, 2, 2)]
    sum(o.sum() for o in outs).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_a_bottleneck_ratio_changes_the_inside_alone():
    stages = plan_stages(**{**RegNet.arch_settings['regnetx_400mf'], 'bot_mul': 0.5})
    assert stages.inner_widths == [w // 2 for w in stages.widths]
    assert all(w % g == 0 for w, g in zip(stages.inner_widths, stages.groups, strict=True))


def test_freezing_deformable_convolutions_and_zero_initialisation_work_as_on_resnet():
    model = RegNet(
        'regnetx_400mf',
        frozen_stages=1,
        dcn=dict(type='DCNv2', deform_groups=1, fallback_on_stride=False),
        stage_with_dcn=(False, False, False, True),
    )
    model.init_weights()
    assert not any(p.requires_grad for n, p in model.named_parameters() if n.startswith(('conv1', 'bn1', 'layer1')))
    offsets = {n for n, _ in model.named_parameters() if 'conv_offset' in n}
    assert offsets and all(n.startswith('layer4.') for n in offsets)
    assert all(model.state_dict()[n].eq(0).all() for n in offsets)
    assert model.layer4[1].bn3.weight.eq(0).all()
    assert model.feat_dim == 384


@pytest.mark.parametrize(
    ('args', 'words'),
    [
        (dict(arch='regnety_400mf'), 'regnetx_400mf'),
        (dict(arch=dict(w0=24, wa=24.48)), 'wm, group_w, depth, bot_mul'),
        (dict(arch='regnetx_400mf', deep_stem=True), 'deep_stem'),
        (dict(arch='regnetx_400mf', strides=(2, 2)), 'stride'),
    ],
)
def test_wrong_arguments_are_explained(args, words):
    with pytest.raises(ValueError, match=words):
        RegNet(**args)
