from __future__ import annotations

import math

import pytest
import torch
import torchvision
from torch.nn import functional as F

from mmdet_clone.models.losses import (
    BoundedIoULoss,
    CIoULoss,
    DIoULoss,
    GIoULoss,
    IoULoss,
    L1Loss,
    MSELoss,
    SmoothL1Loss,
    ciou_loss,
    smooth_l1_loss,
)
from mmdet_clone.registry import LOSSES

BOX_LOSSES = [IoULoss, BoundedIoULoss, GIoULoss, DIoULoss, CIoULoss]
REGRESSION = [L1Loss, SmoothL1Loss, MSELoss]


def random_boxes(n: int) -> torch.Tensor:
    corner = torch.rand(n, 2) * 20
    return torch.cat((corner, corner + torch.rand(n, 2) * 30 + 2), 1)


def near(boxes: torch.Tensor) -> torch.Tensor:
    """Boxes that overlap the given ones by more than a half."""
    return boxes + torch.rand_like(boxes) * 0.2


@pytest.mark.parametrize('mode, expected', [('log', -math.log(1 / 3)), ('linear', 2 / 3), ('square', 8 / 9)])
def test_iou_loss_by_hand(mode, expected):
    pred, target = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[5.0, 0, 15, 10]])  # IoU 50 / 150
    assert IoULoss(mode=mode)(pred, target).item() == pytest.approx(expected, rel=1e-5)
    assert IoULoss(mode=mode, loss_weight=3)(pred, target, avg_factor=2).item() == pytest.approx(
        1.5 * expected, rel=1e-5
    )


def test_iou_loss_takes_the_older_spelling_of_its_mode():
    with pytest.warns(DeprecationWarning, match='linear'):
        assert IoULoss(linear=True).mode == 'linear'
    with pytest.raises(ValueError, match='mode'):
        IoULoss(mode='cubic')


def test_the_logarithm_of_no_overlap_is_bounded():
    apart = IoULoss()(torch.tensor([[0.0, 0, 1, 1]]), torch.tensor([[5.0, 5, 6, 6]]))
    assert apart.item() == pytest.approx(-math.log(1e-6), rel=1e-5)


@pytest.mark.parametrize(
    'loss, peer, make',
    [
        (GIoULoss, 'generalized_box_iou_loss', random_boxes),
        (DIoULoss, 'distance_box_iou_loss', random_boxes),
        (CIoULoss, 'complete_box_iou_loss', None),
    ],
)
def test_overlap_losses_agree_with_torchvision(loss, peer, make):
    pred = random_boxes(20)
    target = make(20) if make else near(pred)  # torchvision counts the aspect ratio at any IoU
    ours = loss()(pred, target, reduction_override='none')
    torch.testing.assert_close(ours, getattr(torchvision.ops, peer)(pred, target), rtol=1e-4, atol=1e-4)


def test_the_aspect_ratio_counts_only_above_half_an_iou():
    pred, target = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[0.0, 0, 40, 10]])  # IoU 1/4
    iou, penalty = 1 / 4, 15**2 / (40**2 + 10**2)
    assert ciou_loss(pred, target).item() == pytest.approx(1 - iou + penalty, rel=1e-5)
    target = torch.tensor([[0.0, 0, 16, 10]])  # IoU 10/16
    v = 4 / math.pi**2 * (math.atan(1.6) - math.atan(1)) ** 2
    iou, penalty = 10 / 16, 3**2 / (16**2 + 10**2)
    assert ciou_loss(pred, target).item() == pytest.approx(1 - iou + penalty + v * v / (1 - iou + v), rel=1e-5)


