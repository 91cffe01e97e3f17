"""Masks as polygons.

A part is a flat float array ``x0, y0, x1, y1, ...`` in pixels; an instance is a list of parts (two, where an occluder
cuts it in two). An instance may have no part: its mask is empty.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch

from mmdet_clone.structures.masks.base import (
    AXIS_DIRECTIONS,
    FLIP_DIRECTIONS,
    BaseInstanceMasks,
    check_direction,
    check_interpolation,
    same_canvas,
)
from mmdet_clone.structures.masks.bitmap import BitmapMasks

Move = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


class PolygonMasks(BaseInstanceMasks):
    """Instance masks as a list over instances of lists of polygons.

    Args:
        masks: instances, each a list of parts, each a flat array ``x0, y0, x1, y1, ...`` of 3 points or more.
        height: the canvas's height in pixels.
        width: the canvas's width in pixels.
    """

    def __init__(self, masks: Sequence[Sequence[np.ndarray]], height: int, width: int) -> None:
        self.height, self.width = int(height), int(width)
        for instance in masks:
            if not isinstance(instance, list | tuple) or any(np.ndim(part) != 1 for part in instance):
                raise TypeError(
                    'expected masks as a list over instances of lists of flat polygons x0, y0, x1, y1, ..., '
                    f'got the instance {instance!r}: an instance of one part is a list of one array'
                )
        self.masks = [[_as_float(part) for part in instance] for instance in masks]

    @classmethod
    def random(
        cls,
        num_masks: int = 3,
        height: int = 32,
        width: int = 32,
        n_verts: int = 5,
        dtype: type = np.float32,
        rng: np.random.RandomState | None = None,
    ) -> PolygonMasks:
        """Star-shaped polygons of ``n_verts`` points about the middle of the canvas, one part each, for tests."""
        rng = rng or np.random.RandomState()
        masks = []
        for _ in range(num_masks):
            angles = np.sort(rng.rand(n_verts)) * 2 * np.pi
            radii = rng.uniform(0.2, 0.5, n_verts)
            points = 0.5 + radii[:, None] * np.stack((np.cos(angles), np.sin(angles)), axis=1)
            masks.append([(points * (width, height)).astype(dtype).reshape(-1)])
        return cls(masks, height, width)

    @classmethod
    def cat(cls, masks: Sequence[PolygonMasks]) -> PolygonMasks:
        """All instances of several objects on canvases of one size."""
        canvas = same_canvas(masks, cls)
        return cls([instance for m in masks for instance in m.masks], *canvas)

    def __getitem__(self, index: int | slice | Sequence | np.ndarray) -> PolygonMasks:
        if not isinstance(index, slice):
            index = np.asarray(index)
            index = index.astype(np.int64) if index.size == 0 else index
        picked = np.atleast_1d(np.arange(len(self))[index])
        return PolygonMasks([self.masks[i] for i in picked], self.height, self.width)

    def resize(self, out_shape: tuple[int, int], interpolation: str = 'nearest') -> PolygonMasks:
        x_scale, y_scale = out_shape[1] / self.width, out_shape[0] / self.height
        return self._map(lambda x, y: (x * x_scale, y * y_scale), out_shape)

    def flip(self, flip_direction: str = 'horizontal') -> PolygonMasks:
        check_direction(flip_direction, FLIP_DIRECTIONS)
        moves: dict[str, Move] = {
            'horizontal': lambda x, y: (self.width - x, y),
            'vertical': lambda x, y: (x, self.height - y),
            'diagonal': lambda x, y: (self.width - x, self.height - y),
        }
        return self._map(moves[flip_direction], (self.height, self.width))

    def pad(self, out_shape: tuple[int, int], pad_val: int = 0) -> PolygonMasks:
        """Only the canvas grows: padding is background, whatever ``pad_val`` says."""
        return PolygonMasks(self.masks, max(out_shape[0], self.height), max(out_shape[1], self.width))

    def crop(self, bbox: np.ndarray) -> PolygonMasks:
        """Parts that cross the border are cut there, parts beyond it are dropped."""
        x1, y1, w, h = self._clipped(bbox)
        return self._map(lambda x, y: (x - x1, y - y1), (h, w), cut=True)

    def crop_and_resize(
        self,
        bboxes: np.ndarray | torch.Tensor,
        out_shape: tuple[int, int],
        inds: np.ndarray | torch.Tensor,
        device: str | torch.device = 'cpu',
        interpolation: str = 'bilinear',
        binarize: bool = True,
    ) -> PolygonMasks:
        check_interpolation(interpolation)
        if not binarize:
            raise ValueError('polygons are always binary: crop_and_resize with binarize=False needs to_bitmap() first')
        out_h, out_w = out_shape
        cropped = []
        for i, (x1, y1, x2, y2) in zip(_to_list(inds), _to_list(bboxes), strict=True):
            x_scale, y_scale = out_w / max(x2 - x1, 1), out_h / max(y2 - y1, 1)
            move = _affine(x_scale, y_scale, -x1 * x_scale, -y1 * y_scale)
            cropped.append([_moved(part, move) for part in self.masks[int(i)]])
        return PolygonMasks(cropped, out_h, out_w)

    def expand(self, expanded_h: int, expanded_w: int, top: int, left: int) -> PolygonMasks:
        return self._map(lambda x, y: (x + left, y + top), (expanded_h, expanded_w))

    def translate(
        self,
        out_shape: tuple[int, int],
        offset: float,
        direction: str = 'horizontal',
        fill_val: int | None = None,
        interpolation: str = 'bilinear',
    ) -> PolygonMasks:
        check_direction(direction, AXIS_DIRECTIONS)
        _check_background(fill_val)
        dx, dy = (offset, 0) if direction == 'horizontal' else (0, offset)
        return self._map(lambda x, y: (x + dx, y + dy), out_shape, cut=True)

    def shear(
        self,
        out_shape: tuple[int, int],
        magnitude: float,
        direction: str = 'horizontal',
        border_value: int = 0,
        interpolation: str = 'bilinear',
    ) -> PolygonMasks:
        check_direction(direction, AXIS_DIRECTIONS)
        _check_background(border_value)
        along_x, along_y = (magnitude, 0) if direction == 'horizontal' else (0, magnitude)
        return self._map(lambda x, y: (x + along_x * y, y + along_y * x), out_shape, cut=True)

    def rotate(
        self,
        out_shape: tuple[int, int],
        angle: float,
        center: tuple[float, float] | None = None,
        scale: float = 1.0,
        fill_val: int = 0,
        interpolation: str = 'bilinear',
    ) -> PolygonMasks:
        _check_background(fill_val)
        cx, cy = center if center is not None else ((self.width - 1) / 2, (self.height - 1) / 2)
        cos, sin = scale * math.cos(math.radians(angle)), scale * math.sin(math.radians(angle))

        def turn(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            x, y = x - cx, y - cy
            return cx + cos * x - sin * y, cy + sin * x + cos * y

        return self._map(turn, out_shape, cut=True)

    def warp_affine(self, matrix: np.ndarray, out_shape: tuple[int, int]) -> PolygonMasks:
        (a, b, dx), (c, d, dy) = np.float64(matrix[:2])

        def move(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            x, y = x - 0.5, y - 0.5
            return a * x + b * y + dx + 0.5, c * x + d * y + dy + 0.5

        return self._map(move, out_shape, cut=True)

    @property
    def areas(self) -> np.ndarray:
        return np.asarray([sum(_area(part) for part in instance) for instance in self.masks], dtype=np.float64)

    def to_ndarray(self) -> np.ndarray:
        return self.to_bitmap().masks

    def to_bitmap(self) -> BitmapMasks:
        rles = [polygons_to_rle(instance, self.height, self.width) for instance in self.masks]
        return BitmapMasks(decode_rles(rles, self.height, self.width), self.height, self.width)

    def get_bboxes(self) -> np.ndarray:
        boxes = np.zeros((len(self), 4), dtype=np.float32)
        for box, instance in zip(boxes, self.masks, strict=True):
            if instance:
                points = np.concatenate(instance).reshape(-1, 2)
                box[:] = *points.min(axis=0), *points.max(axis=0)
        return boxes

    def _map(self, move: Move, out_shape: Sequence[int], cut: bool = False) -> PolygonMasks:
        """Move every point; with ``cut`` what leaves the new canvas is cut off."""
        height, width = out_shape[:2]
        masks = [[_moved(part, move) for part in instance] for instance in self.masks]
        if cut:
            masks = [[piece for part in instance if len(piece := _cut(part, width, height))] for instance in masks]
        return PolygonMasks(masks, height, width)


def polygon_to_bitmap(polygons: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """The union of ``polygons`` as a ``(height, width)`` bool array, drawn as COCO's tools draw it."""
    return decode_rles([polygons_to_rle(polygons, height, width)], height, width)[0].view(bool)


