from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from mmdet_clone.models.losses import (
    BalancedL1Loss,
    DiceLoss,
    DistributionFocalLoss,
    GaussianFocalLoss,
    QualityFocalLoss,
    VarifocalLoss,
)


def test_balanced_l1_loss_meets_at_beta_and_has_the_papers_gradient():
    alpha, gamma = 0.5, 1.5
    b = math.exp(gamma / alpha) - 1
    pred = torch.tensor([0.3, 0.999999, 1.0, 2.0], dtype=torch.float64, requires_grad=True)
    loss = BalancedL1Loss(alpha, gamma)(pred, torch.zeros_like(pred), reduction_override='none')
    assert loss[1].item() == pytest.approx(loss[2].item(), abs=1e-5)
    assert (loss[3] - loss[2]).item() == pytest.approx(gamma)
    loss.sum().backward()
    assert pred.grad.tolist() == pytest.approx([alpha * math.log(b * 0.3 + 1), gamma, gamma, gamma], rel=1e-5)
    with pytest.raises(ValueError, match='beta'):
        BalancedL1Loss(beta=0)


def test_gaussian_focal_loss_by_hand():
    pred, target = torch.tensor([0.8, 0.3, 0.3]), torch.tensor([1.0, 0.5, 0.0])
    expected = [-math.log(0.8) * 0.2**2, -math.log(0.7) * 0.3**2 * 0.5**4, -math.log(0.7) * 0.3**2]
    assert GaussianFocalLoss()(pred, target, reduction_override='none').tolist() == pytest.approx(expected, rel=1e-4)
    assert GaussianFocalLoss()(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])).isfinite()


@pytest.mark.parametrize('activated', [False, True])
def test_quality_focal_loss_by_hand(activated):
    prob = torch.tensor([[0.6, 0.2], [0.3, 0.1]])
    target = torch.tensor([0, 2]), torch.tensor([0.9, 0.0])  # the second row is background
    first = -(0.9 * math.log(0.6) + 0.1 * math.log(0.4)) * 0.3**2 - math.log(0.8) * 0.2**2
    second = -math.log(0.7) * 0.3**2 - math.log(0.9) * 0.1**2
    pred = prob if activated else prob.logit()
    loss = QualityFocalLoss(activated=activated)(pred, target, reduction_override='none')
    assert loss.tolist() == pytest.approx([first, second], rel=1e-4)
    weighted = QualityFocalLoss(activated=activated)(pred, target, torch.tensor([1.0, 0.0]), avg_factor=2)
    assert weighted.item() == pytest.approx(first / 2, rel=1e-4)


def test_distribution_focal_loss_shares_a_target_between_its_neighbours():
    pred, target = torch.randn(2, 5), torch.tensor([2.25, 0.0])
    logp = F.log_softmax(pred, 1)
    loss = DistributionFocalLoss()(pred, target, reduction_override='none')
    torch.testing.assert_close(loss, torch.stack((-0.75 * logp[0, 2] - 0.25 * logp[0, 3], -logp[1, 0])))


@pytest.mark.parametrize('iou_weighted, weight', [(True, 0.7), (False, 1.0)])
def test_varifocal_loss_by_hand(iou_weighted, weight):
    prob, target = torch.tensor([[0.6, 0.2]]), torch.tensor([[0.7, 0.0]])
    expected = [
        -(0.7 * math.log(0.6) + 0.3 * math.log(0.4)) * weight,
        -math.log(0.8) * 0.75 * 0.2**2,
    ]
    loss = VarifocalLoss(iou_weighted=iou_weighted)(prob.logit(), target, reduction_override='none')
    assert loss.tolist()[0] == pytest.approx(expected, rel=1e-4)


def test_dice_loss_by_hand():
    prob, target = torch.tensor([[[0.5, 1.0], [0.0, 0.5]]]), torch.tensor([[[0, 1], [0, 1]]])
    naive = DiceLoss(activate=False, naive_dice=True, eps=0)(prob, target)
    assert naive.item() == pytest.approx(1 - 2 * 1.5 / (2 + 2))
    squared = DiceLoss(activate=False, eps=0)(prob, target)
    assert squared.item() == pytest.approx(1 - 2 * 1.5 / (1.5 + 2))
    torch.testing.assert_close(DiceLoss()(prob, target), DiceLoss(activate=False)(prob.sigmoid(), target))
    assert DiceLoss(activate=False)(prob * 0, target * 0).item() == 1


@pytest.mark.parametrize('loss', [QualityFocalLoss, VarifocalLoss, DiceLoss])
def test_only_a_sigmoid_form_exists(loss):
    with pytest.raises(ValueError, match='use_sigmoid'):
        loss(use_sigmoid=False)


@pytest.mark.parametrize(
    'loss, columns, target',
    [
        (BalancedL1Loss(), 4, torch.zeros(0, 4)),
        (GaussianFocalLoss(), 4, torch.zeros(0, 4)),
        (QualityFocalLoss(), 4, (torch.zeros(0).long(), torch.zeros(0))),
        (DistributionFocalLoss(), 4, torch.zeros(0)),
        (VarifocalLoss(), 4, torch.zeros(0, 4)),
        (DiceLoss(), 4, torch.zeros(0, 4)),
    ],
)
def test_no_rows_give_a_zero_of_the_graph(loss, columns, target):
    pred = torch.zeros(0, columns, requires_grad=True)
    value = loss(pred, target)
    value.backward()
    assert value.item() == 0
