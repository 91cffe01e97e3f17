"""Rotating, scaling, shearing and shifting a sample at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from mmdet_clone.datasets.pipelines.base import (
    Transform,
    bbox_fields,
    clip_boxes,
    img_fields,
    keep_instances,
    mask_fields,
    seg_fields,
    set_img_shape,
)
from mmdet_clone.datasets.pipelines.instances import still_usable
from mmdet_clone.datasets.pipelines.keypoints import move_keypoints, warped
from mmdet_clone.datasets.pipelines.warp import warp_boxes
from mmdet_clone.ops import find_inside_bboxes
from mmdet_clone.registry import PIPELINES


@dataclass
class AffineParams:
    """What moves image and boxes."""

    matrix: np.ndarray  # (3, 3) float32, from the sample's pixels to those of the canvas
    size: tuple[int, int]  # (height, width) of the canvas
    scale: float  # the factor in it


@PIPELINES.register_module()
class RandomAffine(Transform):
    """Scale, rotate and shear about the upper left corner, then shift; a moved box is the hull of its corners.

    Masks and keypoints move too; semantic maps take the nearest pixel, and 255 where there is nothing.

    Args:
        max_rotate_degree: the largest angle, either way.
        max_translate_ratio: the largest shift, as a part of the canvas's edges.
        scaling_ratio_range: the smallest and largest factor.
        max_shear_degree: the largest angle of shearing, along each axis, either way.
        border: by how much the canvas is larger than the image on each side, ``(height, width)`` in pixels; negative
            after :class:`Mosaic`, whose canvas is twice the size wanted.
        border_val: the colour where there is nothing.
        min_bbox_size, min_area_ratio, max_aspect_ratio: the boxes that are dropped, unless ``skip_filter``: a short
            edge, a small part that is left, a long shape.
        bbox_clip_border: cut boxes at the canvas's border.
        skip_filter: keep those boxes.
    """

    def __init__(
        self,
        max_rotate_degree: float = 10.0,
        max_translate_ratio: float = 0.1,
        scaling_ratio_range: tuple[float, float] = (0.5, 1.5),
        max_shear_degree: float = 2.0,
        border: tuple[int, int] = (0, 0),
        border_val: tuple[float, float, float] = (114, 114, 114),
        min_bbox_size: float = 2,
        min_area_ratio: float = 0.2,
        max_aspect_ratio: float = 20,
        bbox_clip_border: bool = True,
        skip_filter: bool = True,
    ) -> None:
        if not 0 <= max_translate_ratio <= 1:
            raise ValueError(f'RandomAffine: max_translate_ratio lies between 0 and 1, got {max_translate_ratio}')
        if not 0 < scaling_ratio_range[0] <= scaling_ratio_range[1]:
            raise ValueError(
                'RandomAffine: scaling_ratio_range is the smallest and the largest factor, both positive, got '
                f'{scaling_ratio_range}'
            )
        self.max_rotate_degree = max_rotate_degree
        self.max_translate_ratio = max_translate_ratio
        self.scaling_ratio_range = tuple(scaling_ratio_range)
        self.max_shear_degree = max_shear_degree
        self.border = tuple(border)
        self.border_val = tuple(border_val)
        self.min_bbox_size = min_bbox_size
        self.min_area_ratio = min_area_ratio
        self.max_aspect_ratio = max_aspect_ratio
        self.bbox_clip_border = bbox_clip_border
        self.skip_filter = skip_filter

    def draw(self, results: dict) -> AffineParams:
        h, w = results['img'].shape[:2]
        height, width = h + 2 * self.border[0], w + 2 * self.border[1]
        angle = _either_way(self.max_rotate_degree)
        scale = np.random.uniform(*self.scaling_ratio_range)
        shear = _either_way(self.max_shear_degree), _either_way(self.max_shear_degree)
        shift = _either_way(self.max_translate_ratio) * width, _either_way(self.max_translate_ratio) * height
        return AffineParams(affine_matrix(angle, scale, shear, shift), (height, width), scale)

    def apply(self, results: dict, params: AffineParams) -> dict:
        size = params.size[::-1]
        for key in img_fields(results):
            img = results[key]
            moved = cv2.warpPerspective(img, params.matrix, dsize=size, borderValue=self.border_val)
            results[key] = moved.reshape(*params.size, *img.shape[2:])  # OpenCV drops a single channel
        set_img_shape(results)
        for key in mask_fields(results):
            results[key] = results[key].warp_affine(params.matrix, params.size)
        for key in seg_fields(results):
            flags, unknown = cv2.INTER_NEAREST, 255
            results[key] = cv2.warpPerspective(results[key], params.matrix, size, flags=flags, borderValue=unknown)
        move_keypoints(results, warped(params.matrix), params.size)
        for key in bbox_fields(results):
            before = results[key]
            after = warp_boxes(before, params.matrix)
            results[key] = after = clip_boxes(after, params.size) if self.bbox_clip_border else after
            keep = find_inside_bboxes(after, *params.size)
            if not self.skip_filter:
                limits = self.min_bbox_size, self.min_area_ratio, self.max_aspect_ratio
                keep &= still_usable(before * params.scale, after, *limits)
            keep_instances(results, key, keep)
        return results


def affine_matrix(angle: float, scale: float, shear: tuple[float, float], shift: tuple[float, float]) -> np.ndarray:
    """(3, 3) float32: scaling, then rotation, then shearing, then a shift; angles in degrees, the shift in pixels."""
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    shear_x, shear_y = (math.tan(math.radians(degrees)) for degrees in shear)
    rotation = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], np.float32)
    shearing = np.array([[1, shear_x, 0], [shear_y, 1, 0], [0, 0, 1]], np.float32)
    shifting = np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1]], np.float32)
    return shifting @ shearing @ rotation @ np.diag([scale, scale, 1]).astype(np.float32)


def _either_way(most: float) -> float:
    return np.random.uniform(-most, most)