def polygons_to_rle(polygons: Sequence[np.ndarray], height: int, width: int) -> dict:
    """The union of ``polygons`` as a compressed RLE."""
    from pycocotools import mask as mask_utils

    if len(polygons) == 0:
        return mask_utils.frPyObjects({'counts': [height * width], 'size': [height, width]}, height, width)
    parts = [np.asarray(part, dtype=np.float64).tolist() for part in polygons]
    return mask_utils.merge(mask_utils.frPyObjects(parts, height, width))


def decode_rles(rles: Sequence[dict], height: int, width: int) -> np.ndarray:
    """``(n, height, width)`` uint8 masks of compressed RLEs, all of one size."""
    from pycocotools import mask as mask_utils

    masks = np.empty((len(rles), height, width), dtype=np.uint8)
    for mask, rle in zip(masks, rles, strict=True):
        cv2.transpose(mask_utils.decode(rle).T, dst=mask)  # an RLE runs down the columns
    return masks


def _as_float(part: np.ndarray) -> np.ndarray:
    part = np.asarray(part)
    return part if np.issubdtype(part.dtype, np.floating) else part.astype(np.float64)


def _to_list(values: np.ndarray | torch.Tensor | Sequence) -> list:
    return values.tolist() if hasattr(values, 'tolist') else list(values)


