"""Four images as one: Mosaic of YOLOv4 (arXiv 2004.10934)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mmcv
import numpy as np

from mmdet_clone.datasets.pipelines.base import (
    Transform,
    bbox_fields,
    clip_boxes,
    keep_instances,
    seg_fields,
    set_img_shape,
)
from mmdet_clone.datasets.pipelines.instances import (
    join_instances,
    mixed_samples,
    placed_instances,
    resize_matrix,
)
from mmdet_clone.ops import find_inside_bboxes
from mmdet_clone.registry import PIPELINES


@PIPELINES.register_module()
class Mosaic(Transform):
    """Put the image and three others around a random point of a canvas twice their size.

    Each is resized to fit into ``img_scale`` and laid with a corner on the point: this one above and left of it, the
    others above right, below left, below right. What reaches beyond the canvas is cut off. Masks and keypoints move
    too; semantic maps take the nearest pixel, and 255 where there is no image.

    Args:
        img_scale: ``(height, width)`` of one image; the canvas is ``(2 * height, 2 * width)``.
        center_ratio_range: where the point lies, as multiples of ``img_scale``.
        min_bbox_size: boxes with an edge not above this are dropped, unless ``skip_filter``.
        bbox_clip_border: cut boxes at the canvas's border.
        skip_filter: keep small boxes.
        pad_val: the canvas's value.
        prob: the probability; otherwise the image stays as it is.
    """

    def __init__(
        self,
        img_scale: tuple[int, int] = (640, 640),
        center_ratio_range: tuple[float, float] = (0.5, 1.5),
        min_bbox_size: float = 0,
        bbox_clip_border: bool = True,
        skip_filter: bool = True,
        pad_val: float = 114,
        prob: float = 1.0,
    ) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f'Mosaic: prob is a probability, between 0 and 1, got {prob}')
        self.img_scale = tuple(img_scale)
        self.center_ratio_range = tuple(center_ratio_range)
        self.min_bbox_size = min_bbox_size
        self.bbox_clip_border = bbox_clip_border
        self.skip_filter = skip_filter
        self.pad_val = pad_val
        self.prob = prob

    def get_indexes(self, dataset: Any) -> list[int]:
        """Which images of ``dataset`` to mix in."""
        return [int(np.random.randint(0, len(dataset))) for _ in range(3)]

    def draw(self, results: dict) -> tuple[int, int] | None:
        """The point, x and y; ``None`` for no mosaic."""
        if np.random.uniform(0, 1) > self.prob:
            return None
        height, width = self.img_scale
        x = int(np.random.uniform(*self.center_ratio_range) * width)
        y = int(np.random.uniform(*self.center_ratio_range) * height)
        return x, y

    def apply(self, results: dict, params: tuple[int, int] | None) -> dict:
        if params is None:
            return results
        samples = [results, *mixed_samples(results, self, 3)]
        height, width = self.img_scale
        canvas = np.full((2 * height, 2 * width, *results['img'].shape[2:]), self.pad_val, results['img'].dtype)
        maps = {key: np.full(canvas.shape[:2], 255, results[key].dtype) for key in seg_fields(results)}
        parts: dict[str, list[dict]] = {key: [] for key in bbox_fields(results)}
        for i, sample in enumerate(samples):
            patch, scale = resize_into(sample['img'], self.img_scale)
            left = params[0] - patch.shape[1] if i in (0, 2) else params[0]
            top = params[1] - patch.shape[0] if i in (0, 1) else params[1]
            paste(canvas, patch, left, top)
            for key, canvas_map in maps.items():
                size = patch.shape[1], patch.shape[0]
                paste(canvas_map, mmcv.imresize(sample[key], size, interpolation='nearest'), left, top)
            for key, placed in parts.items():
                boxes = sample[key] * np.float32(scale) + np.array([left, top] * 2, np.float32)
                matrix = resize_matrix(scale, scale, left, top)
                placed.append(placed_instances(sample, key, boxes, matrix, canvas.shape[:2]))
        results.update(maps, img=canvas)
        for key, placed in parts.items():
            results.update(join_instances(placed))
            self._clean(results, key, canvas.shape)
        set_img_shape(results)
        return results

    def _clean(self, results: dict, key: str, shape: Sequence[int]) -> None:
        if self.bbox_clip_border:
            results[key] = clip_boxes(results[key], shape)
        keep = find_inside_bboxes(results[key], *shape[:2])
        if not self.skip_filter:
            keep &= (results[key][:, 2:] - results[key][:, :2] > self.min_bbox_size).all(1)
        keep_instances(results, key, keep)


def resize_into(img: np.ndarray, scale: tuple[int, int]) -> tuple[np.ndarray, float]:
    """``img`` as large as fits into ``scale`` (height, width) in its aspect ratio, and by what it was multiplied."""
    h, w = img.shape[:2]
    ratio = min(scale[0] / h, scale[1] / w)
    return mmcv.imresize(img, (max(int(w * ratio), 1), max(int(h * ratio), 1))), ratio


def paste(canvas: np.ndarray, patch: np.ndarray, left: int, top: int) -> None:
    """Write ``patch`` into ``canvas`` with its upper left corner at ``left``, ``top``, which may lie outside."""
    h, w = patch.shape[:2]
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = min(left + w, canvas.shape[1]), min(top + h, canvas.shape[0])
    canvas[y1:y2, x1:x2] = patch[y1 - top : y2 - top, x1 - left : x2 - left]
