from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from mmdet_clone.boxes import (
    PostprocessConfig,
    detections_from_levels,
    filter_scores_and_topk,
    finish_detections,
    finish_proposals,
    merge_aug_bboxes,
    merge_aug_masks,
    merge_aug_proposals,
    select_per_level,
    select_proposals_per_level,
)
from mmdet_clone.ops import bbox_flip

NMS = dict(type='nms', iou_threshold=0.5)


def random_boxes(n: int) -> torch.Tensor:
    corner = torch.rand(n, 2) * 50
    return torch.cat((corner, corner + torch.rand(n, 2) * 40 + 1), 1)


def test_topk_takes_the_best_pairs_above_the_threshold():
    scores = torch.tensor([[0.1, 0.9], [0.5, 0.3], [0.3, 0.8]])
    best, labels, rows, picked = filter_scores_and_topk(scores, 0.3, 2, dict(x=torch.tensor([10, 11, 12])))
    assert best.tolist() == pytest.approx([0.9, 0.8])
    assert (labels.tolist(), rows.tolist(), picked['x'].tolist()) == ([1, 1], [0, 2], [10, 12])
    every = filter_scores_and_topk(scores, 0.3, -1, [torch.arange(3)])
    assert every[0].tolist() == pytest.approx([0.9, 0.8, 0.5])  # 0.3 is not above 0.3
    assert every[3][0].tolist() == [0, 2, 1]
    assert filter_scores_and_topk(scores, 0.95, 2, torch.arange(3))[3].tolist() == []
    assert filter_scores_and_topk(scores, 0.95, 2)[3] is None


@pytest.mark.parametrize('topk', [1, 7, 50, 100])
def test_no_better_score_is_left_out_where_many_are_equal(topk):
    scores = (torch.rand(100, 1) * 5).round() / 5 + 0.1
    best = sorted(scores[:, 0].tolist(), reverse=True)[:topk]
    picked, _, rows, _ = filter_scores_and_topk(scores, 0.0, topk)
    assert picked.tolist() == scores[rows, 0].tolist() == best
    assert len(set(rows.tolist())) == topk
    proposals = select_proposals_per_level([scores[:, 0]], dict(nms_pre=topk))
    assert sorted(proposals.scores.tolist(), reverse=True) == best


def test_selection_is_made_in_each_level():
    scores = [torch.tensor([[0.9], [0.8], [0.7]]), torch.tensor([[0.2], [0.04]])]
    values = [torch.arange(3.0), torch.arange(10.0, 12.0)]
    picked = select_per_level(scores, dict(score_thr=0.05, nms_pre=2), values)
    assert picked.scores.tolist() == pytest.approx([0.9, 0.8, 0.2])
    assert (picked.levels.tolist(), picked.inds.tolist(), picked.labels.tolist()) == ([0, 0, 1], [0, 1, 0], [0, 0, 0])
    assert picked.fields[0].tolist() == [0, 1, 10]


def test_proposals_of_a_short_level_keep_the_order_of_the_grid():
    picked = select_proposals_per_level([torch.tensor([0.1, 0.9, 0.5]), torch.tensor([0.1, 0.2])], dict(nms_pre=2))
    assert (picked.inds.tolist(), picked.levels.tolist()) == ([1, 2, 0, 1], [0, 0, 1, 1])


def test_selection_carries_no_graph_and_half_scores_become_single():
    scores = torch.rand(4, 2, requires_grad=True)
    picked = select_per_level([scores], dict(score_thr=0.0), [torch.rand(4, 4, requires_grad=True)])
    assert not picked.scores.requires_grad
    assert not picked.fields[0].requires_grad
    assert select_per_level([scores.bfloat16()], {}).scores.dtype == torch.float32


def test_boxes_come_out_in_the_original_images_pixels():
    boxes = torch.tensor([[0.0, 0, 8, 8], [4, 0, 12, 8]])
    dets, labels = finish_detections(
        boxes, torch.tensor([0.9, 0.8]), torch.zeros(2, dtype=torch.long), dict(nms=NMS), np.array([2.0, 4, 2, 4])
    )
    assert dets[:, :4].tolist() == [[0, 0, 4, 2], [2, 0, 6, 2]]
    assert labels.tolist() == [0, 0]


def test_score_factors_change_the_order_and_max_per_img_cuts():
    boxes, labels = torch.tensor([[0.0, 0, 8, 8], [50, 50, 60, 60]]), torch.tensor([3, 4])
    args = boxes, torch.tensor([0.9, 0.8]), labels
    factors = torch.tensor([0.5, 1.0])
    dets, kept = finish_detections(*args, dict(nms=NMS, max_per_img=1), score_factors=factors)
    assert (dets[:, 4].tolist(), kept.tolist()) == ([pytest.approx(0.8)], [4])
    raw = finish_detections(*args, {}, scale_factor=2.0, score_factors=factors, with_nms=False)
    assert raw[0].tolist() == (boxes / 2).tolist()
    assert raw[1].tolist() == pytest.approx([0.45, 0.8])


def test_no_candidate_gives_no_detection():
    dets, labels = detections_from_levels([random_boxes(3)], [torch.zeros(3, 2)], dict(score_thr=0.05, nms=NMS))
    assert (dets.shape, labels.shape) == ((0, 5), (0,))
    proposals = finish_proposals(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0), dict(nms=NMS, min_bbox_size=0))
    assert proposals.shape == (0, 5)


