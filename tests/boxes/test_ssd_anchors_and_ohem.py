"""SSD's anchors by the paper's numbers; online hard example mining by a head whose losses are known."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from mmdet_clone.boxes import AssignResult, OHEMSampler, SSDAnchorGenerator, build_prior_generator, build_sampler

SSD300 = dict(
    type='SSDAnchorGenerator',
    scale_major=False,
    input_size=300,
    strides=[8, 16, 32, 64, 100, 300],
    ratios=[[2], [2, 3], [2, 3], [2, 3], [2], [2]],
)
SSD512 = dict(SSD300, input_size=512, strides=[8, 16, 32, 64, 128, 256, 512])
SSD512['ratios'] = [[2], [2, 3], [2, 3], [2, 3], [2, 3], [2], [2]]


# ---------------------------------------------------------------- anchors
@pytest.mark.parametrize(
    ('cfg', 'least', 'sizes'),
    [
        (SSD300, 0.2, [30, 60, 111, 162, 213, 264, 315]),  # Pascal VOC
        (SSD300, 0.15, [21, 45, 99, 153, 207, 261, 315]),  # COCO
        (SSD512, 0.15, [35, 76, 153, 230, 307, 384, 460, 537]),
        (SSD512, 0.1, [20, 51, 133, 215, 296, 378, 460, 542]),
    ],
)
def test_sizes_are_those_of_the_authors(cfg, least, sizes):
    generator = build_prior_generator(dict(cfg, basesize_ratio_range=(least, 0.9)))
    assert generator.min_sizes == sizes[:-1]
    assert generator.max_sizes == sizes[1:]


@pytest.mark.parametrize(
    ('cfg', 'sides', 'total'), [(SSD300, (38, 19, 10, 5, 3, 1), 8732), (SSD512, (64, 32, 16, 8, 4, 2, 1), 24564)]
)
def test_there_are_as_many_anchors_as_the_paper_has(cfg, sides, total):
    generator = build_prior_generator(cfg)
    assert sum(len(level) for level in generator.grid_priors([(s, s) for s in sides])) == total


def test_anchors_of_a_cell_are_a_square_a_larger_square_and_oblongs_around_its_middle():
    generator = SSDAnchorGenerator([16], [[2, 3]], min_sizes=[36], max_sizes=[100], scale_major=False)
    (anchors,) = generator.base_anchors
    torch.testing.assert_close((anchors[:, :2] + anchors[:, 2:]) / 2, torch.full((6, 2), 8.0))
    w, h = (anchors[:, 2:] - anchors[:, :2]).unbind(1)
    torch.testing.assert_close(h / w, torch.tensor([1, 1, 1 / 2, 2, 1 / 3, 3]))
    torch.testing.assert_close((w * h).sqrt(), torch.tensor([36.0, 60, 36, 36, 36, 36]))  # 60 = sqrt(36 * 100)
    assert generator.num_base_priors == [6]


def test_rows_of_the_grid_can_be_had_alone():
    generator = build_prior_generator(SSD300)
    rows = torch.tensor([0, 7, 100])
    whole = generator.grid_priors([(38, 38), (19, 19), (10, 10), (5, 5), (3, 3), (1, 1)])[1]
    torch.testing.assert_close(generator.sparse_priors(rows, (19, 19), 1), whole[rows])


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        (dict(input_size=320), '300: 0.2'),
        (dict(basesize_ratio_range=(0.1, 0.9)), '512: 0.1'),
        (dict(min_sizes=[1] * 6), 'max_sizes'),
        (dict(min_sizes=[1] * 5, max_sizes=[2] * 5), '6 strides but 5 min_sizes'),
        (dict(ratios=[[2]]), '6 strides but 1 ratios'),
    ],
)
def test_wrong_arguments_are_explained(changes, words):
    with pytest.raises(ValueError, match=words):
        build_prior_generator({**SSD300, **changes})


# ---------------------------------------------------------------- hard examples
class KnownLosses:
    """A RoI head whose classification loss of a box is its x1, or minus that for background."""

    num_classes = 3

    def __init__(self) -> None:
        self.bbox_head = self
        self.rois_seen = []

    def _bbox_forward(self, x, rois):
        assert not torch.is_grad_enabled()
        self.rois_seen.append(len(rois))
        return dict(cls_score=rois[:, 1:2])

    def loss(self, cls_score, bbox_pred, rois, labels, label_weights, bbox_targets, bbox_weights, reduction_override):
        assert reduction_override == 'none' and bbox_pred is None
        assert label_weights.eq(1).all()
        sign = torch.where(labels == self.num_classes, -1.0, 1.0)
        return dict(loss_cls=cls_score[:, 0] * sign)


BOXES = torch.tensor([[float(x), 0, x + 5, 5] for x in (3, 9, 1, 7, 2, 8)])
ASSIGNED = AssignResult(2, torch.tensor([1, 2, 1, 0, 0, 0]), torch.zeros(6), torch.tensor([0, 1, 0, -1, -1, -1]))
GT, FEATS = torch.tensor([[0.0, 0, 5, 5], [9, 0, 14, 5]]), [torch.zeros(1, 1, 4, 4)]


def sampler(head, **changes):
    cfg = dict(type='OHEMSampler', num=4, pos_fraction=0.5, add_gt_as_proposals=False)
    return build_sampler({**cfg, **changes}, context=head)


def test_the_positives_and_negatives_of_highest_loss_are_taken():
    head = KnownLosses()
    result = sampler(head).sample(ASSIGNED, BOXES, GT, feats=FEATS)
    assert result.pos_inds.tolist() == [0, 1]  # 9 and 3 of 3, 9, 1
    assert result.neg_inds.tolist() == [3, 4]  # -2 and -7 of -7, -2, -8
    assert head.rois_seen == [3, 3]


def test_all_are_taken_without_a_look_at_the_losses_where_there_are_no_more_than_asked_for():
    head = KnownLosses()
    result = sampler(head, num=20).sample(ASSIGNED, BOXES, GT, feats=FEATS)
    assert (result.pos_inds.tolist(), result.neg_inds.tolist()) == ([0, 1, 2], [3, 4, 5])
    assert head.rois_seen == []


def test_in_a_cascade_the_stage_in_training_is_asked():
    stages = [KnownLosses(), KnownLosses()]
    head = SimpleNamespace(num_stages=2, current_stage=1, bbox_head=stages)
    head._bbox_forward = lambda stage, x, rois: stages[stage]._bbox_forward(x, rois)
    sampler(head).sample(ASSIGNED, BOXES, GT, feats=FEATS)
    assert [stage.rois_seen for stage in stages] == [[], [3, 3]]


def test_what_is_missing_is_told():
    with pytest.raises(ValueError, match='feats'):
        sampler(KnownLosses()).sample(ASSIGNED, BOXES, GT)
    with pytest.raises(ValueError, match='RoI head'):
        OHEMSampler(num=4, pos_fraction=0.5, context=SimpleNamespace())
