"""Deformable convolutions: by hand, as plain convolutions where nothing moves, and under mmcv's names."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule, build_conv_layer
from torch import nn

from mmdet_clone.models.backbones import ResNet
from mmdet_clone.ops import (
    DeformConv2d,
    DeformConv2dPack,
    ModulatedDeformConv2d,
    ModulatedDeformConv2dPack,
    deform_conv2d,
    modulated_deform_conv2d,
)

X = torch.linspace(-1, 1, 2 * 4 * 6 * 7).sin().reshape(2, 4, 6, 7)
DCN_BACKBONE = dict(depth=50, base_channels=8, norm_eval=False, stage_with_dcn=(False, False, True, True))


def test_without_offsets_it_is_a_convolution():
    weight = torch.randn(6, 2, 3, 3)
    spatial = dict(stride=2, padding=2, dilation=2)
    expected = F.conv2d(X, weight, groups=2, **spatial)
    offset = X.new_zeros(2, 18, *expected.shape[-2:])
    torch.testing.assert_close(deform_conv2d(X, offset, weight, **spatial), expected)
    mask, bias = X.new_full((2, 9, *expected.shape[-2:]), 0.25), torch.randn(6)
    result = modulated_deform_conv2d(X, offset, mask, weight, bias, **spatial)
    torch.testing.assert_close(result, expected / 4 + bias[:, None, None])


def test_offsets_move_down_then_right_and_interpolate():
    image = torch.arange(9.0).reshape(1, 1, 3, 3)
    one = torch.ones(1, 1, 1, 1)
    offset = torch.zeros(1, 2, 3, 3)
    offset[:, 0], offset[:, 1] = 1, 0.5
    expected = torch.tensor([[3.5, 4.5, 2.5], [6.5, 7.5, 4.0], [0, 0, 0]])  # zeros lie around the image
    torch.testing.assert_close(deform_conv2d(image, offset, one)[0, 0], expected)


def test_each_group_of_channels_has_its_own_offsets():
    image = torch.arange(16.0).reshape(1, 1, 4, 4).expand(1, 2, 4, 4)
    weight = torch.tensor([1.0, 100.0]).reshape(1, 2, 1, 1)
    offset = torch.zeros(1, 4, 4, 4)
    offset[:, 3] = 1  # the second group looks one to the right
    assert deform_conv2d(image, offset, weight)[0, 0, 1, 1] == 5 + 100 * 6


@pytest.mark.parametrize(
    ('name', 'cls', 'factor'), [('DCN', DeformConv2dPack, 1), ('DCNv2', ModulatedDeformConv2dPack, 0.5)]
)
def test_layers_are_built_by_name_and_start_without_offsets(name, cls, factor):
    layer = build_conv_layer(dict(type=name, deform_groups=2), 4, 6, 3, stride=2, padding=1, bias=False)
    assert type(layer) is cls
    assert layer.conv_offset.out_channels == 2 * 9 * (3 if name == 'DCNv2' else 2)
    torch.testing.assert_close(layer(X), factor * F.conv2d(X, layer.weight, stride=2, padding=1))


def test_parameter_names_are_mmcvs():
    assert list(DeformConv2dPack(4, 6, 3).state_dict()) == ['weight', 'conv_offset.weight', 'conv_offset.bias']
    names = ['weight', 'bias', 'conv_offset.weight', 'conv_offset.bias']
    assert list(ModulatedDeformConv2dPack(4, 6, 3).state_dict()) == names
    assert list(DeformConv2d(4, 6, 3).state_dict()) == ['weight']
    assert list(ModulatedDeformConv2d(4, 6, 3, bias=False).state_dict()) == ['weight']


@pytest.mark.parametrize('name', ['DCN', 'DCNv2'])
def test_gradients_reach_the_offsets_and_half_precision_comes_back(name):
    layer = build_conv_layer(dict(type=name), 4, 6, 3, padding=1, bias=False)
    layer(X).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in layer.parameters())
    assert layer.bfloat16()(X.bfloat16()).dtype == torch.bfloat16


def test_a_conv_module_takes_them():
    module = ConvModule(4, 6, 3, padding=1, conv_cfg=dict(type='DCNv2', deform_groups=2), norm_cfg=dict(type='BN'))
    assert module(X).shape == (2, 6, 6, 7)
    assert module.conv.bias is None


def test_the_older_name_of_deform_groups_is_understood():
    layer = build_conv_layer(dict(type='DCNv2', deformable_groups=2), 4, 6, 3)
    assert layer.deform_groups == 2


@pytest.mark.parametrize(
    ('args', 'words'),
    [(dict(bias=True), 'bias'), (dict(groups=3), 'groups=3'), (dict(deform_groups=3), 'deform_groups=3')],
)
def test_wrong_arguments_are_explained(args, words):
    with pytest.raises(ValueError, match=words):
        DeformConv2dPack(4, 6, 3, **args)


# ---------------------------------------------------------------- in a ResNet
@pytest.mark.parametrize('name', ['DCN', 'DCNv2'])
def test_offsets_stay_zero_when_a_backbone_initialises_its_convolutions(name):
    model = ResNet(dcn=dict(type=name, deform_groups=1, fallback_on_stride=False), **DCN_BACKBONE)
    model.init_weights()
    offsets = [p for n, p in model.named_parameters() if '.conv_offset.' in n]
    assert len(offsets) == 2 * (6 + 3)
    assert all(p.eq(0).all() for p in offsets)
    assert model.layer3[0].conv1.weight.std() > 0 and model.layer3[0].conv2.weight.std() > 0


def test_a_backbone_with_version_1_computes_at_first_what_it_does_without():
    plain, deformable = ResNet(depth=50, base_channels=8), ResNet(dcn=dict(type='DCN'), **DCN_BACKBONE)
    deformable.load_state_dict(plain.state_dict(), strict=False)
    image = torch.randn(1, 3, 32, 32)
    for feature, expected in zip(deformable.eval()(image), plain.eval()(image), strict=True):
        torch.testing.assert_close(feature, expected)


def test_fallback_on_stride_keeps_plain_convolutions():
    model = ResNet(dcn=dict(type='DCN', fallback_on_stride=True), **DCN_BACKBONE)
    assert type(model.layer3[0].conv2) is nn.Conv2d


@pytest.mark.parametrize('name', ['DCN', 'DCNv2'])
def test_offsets_of_checkpoints_of_mmdetection_1_are_found_under_their_old_names(name):
    model = copy.deepcopy(ResNet(dcn=dict(type=name, deform_groups=1), **DCN_BACKBONE))
    weights = {k: torch.randn_like(v) if v.is_floating_point() else v for k, v in model.state_dict().items()}
    old = {k.replace('conv2.conv_offset.', 'conv2_offset.'): v for k, v in weights.items()}
    assert set(old) != set(weights)
    model.load_state_dict(old)  # strict
    assert all(torch.equal(v, weights[k]) for k, v in model.state_dict().items())
