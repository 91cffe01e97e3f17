"""MobileNetV2: outputs as torchvision's with the same weights, freezing, and its options."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from mmdet_clone.models import build_backbone
from mmdet_clone.models.backbones import MobileNetV2
from mmdet_clone.models.layers import InvertedResidual, make_divisible

IMAGE = torch.linspace(-1, 1, 2 * 3 * 64 * 64).sin().reshape(2, 3, 64, 64)
LAST_BLOCKS = (1, 3, 6, 10, 13, 16, 17, 18)  # of our eight outputs, among the layers of torchvision's `features`


def peer_features(weights: dict) -> list[torch.Tensor]:
    """torchvision's outputs; its layers come in our order under other names."""
    peer = torchvision.models.mobilenet_v2().features.eval()
    peer.load_state_dict(dict(zip(peer.state_dict(), weights.values(), strict=True)))
    outs, x = [], IMAGE
    with torch.no_grad():
        for layer in peer:
            x = layer(x)
            outs.append(x)
    return [outs[i] for i in LAST_BLOCKS]


def test_features_equal_those_of_torchvision_with_the_same_weights():
    model = MobileNetV2(out_indices=range(8)).eval()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2)
    with torch.no_grad():
        for feature, expected in zip(model(IMAGE), peer_features(model.state_dict()), strict=True):
            torch.testing.assert_close(feature, expected)


def test_published_weights_load_by_init_cfg_and_give_torchvisions_features(shared):
    file = shared / 'weights' / 'mobilenet_v2_imagenet_mmdet_keys.pth'
    model = build_backbone(
        dict(type='MobileNetV2', out_indices=(2, 4, 6, 7), init_cfg=dict(type='Pretrained', checkpoint=str(file)))
    )
    model.init_weights()
    weights = torch.load(file, weights_only=True)
    weights = weights.get('state_dict', weights)
    assert list(weights) == list(model.state_dict())
    expected = peer_features(weights)
    with torch.no_grad():
        outs = model.eval()(IMAGE)
    assert [o.shape[1] for o in outs] == [32, 96, 320, 1280]
    for feature, index in zip(outs, (2, 4, 6, 7), strict=True):
        torch.testing.assert_close(feature, expected[index])


def test_number_of_parameters_is_that_of_the_paper_without_its_classifier():
    with torch.device('meta'):
        model = MobileNetV2()
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(2.224, abs=0.001)


def test_strides_and_channels_of_the_outputs():
    shapes = [tuple(o.shape[1:]) for o in MobileNetV2(out_indices=range(8))(IMAGE)]
    sides = [32, 16, 8, 4, 4, 2, 2, 2]
    assert shapes == [(c, s, s) for c, s in zip((16, 24, 32, 64, 96, 160, 320, 1280), sides, strict=True)]


@pytest.mark.parametrize(('factor', 'first', 'last'), [(0.5, 16, 1280), (1.4, 48, 1792)])
def test_widen_factor_scales_the_channels_to_multiples_of_eight(factor, first, last):
    model = MobileNetV2(widen_factor=factor, out_indices=(7,))
    assert (model.conv1.conv.out_channels, model.out_channel) == (first, last)
    assert model(IMAGE)[0].shape[1] == last


@pytest.mark.parametrize(('value', 'expected'), [(32, 32), (33, 32), (36, 40), (3, 8), (11, 16), (22.4, 24)])
def test_make_divisible_rounds_to_the_nearest_multiple_but_not_down_by_a_tenth(value, expected):
    assert make_divisible(value, 8) == expected


def test_frozen_stages_neither_train_nor_update_their_statistics():
    model = MobileNetV2(frozen_stages=2, out_indices=(2,)).train()
    stages = ('conv1.', 'layer1.', 'layer2.')
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {n for n, _ in model.named_parameters() if n.startswith(stages)}
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model(IMAGE)[0].sum().backward()
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed and not any(k.startswith(stages) for k in changed)
    assert model.conv1.conv.weight.grad is None


def test_norm_eval_keeps_batch_statistics_while_training():
    model = MobileNetV2(norm_eval=True).train()
    assert model.training
    assert not any(m.training for m in model.modules() if isinstance(m, nn.BatchNorm2d))


def test_checkpointing_changes_neither_outputs_nor_gradients():
    plain, saving = MobileNetV2(), MobileNetV2(with_cp=True)
    saving.load_state_dict(plain.state_dict())
    for model in (plain, saving):
        sum(o.sum() for o in model.train()(IMAGE)).backward()
    for (name, p), q in zip(plain.named_parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(q.grad, p.grad, msg=name)


def test_a_block_adds_its_input_only_where_shapes_allow():
    assert InvertedResidual(8, 8, 16).with_res_shortcut
    assert not InvertedResidual(8, 8, 16, stride=2).with_res_shortcut
    assert not InvertedResidual(8, 12, 16).with_res_shortcut


@pytest.mark.parametrize(
    ('args', 'words'),
    [
        (dict(out_indices=(8,)), 'out_indices'),
        (dict(frozen_stages=8), 'frozen_stages'),
        (dict(pretrained='a.pth', init_cfg=dict(type='Pretrained', checkpoint='b.pth')), 'pretrained'),
    ],
)
def test_wrong_arguments_are_explained(args, words):
    with pytest.raises(ValueError, match=words):
        MobileNetV2(**args)


@pytest.mark.parametrize(
    ('args', 'words'), [(dict(stride=3), 'stride'), (dict(with_expand_conv=False), 'mid_channels')]
)
def test_wrong_arguments_of_a_block_are_explained(args, words):
    with pytest.raises(ValueError, match=words):
        InvertedResidual(8, 8, 16, **args)
