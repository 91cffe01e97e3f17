"""The box code of "Rich feature hierarchies" (R-CNN, arXiv:1311.2524): shift of the centre, log of the growth.

N: boxes   B: images   C: classes with a box of their own, 1 if all share one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mmdet_clone.boxes.coders.base import BaseBBoxCoder
from mmdet_clone.ops.boxes import Shapes, clip_boxes
from mmdet_clone.ops.precision import upcast
from mmdet_clone.registry import BBOX_CODERS

Four = Sequence[float]


@BBOX_CODERS.register_module()
class DeltaXYWHBBoxCoder(BaseBBoxCoder):
    """Boxes as ``(dx, dy, dw, dh)``: the centre's shift in widths and heights, and the logarithms of the growth.

    Args:
        target_means, target_stds: of the four, for targets of mean 0 and deviation 1.
        clip_border: clip decoded boxes to the image.
        add_ctr_clamp: bound the centre's shift by ``ctr_clamp`` pixels, and only the growth (not the shrinking), as
            YOLOF does (arXiv:2103.09460).
    """

    def __init__(
        self,
        target_means: Four = (0.0, 0.0, 0.0, 0.0),
        target_stds: Four = (1.0, 1.0, 1.0, 1.0),
        clip_border: bool = True,
        add_ctr_clamp: bool = False,
        ctr_clamp: float = 32,
    ) -> None:
        self.means = tuple(target_means)
        self.stds = tuple(target_stds)
        self.clip_border = clip_border
        self.add_ctr_clamp = add_ctr_clamp
        self.ctr_clamp = ctr_clamp

    def encode(self, bboxes: Tensor, gt_bboxes: Tensor) -> Tensor:
        """(N, 4) deltas from ``bboxes`` (N, 4) to ``gt_bboxes`` (N, 4)."""
        if bboxes.shape[0] != gt_bboxes.shape[0]:
            raise ValueError(f'{bboxes.shape[0]} boxes to encode {gt_bboxes.shape[0]} ground truths: give as many')
        return bbox2delta(bboxes, gt_bboxes, self.means, self.stds)

    def decode(
        self,
        bboxes: Tensor,
        pred_bboxes: Tensor,
        max_shape: Shapes = None,
        wh_ratio_clip: float = 16 / 1000,
    ) -> Tensor:
        """Boxes from predicted deltas.

        Args:
            bboxes: (N, 4) or (B, N, 4).
            pred_bboxes: (N, 4 * C) or (B, N, 4 * C).
            max_shape: (height, width, ...) to clip to; for a batch, one for all or one for each image.
            wh_ratio_clip: sides grow or shrink at most by this ratio.

        Returns:
            the shape of ``pred_bboxes``.
        """
        if pred_bboxes.shape[0] != bboxes.shape[0] and bboxes.ndim == pred_bboxes.ndim:
            raise ValueError(f'{bboxes.shape[0]} boxes but {pred_bboxes.shape[0]} predictions to decode')
        return delta2bbox(
            bboxes,
            pred_bboxes,
            self.means,
            self.stds,
            max_shape,
            wh_ratio_clip,
            self.clip_border,
            self.add_ctr_clamp,
            self.ctr_clamp,
        )


def bbox2delta(proposals: Tensor, gt: Tensor, means: Four = (0.0,) * 4, stds: Four = (1.0,) * 4) -> Tensor:
    """(..., 4) deltas that take ``proposals`` to ``gt``, both (..., 4), less ``means``, over ``stds``."""
    p_center, p_size = _center_size(upcast(proposals))
    g_center, g_size = _center_size(upcast(gt))
    deltas = torch.cat(((g_center - p_center) / p_size, torch.log(g_size / p_size)), -1)
    return (deltas - deltas.new_tensor(means)) / deltas.new_tensor(stds)


def delta2bbox(
    rois: Tensor,
    deltas: Tensor,
    means: Four = (0.0,) * 4,
    stds: Four = (1.0,) * 4,
    max_shape: Shapes = None,
    wh_ratio_clip: float = 16 / 1000,
    clip_border: bool = True,
    add_ctr_clamp: bool = False,
    ctr_clamp: float = 32,
) -> Tensor:
    """The inverse of :func:`bbox2delta`; the arguments are those of :class:`DeltaXYWHBBoxCoder`."""
    deltas = upcast(deltas)
    per_class = deltas.reshape(*deltas.shape[:-1], deltas.shape[-1] // 4, 4)
    per_class = per_class * deltas.new_tensor(stds) + deltas.new_tensor(means)
    center, size = _center_size(upcast(rois)[..., None, :])  # (..., N, 1, 2)
    shift, growth = size * per_class[..., :2], per_class[..., 2:]  # (..., N, C, 2)
    most = abs(math.log(wh_ratio_clip))
    if add_ctr_clamp:
        shift, growth = shift.clamp(min=-ctr_clamp, max=ctr_clamp), growth.clamp(max=most)
    else:
        growth = growth.clamp(min=-most, max=most)
    center, half = center + shift, size * growth.exp() * 0.5
    boxes = torch.cat((center - half, center + half), -1).reshape(deltas.shape)
    return clip_boxes(boxes, max_shape) if clip_border else boxes


def _center_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    top_left, bottom_right = boxes[..., :2], boxes[..., 2:4]
    return (top_left + bottom_right) * 0.5, bottom_right - top_left
