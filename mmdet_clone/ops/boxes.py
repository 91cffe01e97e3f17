"""Arithmetic on boxes.

Boxes are ``(x1, y1, x2, y2)`` in pixels, a point being a pixel's corner: the width is ``x2 - x1``. Results are float32
(float64 for float64 input) whatever the precision of the network around them, and inputs are never written to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from mmdet_clone.ops.precision import upcast

Shape = Sequence  # (height, width) or (height, width, channels)
Shapes = Shape | Tensor | Sequence[Shape] | None  # one for all images, one for each, or none


def bbox_overlaps(
    bboxes1: Tensor, bboxes2: Tensor, mode: str = 'iou', is_aligned: bool = False, eps: float = 1e-6
) -> Tensor:
    """Overlaps of two sets of boxes.

    Args:
        bboxes1: (..., m, 4).
        bboxes2: (..., n, 4), with the leading dimensions of ``bboxes1``; ``n == m`` if ``is_aligned``.
        mode: ``'iou'`` intersection over union; ``'iof'`` intersection over the area of ``bboxes1``;
            ``'giou'`` of "Generalized Intersection over Union" (arXiv:1902.09630).
        is_aligned: compare box i with box i instead of every pair.
        eps: the least value of a denominator.

    Returns:
        (..., m, n), or (..., m) if ``is_aligned``.
    """
    if mode not in ('iou', 'iof', 'giou'):
        raise ValueError(f"mode must be 'iou', 'iof' or 'giou', got {mode!r}")
    for name, boxes in (('bboxes1', bboxes1), ('bboxes2', bboxes2)):
        if boxes.shape[-1] != 4 and boxes.shape[0] != 0:
            raise ValueError(f'expected {name} of shape (..., n, 4) as x1, y1, x2, y2, got {tuple(boxes.shape)}')
    if bboxes1.shape[:-2] != bboxes2.shape[:-2]:
        raise ValueError(f'leading dimensions differ: {tuple(bboxes1.shape)} and {tuple(bboxes2.shape)}')
    rows, cols = bboxes1.shape[-2], bboxes2.shape[-2]
    if is_aligned and rows != cols:
        raise ValueError(f'is_aligned compares box i with box i, but there are {rows} and {cols} boxes')
    if 0 in (len(bboxes1), len(bboxes2)) and not bboxes1.shape[-1] == bboxes2.shape[-1] == 4:
        shape = (rows,) if is_aligned else (rows, cols)  # no boxes may come as (0, 5), without columns to read
        return upcast(bboxes1).new_zeros((*bboxes1.shape[:-2], *shape))
    b1, b2 = upcast(bboxes1).unbind(-1), upcast(bboxes2).unbind(-1)
    if not is_aligned:
        b1, b2 = [c[..., :, None] for c in b1], [c[..., None, :] for c in b2]
    area1, area2 = (b1[2] - b1[0]) * (b1[3] - b1[1]), (b2[2] - b2[0]) * (b2[3] - b2[1])
    overlap = _span(b1, b2, torch.min, torch.max)
    union = area1 + area2 - overlap if mode != 'iof' else area1.expand_as(overlap)
    union = union.clamp(min=eps)
    ious = overlap / union
    if mode != 'giou':
        return ious
    enclosing = _span(b1, b2, torch.max, torch.min).clamp(min=eps)
    return ious - (enclosing - union) / enclosing


def _span(b1: Sequence[Tensor], b2: Sequence[Tensor], high: Callable, low: Callable) -> Tensor:
    """Area between the ``low`` of the first corners and the ``high`` of the second: intersection or hull."""
    width = (high(b1[2], b2[2]) - low(b1[0], b2[0])).clamp(min=0)
    height = (high(b1[3], b2[3]) - low(b1[1], b2[1])).clamp(min=0)
    return width * height


def clip_boxes(boxes: Tensor, max_shape: Shapes) -> Tensor:
    """Move corners that lie outside the image to its border.

    Args:
        boxes: (..., 4 * C), several boxes in a row allowed.
        max_shape: ``(height, width, ...)`` of the image; or one such row for each entry of the first dimension of
            ``boxes``, as a list or a (B, >=2) tensor; or None, for no clipping.
    """
    if max_shape is None:
        return boxes
    if not isinstance(max_shape, Tensor) and np.isscalar(max_shape[0]):
        height, width = max_shape[:2]
        x, y = boxes[..., 0::2].clamp(min=0, max=float(width)), boxes[..., 1::2].clamp(min=0, max=float(height))
    else:
        if not isinstance(max_shape, Tensor):
            max_shape = torch.stack([torch.as_tensor(s)[..., :2] for s in max_shape])
        limits = max_shape.to(boxes)[..., :2]
        if limits.ndim == 2:
            if boxes.ndim < 2 or len(limits) != len(boxes):
                raise ValueError(f'{len(limits)} image shapes for boxes of shape {tuple(boxes.shape)}')
            limits = limits.reshape(len(limits), *[1] * (boxes.ndim - 2), 2)
        height, width = limits[..., 0:1], limits[..., 1:2]
        x, y = boxes[..., 0::2].clamp(min=0).minimum(width), boxes[..., 1::2].clamp(min=0).minimum(height)
    return torch.stack((x, y), -1).flatten(-2)


def find_inside_bboxes(bboxes: Tensor, img_h: int, img_w: int) -> Tensor:
    """(n,) bool: which boxes overlap the image at all."""
    return (bboxes[:, 0] < img_w) & (bboxes[:, 2] > 0) & (bboxes[:, 1] < img_h) & (bboxes[:, 3] > 0)


# ---------------------------------------------------------------- forms of a box
def bbox_xyxy_to_cxcywh(bbox: Tensor) -> Tensor:
    """(..., 4) corners to centre and size."""
    x1, y1, x2, y2 = bbox.unbind(-1)
    return torch.stack(((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1), -1)


def bbox_cxcywh_to_xyxy(bbox: Tensor) -> Tensor:
    """(..., 4) centre and size to corners."""
    cx, cy, w, h = bbox.unbind(-1)
    return torch.stack((cx - 0.5 * w, cy - 0.5 * h, cx + 0.5 * w, cy + 0.5 * h), -1)


def bbox2roi(bbox_list: Sequence[Tensor]) -> Tensor:
    """Boxes of a batch as RoIs: list over images of (n_i, >=4) -> (sum n_i, 5), the image's index first."""
    boxes_per_image = [boxes[:, :4] if len(boxes) else boxes.new_zeros(0, 4) for boxes in bbox_list]  # (0,) is none too
    rois = [torch.cat((boxes.new_full((len(boxes), 1), i), boxes), -1) for i, boxes in enumerate(boxes_per_image)]
    return torch.cat(rois, 0)


