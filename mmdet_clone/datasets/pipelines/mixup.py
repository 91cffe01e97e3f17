"""Two images shining through each other: MixUp (arXiv 1710.09412) as YOLOX (arXiv 2107.08430) does it."""

from __future__ import annotations

from dataclasses import dataclass
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
from mmdet_clone.datasets.pipelines.flip import flip_boxes
from mmdet_clone.datasets.pipelines.instances import (
    instances_of,
    join_instances,
    mixed_samples,
    placed_instances,
    resize_matrix,
    still_usable,
)
from mmdet_clone.datasets.pipelines.keypoints import KEY, Pairs, swap_pairs
from mmdet_clone.datasets.pipelines.mosaic import resize_into
from mmdet_clone.ops import find_inside_bboxes
from mmdet_clone.registry import PIPELINES


@dataclass
class MixUpParams:
    """How the second image is changed."""

    jitter: float  # its size, as a multiple of the one that fits into img_scale
    flip: bool
    size: tuple[int, int]  # (height, width) of its canvas after that
    left: int  # where the part that is used begins, in its canvas
    top: int


@PIPELINES.register_module()
class MixUp(Transform):
    """The mean of the image and a part of another one; the boxes of both, with their masks and keypoints.

    The other image is resized to fit into ``img_scale``, padded to it, resized by a random ratio, flipped with a
    probability of ``flip_ratio``, and cropped or padded to the size of this image. Where it has no boxes, nothing
    happens.

    Args:
        img_scale: ``(height, width)`` of the other image's canvas; ``scale`` of the sample counts instead if an earlier
            step or the data set has set it.
        ratio_range: the smallest and largest ratio.
        flip_ratio: the probability of a horizontal flip.
        pad_val: the value of the other image's canvas.
        max_iters: how often to look for another image that has boxes.
        min_bbox_size, min_area_ratio, max_aspect_ratio: the boxes of the other image that are dropped after cropping,
            unless ``skip_filter``: a short edge, a small part that is left, a long shape.
        bbox_clip_border: cut boxes at the border.
        skip_filter: keep those boxes.
        flip_pairs: indices of left and right keypoints, which a flip swaps; as in ``RandomFlip``.
    """

    needs = ('img', 'gt_bboxes')

    def __init__(
        self,
        img_scale: tuple[int, int] = (640, 640),
        ratio_range: tuple[float, float] = (0.5, 1.5),
        flip_ratio: float = 0.5,
        pad_val: float = 114,
        max_iters: int = 15,
        min_bbox_size: float = 5,
        min_area_ratio: float = 0.2,
        max_aspect_ratio: float = 20,
        bbox_clip_border: bool = True,
        skip_filter: bool = True,
        flip_pairs: Pairs | None = None,
    ) -> None:
        self.img_scale = tuple(img_scale)
        self.ratio_range = tuple(ratio_range)
        self.flip_ratio = flip_ratio
        self.pad_val = pad_val
        self.max_iters = max_iters
        self.min_bbox_size = min_bbox_size
        self.min_area_ratio = min_area_ratio
        self.max_aspect_ratio = max_aspect_ratio
        self.bbox_clip_border = bbox_clip_border
        self.skip_filter = skip_filter
        self.flip_pairs = flip_pairs

    def get_indexes(self, dataset: Any) -> int:
        """Which image of ``dataset`` to mix in: one with boxes, if ``max_iters`` draws find any."""
        index = 0
        for _ in range(self.max_iters):
            index = int(np.random.randint(0, len(dataset)))
            if len(dataset.get_ann_info(index)['bboxes']):
                break
        return index

    def draw(self, results: dict) -> MixUpParams | None:
        """The parameters; ``None`` where the other image has no boxes."""
        if len(mixed_samples(results, self, 1)[0]['gt_bboxes']) == 0:
            return None
        jitter = np.random.uniform(*self.ratio_range)
        flip = np.random.uniform(0, 1) < self.flip_ratio
        height, width = (int(edge * jitter) for edge in self._scale(results))
        target_h, target_w = results['img'].shape[:2]
        top = int(np.random.randint(0, height - target_h)) if height > target_h else 0
        left = int(np.random.randint(0, width - target_w)) if width > target_w else 0
        return MixUpParams(jitter, flip, (height, width), left, top)

    def _scale(self, results: dict) -> tuple[int, int]:
        return tuple(results.get('scale', self.img_scale))

    def apply(self, results: dict, params: MixUpParams | None) -> dict:
        if params is None:
            return results
        _refuse_semantic_maps(results)
        (other,) = results['mix_results']
        shape = results['img'].shape
        picture, scale = self._changed_image(other['img'], self._scale(results), params)
        for key in bbox_fields(results):
            whole = self._changed_boxes(other[key], scale * params.jitter, params)
            part = whole - np.array([params.left, params.top] * 2, np.float32)
            part = clip_boxes(part, shape) if self.bbox_clip_border else part
            kept = np.ones(len(part), dtype=bool)
            if not self.skip_filter:
                kept = still_usable(whole, part, self.min_bbox_size, self.min_area_ratio, self.max_aspect_ratio)
            placed = placed_instances(other, key, part, self._matrix(scale * params.jitter, params), shape[:2])
            if params.flip and KEY in placed:
                placed[KEY] = swap_pairs(placed[KEY], self.flip_pairs, 'MixUp')
            keep_instances(placed, key, kept)
            results.update(join_instances([instances_of(results, key), placed]))
            keep_instances(results, key, find_inside_bboxes(results[key], *shape[:2]))
        results['img'] = mean_image(results['img'], crop_or_pad(picture, params.left, params.top, shape))
        set_img_shape(results)
        return results

    def _changed_image(self, img: np.ndarray, scale: tuple[int, int], params: MixUpParams) -> tuple[np.ndarray, float]:
        """The other image on its canvas, resized and flipped, and the factor by which it was fitted into it."""
        fitted, factor = resize_into(img, scale)
        canvas = np.full((*scale, *img.shape[2:]), self.pad_val, img.dtype)
        canvas[: fitted.shape[0], : fitted.shape[1]] = fitted
        canvas = mmcv.imresize(canvas, params.size[::-1])
        return (canvas[:, ::-1] if params.flip else canvas), factor

    def _changed_boxes(self, boxes: np.ndarray, scale: float, params: MixUpParams) -> np.ndarray:
        """Boxes ``(n, 4)`` of the other image on that canvas."""
        boxes = boxes * np.float32(scale)
        boxes = clip_boxes(boxes, params.size) if self.bbox_clip_border else boxes
        return flip_boxes(boxes, params.size, 'horizontal') if params.flip else boxes

    def _matrix(self, scale: float, params: MixUpParams) -> np.ndarray:
        """(3, 3) from the pixels of the other image to those of this one."""
        matrix = resize_matrix(scale, scale)
        if params.flip:
            matrix = np.array([[-1, 0, params.size[1] - 1], [0, 1, 0], [0, 0, 1]]) @ matrix
        return np.array([[1, 0, -params.left], [0, 1, -params.top], [0, 0, 1]]) @ matrix


def _refuse_semantic_maps(results: dict) -> None:
    left = [key for key in seg_fields(results) if key in results]
    if left:
        raise NotImplementedError(
            f'MixUp gives every pixel two meanings, and the sample has the semantic map {", ".join(left)}: '
            'load annotations without (with_seg=False), or leave this step out'
        )


def crop_or_pad(img: np.ndarray, left: int, top: int, shape: tuple[int, ...]) -> np.ndarray:
    """The part of ``img`` from ``left``, ``top`` on, in the size of ``shape``; black where there is nothing."""
    part = img[top : top + shape[0], left : left + shape[1]]
    if part.shape[:2] == tuple(shape[:2]):
        return part
    canvas = np.zeros((*shape[:2], *img.shape[2:]), img.dtype)
    canvas[: part.shape[0], : part.shape[1]] = part
    return canvas


def mean_image(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The mean of two images, rounded down if they are of whole numbers."""
    if a.dtype == b.dtype == np.uint8:
        return (np.add(a, b, dtype=np.uint16) >> 1).astype(np.uint8)
    return ((a.astype(np.float32) + b.astype(np.float32)) * 0.5).astype(a.dtype)
