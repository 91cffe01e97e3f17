"""AutoAugment's movements ("Learning Data Augmentation Strategies for Object Detection", arXiv 1906.11172).

Each moves image, boxes, masks, keypoints and semantic maps by one affine matrix over the middles of pixels; the canvas
keeps its size. A moved box is the hull of its moved corners, cut at the border.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

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
)
from mmdet_clone.datasets.pipelines.enhance import MAX_LEVEL, check_level, check_probability
from mmdet_clone.datasets.pipelines.keypoints import move_keypoints, warped
from mmdet_clone.registry import PIPELINES

INTERPOLATIONS = {'nearest': cv2.INTER_NEAREST, 'bilinear': cv2.INTER_LINEAR, 'bicubic': cv2.INTER_CUBIC}


def warp_boxes(boxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The upright hulls ``(n, 4)`` of boxes ``(n, 4)`` that an affine ``(2, 3)`` or ``(3, 3)`` matrix has moved."""
    corners = boxes.reshape(-1, 4)[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    moved = corners @ matrix[:2, :2].T + matrix[:2, 2]
    return np.concatenate((moved.min(1), moved.max(1)), 1).astype(np.float32)


class _Warp(Transform):
    """A movement whose strength a level says, with a probability."""

    min_size: float = 0  # boxes with an edge not above this are dropped
    interpolation: str = 'bilinear'

    def __init__(
        self,
        level: float,
        prob: float,
        img_fill_val: float | Sequence[float],
        seg_ignore_label: int,
        random_negative_prob: float,
    ) -> None:
        name = type(self).__name__
        check_level(level, name)
        check_probability(prob, name)
        check_probability(random_negative_prob, name, 'random_negative_prob')
        self.level = level
        self.prob = prob
        self.img_fill_val = _as_colour(img_fill_val, name)
        self.seg_ignore_label = seg_ignore_label
        self.random_negative_prob = random_negative_prob

    @abstractmethod
    def matrix(self, shape: Sequence[int], sign: int) -> np.ndarray:
        """The ``(2, 3)`` float64 matrix for an image of ``shape``, in the direction of ``sign`` (1 or -1)."""

    def draw(self, results: dict) -> np.ndarray | None:
        """The matrix; ``None`` for no change."""
        if np.random.rand() > self.prob:
            return None
        sign = -1 if np.random.rand() < self.random_negative_prob else 1
        return self.matrix(results['img'].shape, sign)

    def apply(self, results: dict, params: np.ndarray | None) -> dict:
        if params is None:
            return results
        shape = results['img'].shape[:2]
        for key in img_fields(results):
            results[key] = warp_image(results[key], params, self.img_fill_val, self.interpolation)
        for key in mask_fields(results):
            results[key] = results[key].warp_affine(params, shape)
        for key in seg_fields(results):
            results[key] = warp_image(results[key], params, (self.seg_ignore_label,), 'nearest')
        move_keypoints(results, warped(params), shape)
        for key in bbox_fields(results):
            results[key] = boxes = clip_boxes(warp_boxes(results[key], params), shape)
            keep_instances(results, key, (boxes[:, 2:] - boxes[:, :2] > self.min_size).all(1))
        return results


@PIPELINES.register_module()
class Shear(_Warp):
    """Shear along an axis, with a probability; the upper left corner stays.

    Args:
        level: the strength, 0 to 10.
        img_fill_val: the colour where there is nothing, a number or one per channel.
        seg_ignore_label: the value there in semantic maps, which take the nearest pixel.
        prob: the probability.
        direction: ``horizontal`` or ``vertical``.
        max_shear_magnitude: the shift per pixel at level 10.
        random_negative_prob: the probability of the opposite sign.
        interpolation: for images: ``nearest``, ``bilinear`` or ``bicubic``.
    """

    def __init__(
        self,
        level: float,
        img_fill_val: float | Sequence[float] = 128,
        seg_ignore_label: int = 255,
        prob: float = 0.5,
        direction: str = 'horizontal',
        max_shear_magnitude: float = 0.3,
        random_negative_prob: float = 0.5,
        interpolation: str = 'bilinear',
    ) -> None:
        super().__init__(level, prob, img_fill_val, seg_ignore_label, random_negative_prob)
        _check_axis(direction, 'Shear')
        if not 0 <= max_shear_magnitude <= 1:
            raise ValueError(f'Shear: max_shear_magnitude lies between 0 and 1, got {max_shear_magnitude!r}')
        if interpolation not in INTERPOLATIONS:
            raise ValueError(f'Shear: interpolation is one of {", ".join(INTERPOLATIONS)}, got {interpolation!r}')
        self.direction = direction
        self.max_shear_magnitude = max_shear_magnitude
        self.interpolation = interpolation

    def matrix(self, shape: Sequence[int], sign: int) -> np.ndarray:
        magnitude = sign * self.level / MAX_LEVEL * self.max_shear_magnitude
        along_x, along_y = (magnitude, 0) if self.direction == 'horizontal' else (0, magnitude)
        return np.array([[1, along_x, 0], [along_y, 1, 0]], dtype=np.float64)


@PIPELINES.register_module()
class Rotate(_Warp):
    """Rotate, clockwise or against it, with a probability.

    Args:
        level: the strength, 0 to 10.
        scale: a factor of the size beside the rotation.
        center: the centre in pixels, x and y or one number for both; by default the middle of the image.
        img_fill_val: the colour where there is nothing, a number or one per channel.
        seg_ignore_label: the value there in semantic maps, which take the nearest pixel.
        prob: the probability.
        max_rotate_angle: the angle at level 10, in degrees.
        random_negative_prob: the probability of turning against the clock.
    """

    def __init__(
        self,
        level: float,
        scale: float = 1,
        center: float | tuple[float, float] | None = None,
        img_fill_val: float | Sequence[float] = 128,
        seg_ignore_label: int = 255,
        prob: float = 0.5,
        max_rotate_angle: float = 30,
        random_negative_prob: float = 0.5,
    ) -> None:
        super().__init__(level, prob, img_fill_val, seg_ignore_label, random_negative_prob)
        if not scale > 0:
            raise ValueError(f'Rotate: scale is a factor above 0, got {scale!r}')
        if isinstance(center, int | float):
            center = (center, center)
        if center is not None and len(center) != 2:
            raise ValueError(f'Rotate: center is a number or a pair (x, y), got {center!r}')
        self.scale = scale
        self.center = None if center is None else (float(center[0]), float(center[1]))
        self.max_rotate_angle = max_rotate_angle

    def matrix(self, shape: Sequence[int], sign: int) -> np.ndarray:
        center = self.center or ((shape[1] - 1) * 0.5, (shape[0] - 1) * 0.5)
        angle = sign * self.level / MAX_LEVEL * self.max_rotate_angle
        return cv2.getRotationMatrix2D(center, -angle, self.scale)  # OpenCV turns against the clock


@PIPELINES.register_module()
class Translate(_Warp):
    """Shift along an axis, with a probability.

    Args:
        level: the strength, 0 to 10.
        prob: the probability.
        img_fill_val: the colour where there is nothing, a number or one per channel.
        seg_ignore_label: the value there in semantic maps.
        direction: ``horizontal`` or ``vertical``.
        max_translate_offset: the shift at level 10, in pixels; shifts are whole pixels.
        random_negative_prob: the probability of a shift to the left or up.
        min_size: boxes with an edge not above this many pixels are dropped.
    """

    def __init__(
        self,
        level: float,
        prob: float = 0.5,
        img_fill_val: float | Sequence[float] = 128,
        seg_ignore_label: int = 255,
        direction: str = 'horizontal',
        max_translate_offset: float = 250.0,
        random_negative_prob: float = 0.5,
        min_size: float = 0,
    ) -> None:
        super().__init__(level, prob, img_fill_val, seg_ignore_label, random_negative_prob)
        _check_axis(direction, 'Translate')
        self.direction = direction
        self.max_translate_offset = max_translate_offset
        self.min_size = min_size

    def matrix(self, shape: Sequence[int], sign: int) -> np.ndarray:
        offset = sign * int(self.level / MAX_LEVEL * self.max_translate_offset)
        dx, dy = (offset, 0) if self.direction == 'horizontal' else (0, offset)
        return np.array([[1, 0, dx], [0, 1, dy]], dtype=np.float64)


def warp_image(img: np.ndarray, matrix: np.ndarray, fill: Sequence[float], interpolation: str) -> np.ndarray:
    """``img`` moved by a ``(2, 3)`` matrix on its own canvas; ``fill`` is one value, or one per channel."""
    channels = img.shape[2] if img.ndim == 3 else 1
    if len(fill) not in (1, channels):
        raise ValueError(f'img_fill_val has {len(fill)} values, the image {channels} channels')
    colour = tuple(fill) * channels if len(fill) == 1 else tuple(fill)
    flags = INTERPOLATIONS[interpolation]
    moved = cv2.warpAffine(img, matrix, img.shape[1::-1], flags=flags, borderValue=colour[:4])
    return moved.reshape(img.shape)  # OpenCV drops a single channel


def _as_colour(value: float | Sequence[float], name: str) -> tuple[float, ...]:
    colour = (value,) if isinstance(value, int | float) else tuple(value)
    if not colour or any(not 0 <= v <= 255 for v in colour):
        raise ValueError(f'{name}: img_fill_val is a number from 0 to 255 or one per channel, got {value!r}')
    return tuple(float(v) for v in colour)


def _check_axis(direction: str, name: str) -> None:
    if direction not in ('horizontal', 'vertical'):
        raise ValueError(f"{name}: direction is 'horizontal' or 'vertical', got {direction!r}")
