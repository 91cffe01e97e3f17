from __future__ import annotations

import pytest
import torch
import torchvision

from mmdet_clone.ops import RoIAlign, RoIPool, paste_masks, sigmoid_focal_loss


def test_roi_align_of_a_ramp_gives_the_cells_centres():
    ramp = torch.arange(16.0).expand(1, 1, 16, 16).contiguous()  # value = x of the pixel, whose centre is at x + 0.5
    pooled = RoIAlign(2, spatial_scale=0.5)(ramp, torch.tensor([[0.0, 8, 8, 24, 24]]))
    assert pooled[0, 0].tolist() == [[pytest.approx(5.5), pytest.approx(9.5)]] * 2


def test_roi_align_by_maximum_is_the_largest_sample():
    feats, rois = torch.rand(2, 3, 20, 20), torch.tensor([[0.0, 1, 2, 15, 13], [1, 3, 3, 9, 18]])
    samples = torchvision.ops.roi_align(feats, rois, 6, sampling_ratio=1, aligned=True)
    expected = samples.reshape(2, 3, 3, 2, 3, 2).amax((3, 5))
    torch.testing.assert_close(RoIAlign(3, sampling_ratio=2, pool_mode='max')(feats, rois), expected)
    with pytest.raises(ValueError, match='sampling_ratio'):
        RoIAlign(3, pool_mode='max')


@pytest.mark.parametrize('layer', [RoIAlign(7, 0.25), RoIPool(7, 0.25)])
def test_roi_layers_without_rois_and_in_half_precision(layer):
    feats = torch.rand(1, 4, 16, 16, requires_grad=True)
    empty = layer(feats, torch.zeros(0, 5))
    assert empty.shape == (0, 4, 7, 7)
    empty.sum().backward()
    half = layer(feats.bfloat16(), torch.tensor([[0.0, 3, 3, 50, 50]]))
    assert half.dtype == torch.bfloat16
    assert (layer.output_size, layer.spatial_scale) == ((7, 7), 0.25)


def test_a_full_mask_fills_its_box():
    masks = paste_masks(torch.ones(2, 1, 28, 28), torch.tensor([[2.0, 3, 8, 9], [0, 0, 20, 10]]), 10, 20)
    assert masks.dtype == torch.bool
    assert masks.sum((1, 2)).tolist() == [36, 200]
    assert masks[0, 3:9, 2:8].all()


def test_a_mask_reaching_out_of_the_image_is_cut():
    masks = paste_masks(torch.ones(1, 1, 28, 28), torch.tensor([[-5.0, -5, 5, 5]]), 10, 20)
    assert masks.sum() == 25


def test_pasting_equals_resizing_where_the_box_is_the_image():
    prob = torch.rand(1, 1, 7, 7)
    resized = torch.nn.functional.interpolate(prob, size=(20, 30), mode='bilinear', align_corners=False)[0]
    inside = torch.zeros(20, 30, dtype=torch.bool)
    inside[2:-2, 3:-3] = True  # at the border, pasting fades into the background
    pasted = paste_masks(prob, torch.tensor([[0.0, 0, 30, 20]]), 20, 30)
    assert torch.equal(pasted[0][inside], (resized[0] >= 0.5)[inside])
    soft = paste_masks(prob, torch.tensor([[0.0, 0, 30, 20]]), 20, 30, threshold=-1)
    assert soft.dtype == torch.uint8
    assert (soft[0][inside].float() / 255 - resized[0][inside]).abs().max() <= 1 / 255 + 1e-6


def test_pasting_no_mask_and_masks_off_the_image_or_without_extent():
    assert paste_masks(torch.zeros(0, 1, 28, 28), torch.zeros(0, 4), 5, 6).shape == (0, 5, 6)
    boxes = torch.tensor([[100.0, 100, 120, 120], [-30, -30, -20, -20], [3, 3, 3, 3]])
    assert not paste_masks(torch.ones(3, 1, 28, 28), boxes, 10, 10)[:2].any()


def test_focal_loss_agrees_with_torchvision():
    pred, target = torch.randn(6, 3), torch.tensor([0, 1, 2, 3, 3, -1])  # 3 and -1 are background
    hot = torch.zeros(6, 3)
    hot[[0, 1, 2], [0, 1, 2]] = 1
    expected = torchvision.ops.sigmoid_focal_loss(pred, hot, alpha=0.3, gamma=1.5)
    torch.testing.assert_close(sigmoid_focal_loss(pred, target, 1.5, 0.3), expected)
    torch.testing.assert_close(sigmoid_focal_loss(pred, hot, 1.5, 0.3), expected)
    weight = torch.rand(6)
    torch.testing.assert_close(
        sigmoid_focal_loss(pred, target, 1.5, 0.3, weight, 'sum'), (expected * weight[:, None]).sum()
    )


@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
def test_the_gradient_of_the_focal_loss_is_its_derivative(gamma):
    pred = (4 * torch.randn(6, 3, dtype=torch.float64)).requires_grad_()
    target = torch.tensor([0, 1, 2, 3, 3, -1])
    assert torch.autograd.gradcheck(lambda p: sigmoid_focal_loss(p, target, gamma, 0.3), (pred,))


def test_the_focal_loss_of_sure_predictions_is_finite():
    pred = torch.tensor([[-200.0, 200.0], [200.0, -200.0]], requires_grad=True)
    loss = sigmoid_focal_loss(pred, torch.tensor([0, 0]))
    loss.sum().backward()
    torch.testing.assert_close(loss, torch.tensor([[50.0, 150.0], [0.0, 0.0]]))
    torch.testing.assert_close(pred.grad, torch.tensor([[-0.25, 0.75], [0.0, 0.0]]))


def test_the_focal_loss_keeps_little_more_than_the_logits_for_the_backward_pass():
    kept = []

    def keep(tensor):
        kept.append(tensor.numel() * tensor.element_size())
        return tensor

    pred = torch.randn(100, 8, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        sigmoid_focal_loss(pred, torch.zeros(100, dtype=torch.long))
    assert sum(kept) <= 1.25 * pred.numel() * 4


def test_focal_loss_of_no_rows_is_a_zero_of_the_graph():
    pred = torch.zeros(0, 3, requires_grad=True)
    loss = sigmoid_focal_loss(pred, torch.zeros(0, dtype=torch.long), reduction='mean')
    loss.backward()
    assert loss == 0
