"""FPN: shapes of every mode, the top-down sum, and its errors."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mmdet_clone.models import NECKS, build_neck
from mmdet_clone.models.necks import FPN

CHANNELS = [4, 8, 16]
INPUTS = [torch.linspace(-1, 1, 2 * c * s * s).sin().reshape(2, c, s, s) for c, s in zip(CHANNELS, (21, 11, 6))]


def sizes(outs: tuple[torch.Tensor, ...]) -> list[int]:
    assert all(out.shape[:2] == (2, 8) and out.shape[2] == out.shape[3] for out in outs)
    return [out.shape[2] for out in outs]


@pytest.mark.parametrize('mode', [False, True, 'on_input', 'on_lateral', 'on_output'])
def test_registered_neck_runs_forward_and_backward_in_every_mode(mode):
    assert 'FPN' in NECKS.names()
    neck = build_neck(dict(type='FPN', in_channels=CHANNELS, out_channels=8, num_outs=5, add_extra_convs=mode))
    outs = neck(INPUTS)
    assert sizes(outs) == [21, 11, 6, 3, 2]
    sum(out.sum() for out in outs).backward()
    assert all(p.grad is not None for p in neck.parameters())
    assert len(neck.fpn_convs) == (5 if mode else 3)


def test_outputs_equal_the_papers_figure_computed_by_hand():
    neck = FPN(CHANNELS, 8, 3)
    with torch.no_grad():
        lateral = [conv.conv(x) for conv, x in zip(neck.lateral_convs, INPUTS)]
        middle = lateral[1] + F.interpolate(lateral[2], size=(11, 11), mode='nearest')
        finest = lateral[0] + F.interpolate(middle, size=(21, 21), mode='nearest')
        expected = [conv.conv(x) for conv, x in zip(neck.fpn_convs, (finest, middle, lateral[2]))]
        for out, want in zip(neck(INPUTS), expected, strict=True):
            torch.testing.assert_close(out, want)


@pytest.mark.parametrize('relu', [False, True])
@pytest.mark.parametrize('mode', ['on_input', 'on_lateral', 'on_output'])
def test_extra_levels_come_from_the_source_that_is_asked_for(mode, relu):
    neck = FPN(CHANNELS, 8, 5, add_extra_convs=mode, relu_before_extra_convs=relu)
    with torch.no_grad():
        outs = neck(INPUTS)
        source = dict(on_input=INPUTS[-1], on_lateral=neck.lateral_convs[-1](INPUTS[-1]), on_output=outs[2])[mode]
        torch.testing.assert_close(outs[3], neck.fpn_convs[3](source))
        torch.testing.assert_close(outs[4], neck.fpn_convs[4](outs[3].relu() if relu else outs[3]))


def test_start_and_end_level_choose_inputs():
    neck = FPN(CHANNELS, 8, 3, start_level=1)
    assert sizes(neck(INPUTS)) == [11, 6, 3]
    assert [conv.conv.in_channels for conv in neck.lateral_convs] == [8, 16]
    assert sizes(FPN(CHANNELS, 8, 2, end_level=1)(INPUTS)) == [21, 11]
    assert sizes(FPN(CHANNELS, 8, 4, end_level=2)(INPUTS)) == [21, 11, 6, 3]


def test_names_and_norms_of_the_convolutions():
    norm = dict(norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU'))
    keys = set(FPN(CHANNELS, 8, 3, **norm).state_dict())
    assert {'lateral_convs.0.conv.weight', 'lateral_convs.0.bn.weight', 'fpn_convs.2.bn.bias'} <= keys
    keys = set(FPN(CHANNELS, 8, 3, no_norm_on_lateral=True, **norm).state_dict())
    assert {'lateral_convs.0.conv.bias', 'fpn_convs.2.bn.bias'} <= keys
    assert 'lateral_convs.0.bn.weight' not in keys


def test_upsampling_follows_upsample_cfg():
    inputs = [torch.rand(2, 4, 8, 8), torch.rand(2, 8, 4, 4)]
    neck = FPN([4, 8], 8, 2, upsample_cfg=dict(scale_factor=2, mode='bilinear', align_corners=False))
    with torch.no_grad():
        coarse = neck.lateral_convs[1](inputs[1])
        fine = neck.lateral_convs[0](inputs[0]) + F.interpolate(coarse, size=(8, 8), mode='bilinear')
        torch.testing.assert_close(neck(inputs)[0], neck.fpn_convs[0](fine))


@pytest.mark.parametrize(
    ('args', 'words'),
    [
        (dict(num_outs=2), 'at least 3 outputs'),
        (dict(num_outs=4, end_level=1), 'end_level'),
        (dict(num_outs=5, add_extra_convs='on_top'), 'on_lateral'),
    ],
)
def test_wrong_arguments_are_explained(args, words):
    with pytest.raises(ValueError, match=words):
        FPN(CHANNELS, 8, **args)


def test_a_wrong_number_of_features_names_the_backbones_out_indices():
    with pytest.raises(ValueError, match='out_indices'):
        FPN(CHANNELS, 8, 3)(INPUTS[:2])


def test_a_list_of_necks_is_applied_one_after_the_other():
    first = dict(type='FPN', in_channels=CHANNELS, out_channels=8, num_outs=3)
    neck = build_neck([first, dict(first, in_channels=[8, 8, 8], num_outs=4)])
    assert sizes(neck(INPUTS)) == [21, 11, 6, 3]
    assert '1.fpn_convs.0.conv.weight' in neck.state_dict()
