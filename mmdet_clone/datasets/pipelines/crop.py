"""Cutting a piece out of a sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmdet_clone.datasets.pipelines.base import (
    MASKS_OF,
    Transform,
    bbox_fields,
    clip_boxes,
    img_fields,
    keep_instances,
    mask_fields,
    seg_fields,
    set_img_shape,
)
from mmdet_clone.datasets.pipelines.keypoints import move_keypoints, shifted
from mmdet_clone.registry import PIPELINES


@dataclass
class Window:
    """The piece that is kept, in whole pixels."""

    x1: int
    y1: int
    x2: int
    y2: int

    def cut(self, img: np.ndarray) -> np.ndarray:
        return img[self.y1 : self.y2, self.x1 : self.x2]

    def moved(self, boxes: np.ndarray) -> np.ndarray:
        """``(n, 4)`` boxes in the piece's coordinates."""
        return boxes - np.array([self.x1, self.y1] * 2, dtype=np.float32)

    def move_keypoints(self, results: dict) -> None:
        move_keypoints(results, shifted(-self.x1, -self.y1), (self.y2 - self.y1, self.x2 - self.x1))

    def array(self) -> np.ndarray:
        return np.array([self.x1, self.y1, self.x2, self.y2])


@PIPELINES.register_module()
class RandomCrop(Transform):
    """Keep a random piece of image, boxes, masks, keypoints and semantic maps.

    Boxes without any part in the piece are dropped with their labels, masks and keypoints.

    Args:
        crop_size: ``(height, width)``, in pixels or as shares of the image, as ``crop_type`` says.
        crop_type: ``absolute``: that many pixels (or the whole edge). ``absolute_range``: height and width each drawn
            between ``crop_size[0]`` and ``crop_size[1]`` pixels. ``relative``: that share of each edge.
            ``relative_range``: the share of each edge drawn between ``crop_size`` and 1.
        allow_negative_crop: keep a piece without ground truth; else the sample is dropped.
        recompute_bbox: take boxes anew from the cropped masks, where there are masks; instances whose mask does not
            reach into the piece are dropped, as a box of no size would be worthless.
        bbox_clip_border: cut boxes at the piece's border.
    """

    def __init__(
        self,
        crop_size: tuple[int, int] | tuple[float, float],
        crop_type: str = 'absolute',
        allow_negative_crop: bool = False,
        recompute_bbox: bool = False,
        bbox_clip_border: bool = True,
    ) -> None:
        _check_crop_size(crop_size, crop_type)
        self.crop_size = tuple(crop_size)
        self.crop_type = crop_type
        self.allow_negative_crop = allow_negative_crop
        self.recompute_bbox = recompute_bbox
        self.bbox_clip_border = bbox_clip_border

    def draw(self, results: dict) -> Window:
        h, w = results[img_fields(results)[0]].shape[:2]
        crop_h, crop_w = self._draw_size(h, w)
        top = np.random.randint(0, max(h - crop_h, 0) + 1)
        left = np.random.randint(0, max(w - crop_w, 0) + 1)
        return Window(left, top, left + crop_w, top + crop_h)

    def _draw_size(self, h: int, w: int) -> tuple[int, int]:
        a, b = self.crop_size
        if self.crop_type == 'absolute':
            return min(a, h), min(b, w)
        if self.crop_type == 'absolute_range':
            crop_h = np.random.randint(min(h, a), min(h, b) + 1)
            return crop_h, np.random.randint(min(w, a), min(w, b) + 1)
        if self.crop_type == 'relative_range':
            smallest = np.asarray(self.crop_size, dtype=np.float32)
            a, b = smallest + np.random.rand(2) * (1 - smallest)
        return max(int(h * a + 0.5), 1), max(int(w * b + 0.5), 1)

    def apply(self, results: dict, params: Window) -> dict | None:
        for key in img_fields(results):
            results[key] = params.cut(results[key])
        set_img_shape(results)
        params.move_keypoints(results)
        for key in mask_fields(results):
            results[key] = results[key].crop(params.array())
        for key in bbox_fields(results):
            if not self._crop_boxes(results, key, params) and key == 'gt_bboxes' and not self.allow_negative_crop:
                return None
        for key in seg_fields(results):
            results[key] = params.cut(results[key])
        return results

    def _crop_boxes(self, results: dict, key: str, window: Window) -> bool:
        """Move and filter the boxes under ``key``; whether any remains."""
        boxes = window.moved(results[key])
        results[key] = clip_boxes(boxes, results['img_shape']) if self.bbox_clip_border else boxes
        _keep_sized(results, key)
        if self.recompute_bbox and MASKS_OF.get(key) in results:
            results[key] = results[MASKS_OF[key]].get_bboxes()
            _keep_sized(results, key)
        return len(results[key]) > 0


