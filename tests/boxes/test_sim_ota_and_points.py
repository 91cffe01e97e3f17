"""SimOTA against the paper's procedure written as loops, and grids of points."""

from __future__ import annotations

import math

import pytest
import torch

from mmdet_clone.boxes import build_assigner, build_prior_generator
from mmdet_clone.ops import bbox_overlaps

STRIDES = (8, 16)


def cells(size: int = 64) -> torch.Tensor:
    """(P, 4) x, y of the cells' middles and their strides, of two levels."""
    generator = build_prior_generator(dict(type='MlvlPointGenerator', strides=STRIDES))
    return torch.cat(generator.grid_priors([(size // s, size // s) for s in STRIDES], with_stride=True))


def by_loops(scores, priors, boxes, gts, labels, radius=2.5, topk=10):
    """What the paper says, one prediction and one ground truth at a time: prior -> (ground truth, overlap)."""
    overlaps = bbox_overlaps(boxes, gts).tolist()
    candidates, costs = [], {}
    for p, (x, y, stride, _) in enumerate(priors.tolist()):
        inside, near = [], []
        for x1, y1, x2, y2 in gts.tolist():
            inside.append(x1 < x < x2 and y1 < y < y2)
            cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
            near.append(abs(x - cx) < radius * stride and abs(y - cy) < radius * stride)
        if not (any(inside) or any(near)):
            continue
        candidates.append(p)
        for g, label in enumerate(labels.tolist()):
            cost = -3 * math.log(overlaps[p][g] + 1e-7) + (0 if inside[g] and near[g] else 1e5)
            for c, score in enumerate(scores[p].tolist()):
                root = math.sqrt(score)
                cost -= math.log(root if c == label else 1 - root)
            costs[p, g] = cost
    wanted: dict[int, list[int]] = {}
    for g in range(len(gts)):
        k = max(int(sum(sorted((overlaps[p][g] for p in candidates), reverse=True)[:topk])), 1)
        for p in sorted(candidates, key=lambda p: costs[p, g])[:k]:
            wanted.setdefault(p, []).append(g)
    found = {}
    for p, takers in wanted.items():
        g = takers[0] if len(takers) == 1 else min(range(len(gts)), key=lambda g: costs[p, g])
        found[p] = (g, overlaps[p][g])
    return found


@pytest.mark.parametrize('seed', range(6))
def test_sim_ota_equals_the_procedure_of_the_paper(seed):
    torch.manual_seed(seed)
    priors = cells()
    gts = torch.tensor([[4.0, 6, 40, 44], [10, 8, 50, 40], [33, 30, 60, 62], [20, 20, 23, 24]])[: 2 + seed % 3]
    labels = torch.tensor([0, 2, 1, 1])[: len(gts)]
    # predictions near a ground truth each, so that several overlap well and some are contested
    boxes = gts[torch.randint(len(gts), (len(priors),))] + torch.randn(len(priors), 4) * 3
    scores = torch.rand(len(priors), 3)
    assigned = build_assigner(dict(type='SimOTAAssigner')).assign(scores, priors, boxes, gts, labels)
    expected = by_loops(scores, priors, boxes, gts, labels)
    positive = assigned.gt_inds.nonzero().squeeze(1).tolist()
    assert positive == sorted(expected) and len(positive) >= len(gts)
    for p in positive:
        g, overlap = expected[p]
        assert assigned.gt_inds[p] == g + 1 and assigned.labels[p] == labels[g]
        assert assigned.max_overlaps[p].item() == pytest.approx(overlap)
    rest = assigned.gt_inds == 0
    assert (assigned.labels[rest] == -1).all() and (assigned.max_overlaps[rest] == -100000).all()


def test_a_contested_prediction_goes_where_it_costs_less():
    priors = torch.tensor([[20.0, 20, 8, 8]])
    boxes = torch.tensor([[10.0, 10, 30, 30]])
    gts = torch.tensor([[8.0, 8, 34, 34], [10, 10, 30, 31]])
    assigner = build_assigner(dict(type='SimOTAAssigner'))
    assigned = assigner.assign(torch.tensor([[0.5, 0.5]]), priors, boxes, gts, torch.tensor([0, 1]))
    assert assigned.gt_inds.tolist() == [2] and assigned.labels.tolist() == [1]
    assert assigned.max_overlaps.item() == pytest.approx(20 / 21)


@pytest.mark.parametrize('gts', [torch.zeros(0, 4), torch.tensor([[500.0, 500, 520, 520]])], ids=['none', 'outside'])
def test_without_candidates_all_is_background(gts):
    priors = cells()
    labels = torch.zeros(len(gts), dtype=torch.long)
    assigner = build_assigner(dict(type='SimOTAAssigner'))
    assigned = assigner.assign(torch.rand(len(priors), 3), priors, torch.rand(len(priors), 4), gts, labels)
    assert not assigned.gt_inds.any() and not assigned.max_overlaps.any() and (assigned.labels == -1).all()


def test_scores_of_zero_and_one_have_finite_costs():
    priors = cells()
    boxes = torch.tensor([[4.0, 4, 36, 36]]).expand(len(priors), 4)
    scores = torch.tensor([[0.0, 1.0]]).expand(len(priors), 2)
    for label in (0, 1):
        assigned = build_assigner(dict(type='SimOTAAssigner')).assign(
            scores, priors, boxes, torch.tensor([[4.0, 4, 36, 36]]), torch.tensor([label])
        )
        assert (assigned.gt_inds > 0).sum() == 10


def test_points_run_over_rows_then_columns_with_their_strides():
    generator = build_prior_generator(dict(type='MlvlPointGenerator', strides=[4, (8, 16)], offset=0.5))
    assert (generator.num_levels, generator.num_base_priors) == (2, [1, 1])
    first, second = generator.grid_priors([(2, 3), (1, 2)])
    assert first.tolist() == [[2, 2], [6, 2], [10, 2], [2, 6], [6, 6], [10, 6]]
    assert second.tolist() == [[4, 8], [12, 8]]
    assert generator.grid_priors([(2, 3), (1, 2)], with_stride=True)[1].tolist() == [[4, 8, 8, 16], [12, 8, 8, 16]]
    picked = generator.sparse_priors(torch.tensor([4, 2]), (2, 3), 0)
    assert torch.equal(picked, first[[4, 2]])
    assert build_prior_generator(dict(type='MlvlPointGenerator', strides=[4], offset=0)).grid_priors([(1, 2)])[
        0
    ].tolist() == [[0, 0], [4, 0]]


def test_points_in_the_padding_of_the_batch_are_not_valid():
    generator = build_prior_generator(dict(type='MlvlPointGenerator', strides=[8]))
    (valid,) = generator.valid_flags([(3, 4)], (17, 8, 3))
    assert valid.view(3, 4).tolist() == [[True, False, False, False]] * 3
    with pytest.raises(ValueError, match=r'1 levels .* 2 feature maps'):
        generator.grid_priors([(1, 1), (1, 1)])


def test_the_older_generator_gives_corners_and_strides_of_one_level():
    generator = build_prior_generator(dict(type='PointGenerator'))
    assert generator.grid_points((2, 2), 8).tolist() == [[0, 0, 8], [8, 0, 8], [0, 8, 8], [8, 8, 8]]
    assert generator.valid_flags((2, 2), (1, 2)).tolist() == [True, True, False, False]
