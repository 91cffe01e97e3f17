"""Which pyramid level a region comes from, and what is cut out of it."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torchvision.ops import MultiScaleRoIAlign

from mmdet_clone.models import ROI_EXTRACTORS, build_roi_extractor
from mmdet_clone.registry import UnknownTypeError

STRIDES = [4, 8, 16, 32]


def build(**changes):
    cfg = dict(
        type='SingleRoIExtractor',
        roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=2),
        out_channels=3,
        featmap_strides=STRIDES,
    )
    return build_roi_extractor({**cfg, **changes})


def pyramid(num_images=2, size=256, requires_grad=False):
    return [torch.randn(num_images, 3, size // s, size // s, requires_grad=requires_grad) for s in STRIDES]


def squares(*sides):
    return torch.tensor([[0.0, 10, 10, 10 + s, 10 + s] for s in sides])


def test_levels_follow_the_size_of_the_region():
    # level = floor(log2(sqrt(area) / 56)), clamped to the levels there are
    levels = build().map_roi_levels(squares(0, 20, 56, 111.9, 112, 223, 224, 448, 4000), num_levels=4)
    assert levels.tolist() == [0, 0, 0, 0, 1, 1, 2, 3, 3]


def test_finest_scale_moves_the_levels():
    assert build(finest_scale=28).map_roi_levels(squares(56, 112), 4).tolist() == [1, 2]


def test_features_equal_torchvisions_multi_scale_roi_align():
    feats, rois = pyramid(), []
    corners = torch.rand(20, 2) * 100
    sides = torch.rand(20, 2) * 150 + 2
    boxes = torch.cat([corners, (corners + sides).clamp(max=256)], dim=1)
    rois = torch.cat([torch.arange(20)[:, None] // 10, boxes], dim=1)
    ours = build(roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=2, aligned=False))(feats, rois)
    # canonical level 4 at 224 pixels is our finest scale 56 at level 2
    peer = MultiScaleRoIAlign(['0', '1', '2', '3'], 7, 2, canonical_scale=224, canonical_level=4)
    theirs = peer(
        OrderedDict((str(i), f) for i, f in enumerate(feats)), [boxes[:10], boxes[10:]], [(256, 256), (256, 256)]
    )
    torch.testing.assert_close(ours, theirs)


def test_levels_without_regions_still_get_a_gradient():
    feats = pyramid(requires_grad=True)
    build()(feats, squares(30)).sum().backward()
    assert feats[0].grad.abs().sum() > 0
    assert all(f.grad is not None and f.grad.abs().sum() == 0 for f in feats[1:])


def test_no_region_gives_no_features_but_gradients():
    feats = pyramid(requires_grad=True)
    out = build()(feats, torch.zeros(0, 5))
    assert out.shape == (0, 3, 7, 7)
    out.sum().backward()
    assert all(f.grad is not None for f in feats)


def test_one_level_takes_every_region():
    feat = torch.ones(1, 3, 16, 16)
    out = build(featmap_strides=[16])([feat], squares(4, 200))
    torch.testing.assert_close(out, torch.ones(2, 3, 7, 7))


def test_scaling_keeps_the_level_and_the_centre():
    extractor = build()
    rois = torch.tensor([[1.0, 10, 20, 30, 60]])
    torch.testing.assert_close(extractor.roi_rescale(rois, 2.0), torch.tensor([[1.0, 0, 0, 40, 80]]))
    torch.testing.assert_close(extractor.roi_rescale(rois, (2.0, 0.5)), torch.tensor([[1.0, 15, 0, 25, 80]]))
    feats = [torch.full((1, 3, 256 // s, 256 // s), float(i)) for i, s in enumerate(STRIDES)]
    # a region of 100 pixels is of level 0, though its doubled form would be of level 1
    assert extractor(feats, squares(100), roi_scale_factor=2.0).unique().tolist() == [0.0]


def test_an_unknown_layer_is_told_with_the_known_ones():
    with pytest.raises(UnknownTypeError, match='RoIAlign, RoIPool'):
        build(roi_layer=dict(type='RoIAline', output_size=7))


def test_a_layer_of_a_users_own():
    @ROI_EXTRACTORS.register_module(force=True)
    class CentreValue(torch.nn.Module):
        def __init__(self, spatial_scale):
            super().__init__()
            self.spatial_scale = spatial_scale

        def forward(self, feats, rois):
            x, y = ((rois[:, 1:3] + rois[:, 3:5]) / 2 * self.spatial_scale).long().T
            return feats[rois[:, 0].long(), :, y, x][..., None, None]

    feats = pyramid()
    out = build(roi_layer=dict(type='CentreValue'))(feats, torch.tensor([[1.0, 0, 40, 80, 120]]))
    torch.testing.assert_close(out, feats[0][1, :, 20, 10].reshape(1, 3, 1, 1))