def test_detections_from_levels_equal_the_steps_by_hand():
    boxes, scores = [random_boxes(30), random_boxes(8)], [torch.rand(30, 3), torch.rand(8, 3)]
    factors = [torch.rand(30), torch.rand(8)]
    cfg = dict(score_thr=0.3, nms_pre=10, nms=NMS, max_per_img=5, min_bbox_size=0)
    dets, labels = detections_from_levels(boxes, scores, cfg, 2.0, factors)
    candidates = []
    for level in range(2):
        pairs = [(scores[level][i, c].item(), i, c) for i in range(len(boxes[level])) for c in range(3)]
        pairs = sorted([p for p in pairs if p[0] > 0.3], reverse=True)[:10]
        candidates += [(s * factors[level][i].item(), boxes[level][i] / 2, c) for s, i, c in pairs]
    kept = []
    for score, box, c in sorted(candidates, key=lambda t: -t[0]):
        if all(c != k or box_iou(box[None], b[None]).item() <= 0.5 for _, b, k in kept):
            kept.append((score, box, c))
    assert labels.tolist() == [c for _, _, c in kept[:5]]
    assert dets[:, 4].tolist() == pytest.approx([s for s, _, _ in kept[:5]])


def test_small_proposals_go_only_where_a_least_size_is_set():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 0, 10], [20, 20, 22, 30]])
    scores, levels = torch.tensor([0.5, 0.9, 0.8]), torch.tensor([0, 0, 1])
    sizes = {-1: [0.9, 0.8, 0.5], 0: [0.8, 0.5], 2: [0.5]}
    for least, expected in sizes.items():
        proposals = finish_proposals(boxes, scores, levels, dict(nms=NMS, min_bbox_size=least))
        assert proposals[:, 4].tolist() == pytest.approx(expected)
    assert len(finish_proposals(boxes, scores, levels, dict(nms=NMS, max_per_img=1))) == 1


def test_proposals_of_different_levels_do_not_suppress_each_other():
    box = torch.tensor([[0.0, 0, 10, 10]]).expand(2, 4)
    scores = torch.tensor([0.9, 0.8])
    assert len(finish_proposals(box, scores, torch.tensor([0, 1]), dict(nms=NMS))) == 2
    assert len(finish_proposals(box, scores, torch.tensor([0, 0]), dict(nms=NMS))) == 1


def test_older_spellings_are_read_and_strangers_warned_of_once(recwarn):
    cfg = PostprocessConfig.from_cfg(dict(nms_pre=5, nms_post=5, max_num=7, nms_thr=0.7, nms_across_levels=False))
    assert cfg == PostprocessConfig(nms_pre=5, max_per_img=7, nms=dict(type='nms', iou_threshold=0.7))
    assert PostprocessConfig.from_cfg(cfg) is cfg
    PostprocessConfig.from_cfg(dict(score_voting=True), known=['score_voting'])
    assert not recwarn
    for _ in range(2):
        PostprocessConfig.from_cfg(dict(scoer_thr=0.05))
    (warning,) = recwarn
    assert str(warning.message) == (
        "post-processing ignores 'scoer_thr' in its test_cfg; "
        'it reads max_per_img, min_bbox_size, nms, nms_pre, score_thr'
    )


# ---------------------------------------------------------------- test-time augmentation
PLAIN = dict(img_shape=(40, 60, 3), scale_factor=np.array([2.0] * 4), flip=False, flip_direction=None)
FLIPPED = dict(PLAIN, flip=True, flip_direction='horizontal')


def test_proposals_of_versions_meet_in_the_original_image():
    first, second = torch.tensor([[0.0, 0, 20, 20, 0.6]]), torch.tensor([[0.0, 0, 20, 20, 0.9]])
    merged = merge_aug_proposals([first, second], [PLAIN, FLIPPED], dict(nms=NMS, max_per_img=10))
    assert merged.tolist() == [[20, 0, 30, 10, pytest.approx(0.9)], [0, 0, 10, 10, pytest.approx(0.6)]]
    assert len(merge_aug_proposals([first, first], [PLAIN, PLAIN], dict(nms=NMS, max_per_img=10))) == 1
    assert len(merge_aug_proposals([first, second], [PLAIN, FLIPPED], dict(nms=NMS, max_per_img=1))) == 1


def test_boxes_and_scores_of_versions_are_averaged():
    box = torch.tensor([[0.0, 0, 20, 20, 10, 10, 30, 20]])
    versions = [box, bbox_flip(box + 2, (40, 60))]
    boxes, scores = merge_aug_bboxes(versions, [torch.tensor([[0.2]]), torch.tensor([[0.4]])], [[PLAIN], [FLIPPED]])
    torch.testing.assert_close(boxes, (box + 1) / 2)
    assert scores.item() == pytest.approx(0.3)
    assert torch.equal(merge_aug_bboxes(versions, None, [[PLAIN], [FLIPPED]]), boxes)


@pytest.mark.parametrize('direction, axes', [('horizontal', 3), ('vertical', 2), ('diagonal', (2, 3))])
def test_masks_of_versions_are_flipped_back_and_averaged(direction, axes):
    masks = np.random.rand(2, 3, 4, 5)
    flipped = dict(FLIPPED, flip_direction=direction)
    versions = [masks, np.flip(masks, axes)]
    np.testing.assert_allclose(merge_aug_masks(versions, [[PLAIN], [flipped]]), masks)
    weighted = merge_aug_masks([masks, np.zeros_like(masks)], [[PLAIN], [PLAIN]], weights=[1, 3])
    np.testing.assert_allclose(weighted, masks / 4)
