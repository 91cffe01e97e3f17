from __future__ import annotations

import math

import pytest
import torch
import torchvision

from mmdet_clone.ops import batched_nms, fast_nms, multiclass_nms, nms, soft_nms

# IoU of the first two: 80 / 120 = 2/3; the third stands apart
BOXES = torch.tensor([[0.0, 0, 10, 10], [2, 0, 12, 10], [50, 50, 60, 60]])
SCORES = torch.tensor([0.9, 0.8, 0.7])


def random_boxes(n: int) -> torch.Tensor:
    corner = torch.rand(n, 2) * 50
    return torch.cat((corner, corner + torch.rand(n, 2) * 40 + 1), 1)


def test_nms_by_hand():
    dets, inds = nms(BOXES, SCORES, 0.5)
    assert inds.tolist() == [0, 2]
    torch.testing.assert_close(dets, torch.cat((BOXES[[0, 2]], SCORES[[0, 2], None]), 1))
    assert nms(BOXES, SCORES, 0.7)[1].tolist() == [0, 1, 2]
    assert nms(BOXES, SCORES, 0.7, max_num=2)[1].tolist() == [0, 1]


def test_a_box_at_the_threshold_stays():
    halves = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5]])  # IoU exactly 0.5
    assert nms(halves, SCORES[:2], 0.5)[1].tolist() == [0, 1]


def test_score_threshold_keeps_indices_of_all_boxes():
    scores = torch.tensor([0.1, 0.8, 0.7])
    assert nms(BOXES, scores, 0.5, score_threshold=0.3)[1].tolist() == [1, 2]


def test_offset_counts_the_last_pixel():
    # 3 x 1 pixels side by side sharing one column: IoU 1/5 with the pixel counted, 0 without
    boxes = torch.tensor([[0.0, 0, 2, 0], [2, 0, 4, 0]])
    assert nms(boxes, SCORES[:2], 0.15, offset=1)[1].tolist() == [0]
    assert nms(boxes, SCORES[:2], 0.15)[1].tolist() == [0, 1]


def test_malformed_input_is_named():
    with pytest.raises(ValueError, match=r'boxes \(n, 4\)'):
        nms(torch.zeros(3, 5), SCORES, 0.5)


@pytest.mark.parametrize(
    'method, second',
    [('linear', 0.8 * (1 - 2 / 3)), ('gaussian', 0.8 * math.exp(-((2 / 3) ** 2) / 0.5))],
)
def test_soft_nms_decays_the_overlapping_box(method, second):
    dets, inds = soft_nms(BOXES, SCORES, iou_threshold=0.3, method=method)
    assert inds.tolist() == [0, 2, 1]
    assert dets[:, 4].tolist() == pytest.approx([0.9, 0.7, second], abs=1e-6)
    assert SCORES.tolist() == pytest.approx([0.9, 0.8, 0.7])


def test_naive_soft_nms_is_nms():
    boxes, scores = random_boxes(40), torch.rand(40) + 0.01
    assert soft_nms(boxes, scores, 0.5, method='naive')[1].tolist() == nms(boxes, scores, 0.5)[1].tolist()


def test_soft_nms_drops_what_falls_below_the_least_score():
    assert soft_nms(BOXES, SCORES, method='linear', min_score=0.3)[1].tolist() == [0, 2]
    assert soft_nms(BOXES[:0], SCORES[:0])[0].shape == (0, 5)
    with pytest.raises(ValueError, match='method'):
        soft_nms(BOXES, SCORES, method='hard')


def test_soft_nms_agrees_with_a_loop_over_scalars():
    boxes, scores = random_boxes(30), torch.rand(30)
    left, expected = dict(enumerate(scores.tolist())), []
    while left:
        best = max(left, key=left.get)
        expected.append((best, left.pop(best)))
        for i in list(left):
            iou = torchvision.ops.box_iou(boxes[best, None], boxes[i, None]).item()
            left[i] *= 1 - iou if iou >= 0.3 else 1
            if left[i] < 0.05:
                del left[i]
    dets, inds = soft_nms(boxes, scores, 0.3, min_score=0.05)
    assert inds.tolist() == [i for i, _ in expected]
    assert dets[:, 4].tolist() == pytest.approx([s for _, s in expected], rel=1e-4)


def test_groups_do_not_suppress_each_other():
    groups = torch.tensor([0, 1, 0])
    cfg = dict(type='nms', iou_threshold=0.5)
    dets, keep = batched_nms(BOXES, SCORES, groups, cfg)
    assert keep.tolist() == [0, 1, 2]
    torch.testing.assert_close(dets[:, :4], BOXES)
    assert batched_nms(BOXES, SCORES, groups, cfg, class_agnostic=True)[1].tolist() == [0, 2]
    assert batched_nms(BOXES, SCORES, groups, dict(cfg, class_agnostic=True))[1].tolist() == [0, 2]
    assert cfg == dict(type='nms', iou_threshold=0.5)