def test_bounded_iou_loss_by_hand():
    pred, target = torch.tensor([[2.0, 0, 12, 5]]), torch.tensor([[0.0, 0, 10, 10]])
    # centres 2 and -2.5 off in sides of 10; equal widths; heights 5 and 10
    parts = [1 - 6 / (14 + 1e-3), 1 - 5 / (15 + 1e-3), 1 - 10 / (10 + 1e-3), 1 - 5 / (10 + 1e-3)]
    expected = [0.5 * p * p / 0.2 if p < 0.2 else p - 0.1 for p in parts]
    loss = BoundedIoULoss()(pred, target, reduction_override='none')
    assert loss.tolist()[0] == pytest.approx(expected, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize('loss', BOX_LOSSES)
def test_identical_boxes_cost_nothing_and_gradients_are_finite(loss):
    boxes = random_boxes(5)
    assert loss()(boxes, boxes).item() == pytest.approx(0, abs=1e-4)
    apart = (boxes + 1000).requires_grad_()
    loss()(apart, boxes).backward()
    assert apart.grad.isfinite().all()


@pytest.mark.parametrize('loss', BOX_LOSSES)
def test_weights_of_rows_and_of_coordinates(loss):
    pred, target = random_boxes(4), random_boxes(4)
    rows = loss()(pred, target, reduction_override='none')
    rows = rows if rows.dim() == 1 else rows.sum(1)
    weight = torch.tensor([1.0, 0, 2, 0])
    expected = (rows * weight).sum() / 3
    torch.testing.assert_close(loss()(pred, target, weight, avg_factor=3), expected)
    torch.testing.assert_close(loss()(pred, target, weight[:, None].expand(4, 4), avg_factor=3), expected)


@pytest.mark.parametrize('loss', BOX_LOSSES)
@pytest.mark.parametrize('rows, columns', [(0, 0), (0, 4), (3, 0), (3, 4)])
def test_without_a_weight_the_loss_is_a_zero_of_the_graph(loss, rows, columns):
    pred = random_boxes(rows).requires_grad_()
    weight = torch.zeros(rows, columns) if columns else torch.zeros(rows)
    value = loss()(pred, random_boxes(rows), weight, avg_factor=0)
    value.backward()
    assert value.item() == 0
    assert pred.grad is not None


@pytest.mark.parametrize('loss', BOX_LOSSES + REGRESSION)
def test_no_boxes_give_a_zero_of_the_graph(loss):
    pred = torch.zeros(0, 4, requires_grad=True)
    for avg_factor in (None, 1.0):
        value = loss()(pred, torch.zeros(0, 4), avg_factor=avg_factor)
        value.backward()
        assert value.item() == 0


def test_no_targets_for_some_predictions_give_a_zero_of_the_graph():
    pred = torch.rand(3, 4, requires_grad=True)
    loss = L1Loss()(pred, torch.zeros(0, 4))
    loss.backward()
    assert loss == 0
    with pytest.raises(ValueError, match='one shape'):
        L1Loss()(pred, torch.zeros(2, 4))


@pytest.mark.parametrize('beta', [1.0, 1 / 9])
def test_regression_losses_agree_with_torch(beta):
    pred, target = torch.randn(6, 4), torch.randn(6, 4)
    torch.testing.assert_close(L1Loss()(pred, target), F.l1_loss(pred, target))
    torch.testing.assert_close(MSELoss()(pred, target), F.mse_loss(pred, target))
    torch.testing.assert_close(SmoothL1Loss(beta=beta)(pred, target), F.smooth_l1_loss(pred, target, beta=beta))


def test_smooth_l1_loss_by_hand():
    loss = smooth_l1_loss(torch.tensor([0.5, 2.0]), torch.zeros(2), beta=1.0, reduction='none')
    assert loss.tolist() == [0.125, 1.5]
    with pytest.raises(ValueError, match='beta'):
        smooth_l1_loss(torch.zeros(1), torch.zeros(1), beta=0)


@pytest.mark.parametrize('loss', BOX_LOSSES + REGRESSION)
def test_bfloat16_predictions_cost_what_their_values_cost_in_float32(loss):
    pred, target = random_boxes(4).bfloat16(), random_boxes(4)
    value = loss()(pred, target)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss()(pred.float(), target), rtol=0, atol=0)


@pytest.mark.parametrize('loss', BOX_LOSSES + REGRESSION)
def test_losses_are_registered_and_refuse_an_unknown_reduction(loss):
    assert isinstance(LOSSES.build(dict(type=loss.__name__, loss_weight=2.0)), loss)
    with pytest.raises(ValueError, match='reduction'):
        loss(reduction='median')