def roi2bbox(rois: Tensor) -> list[Tensor]:
    """RoIs (n, 5) as a list of (n_i, 4), one for each image index that occurs, in ascending order."""
    return [rois[rois[:, 0] == i, 1:] for i in torch.unique(rois[:, 0], sorted=True)]


def distance2bbox(points: Tensor, distance: Tensor, max_shape: Shapes = None) -> Tensor:
    """Boxes from points and their distances to the four sides.

    Args:
        points: (..., n, 2) x, y.
        distance: (..., n, 4) to the left, top, right and bottom.
        max_shape: clip to this image, see :func:`clip_boxes`.
    """
    points, distance = upcast(points)[..., :2], upcast(distance)
    boxes = torch.cat((points - distance[..., :2], points + distance[..., 2:]), -1)
    return clip_boxes(boxes, max_shape)


def bbox2distance(points: Tensor, bbox: Tensor, max_dis: float | None = None, eps: float = 0.1) -> Tensor:
    """Distances (n, 4) from points (n, 2) to the left, top, right and bottom sides of boxes (n, 4).

    With ``max_dis`` they are kept in ``[0, max_dis - eps]``.
    """
    points, bbox = upcast(points), upcast(bbox)
    distance = torch.cat((points - bbox[..., :2], bbox[..., 2:] - points), -1)
    return distance if max_dis is None else distance.clamp(min=0, max=max_dis - eps)


# ---------------------------------------------------------------- moving boxes between images
def bbox_flip(bboxes: Tensor, img_shape: Shape, direction: str = 'horizontal') -> Tensor:
    """Mirror boxes (..., 4 * C) in an image of ``img_shape`` (height, width, ...).

    Args:
        direction: ``'horizontal'``, ``'vertical'`` or ``'diagonal'`` (both).
    """
    if direction not in ('horizontal', 'vertical', 'diagonal'):
        raise ValueError(f"direction must be 'horizontal', 'vertical' or 'diagonal', got {direction!r}")
    if bboxes.shape[-1] % 4:
        raise ValueError(f'expected bboxes of shape (..., 4 * C), got {tuple(bboxes.shape)}')
    flipped = bboxes.clone()
    if direction in ('horizontal', 'diagonal'):
        flipped[..., 0::4], flipped[..., 2::4] = img_shape[1] - bboxes[..., 2::4], img_shape[1] - bboxes[..., 0::4]
    if direction in ('vertical', 'diagonal'):
        flipped[..., 1::4], flipped[..., 3::4] = img_shape[0] - bboxes[..., 3::4], img_shape[0] - bboxes[..., 1::4]
    return flipped


def bbox_mapping(
    bboxes: Tensor, img_shape: Shape, scale_factor: Sequence[float], flip: bool, flip_direction: str = 'horizontal'
) -> Tensor:
    """Boxes of the original image as they lie in the resized, then flipped one (of ``img_shape``)."""
    scaled = bboxes * _scale(scale_factor, bboxes)
    return bbox_flip(scaled, img_shape, flip_direction) if flip else scaled


def bbox_mapping_back(
    bboxes: Tensor, img_shape: Shape, scale_factor: Sequence[float], flip: bool, flip_direction: str = 'horizontal'
) -> Tensor:
    """The inverse of :func:`bbox_mapping`; (n, 4 * C)."""
    flipped = bbox_flip(bboxes, img_shape, flip_direction) if flip else bboxes
    return (flipped.reshape(-1, 4) / _scale(scale_factor, bboxes)).reshape(bboxes.shape)


def _scale(scale_factor: float | Sequence[float], like: Tensor) -> Tensor:
    return torch.as_tensor(scale_factor, dtype=like.dtype, device=like.device)


def bbox_rescale(bboxes: Tensor, scale_factor: float = 1.0) -> Tensor:
    """Grow boxes (n, 4) or RoIs (n, 5) about their centres by ``scale_factor``."""
    if bboxes.shape[-1] not in (4, 5):
        raise ValueError(f'expected boxes (n, 4) or RoIs (n, 5), got {tuple(bboxes.shape)}')
    index, boxes = bboxes[:, :-4], bbox_xyxy_to_cxcywh(bboxes[:, -4:])
    boxes = torch.cat((boxes[:, :2], boxes[:, 2:] * scale_factor), -1)
    return torch.cat((index, bbox_cxcywh_to_xyxy(boxes)), -1)
