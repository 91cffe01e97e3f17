from __future__ import annotations

import math

import pytest
import torch
import torchvision
from torch.nn import functional as F

from mmdet_clone.models.losses import (
    Accuracy,
    CrossEntropyLoss,
    FocalLoss,
    accuracy,
    weight_reduce_loss,
    weighted_loss,
)


def logits(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, requires_grad=True)


# ---------------------------------------------------------------- weights and reductions
def test_a_weighted_mean_is_the_sum_over_the_factor():
    loss, weight = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, 0.0, 0.5])
    assert weight_reduce_loss(loss, weight).item() == pytest.approx(1.0)
    assert weight_reduce_loss(loss, weight, 'sum').item() == pytest.approx(3.0)
    assert weight_reduce_loss(loss, weight, avg_factor=2).item() == pytest.approx(1.5)
    assert weight_reduce_loss(loss, weight, 'none', avg_factor=2).tolist() == [1, 0, 2]
    assert weight_reduce_loss(loss * 0, avg_factor=0).item() == 0
    with pytest.raises(ValueError, match='avg_factor'):
        weight_reduce_loss(loss, reduction='sum', avg_factor=2)


def test_a_loss_function_of_ones_own_is_given_weights():
    @weighted_loss
    def cubic(pred, target, scale=1.0):
        return scale * (pred - target).abs() ** 3

    pred, target = torch.tensor([1.0, 2.0]), torch.zeros(2)
    assert cubic(pred, target).item() == 4.5
    assert cubic(pred, target, torch.tensor([1.0, 0.0]), avg_factor=4, scale=2.0).item() == pytest.approx(0.5)
    assert cubic.__name__ == 'cubic'


# ---------------------------------------------------------------- cross entropy
def test_softmax_cross_entropy_agrees_with_torch():
    pred, label = logits(6, 4), torch.tensor([0, 1, 2, 3, 3, 0])
    torch.testing.assert_close(CrossEntropyLoss()(pred, label), F.cross_entropy(pred, label))
    weight = torch.rand(6)
    rows = F.cross_entropy(pred, label, reduction='none')
    loss = CrossEntropyLoss(loss_weight=0.5)(pred, label, weight, avg_factor=3)
    torch.testing.assert_close(loss, 0.5 * (rows * weight).sum() / 3)


def test_class_weights_scale_each_row():
    pred, label = torch.zeros(2, 2), torch.tensor([0, 1])
    loss = CrossEntropyLoss(class_weight=[0.5, 2.0])(pred, label, reduction_override='none')
    assert loss.tolist() == pytest.approx([0.5 * math.log(2), 2 * math.log(2)])
    # of a sigmoid loss, only the positive elements
    loss = CrossEntropyLoss(use_sigmoid=True, class_weight=[0.5, 2.0])(pred, label, reduction_override='none')
    ln2 = math.log(2)
    torch.testing.assert_close(loss, torch.tensor([[0.5 * ln2, ln2], [ln2, 2 * ln2]]))


@pytest.mark.parametrize('use_sigmoid', [False, True])
def test_ignored_labels_cost_nothing(use_sigmoid):
    pred, label = torch.zeros(4, 2), torch.tensor([0, 255, 1, 255])
    row = 2 * math.log(2) if use_sigmoid else math.log(2)
    with pytest.warns(UserWarning, match='avg_non_ignore'):
        counted = CrossEntropyLoss(use_sigmoid=use_sigmoid, ignore_index=255)
    loss = counted(pred, label, reduction_override='none')
    assert loss.reshape(4, -1).sum(1).tolist() == pytest.approx([row, 0, row, 0])
    elements = 8 if use_sigmoid else 4
    assert counted(pred, label).item() == pytest.approx(2 * row / elements)
    left_out = CrossEntropyLoss(use_sigmoid=use_sigmoid, ignore_index=255, avg_non_ignore=True)
    assert left_out(pred, label).item() == pytest.approx(math.log(2))
    default = CrossEntropyLoss(use_sigmoid=use_sigmoid)
    assert default(pred[:1], torch.tensor([1]), ignore_index=1).item() == 0


def test_the_background_of_a_sigmoid_loss_is_a_row_of_zeros():
    pred, label = logits(5, 3), torch.tensor([0, 1, 2, 3, -100])
    hot = torch.zeros(5, 3)
    hot[[0, 1, 2], [0, 1, 2]] = 1
    expected = F.binary_cross_entropy_with_logits(pred, hot, reduction='none')
    expected[4] = 0
    loss = CrossEntropyLoss(use_sigmoid=True)
    torch.testing.assert_close(loss(pred, label, reduction_override='none'), expected)
    weight = torch.rand(5)
    torch.testing.assert_close(loss(pred, label, weight, avg_factor=2), (expected * weight[:, None]).sum() / 2)
    torch.testing.assert_close(loss(pred[:4], hot[:4]), expected[:4].mean())


def test_one_class_of_a_region_proposal_network():
    pred, label = torch.tensor([[2.0], [-1.0]]), torch.tensor([0, 1])  # 0 is the object, 1 the background
    loss = CrossEntropyLoss(use_sigmoid=True)(pred, label, torch.ones(2), avg_factor=2)
    assert loss.item() == pytest.approx((math.log1p(math.exp(-2)) + math.log1p(math.exp(-1))) / 2)


