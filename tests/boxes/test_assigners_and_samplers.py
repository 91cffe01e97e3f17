from __future__ import annotations

import pytest
import torch

from mmdet_clone.boxes import AssignResult, MaxIoUAssigner, PseudoSampler, build_assigner, build_sampler
from mmdet_clone.boxes.assigners import max_iou
from mmdet_clone.boxes.builder import build_iou_calculator
from mmdet_clone.ops import bbox_overlaps


def random_boxes(n: int, size: float = 60) -> torch.Tensor:
    corner = (torch.rand(n, 2) * size).floor()
    return torch.cat((corner, corner + (torch.rand(n, 2) * 30 + 3).floor()), 1)


def assigner(**kwargs) -> MaxIoUAssigner:
    return build_assigner({**dict(type='MaxIoUAssigner', pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3), **kwargs})


# ---------------------------------------------------------------- assigner
# rows: ground truths, columns: boxes
OVERLAPS = torch.tensor([[0.9, 0.5, 0.2, 0.0, 0.0], [0.1, 0.6, 0.2, 0.4, 0.0]])


def test_thresholds_by_hand():
    result = assigner().assign_wrt_overlaps(OVERLAPS, torch.tensor([7, 8]))
    # 0.9 positive; 0.6 is the best of its ground truth; 0.2 and 0 negative; 0.4 between
    assert result.gt_inds.tolist() == [1, 2, 0, -1, 0]
    assert result.labels.tolist() == [7, 8, -1, -1, -1]
    assert result.max_overlaps.tolist() == pytest.approx([0.9, 0.6, 0.2, 0.4, 0])
    assert (result.num_gts, result.num_preds) == (2, 5)
    strict = assigner(match_low_quality=False).assign_wrt_overlaps(OVERLAPS)
    assert strict.gt_inds.tolist() == [1, -1, 0, -1, 0]
    assert strict.labels is None


def test_thresholds_are_closed_below():
    result = assigner(pos_iou_thr=0.5, neg_iou_thr=0.25, match_low_quality=False).assign_wrt_overlaps(
        torch.tensor([[0.5, 0.25, 0.125]])
    )
    assert result.gt_inds.tolist() == [1, -1, 0]
    least = assigner(min_pos_iou=0.25).assign_wrt_overlaps(torch.tensor([[0.25]]))
    assert least.gt_inds.tolist() == [1]


def test_a_range_of_negative_overlaps():
    result = assigner(neg_iou_thr=[0.1, 0.3], match_low_quality=False).assign_wrt_overlaps(OVERLAPS)
    assert result.gt_inds.tolist() == [1, -1, 0, -1, -1]


def test_the_last_ground_truth_wins_a_box_that_is_best_for_several():
    overlaps = torch.tensor([[0.5, 0.5, 0.1], [0.5, 0.2, 0.4], [0.0, 0.1, 0.2]])
    result = assigner(min_pos_iou=0).assign_wrt_overlaps(overlaps)
    assert result.gt_inds.tolist() == [2, 1, 3]
    # only the first of a ground truth's best boxes
    single = assigner(min_pos_iou=0, gt_max_assign_all=False).assign_wrt_overlaps(overlaps)
    assert single.gt_inds.tolist() == [2, -1, 3]


@pytest.mark.parametrize('labels', [None, torch.zeros(0, dtype=torch.long)])
def test_without_ground_truths_every_box_is_background(labels):
    result = assigner(ignore_iof_thr=0.5).assign(random_boxes(4), torch.zeros(0, 4), random_boxes(2), labels)
    assert result.gt_inds.tolist() == [0, 0, 0, 0]
    assert result.max_overlaps.tolist() == [0, 0, 0, 0]
    assert result.labels is None if labels is None else result.labels.tolist() == [-1] * 4


def test_without_boxes_the_result_is_empty():
    result = assigner().assign(torch.zeros(0, 4), random_boxes(2), gt_labels=torch.tensor([1, 2]))
    assert (result.gt_inds.shape, result.labels.shape, result.num_gts) == ((0,), (0,), 2)


@pytest.mark.parametrize('wrt_candidates, expected', [(True, [-1, 1]), (False, [-1, -1])])
def test_boxes_in_ignored_regions_are_neither(wrt_candidates, expected):
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 20, 40, 40]])
    region = torch.tensor([[0.0, 0, 8, 10], [30, 30, 36, 36]])  # 80 % of the first box; 9 % of the second, all its own
    gts = torch.tensor([[20.0, 20, 40, 40]])
    result = assigner(ignore_iof_thr=0.5, ignore_wrt_candidates=wrt_candidates).assign(boxes, gts, region)
    assert result.gt_inds.tolist() == expected
    off = assigner(ignore_iof_thr=-1).assign(boxes, gts, region)
    assert off.gt_inds.tolist() == [0, 1]