@PIPELINES.register_module()
class MinIoURandomCrop(Transform):
    """Keep a random piece that overlaps every box by some IoU ("SSD: Single Shot MultiBox Detector", arXiv 1512.02325).

    Boxes whose centre lies in the piece are kept.

    Args:
        min_ious: the smallest IoU of the piece with any box, one of which is drawn; any overlap and no crop at all are
            choices beside them.
        min_crop_size: the smallest share of each edge.
        bbox_clip_border: cut boxes at the piece's border.
    """

    def __init__(
        self,
        min_ious: Sequence[float] = (0.1, 0.3, 0.5, 0.7, 0.9),
        min_crop_size: float = 0.3,
        bbox_clip_border: bool = True,
    ) -> None:
        self.min_ious = tuple(min_ious)
        self.min_crop_size = min_crop_size
        self.bbox_clip_border = bbox_clip_border

    def draw(self, results: dict) -> Window | None:
        """The piece; ``None`` for the whole image."""
        h, w = results['img'].shape[:2]
        fields = [results[key] for key in bbox_fields(results)]
        boxes = np.concatenate(fields) if fields else np.zeros((0, 4), dtype=np.float32)
        whole = 1
        while (min_iou := np.random.choice((whole, *self.min_ious, 0))) != whole:
            for _ in range(50):
                window = self._draw_window(h, w)
                if window is not None and _covers(window, boxes, min_iou):
                    return window
        return None

    def _draw_window(self, h: int, w: int) -> Window | None:
        new_w = np.random.uniform(self.min_crop_size * w, w)
        new_h = np.random.uniform(self.min_crop_size * h, h)
        if not 0.5 <= new_h / new_w <= 2:
            return None
        left, top = np.random.uniform(0, w - new_w), np.random.uniform(0, h - new_h)
        window = Window(int(left), int(top), int(left + new_w), int(top + new_h))
        return window if window.x2 > window.x1 and window.y2 > window.y1 else None

    def apply(self, results: dict, params: Window | None) -> dict:
        if params is None:
            return results
        for key in bbox_fields(results):
            keep_instances(results, key, _centres_inside(params, results[key]))
            boxes = params.moved(results[key])
            shape = (params.y2 - params.y1, params.x2 - params.x1)
            results[key] = clip_boxes(boxes, shape) if self.bbox_clip_border else boxes
        params.move_keypoints(results)
        for key in mask_fields(results):
            results[key] = results[key].crop(params.array())
        for key in [*img_fields(results), *seg_fields(results)]:
            results[key] = params.cut(results[key])
        set_img_shape(results)
        return results


def _check_crop_size(crop_size: Sequence[float], crop_type: str) -> None:
    types = ('absolute', 'absolute_range', 'relative', 'relative_range')
    if crop_type not in types:
        raise ValueError(f'RandomCrop: crop_type is one of {", ".join(types)}, got {crop_type!r}')
    if len(crop_size) != 2:
        raise ValueError(f'RandomCrop: crop_size is a pair, got {crop_size!r}')
    if crop_type.startswith('absolute'):
        if any(edge != int(edge) or edge <= 0 for edge in crop_size):
            raise ValueError(f'RandomCrop: {crop_type} takes crop_size in whole pixels above 0, got {crop_size!r}')
        if crop_type == 'absolute_range' and crop_size[0] > crop_size[1]:
            raise ValueError(f'RandomCrop: absolute_range takes (smallest, largest) as crop_size, got {crop_size!r}')
    elif any(not 0 < edge <= 1 for edge in crop_size):
        raise ValueError(f'RandomCrop: {crop_type} takes crop_size as shares above 0 and up to 1, got {crop_size!r}')


def _keep_sized(results: dict, key: str) -> None:
    boxes = results[key]
    keep_instances(results, key, (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))


def _centres_inside(window: Window, boxes: np.ndarray) -> np.ndarray:
    """``(n,)`` bool: whether each box's centre lies within the window."""
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    return (x > window.x1) & (x < window.x2) & (y > window.y1) & (y < window.y2)


def _covers(window: Window, boxes: np.ndarray, min_iou: float) -> bool:
    if len(boxes) == 0:
        return True
    overlap = np.clip(np.minimum(boxes[:, 2:], (window.x2, window.y2)), 0, None)
    sides = np.clip(overlap - np.maximum(boxes[:, :2], (window.x1, window.y1)), 0, None)  # (n, 2)
    inter = sides.prod(axis=1)
    union = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (window.x2 - window.x1) * (window.y2 - window.y1) - inter
    return bool((inter / np.maximum(union, 1e-6)).min() >= min_iou and _centres_inside(window, boxes).any())