def _affine(x_scale: float, y_scale: float, dx: float, dy: float) -> Move:
    return lambda x, y: (x * x_scale + dx, y * y_scale + dy)


def _moved(part: np.ndarray, move: Move) -> np.ndarray:
    x, y = move(part[0::2], part[1::2])
    return np.stack((x, y), axis=1).reshape(-1)


def _check_background(value: int | None) -> None:
    if value not in (None, 0):
        raise ValueError(f'what moves into the canvas of polygon masks is background (0), got the fill value {value}')


def _area(part: np.ndarray) -> float:
    """Area of one polygon by the shoelace formula."""
    x, y = part[0::2], part[1::2]
    return 0.5 * abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))))


def _cut(part: np.ndarray, width: int, height: int) -> np.ndarray:
    """The part of a polygon inside ``[0, width] x [0, height]``; an array of length 0 if there is none.

    Clips by one border after the other (Sutherland and Hodgman, "Reentrant polygon clipping", 1974); where the border
    cuts a concave polygon in two, the pieces stay joined by edges of no area along it.
    """
    points = part.reshape(-1, 2)
    if (points >= 0).all() and (points <= (width, height)).all():
        return part
    for axis, limit, sign in ((0, 0, 1), (0, width, -1), (1, 0, 1), (1, height, -1)):
        inward = sign * (points[:, axis] - limit)  # >= 0 on the inner side
        kept: list[np.ndarray] = []
        for i in range(len(points)):
            before, after = inward[i - 1], inward[i]
            if (before < 0) != (after < 0):
                kept.append(points[i - 1] + before / (before - after) * (points[i] - points[i - 1]))
            if after >= 0:
                kept.append(points[i])
        points = np.asarray(kept).reshape(-1, 2)
    return points.reshape(-1) if len(points) >= 3 and _area(points.reshape(-1)) > 0 else points[:0].reshape(-1)