def brute_force(overlaps, pos, neg, least, all_best):
    """The rules, one box and one ground truth at a time."""
    num_gts, num_boxes = overlaps.shape
    inds = []
    for j in range(num_boxes):
        column = overlaps[:, j].tolist()
        best = max(column)
        inds.append(column.index(best) + 1 if best >= pos else 0 if 0 <= best < neg else -1)
    for i in range(num_gts):
        row = overlaps[i].tolist()
        if max(row) >= least:
            for j in [j for j, v in enumerate(row) if v == max(row)][: None if all_best else 1]:
                inds[j] = i + 1
    return inds


@pytest.mark.parametrize('all_best', [True, False])
@pytest.mark.parametrize('slab', [2**24, 1, 70, 400])
def test_slabs_of_any_size_agree_with_brute_force(monkeypatch, all_best, slab):
    monkeypatch.setattr(max_iou, 'SLAB_OVERLAPS', slab)
    boxes, gts, regions = random_boxes(60), random_boxes(25), random_boxes(7)
    gts = torch.cat((gts, gts[:5]))  # ties
    labels = torch.randint(9, (30,))
    overlaps = bbox_overlaps(gts, boxes)
    overlaps[:, bbox_overlaps(boxes, regions, 'iof').amax(1) > 0.5] = -1
    built = assigner(pos_iou_thr=0.4, min_pos_iou=0.05, gt_max_assign_all=all_best, ignore_iof_thr=0.5)
    result = built.assign(boxes, gts, regions, labels)
    assert result.gt_inds.tolist() == brute_force(overlaps, 0.4, 0.3, 0.05, all_best)
    torch.testing.assert_close(result.max_overlaps, overlaps.amax(0), rtol=0, atol=0)
    dense = built.assign_wrt_overlaps(overlaps, labels)
    assert torch.equal(dense.gt_inds, result.gt_inds)
    assert torch.equal(dense.labels, result.labels)


def test_many_ground_truths_never_make_the_whole_matrix(monkeypatch):
    monkeypatch.setattr(max_iou, 'SLAB_OVERLAPS', 1000)
    built, largest = assigner(ignore_iof_thr=0.5), []
    calculator = built.iou_calculator

    def watched(*args, **kwargs):
        overlaps = calculator(*args, **kwargs)
        largest.append(overlaps.numel())
        return overlaps

    built.iou_calculator = watched
    built.assign(random_boxes(200), random_boxes(90), random_boxes(50))
    assert max(largest) <= 1000


def test_many_ground_truths_move_to_the_cpu_and_back():
    boxes, gts = random_boxes(30), random_boxes(6)
    assert torch.equal(assigner(gpu_assign_thr=2).assign(boxes, gts).gt_inds, assigner().assign(boxes, gts).gt_inds)


def test_iou_calculator_ignores_scores_and_may_round_to_half():
    boxes = random_boxes(5)
    scored = torch.cat((boxes, torch.rand(5, 1)), 1)
    exact = build_iou_calculator(dict(type='BboxOverlaps2D'))
    assert torch.equal(exact(scored, boxes), bbox_overlaps(boxes, boxes))
    half = build_iou_calculator(dict(type='BboxOverlaps2D', scale=4.0, dtype='fp16'))(scored, boxes)
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), bbox_overlaps(boxes, boxes), rtol=1e-2, atol=1e-2)


# ---------------------------------------------------------------- samplers
def assigned(gt_inds: list[int], num_gts: int = 2, labels: bool = True) -> AssignResult:
    inds = torch.tensor(gt_inds, dtype=torch.long)
    own = torch.where(inds > 0, inds + 10, -1) if labels else None  # ground truth i has the label 11 + i
    return AssignResult(num_gts, inds, torch.rand(len(inds)), own)


def sampler(**kwargs):
    defaults = dict(type='RandomSampler', num=4, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=False)
    return build_sampler({**defaults, **kwargs}, context=None)


def test_random_sampler_takes_at_most_the_fraction_of_positives():
    result = assigned([1, 2, 1, 2, 1, 0, 0, 0, 0, -1])
    boxes, gts = random_boxes(10), random_boxes(2)
    chosen = sampler().sample(result, boxes, gts)
    assert (len(chosen.pos_inds), len(chosen.neg_inds)) == (2, 2)
    assert set(chosen.pos_inds.tolist()) <= {0, 1, 2, 3, 4}
    assert set(chosen.neg_inds.tolist()) <= {5, 6, 7, 8}
    assert torch.equal(chosen.pos_gt_bboxes, gts[chosen.pos_assigned_gt_inds])
    assert torch.equal(chosen.pos_gt_labels, chosen.pos_assigned_gt_inds + 11)
    assert torch.equal(chosen.bboxes, boxes[torch.cat((chosen.pos_inds, chosen.neg_inds))])


