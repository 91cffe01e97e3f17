"""Dense heads: targets and losses by hand, batches without objects, and from predictions to boxes."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch import Tensor, nn

from mmdet_clone.models import HEADS, MODELS, build_head
from mmdet_clone.models.dense_heads import AnchorHead, BaseDenseHead, RetinaHead, RPNHead

DENSE_HEADS = [name for name in HEADS.names() if issubclass(MODELS.get(name), AnchorHead)]
LOG2 = math.log(2)
ASSIGNER = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0)
TRAIN = dict(assigner=ASSIGNER, allowed_border=-1, pos_weight=-1, debug=False)
RANDOM = dict(type='RandomSampler', num=2, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=False)
TEST = dict(nms_pre=1000, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=100, min_bbox_size=0)
# one square anchor of 16 pixels around (0, 0), (16, 0), (0, 16), (16, 16)
ONE_ANCHOR = dict(type='AnchorGenerator', scales=[1], ratios=[1.0], strides=[16])
TWO_LEVELS = dict(type='AnchorGenerator', scales=[4], ratios=[0.5, 1.0], strides=[8, 16])
NO_BOXES, NO_LABELS = torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)


def meta(height: int = 32, width: int = 32, scale: float = 1.0, flip: bool = False) -> dict:
    shape = (height, width, 3)
    direction = 'horizontal' if flip else None
    return dict(img_shape=shape, pad_shape=shape, scale_factor=[scale] * 4, flip=flip, flip_direction=direction)


def anchor_head(train: dict | None = None, **kwargs: object) -> AnchorHead:
    """A head with two classes whose predictions are all zero."""
    args = dict(num_classes=2, in_channels=1, anchor_generator=ONE_ANCHOR, loss_bbox=dict(type='L1Loss'))
    head = AnchorHead(**{**args, **kwargs}, train_cfg={**TRAIN, **(train or {})}, test_cfg=TEST)
    for layer in (head.conv_cls, head.conv_reg):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return head


def losses_of(head: BaseDenseHead, boxes: list, labels: list, metas: list | None = None, **kwargs: object) -> dict:
    x = [torch.ones(len(boxes), head.in_channels, 2, 2)]
    losses = head.forward_train(x, metas or [meta()] * len(boxes), boxes, labels, **kwargs)
    return {name: value.item() for name, value in losses.items()}


BOX, LABEL = torch.tensor([[10.0, 8.0, 26.0, 24.0]]), torch.tensor([1])  # 2 pixels beside the last anchor: dx = 1/8


def test_losses_of_one_box_are_those_computed_by_hand():
    losses = losses_of(anchor_head(), [BOX], [LABEL])
    assert losses == pytest.approx(dict(loss_cls=4 * 2 * LOG2, loss_bbox=2 / 16))


def test_an_image_without_objects_counts_as_one_positive():
    losses = losses_of(anchor_head(), [BOX, NO_BOXES], [LABEL, NO_LABELS])
    assert losses == pytest.approx(dict(loss_cls=8 * 2 * LOG2 / 2, loss_bbox=2 / 16 / 2))


def test_pos_weight_weighs_the_classification_of_positives():
    losses = losses_of(anchor_head(dict(pos_weight=3)), [BOX], [LABEL])
    assert losses == pytest.approx(dict(loss_cls=(3 + 3 * 1) * 2 * LOG2, loss_bbox=2 / 16))


def test_with_a_sampler_losses_are_divided_by_all_samples():
    losses = losses_of(anchor_head(dict(sampler=RANDOM)), [BOX], [LABEL])
    assert losses == pytest.approx(dict(loss_cls=2 * 2 * LOG2 / 2, loss_bbox=2 / 16 / 2))


def test_softmax_classification_has_a_column_for_the_background():
    head = anchor_head(loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False))
    assert head.cls_out_channels == 3
    assert losses_of(head, [BOX], [LABEL])['loss_cls'] == pytest.approx(4 * math.log(3))


def test_anchors_beyond_the_image_do_not_train_where_no_border_is_allowed():
    losses = losses_of(anchor_head(dict(allowed_border=0)), [BOX], [LABEL], [meta(25, 25)])
    assert losses['loss_cls'] == pytest.approx(2 * LOG2)  # only the last anchor, from (8, 8) to (24, 24), is inside


def test_anchors_in_the_padding_of_the_batch_do_not_train():
    losses = losses_of(anchor_head(), [torch.tensor([[-8.0, -8, 8, 8]])], [LABEL], [meta(16, 32)])
    assert losses == pytest.approx(dict(loss_cls=2 * 2 * LOG2, loss_bbox=0))


def test_boxes_can_be_compared_after_decoding():
    head = anchor_head(reg_decoded_bbox=True, loss_bbox=dict(type='IoULoss', mode='linear'))
    assert losses_of(head, [BOX], [LABEL])['loss_bbox'] == pytest.approx(1 - 14 / 18)


def test_ignored_boxes_take_their_anchors_out_of_the_classification():
    head = anchor_head(dict(assigner=dict(ASSIGNER, ignore_iof_thr=0.5)))
    ignored = [torch.tensor([[-8.0, -8, 24, 8]])]  # covers the two upper anchors
    losses = losses_of(head, [BOX], [LABEL], gt_bboxes_ignore=ignored)
    assert losses['loss_cls'] == pytest.approx(2 * 2 * LOG2)


def test_sampling_is_off_for_losses_that_weigh_all_anchors():
    with pytest.warns(UserWarning, match='RandomSampler'):
        head = anchor_head(dict(sampler=RANDOM), loss_cls=dict(type='FocalLoss', use_sigmoid=True))
    assert not head.sampling
    assert type(head.sampler).__name__ == 'PseudoSampler'


def test_a_key_that_nothing_reads_is_warned_of_once():
    with pytest.warns(UserWarning, match="AnchorHead ignores 'nothing_reads_this' in its train_cfg"):
        anchor_head(dict(nothing_reads_this=1))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        anchor_head(dict(nothing_reads_this=2))


def test_loss_over_flattened_levels_equals_the_sum_over_levels():
    args = dict(num_classes=3, in_channels=4, feat_channels=4, stacked_convs=1, anchor_generator=TWO_LEVELS)
    head = RetinaHead(**args, loss_cls=dict(type='FocalLoss', use_sigmoid=True), train_cfg=TRAIN)
    nn.init.normal_(head.retina_cls.weight)
    boxes = [torch.tensor([[0.0, 0, 30, 30], [20, 8, 60, 60]]), torch.tensor([[5.0, 30, 40, 62]])]
    labels = [torch.tensor([0, 2]), torch.tensor([1])]
    x = [torch.rand(2, 4, 8, 8), torch.rand(2, 4, 4, 4)]
    scores, deltas = head(x)
    metas = [meta(64, 64)] * 2
    targets = head.get_targets(*head.get_priors(scores, metas), boxes, labels)
    start, sums = 0, dict(loss_cls=0, loss_bbox=0)
    for level_scores, level_deltas in zip(scores, deltas, strict=True):
        rows = level_scores.permute(0, 2, 3, 1).reshape(-1, 3)
        part = slice(start, start + len(rows) // 2)
        args = targets.labels[:, part].flatten(), targets.label_weights[:, part].flatten()
        sums['loss_cls'] += head.loss_cls(rows, *args, avg_factor=targets.num_pos)
        rows, weights = level_deltas.permute(0, 2, 3, 1).reshape(-1, 4), targets.positive[:, part].flatten()
        weights = weights[:, None].expand(-1, 4).float()
        wanted = targets.boxes[:, part].reshape(-1, 4)
        sums['loss_bbox'] += head.loss_bbox(rows, wanted, weights, avg_factor=targets.num_pos)
        start = part.stop
    torch.testing.assert_close(head.loss(scores, deltas, boxes, labels, metas), sums)


def small(name: str, **train: object) -> BaseDenseHead:
    channels = [4, 4] if 'SSD' in name else 4  # its levels have layers of their own
    cfg = dict(type=name, in_channels=channels, feat_channels=4, anchor_generator=TWO_LEVELS)
    cfg.update(train_cfg=dict(TRAIN, **train), test_cfg=TEST)
    return build_head(cfg if name == 'RPNHead' else dict(cfg, num_classes=3))


def train_on(head: BaseDenseHead, boxes: list[Tensor], **kwargs: object) -> dict[str, Tensor]:
    x = [torch.rand(len(boxes), 4, 8, 8), torch.rand(len(boxes), 4, 4, 4)]
    labels = None if isinstance(head, RPNHead) else [torch.arange(len(b)) for b in boxes]
    metas = kwargs.pop('metas', None) or [meta(64, 64)] * len(boxes)
    losses = head.forward_train(x, metas, boxes, labels, **kwargs)
    sum(losses.values()).backward()
    for name, value in losses.items():
        assert value.isfinite(), name
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    return losses


@pytest.mark.parametrize('name', DENSE_HEADS)
def test_registered_head_trains_and_tests(name):
    head = small(name)
    losses = train_on(head, [torch.tensor([[0.0, 0, 30, 30], [20, 8, 60, 60]]), torch.tensor([[5.0, 30, 40, 62]])])
    assert all(value > 0 for value in losses.values())
    with torch.no_grad():
        results = head.eval().simple_test([torch.rand(2, 4, 8, 8), torch.rand(2, 4, 4, 4)], [meta(64, 64)] * 2)
    for result in results:
        dets = result if name == 'RPNHead' else result[0]
        assert dets.shape[1] == 5 and len(dets) > 0
        assert dets.isfinite().all() and dets[:, :4].min() >= 0 and dets[:, :4].max() <= 64


@pytest.mark.parametrize('name', DENSE_HEADS)
@pytest.mark.parametrize(
    'decoded', [None, 'IoULoss', 'BoundedIoULoss', 'GIoULoss', 'DIoULoss', 'CIoULoss', 'SmoothL1Loss']
)
def test_losses_are_finite_when_every_image_is_empty(name, decoded):
    head = small(name)
    if decoded:
        head.reg_decoded_bbox, head.loss_bbox = True, MODELS.build(dict(type=decoded))
    losses = train_on(head, [NO_BOXES, NO_BOXES])
    assert [v.item() for k, v in losses.items() if 'bbox' in k] == [0]


@pytest.mark.parametrize('name', DENSE_HEADS)
@pytest.mark.parametrize('sampler', [None, RANDOM])
def test_losses_are_finite_when_one_image_is_empty(name, sampler):
    head = small(name, **(dict(sampler=sampler) if sampler else {}))
    train_on(head, [torch.tensor([[0.0, 0, 30, 30]]), NO_BOXES])


@pytest.mark.parametrize('name', DENSE_HEADS)
def test_losses_are_finite_when_all_boxes_are_ignored(name):
    head = small(name)
    head.assigner.ignore_iof_thr = 0.5
    everything = torch.tensor([[-100.0, -100, 200, 200]])
    train_on(head, [NO_BOXES, NO_BOXES], gt_bboxes_ignore=[everything, everything])
    losses = train_on(head, [BOX, BOX], gt_bboxes_ignore=[everything, everything])
    assert [v.item() for k, v in losses.items() if 'bbox' in k] == [0]


@pytest.mark.parametrize('name', DENSE_HEADS)
def test_losses_are_finite_when_no_anchor_is_inside_the_image(name):
    head = small(name)
    head.allowed_border = 0
    losses = train_on(head, [torch.tensor([[0.0, 0, 6, 6]])], metas=[meta(8, 8)])
    assert [v.item() for v in losses.values()] == [0, 0]


def test_training_can_return_boxes_by_another_configuration():
    head = small('RPNHead')
    x, metas = [torch.rand(1, 4, 8, 8), torch.rand(1, 4, 4, 4)], [meta(64, 64)]
    proposal_cfg = dict(nms_pre=5, nms=dict(type='nms', iou_threshold=0.7), max_per_img=7, min_bbox_size=0)
    losses, proposals = head.forward_train(x, metas, [BOX], proposal_cfg=proposal_cfg)
    assert sorted(losses) == ['loss_rpn_bbox', 'loss_rpn_cls']
    assert 0 < len(proposals[0]) <= 7
    assert not proposals[0].requires_grad


# ---------------------------------------------------------------------- predictions -> boxes
ZERO_DELTAS = [torch.zeros(1, 4, 2, 2)]


def logits(*probabilities: float) -> list[Tensor]:
    """One level of 2 x 2 cells: for each class the scores of its four cells."""
    p = torch.tensor(probabilities).reshape(1, -1, 2, 2)
    return [torch.log(p / (1 - p))]


def test_zero_deltas_give_the_anchors_clipped_to_the_image():
    scores = logits(0.9, 0.01, 0.01, 0.02, 0.01, 0.01, 0.8, 0.03)
    ((dets, labels),) = anchor_head().get_bboxes(scores, ZERO_DELTAS, img_metas=[meta(20, 20)])
    torch.testing.assert_close(dets, torch.tensor([[0, 0, 8, 8, 0.9], [0, 8, 8, 20, 0.8]]))
    assert labels.tolist() == [0, 1]


def test_boxes_are_rescaled_to_the_original_image():
    scores = logits(0.01, 0.01, 0.01, 0.9, 0.01, 0.01, 0.01, 0.01)
    ((dets, _),) = anchor_head().get_bboxes(scores, ZERO_DELTAS, img_metas=[meta(scale=2)], rescale=True)
    torch.testing.assert_close(dets, torch.tensor([[4, 4, 12, 12, 0.9]]))


def test_score_factors_are_multiplied_into_the_scores():
    scores = logits(0.01, 0.01, 0.01, 0.9, 0.01, 0.01, 0.01, 0.01)
    factors = logits(0.5, 0.5, 0.5, 0.25)
    ((dets, _),) = anchor_head().get_bboxes(scores, ZERO_DELTAS, factors, img_metas=[meta()])
    torch.testing.assert_close(dets[:, 4], torch.tensor([0.225]))


def test_softmax_scores_leave_the_background_out():
    head = anchor_head(loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False))
    scores = torch.tensor([0.7, 0.1, 0.2]).log()[None, :, None, None].expand(1, 3, 2, 2)
    ((dets, labels),) = head.get_bboxes([scores], ZERO_DELTAS, img_metas=[meta()])
    torch.testing.assert_close(dets[:, 4], torch.tensor([0.7] * 4 + [0.1] * 4))
    assert labels.tolist() == [0] * 4 + [1] * 4


def test_without_nms_overlapping_boxes_stay():
    head = anchor_head(anchor_generator=dict(ONE_ANCHOR, scales=[1, 1.1]))
    scores, deltas = [torch.full((1, 4, 2, 2), 2.0)], [torch.zeros(1, 8, 2, 2)]
    ((dets, _),) = head.get_bboxes(scores, deltas, img_metas=[meta()])
    ((boxes, probabilities, labels),) = head.get_bboxes(scores, deltas, img_metas=[meta()], with_nms=False)
    assert (len(dets), len(boxes), len(probabilities), len(labels)) == (8, 16, 16, 16)


def test_a_head_without_test_cfg_says_so():
    head = AnchorHead(2, 1, anchor_generator=ONE_ANCHOR)
    with pytest.raises(ValueError, match='AnchorHead was built without a test_cfg'):
        head.get_bboxes(logits(*[0.5] * 8), ZERO_DELTAS, img_metas=[meta()])


def rpn_head(**test: object) -> RPNHead:
    priors = dict(type='AnchorGenerator', scales=[1], ratios=[1.0], strides=[16, 16])
    test_cfg = {
        'nms_pre': 10,
        'nms': dict(type='nms', iou_threshold=0.7),
        'max_per_img': 10,
        'min_bbox_size': 0,
        **test,
    }
    return RPNHead(4, feat_channels=4, anchor_generator=priors, train_cfg=TRAIN, test_cfg=test_cfg)


RPN_OUTS = [*logits(0.9, 0.2, 0.3, 0.4), *logits(0.8, 0.1, 0.5, 0.6)], [torch.zeros(1, 4, 2, 2)] * 2


def proposals_of(**test: object) -> list[list[float]]:
    (proposals,) = rpn_head(**test).get_bboxes(*RPN_OUTS, img_metas=[meta(20, 20)])
    return [[round(v, 4) for v in row] for row in proposals.tolist()]


def test_proposals_of_one_level_do_not_suppress_those_of_another():
    proposals = proposals_of()
    assert [row[4] for row in proposals] == [0.9, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    assert proposals[0][:4] == proposals[1][:4] == [0, 0, 8, 8]


def test_nms_pre_takes_the_best_of_each_level_and_max_per_img_of_all():
    assert [row[4] for row in proposals_of(nms_pre=2)] == [0.9, 0.8, 0.6, 0.4]
    assert [row[4] for row in proposals_of(nms_pre=2, max_per_img=3)] == [0.9, 0.8, 0.6]


def test_small_proposals_are_dropped():
    assert [row[4] for row in proposals_of(min_bbox_size=8)] == [0.6, 0.4]  # clipped, the others have a side of 8


def test_proposals_of_mirrored_views_are_merged_in_the_original_image():
    head = rpn_head(nms_pre=100, max_per_img=100).eval()
    for layer in (head.rpn_conv, head.rpn_cls, head.rpn_reg):
        nn.init.normal_(layer.weight)
    feats = [torch.rand(1, 4, 2, 2) for _ in range(2)]
    with torch.no_grad():
        once = head.simple_test_rpn(feats, [meta(scale=2)])[0]
        twice = head.aug_test_rpn([feats, feats], [[meta(scale=2)], [meta(scale=2)]])[0]
        flipped = head.aug_test_rpn([feats], [[meta(scale=2, flip=True)]])[0]
    kept = twice[:1]
    torch.testing.assert_close(kept, torch.cat((once[:1, :4] / 2, once[:1, 4:]), 1))
    torch.testing.assert_close(flipped[0, [0, 2]], (32 - once[0, [2, 0]]) / 2)


def test_hidden_layers_of_a_deeper_rpn_are_named_as_in_mmdetection():
    keys = set(RPNHead(4, num_convs=2, feat_channels=8, anchor_generator=ONE_ANCHOR).state_dict())
    assert keys == {
        f'{layer}.{part}'
        for layer in ('rpn_conv.0.conv', 'rpn_conv.1.conv', 'rpn_cls', 'rpn_reg')
        for part in ('weight', 'bias')
    }


def test_retina_classification_starts_with_a_rare_foreground():
    head = small('RetinaHead')
    head.init_weights()
    assert head.retina_cls.bias.sigmoid().tolist() == pytest.approx([0.01] * 6)
    assert head.retina_reg.bias.eq(0).all()
    assert set(head.state_dict()) >= {'cls_convs.3.conv.weight', 'reg_convs.0.conv.bias', 'retina_reg.weight'}


@pytest.mark.parametrize('num_classes', [0, -1])
def test_a_head_without_classes_is_refused(num_classes):
    with pytest.raises(ValueError, match='num_classes'):
        AnchorHead(num_classes, 4)


def test_a_persons_own_head_can_override_single_steps():
    class DeeperHead(AnchorHead):
        def __init__(self, num_classes: int, in_channels: int, **kwargs: object) -> None:
            super().__init__(num_classes, in_channels, init_cfg=None, **kwargs)

        def _init_layers(self) -> None:
            super()._init_layers()
            self.hidden = nn.Conv2d(self.in_channels, self.in_channels, 1)

        def forward_single(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return super().forward_single(self.hidden(x))

        def loss(self, cls_scores, bbox_preds, gt_bboxes, gt_labels, img_metas, gt_bboxes_ignore=None):
            losses = super().loss(cls_scores, bbox_preds, gt_bboxes, gt_labels, img_metas, gt_bboxes_ignore)
            return dict(losses, loss_extra=cls_scores[0].sum() * 0)

    head = DeeperHead(3, 4, anchor_generator=TWO_LEVELS, train_cfg=TRAIN)
    assert sorted(train_on(head, [BOX])) == ['loss_bbox', 'loss_cls', 'loss_extra']
    assert head.num_anchors == head.num_base_priors and head.anchor_generator is head.prior_generator  # older names
