"""Deformable RoI pooling: as RoIAlign where nothing moves, and with gradients for what does."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import roi_align

from mmdet_clone.models import build_roi_extractor
from mmdet_clone.ops import DeformRoIPool, DeformRoIPoolPack, ModulatedDeformRoIPoolPack, deform_roi_pool

FEATS = torch.linspace(-1, 1, 2 * 3 * 12 * 16).mul(37).sin().reshape(2, 3, 12, 16)
# some lie partly outside, one is a point
ROIS = torch.tensor(
    [[0, 3.0, 2, 50, 40], [1, 10, 5, 33.5, 21.25], [1, -20, -8, 30, 30], [0, 40, 30, 75, 60], [0, 9, 9, 9, 9]]
)
SCALE = 0.25


@pytest.mark.parametrize('sampling_ratio', [0, 2])
def test_without_offsets_it_is_roi_align_and_so_are_its_gradients(sampling_ratio):
    feats, same = FEATS.clone().requires_grad_(), FEATS.clone().requires_grad_()
    expected = roi_align(feats, ROIS, (2, 3), SCALE, sampling_ratio, aligned=True)
    torch.testing.assert_close(deform_roi_pool(FEATS, ROIS, None, (2, 3), SCALE, sampling_ratio), expected)
    result = deform_roi_pool(same, ROIS, ROIS.new_zeros(5, 2, 2, 3), (2, 3), SCALE, sampling_ratio)
    torch.testing.assert_close(result, expected)
    cotangent = torch.randn_like(expected)
    expected.backward(cotangent)
    result.backward(cotangent)
    torch.testing.assert_close(same.grad, feats.grad)


def test_an_offset_moves_a_bin_right_and_down_relative_to_the_rois_size():
    offset = torch.empty(5, 2, 2, 2)
    offset[:, 0], offset[:, 1] = 0.5, -2
    size = ROIS[:, 3:] - ROIS[:, 1:3]
    moved = ROIS.clone()
    moved[:, 1:] += (0.1 * size * torch.tensor([0.5, -2])).repeat(1, 2)
    expected = roi_align(FEATS, moved, (2, 2), SCALE, 2, aligned=True)
    torch.testing.assert_close(deform_roi_pool(FEATS, ROIS, offset, 2, SCALE, 2), expected)


def test_gradients_of_features_and_offsets_are_those_of_finite_differences():
    feats = torch.rand(1, 2, 6, 6, dtype=torch.double, requires_grad=True)
    rois = torch.tensor([[0, 0.3, 0.7, 4.6, 4.1]], dtype=torch.double)
    offset = torch.rand(1, 2, 2, 2, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f, o: deform_roi_pool(f, rois, o, 2), (feats, offset))


def test_work_in_pieces_gives_the_same(monkeypatch):
    offset = torch.randn(5, 2, 3, 3)
    whole = deform_roi_pool(FEATS, ROIS, offset, 3, SCALE)
    monkeypatch.setattr('mmdet_clone.ops.deform_roi.SAMPLES_AT_ONCE', 1)
    torch.testing.assert_close(deform_roi_pool(FEATS, ROIS, offset, 3, SCALE), whole)


def test_no_rois_give_no_features_and_a_gradient():
    feats = FEATS.clone().requires_grad_()
    result = DeformRoIPool(3, SCALE)(feats, ROIS[:0], torch.zeros(0, 2, 3, 3))
    assert result.shape == (0, 3, 3, 3)
    pack = DeformRoIPoolPack(3, output_channels=3, deform_fc_channels=4, spatial_scale=SCALE)
    pack(feats, ROIS[:0]).sum().backward()
    assert pack.offset_fc[0].weight.grad.eq(0).all()


@pytest.mark.parametrize(('cls', 'factor'), [(DeformRoIPoolPack, 1), (ModulatedDeformRoIPoolPack, 0.5)])
def test_layers_with_their_own_offsets_start_without_and_learn_them(cls, factor):
    layer = cls(3, output_channels=3, deform_fc_channels=8, spatial_scale=SCALE)
    result = layer(FEATS, ROIS)
    torch.testing.assert_close(result, factor * roi_align(FEATS, ROIS, 3, SCALE, 0, aligned=True))
    result.square().sum().backward()
    for name in {'offset_fc', 'mask_fc'} & dict(layer.named_children()).keys():
        last = list(getattr(layer, name).parameters())[-2:]
        assert all(p.grad.abs().sum() > 0 for p in last), name


def test_a_roi_extractor_builds_them_by_name_for_each_level():
    roi_layer = dict(type='ModulatedDeformRoIPoolPack', output_size=3, output_channels=3, deform_fc_channels=8)
    extractor = build_roi_extractor(
        dict(type='SingleRoIExtractor', roi_layer=roi_layer, out_channels=3, featmap_strides=[4, 8])
    )
    assert 'roi_layers.1.mask_fc.2.weight' in extractor.state_dict()
    assert extractor([FEATS, FEATS[..., ::2, ::2]], ROIS).shape == (5, 3, 3, 3)


def test_features_of_other_channels_are_refused():
    with pytest.raises(ValueError, match='output_channels=4'):
        DeformRoIPoolPack(3, output_channels=4, deform_fc_channels=8)(FEATS, ROIS)
