"""Bring the predictions for several versions of an image together (test-time augmentation)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mmdet_clone.boxes.postprocess import PostprocessConfig
from mmdet_clone.ops.boxes import bbox_mapping, bbox_mapping_back
from mmdet_clone.ops.nms import nms


def merge_aug_proposals(
    aug_proposals: Sequence[Tensor], img_metas: Sequence[dict], cfg: dict | PostprocessConfig
) -> Tensor:
    """Proposals of all versions of one image, in the original image.

    Args:
        aug_proposals: for each version (n, 5), in its own pixels.
        img_metas: for each version ``img_shape``, ``scale_factor``, ``flip``, ``flip_direction``.
        cfg: ``nms`` and ``max_per_img``.

    Returns:
        (k, 5), best first.
    """
    cfg = PostprocessConfig.from_cfg(cfg)
    recovered = [
        torch.cat((to_original(proposals[:, :4], meta), proposals[:, 4:5]), 1)
        for proposals, meta in zip(aug_proposals, img_metas)
    ]
    proposals = torch.cat(recovered)
    if cfg.nms is None:
        raise ValueError("merging proposals needs nms in the config, as nms=dict(type='nms', iou_threshold=0.7)")
    kept, _ = nms(proposals[:, :4], proposals[:, 4], cfg.nms['iou_threshold'])
    order = kept[:, 4].sort(descending=True, stable=True).indices
    return kept[order[: cfg.max_per_img] if cfg.max_per_img > 0 else order]


def merge_aug_bboxes(
    aug_bboxes: Sequence[Tensor],
    aug_scores: Sequence[Tensor] | None,
    img_metas: Sequence[Sequence[dict]],
    rcnn_test_cfg: dict | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """The mean over versions of the boxes (n, 4 * C) of the same proposals, and of their scores (n, C + 1).

    Args:
        aug_bboxes: for each version, in its own pixels.
        aug_scores: for each version; None returns the boxes alone.
        img_metas: for each version, a list with the image's.
        rcnn_test_cfg: not read; callers of MMDetection 2.x pass it.
    """
    recovered = [to_original(boxes, metas[0]) for boxes, metas in zip(aug_bboxes, img_metas)]
    boxes = torch.stack(recovered).mean(0)
    return boxes if aug_scores is None else (boxes, merge_aug_scores(aug_scores))


def merge_aug_scores(aug_scores: Sequence[Tensor] | Sequence[np.ndarray]) -> Tensor | np.ndarray:
    """The mean over versions."""
    if isinstance(aug_scores[0], Tensor):
        return torch.stack(list(aug_scores)).mean(0)
    return np.mean(aug_scores, axis=0)


def merge_aug_masks(
    aug_masks: Sequence[np.ndarray],
    img_metas: Sequence[Sequence[dict]],
    rcnn_test_cfg: dict | None = None,
    weights: Sequence[float] | None = None,
) -> np.ndarray:
    """The (weighted) mean over versions of the masks (n, C, h, w) of the same boxes, flipped back.

    Args:
        aug_masks: for each version, probabilities inside the boxes.
        img_metas: for each version, a list with the image's.
        rcnn_test_cfg: not read; callers of MMDetection 2.x pass it.
        weights: of the versions.
    """
    axes = {'horizontal': -1, 'vertical': -2, 'diagonal': (-2, -1)}
    upright = []
    for masks, metas in zip(aug_masks, img_metas):
        direction = metas[0].get('flip_direction') or 'horizontal'
        if metas[0]['flip'] and direction not in axes:
            raise ValueError(f'flip_direction must be one of {", ".join(axes)}, got {direction!r}')
        upright.append(np.flip(masks, axes[direction]) if metas[0]['flip'] else masks)
    return np.average(np.stack(upright), axis=0, weights=None if weights is None else np.asarray(weights))


def to_original(boxes: Tensor, meta: dict) -> Tensor:
    """Boxes (n, 4 * C) of a version of an image, which ``meta`` describes, in pixels of the original image."""
    return bbox_mapping_back(boxes, *_geometry(meta))


def to_version(boxes: Tensor, meta: dict) -> Tensor:
    """Boxes (n, 4) of the original image in pixels of the version of it that ``meta`` describes."""
    return bbox_mapping(boxes, *_geometry(meta))


def _geometry(meta: dict) -> tuple[Sequence[int], float | Sequence[float], bool, str]:
    direction = meta.get('flip_direction') or 'horizontal'
    return meta['img_shape'], meta['scale_factor'], meta.get('flip', False), direction
