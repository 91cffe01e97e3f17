"""Non-maximum suppression: greedy, soft, per class, and the fast variant of YOLACT.

n: boxes   C: classes   k: boxes kept. Detections ("dets") are (k, 5): x1, y1, x2, y2, score, best first.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torchvision
from torch import Tensor

from mmdet_clone.ops.boxes import bbox_overlaps
from mmdet_clone.ops.precision import upcast


def nms(
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: float,
    offset: int = 0,
    score_threshold: float = 0,
    max_num: int = -1,
) -> tuple[Tensor, Tensor]:
    """Keep the best box, drop those that overlap it by more than ``iou_threshold``, repeat.

    Args:
        boxes: (n, 4).
        scores: (n,).
        iou_threshold: a box goes if its IoU with a better one is greater than this.
        offset: added to widths and heights, 1 where ``x2`` names the last pixel inside.
        score_threshold: if positive, boxes with a score not above it are dropped first.
        max_num: keep at most so many, all if not positive.

    Returns:
        dets (k, 5) and the indices (k,) of the boxes kept.
    """
    _check(boxes, scores)
    boxes, scores = upcast(boxes), upcast(scores)
    candidates = None
    if score_threshold > 0:
        candidates = (scores > score_threshold).nonzero().squeeze(1)
        boxes, scores = boxes[candidates], scores[candidates]
    extended = torch.cat((boxes[:, :2], boxes[:, 2:] + offset), 1) if offset else boxes
    # torchvision sorts stably, MMDetection's figures come from torch's default sort: among equal scores that differs,
    # so the boxes go in sorted, with their ranks for scores
    order = scores.sort(descending=True).indices
    ranks = torch.arange(len(order), 0, -1, dtype=boxes.dtype, device=boxes.device)
    keep = order[torchvision.ops.nms(extended[order], ranks, iou_threshold)]
    if max_num > 0:
        keep = keep[:max_num]
    return _dets(boxes[keep], scores[keep]), keep if candidates is None else candidates[keep]


def soft_nms(
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: float = 0.3,
    sigma: float = 0.5,
    min_score: float = 1e-3,
    method: str = 'linear',
    offset: int = 0,
    max_num: int = -1,
) -> tuple[Tensor, Tensor]:
    """ "Soft-NMS -- Improving Object Detection With One Line of Code" (arXiv:1704.04503).

    The best box left is kept; each other is weighed down by its overlap with it, and goes once its score falls below
    ``min_score``. Runs on the CPU (the loop is sequential) and returns to the boxes' device.

    Args:
        method: ``'naive'`` drops a box whose IoU reaches ``iou_threshold``; ``'linear'`` then multiplies its score by
            ``1 - IoU``; ``'gaussian'`` multiplies every score by ``exp(-IoU^2 / sigma)``.

    Returns:
        dets (k, 5) with the decayed scores, best first, and the indices (k,) of the boxes kept.
    """
    _check(boxes, scores)
    if method not in ('naive', 'linear', 'gaussian'):
        raise ValueError(f"method must be 'naive', 'linear' or 'gaussian', got {method!r}")
    boxes = upcast(boxes)
    corners = boxes.detach().cpu()
    extended = torch.cat((corners[:, :2], corners[:, 2:] + offset), 1)
    left = scores.detach().to('cpu', boxes.dtype, copy=True)
    alive, kept, kept_scores = torch.arange(len(left)), [], []
    while len(alive) and (max_num <= 0 or len(kept) < max_num):
        best = int(left.argmax())
        kept.append(int(alive[best]))
        kept_scores.append(float(left[best]))
        others = torch.arange(len(alive)) != best
        ious = bbox_overlaps(extended[alive[best], None], extended[alive])[0]
        left = left * _decay(ious, method, iou_threshold, sigma)
        others &= left >= min_score
        alive, left = alive[others], left[others]
    inds = torch.tensor(kept, dtype=torch.long, device=boxes.device)
    return _dets(boxes[inds], boxes.new_tensor(kept_scores)), inds


def _decay(ious: Tensor, method: str, iou_threshold: float, sigma: float) -> Tensor:
    if method == 'gaussian':
        return torch.exp(-(ious**2) / sigma)
    weight = 1 - ious if method == 'linear' else torch.zeros_like(ious)
    return torch.where(ious >= iou_threshold, weight, 1.0)


NMS_TYPES: dict[str, Callable] = {'nms': nms, 'soft_nms': soft_nms}


def batched_nms(
    boxes: Tensor, scores: Tensor, idxs: Tensor, nms_cfg: dict | None, class_agnostic: bool = False
) -> tuple[Tensor, Tensor]:
    """NMS inside each group: boxes of different ``idxs`` never suppress each other.

    Groups are shifted apart and go through one call; past ``split_thr`` boxes, group by group.

    Args:
        boxes: (n, 4).
        scores: (n,).
        idxs: (n,) the group (class or level) of each box.
        nms_cfg: ``type`` (``'nms'`` or ``'soft_nms'``) with that function's arguments (``iou_threshold``, by its older
            name ``iou_thr``, ``max_num``), ``split_thr`` (10000) and ``class_agnostic``; None only sorts by score.
        class_agnostic: treat all boxes as one group.

    Returns:
        dets (k, 5) in descending order of score, and the indices (k,) of the boxes kept.
    """
    _check(boxes, scores)
    boxes = upcast(boxes)
    if nms_cfg is None:
        scores, order = upcast(scores).sort(descending=True, stable=True)
        return _dets(boxes[order], scores), order
    options = {'iou_threshold' if key == 'iou_thr' else key: value for key, value in nms_cfg.items()}
    class_agnostic = options.pop('class_agnostic', class_agnostic)
    split_thr = options.pop('split_thr', 10000)
    suppress = _nms_function(options.pop('type', 'nms'))
    if len(boxes) == 0:
        return _dets(boxes, scores), torch.zeros(0, dtype=torch.long, device=boxes.device)

    shifted = boxes if class_agnostic else boxes + (idxs.to(boxes) * (boxes.max() + 1))[:, None]
    if class_agnostic or len(boxes) < split_thr:
        dets, keep = suppress(shifted, scores, **options)
        return _dets(boxes[keep], dets[:, -1]), keep

    max_num = options.pop('max_num', -1)
    kept, kept_scores = [], []
    for group in torch.unique(idxs):
        members = (idxs == group).nonzero().squeeze(1)
        dets, keep = suppress(shifted[members], scores[members], **options)
        kept.append(members[keep])
        kept_scores.append(dets[:, -1])
    keep, by_index = torch.cat(kept).sort()
    scores, order = torch.cat(kept_scores)[by_index].sort(descending=True, stable=True)
    if max_num > 0:
        scores, order = scores[:max_num], order[:max_num]
    keep = keep[order]
    return _dets(boxes[keep], scores), keep


def _nms_function(name: str) -> Callable:
    if name not in NMS_TYPES:
        raise ValueError(f'unknown NMS type {name!r}; known: {", ".join(NMS_TYPES)}')
    return NMS_TYPES[name]


def multiclass_nms(
    multi_bboxes: Tensor,
    multi_scores: Tensor,
    score_thr: float,
    nms_cfg: dict | None,
    max_num: int = -1,
    score_factors: Tensor | None = None,
    return_inds: bool = False,
) -> tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Tensor]:
    """Detections of one image from the scores of every class.

    Args:
        multi_bboxes: (n, 4), or (n, 4 * C) with a box for each class.
        multi_scores: (n, C + 1), the background last.
        score_thr: (box, class) pairs with a score not above this are left out.
        nms_cfg: see :func:`batched_nms`.
        max_num: keep at most so many, all if not positive.
        score_factors: (n,) multiplied into the scores after the threshold.
        return_inds: also return where each detection comes from, as ``box * C + class``.

    Returns:
        dets (k, 5), labels (k,) in 0..C-1, and the indices (k,) if asked for.
    """
    num_classes = multi_scores.shape[1] - 1
    scores = upcast(multi_scores)[:, :-1]
    rows, labels = (scores > score_thr).nonzero(as_tuple=True)
    scores = scores[rows, labels]
    if score_factors is not None:
        scores = scores * score_factors[rows]
    if multi_bboxes.shape[1] > 4:
        boxes = multi_bboxes.reshape(len(multi_bboxes), num_classes, 4)[rows, labels]
    else:
        boxes = multi_bboxes[rows]
    dets, keep = batched_nms(boxes, scores, labels, nms_cfg)
    if max_num > 0:
        dets, keep = dets[:max_num], keep[:max_num]
    if return_inds:
        return dets, labels[keep], (rows * num_classes + labels)[keep]
    return dets, labels[keep]


def fast_nms(
    multi_bboxes: Tensor,
    multi_scores: Tensor,
    multi_coeffs: Tensor,
    score_thr: float,
    iou_thr: float,
    top_k: int,
    max_num: int = -1,
) -> tuple[Tensor, Tensor, Tensor]:
    """Fast NMS of "YOLACT: Real-time Instance Segmentation" (arXiv:1904.02689).

    A box goes if any better box of its class overlaps it, even one that goes itself.

    Args:
        multi_bboxes: (n, 4).
        multi_scores: (n, C + 1), the background last.
        multi_coeffs: (n, m) mask coefficients.
        top_k: boxes of each class that are looked at.

    Returns:
        dets (k, 5), labels (k,), coefficients (k, m).
    """
    scores, order = upcast(multi_scores)[:, :-1].t().sort(dim=1, descending=True, stable=True)
    scores, order = scores[:, :top_k], order[:, :top_k]  # (C, K)
    boxes = upcast(multi_bboxes)[order]  # (C, K, 4)
    if boxes.shape[1] == 0:
        return _dets(boxes[0], scores[0]), order[0], multi_coeffs[:0]
    worst = bbox_overlaps(boxes, boxes).triu(diagonal=1).amax(dim=1)  # with any better box
    labels, ranks = ((worst <= iou_thr) & (scores > score_thr)).nonzero(as_tuple=True)
    kept_scores, by_score = scores[labels, ranks].sort(descending=True, stable=True)
    if max_num > 0:
        kept_scores, by_score = kept_scores[:max_num], by_score[:max_num]
    labels, ranks = labels[by_score], ranks[by_score]
    return _dets(boxes[labels, ranks], kept_scores), labels, multi_coeffs[order[labels, ranks]]


def _dets(boxes: Tensor, scores: Tensor) -> Tensor:
    return torch.cat((boxes, scores.to(boxes.dtype)[:, None]), -1)


def _check(boxes: Tensor, scores: Tensor) -> None:
    if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.shape != boxes.shape[:1]:
        raise ValueError(f'expected boxes (n, 4) and scores (n,), got {tuple(boxes.shape)} and {tuple(scores.shape)}')