@pytest.mark.parametrize('kind', ['nms', 'soft_nms'])
def test_many_boxes_give_the_same_group_by_group(kind):
    boxes, scores, groups = random_boxes(60), torch.rand(60), torch.randint(4, (60,))
    together = batched_nms(boxes, scores, groups, dict(type=kind, iou_threshold=0.4))
    apart = batched_nms(boxes, scores, groups, dict(type=kind, iou_threshold=0.4, split_thr=1))
    assert together[1].tolist() == apart[1].tolist()
    torch.testing.assert_close(together[0], apart[0], rtol=1e-4, atol=1e-4)
    few = batched_nms(boxes, scores, groups, dict(type=kind, iou_threshold=0.4, split_thr=1, max_num=5))
    assert few[1].tolist() == apart[1][:5].tolist()


def test_no_nms_config_only_sorts():
    dets, keep = batched_nms(BOXES, SCORES.flip(0), torch.zeros(3), None)
    assert keep.tolist() == [2, 1, 0]
    assert dets[:, 4].tolist() == SCORES.tolist()


def test_batched_nms_of_no_boxes_and_of_an_unknown_type():
    none = torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long)
    dets, keep = batched_nms(*none, dict(type='nms', iou_threshold=0.5))
    assert dets.shape == (0, 5)
    assert keep.shape == (0,)
    with pytest.raises(ValueError, match='unknown NMS type'):
        batched_nms(BOXES, SCORES, SCORES, dict(type='matrix'))


def test_half_precision_boxes_are_compared_in_single_precision():
    dets, _ = batched_nms(BOXES.bfloat16(), SCORES.bfloat16(), torch.zeros(3), dict(iou_threshold=0.5))
    assert dets.dtype == torch.float32


NMS = dict(type='nms', iou_threshold=0.5)


def test_multiclass_nms_drops_the_background_and_what_is_not_above_the_threshold():
    scores = torch.tensor([[0.9, 0.3, 0.99], [0.8, 0.31, 0.99], [0.2, 0.7, 0.99]])
    dets, labels, inds = multiclass_nms(BOXES, scores, 0.3, NMS, return_inds=True)
    assert dets[:, 4].tolist() == pytest.approx([0.9, 0.7, 0.31])
    assert labels.tolist() == [0, 1, 1]
    assert inds.tolist() == [0, 5, 3]
    assert multiclass_nms(BOXES, scores, 0.3, NMS, max_num=1)[1].tolist() == [0]


def test_multiclass_nms_takes_the_box_of_the_class():
    scores = torch.tensor([[0.1, 0.9, 0.0]])
    own = torch.tensor([[0.0, 0, 1, 1, 5, 6, 7, 8]])
    assert multiclass_nms(own, scores, 0.5, NMS)[0].tolist() == [[5, 6, 7, 8, pytest.approx(0.9)]]


def test_score_factors_apply_after_the_threshold():
    scores, factors = torch.tensor([[0.9, 0.0], [0.8, 0.0], [0.7, 0.0]]), torch.tensor([0.1, 1.0, 0.5])
    dets, _ = multiclass_nms(BOXES, scores, 0.3, NMS, score_factors=factors)
    assert dets[:, 4].tolist() == pytest.approx([0.8, 0.35])


@pytest.mark.parametrize('columns', [4, 8])
def test_multiclass_nms_without_a_detection(columns):
    for n in (0, 3):
        dets, labels, inds = multiclass_nms(torch.zeros(n, columns), torch.zeros(n, 3), 0.5, NMS, return_inds=True)
        assert (dets.shape, labels.shape, inds.shape) == ((0, 5), (0,), (0,))


def test_fast_nms_lets_removed_boxes_remove():
    # b overlaps a; c overlaps b only: greedy keeps c, fast does not
    boxes = torch.tensor([[0.0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]])
    scores = torch.tensor([[0.9, 0.0], [0.8, 0.0], [0.7, 0.0]])
    coeffs = torch.arange(3.0)[:, None]
    assert nms(boxes, scores[:, 0], 0.3)[1].tolist() == [0, 2]
    dets, labels, kept = fast_nms(boxes, scores, coeffs, 0.1, 0.3, top_k=10)
    assert dets[:, 4].tolist() == pytest.approx([0.9])
    assert (labels.tolist(), kept.tolist()) == ([0], [[0]])
    dets, _, kept = fast_nms(boxes, scores, coeffs, 0.1, 0.9, top_k=10, max_num=2)
    assert kept.tolist() == [[0], [1]]
    assert fast_nms(boxes[:0], scores[:0], coeffs[:0], 0.1, 0.3, 10)[0].shape == (0, 5)


@pytest.mark.parametrize('kind', ['nms', 'soft_nms'])
def test_the_older_name_of_the_threshold_is_taken(kind):
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]])
    scores, idxs = torch.tensor([0.9, 0.8, 0.7]), torch.zeros(3)
    new = batched_nms(boxes, scores, idxs, dict(type=kind, iou_threshold=0.5))
    old = batched_nms(boxes, scores, idxs, dict(type=kind, iou_thr=0.5))
    assert torch.equal(new[0], old[0]) and torch.equal(new[1], old[1])