def test_few_positives_are_all_taken_and_filled_up_with_negatives():
    chosen = sampler(num=6).sample(assigned([0, 1, 0, 0, 0, 0, 0, 0]), random_boxes(8), random_boxes(2))
    assert chosen.pos_inds.tolist() == [1]
    assert len(chosen.neg_inds) == 5


@pytest.mark.parametrize('gt_inds, bound, expected', [([1, 1, 0, 0, 0, 0], 1, 2), ([0, 0, 0, 0, 0, 0], 3, 3)])
def test_negatives_are_bounded_by_positives(gt_inds, bound, expected):
    chosen = sampler(num=6, neg_pos_ub=bound).sample(assigned(gt_inds), random_boxes(6), random_boxes(2))
    assert len(chosen.neg_inds) == expected


def test_ground_truths_become_the_first_boxes():
    boxes, gts = torch.cat((random_boxes(3), torch.rand(3, 1)), 1), random_boxes(2)
    result = assigned([0, 0, 2])
    chosen = sampler(num=100, add_gt_as_proposals=True).sample(result, boxes, gts, torch.tensor([11, 12]))
    assert chosen.pos_inds.tolist() == [0, 1, 4]
    assert chosen.pos_is_gt.tolist() == [1, 1, 0]
    assert chosen.pos_assigned_gt_inds.tolist() == [0, 1, 1]
    assert chosen.pos_gt_labels.tolist() == [11, 12, 12]
    assert torch.equal(chosen.pos_bboxes[:2], gts)
    assert result.num_preds == 3  # the caller's result is left alone
    with pytest.raises(ValueError, match='gt_labels'):
        sampler(add_gt_as_proposals=True).sample(assigned([0, 0, 2]), boxes, gts)


@pytest.mark.parametrize('build', [lambda: sampler(add_gt_as_proposals=True), PseudoSampler])
@pytest.mark.parametrize('num_boxes', [0, 3])
def test_an_image_without_ground_truths_gives_negatives_only(build, num_boxes):
    result = assigned([0] * num_boxes, num_gts=0)
    none = torch.zeros(0, 4)
    chosen = build().sample(result, random_boxes(num_boxes), none, torch.zeros(0, dtype=torch.long))
    assert (chosen.pos_gt_bboxes.shape, chosen.pos_bboxes.shape, chosen.num_gts) == ((0, 4), (0, 4), 0)
    assert len(chosen.neg_inds) == num_boxes


def test_a_seed_repeats_the_samples_and_every_box_has_its_chance():
    result, boxes, gts = assigned([0] * 20 + [1]), random_boxes(21), random_boxes(2)
    draws = []
    for _ in range(2):
        torch.manual_seed(3)
        draws.append(sampler().sample(result, boxes, gts).neg_inds.tolist())
    assert draws[0] == draws[1]
    seen = {i for _ in range(60) for i in sampler().sample(result, boxes, gts).neg_inds.tolist()}
    assert seen == set(range(20))


def test_random_choice_takes_arrays_and_refuses_too_many():
    drawn = sampler().random_choice([4, 5, 6], 2)
    assert set(drawn.tolist()) < {4, 5, 6}
    with pytest.raises(ValueError, match='cannot draw 5 of 3'):
        sampler().random_choice([4, 5, 6], 5)


def test_pseudo_sampler_takes_everything_in_order():
    boxes, gts = random_boxes(5), random_boxes(2)
    chosen = PseudoSampler().sample(assigned([0, 2, -1, 1, 0]), boxes, gts)
    assert (chosen.pos_inds.tolist(), chosen.neg_inds.tolist()) == ([1, 3], [0, 4])
    assert chosen.pos_is_gt.tolist() == [0, 0]
    assert chosen.to('cpu') is chosen
    assert set(chosen.info) >= {'pos_inds', 'neg_inds', 'pos_gt_labels'}


def test_a_pseudo_sampler_passes_over_the_arguments_of_the_sampler_that_it_replaces(recwarn):
    left_over = dict(type='PseudoSampler', num=256, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=False)
    for _ in range(2):
        sampled = build_sampler(left_over).sample(assigned([0, 1]), torch.zeros(2, 4), torch.zeros(1, 4))
        assert sampled.pos_inds.tolist() == [1]
    (warning,) = recwarn
    assert str(warning.message).startswith("PseudoSampler ignores 'num', 'pos_fraction', 'neg_pos_ub', 'add_gt_as_")


def test_an_assign_result_holds_values_of_an_assigners_own():
    result = assigned([0, 1], labels=False)
    result.set_extra_property('costs', 3)
    twin = result.copy()
    twin.add_gt_(torch.tensor([5]))
    assert (twin.get_extra_property('costs'), twin.gt_inds.tolist()) == (3, [1, 0, 1])
    assert result.gt_inds.tolist() == [0, 1]
    assert result.info['costs'] == 3
    assert result.get_extra_property('none') is None