def test_mask_loss_looks_at_the_objects_own_class():
    pred, target, label = logits(2, 3, 4, 4), (torch.rand(2, 4, 4) > 0.5).float(), torch.tensor([2, 0])
    own = torch.stack((pred[0, 2], pred[1, 0]))
    loss = CrossEntropyLoss(use_mask=True)(pred, target, label)
    torch.testing.assert_close(loss, F.binary_cross_entropy_with_logits(own, target))
    loss.backward()
    assert pred.grad[0, 0].abs().sum() == 0
    with pytest.raises(ValueError, match='mean over pixels'):
        CrossEntropyLoss(use_mask=True)(pred, target, label, avg_factor=1)
    with pytest.raises(ValueError, match='exclude'):
        CrossEntropyLoss(use_mask=True, use_sigmoid=True)


@pytest.mark.parametrize(
    'loss, shape, target, weight',
    [
        (CrossEntropyLoss(), (0, 3), torch.zeros(0, dtype=torch.long), None),
        (CrossEntropyLoss(use_sigmoid=True), (0, 3), torch.zeros(0, dtype=torch.long), None),
        (CrossEntropyLoss(use_mask=True), (0, 3, 4, 4), torch.zeros(0, 4, 4), torch.zeros(0, dtype=torch.long)),
        (FocalLoss(), (0, 3), torch.zeros(0, dtype=torch.long), torch.zeros(0)),
    ],
)
def test_without_rows_the_loss_is_a_zero_of_the_graph(loss, shape, target, weight):
    pred = logits(*shape)
    value = loss(pred, target, weight)
    value.backward()
    assert value.item() == 0


@pytest.mark.parametrize('loss', [CrossEntropyLoss(), CrossEntropyLoss(use_sigmoid=True), FocalLoss()])
def test_bfloat16_logits_are_compared_in_float32(loss):
    pred, label = torch.randn(4, 3).bfloat16(), torch.tensor([0, 1, 2, 0])
    with torch.autocast('cpu', torch.bfloat16):
        value = loss(pred, label)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(pred.float(), label), rtol=1e-6, atol=0)


def test_losses_leave_their_inputs_as_they_were():
    pred, label, weight = torch.randn(4, 3), torch.tensor([0, 1, 3, -100]), torch.rand(4)
    before = pred.clone(), label.clone(), weight.clone()
    CrossEntropyLoss(use_sigmoid=True)(pred, label, weight)
    FocalLoss()(pred, label, weight)
    assert all(torch.equal(a, b) for a, b in zip(before, (pred, label, weight)))


# ---------------------------------------------------------------- focal loss
def test_focal_loss_agrees_with_torchvision():
    pred, label = logits(6, 3), torch.tensor([0, 1, 2, 3, 3, 3])
    hot = F.one_hot(label, 4)[:, :3].float()
    expected = torchvision.ops.sigmoid_focal_loss(pred, hot)
    torch.testing.assert_close(FocalLoss()(pred, label), expected.mean())
    torch.testing.assert_close(FocalLoss()(pred, hot), expected.mean())
    weight = torch.rand(6)
    loss = FocalLoss(loss_weight=2)(pred, label, weight, avg_factor=3)
    torch.testing.assert_close(loss, 2 * (expected * weight[:, None]).sum() / 3)
    each = torch.rand(6, 3)
    torch.testing.assert_close(FocalLoss()(pred, label, each.flatten(), avg_factor=1), (expected * each).sum())


def test_focal_loss_of_probabilities_equals_that_of_logits():
    pred, label = logits(6, 3), torch.tensor([0, 1, 2, 3, 3, 3])
    torch.testing.assert_close(FocalLoss(activated=True)(pred.sigmoid(), label), FocalLoss()(pred, label))


def test_focal_loss_has_only_a_sigmoid_form():
    with pytest.raises(ValueError, match='use_sigmoid'):
        FocalLoss(use_sigmoid=False)


# ---------------------------------------------------------------- accuracy
def test_accuracy_by_hand():
    pred = torch.tensor([[0.2, 0.8, 0.0], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7], [0.5, 0.4, 0.1]])
    target = torch.tensor([1, 1, 2, 2])
    assert accuracy(pred, target).tolist() == [50]
    assert [a.item() for a in accuracy(pred, target, topk=(1, 2))] == [50, 75]
    assert accuracy(pred, target, thresh=0.75).tolist() == [25]
    assert [a.item() for a in Accuracy(topk=(1, 3))(pred, target)] == [50, 100]


def test_accuracy_of_no_rows_is_zero_and_of_too_few_classes_an_error():
    assert accuracy(torch.zeros(0, 3), torch.zeros(0)).tolist() == [0]
    with pytest.raises(ValueError, match='topk=5'):
        accuracy(torch.zeros(2, 3), torch.zeros(2), topk=5)
    with pytest.raises(ValueError, match='expected pred'):
        accuracy(torch.zeros(2, 3), torch.zeros(3))
