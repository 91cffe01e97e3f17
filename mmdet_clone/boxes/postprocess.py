"""The one place where dense predictions become detections.

For each image: the best ``nms_pre`` predictions of each level, (decoding, which is the head's,) back to the original
image, non-maximum suppression, the best ``max_per_img``. A head does::

    picked = select_per_level(scores, cfg, deltas, priors)             # lists over levels
    deltas, priors = picked.fields
    boxes = coder.decode(priors, deltas, max_shape=img_meta['img_shape'])
    dets, labels = finish_detections(boxes, picked.scores, picked.labels, cfg, scale_factor)

and a region proposal network the same with ``select_proposals_per_level`` and ``finish_proposals``.

P: priors of a level   C: classes   M: predictions selected   k: detections
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from mmdet_clone.config.unread_keys import warn_of_unread_keys
from mmdet_clone.ops.nms import batched_nms
from mmdet_clone.ops.precision import upcast

# keys of published configs that name one of ours, or that nothing has read since MMDetection 2.0
_RENAMED = {'max_num': 'max_per_img'}
_DEAD = {'nms_post', 'nms_across_levels', 'nms_thr'}


@dataclass(frozen=True)
class PostprocessConfig:
    """The part of a ``test_cfg`` or ``proposal_cfg`` that post-processing reads.

    Attributes:
        score_thr: predictions with a score not above it are left out.
        nms_pre: predictions kept of each level, all if not positive.
        nms: see :func:`mmdet_clone.ops.nms.batched_nms`.
        max_per_img: detections kept of an image, all if not positive.
        min_bbox_size: proposals with a side not above it are left out, none if negative.
    """

    score_thr: float = 0.0
    nms_pre: int = -1
    nms: dict | None = field(default=None, hash=False)
    max_per_img: int = -1
    min_bbox_size: float = -1

    @classmethod
    def from_cfg(cls, cfg: dict | PostprocessConfig | None, known: Collection[str] = ()) -> PostprocessConfig:
        """Read a config dict; a key neither of ours nor in ``known`` is warned of, once."""
        if isinstance(cfg, PostprocessConfig):
            return cfg
        given = {_RENAMED.get(key, key): value for key, value in (cfg or {}).items()}
        if 'nms' not in given and 'nms_thr' in given:
            given['nms'] = dict(type='nms', iou_threshold=given['nms_thr'])
        ours = {f.name for f in fields(cls)}
        others = {key: value for key, value in given.items() if key not in _DEAD and key not in known}
        warn_of_unread_keys('post-processing', 'test_cfg', others, ours)
        return cls(**{key: value for key, value in given.items() if key in ours})


@dataclass
class Candidates:
    """Predictions of one image that are left after the selection in each level, level by level.

    Attributes:
        scores: (M,) float32.
        labels: (M,) class; 0 throughout for proposals.
        levels: (M,) index of the level.
        inds: (M,) row among the level's priors.
        fields: what else was given for each prior, each (M, ...).
    """

    scores: Tensor
    labels: Tensor
    levels: Tensor
    inds: Tensor
    fields: list[Tensor]


def filter_scores_and_topk(
    scores: Tensor,
    score_thr: float,
    topk: int,
    results: dict[str, Tensor] | list[Tensor] | Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Any]:
    """The ``topk`` (prior, class) pairs with the best scores above ``score_thr``.

    Args:
        scores: (P, C).
        topk: how many at most, all if not positive.
        results: tensors with P rows that are to be picked from alike.

    Returns:
        scores (M,) in descending order; labels (M,); rows (M,); the picked results.
    """
    scores = upcast(scores.detach())
    rows, labels = (scores > score_thr).nonzero(as_tuple=True)
    scores, order = _best_first(scores[rows, labels], topk)
    rows, labels = rows[order], labels[order]
    return scores, labels, rows, _pick(results, rows)


def _best_first(scores: Tensor, topk: int) -> tuple[Tensor, Tensor]:
    """The ``topk`` best of (n,) scores and their indices, all if not positive.

    Saturated scores tie by the hundred, and then this order decides: it is the one of MMDetection's figures, which
    come from torch's default sort.
    """
    scores, order = scores.sort(descending=True)
    return (scores[:topk], order[:topk]) if topk > 0 else (scores, order)


def _pick(results: Any, rows: Tensor) -> Any:
    if results is None:
        return None
    if isinstance(results, Tensor):
        return results.detach()[rows]
    if isinstance(results, dict):
        return {key: value.detach()[rows] for key, value in results.items()}
    return [value.detach()[rows] for value in results]


def select_per_level(
    scores_per_level: Sequence[Tensor], cfg: dict | PostprocessConfig, *fields_per_level: Sequence[Tensor]
) -> Candidates:
    """Select in each level of one image by ``score_thr``, then ``nms_pre``.

    Args:
        scores_per_level: L tensors (P, C) of probabilities, without a background column.
        cfg: see :class:`PostprocessConfig`.
        fields_per_level: each L tensors (P, ...) to pick from alike: regressions, priors, score factors.
    """
    cfg = PostprocessConfig.from_cfg(cfg)
    levels = [
        filter_scores_and_topk(scores, cfg.score_thr, cfg.nms_pre, [f[level] for f in fields_per_level])
        for level, scores in enumerate(scores_per_level)
    ]
    return _gather([(scores, labels, rows, picked) for scores, labels, rows, picked in levels])


def select_proposals_per_level(
    scores_per_level: Sequence[Tensor], cfg: dict | PostprocessConfig, *fields_per_level: Sequence[Tensor]
) -> Candidates:
    """Select the ``nms_pre`` best in each level of one image, without a threshold.

    A level with no more than ``nms_pre`` priors is taken as it is, in the order of its grid.

    Args:
        scores_per_level: L tensors (P,) of probabilities.
        cfg, fields_per_level: as in :func:`select_per_level`.
    """
    cfg = PostprocessConfig.from_cfg(cfg)
    levels = []
    for level, scores in enumerate(scores_per_level):
        scores, rows = upcast(scores.detach()), torch.arange(len(scores), device=scores.device)
        if 0 < cfg.nms_pre < len(scores):
            scores, rows = _best_first(scores, cfg.nms_pre)
        levels.append((scores, torch.zeros_like(rows), rows, _pick([f[level] for f in fields_per_level], rows)))
    return _gather(levels)


def _gather(levels: list[tuple[Tensor, Tensor, Tensor, list[Tensor]]]) -> Candidates:
    scores, labels, rows, picked = zip(*levels)
    return Candidates(
        scores=torch.cat(scores),
        labels=torch.cat(labels),
        levels=torch.cat([torch.full_like(r, level) for level, r in enumerate(rows)]),
        inds=torch.cat(rows),
        fields=[torch.cat(values) for values in zip(*picked)],
    )


def finish_detections(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    cfg: dict | PostprocessConfig,
    scale_factor: Sequence[float] | float | None = None,
    score_factors: Tensor | None = None,
    with_nms: bool = True,
) -> tuple[Tensor, ...]:
    """Detections of one image from decoded boxes.

    Args:
        boxes: (M, 4).
        scores, labels: (M,).
        scale_factor: of the resized image, to divide the boxes by, *before* the suppression.
        score_factors: (M,) multiplied into the scores: centerness and its like.
        with_nms: False returns what would go into the suppression.

    Returns:
        dets (k, 5), best first, and labels (k,); or boxes (M, 4), scores (M,), labels (M,).
    """
    cfg = PostprocessConfig.from_cfg(cfg)
    boxes = upcast(boxes)
    if scale_factor is not None:
        boxes = boxes / torch.as_tensor(scale_factor, dtype=boxes.dtype, device=boxes.device)
    if score_factors is not None:
        scores = scores * score_factors
    if not with_nms:
        return boxes, scores, labels
    dets, keep = batched_nms(boxes, scores, labels, cfg.nms)
    labels = labels[keep]
    return (dets[: cfg.max_per_img], labels[: cfg.max_per_img]) if cfg.max_per_img > 0 else (dets, labels)


def finish_proposals(boxes: Tensor, scores: Tensor, levels: Tensor, cfg: dict | PostprocessConfig) -> Tensor:
    """Proposals (k, 5) of one image, best first, from decoded boxes (M, 4); each level is suppressed by itself."""
    cfg = PostprocessConfig.from_cfg(cfg)
    boxes = upcast(boxes)
    if cfg.min_bbox_size >= 0:
        large = ((boxes[:, 2:] - boxes[:, :2]) > cfg.min_bbox_size).all(1).nonzero().squeeze(1)
        boxes, scores, levels = boxes[large], scores[large], levels[large]
    dets, _ = batched_nms(boxes, scores, levels, cfg.nms)
    return dets[: cfg.max_per_img] if cfg.max_per_img > 0 else dets


def detections_from_levels(
    boxes_per_level: Sequence[Tensor],
    scores_per_level: Sequence[Tensor],
    cfg: dict | PostprocessConfig,
    scale_factor: Sequence[float] | float | None = None,
    factors_per_level: Sequence[Tensor] | None = None,
    with_nms: bool = True,
) -> tuple[Tensor, ...]:
    """Detections of one image from boxes that are decoded already.

    Args:
        boxes_per_level: L tensors (P, 4).
        scores_per_level: L tensors (P, C), without a background column.
        factors_per_level: L tensors (P,) multiplied into the scores after the selection.

    Returns:
        as :func:`finish_detections`.
    """
    given = [boxes_per_level] if factors_per_level is None else [boxes_per_level, factors_per_level]
    picked = select_per_level(scores_per_level, cfg, *given)
    boxes, *factors = picked.fields
    return finish_detections(
        boxes, picked.scores, picked.labels, cfg, scale_factor, factors[0] if factors else None, with_nms
    )
