"""Masks as bitmaps, one ``(height, width)`` array of 0 and 1 per instance.

n: number of instances    k: number of boxes to crop by
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import mmcv
import numpy as np
import torch
from torchvision.ops import roi_align

from mmdet_clone.structures.masks.base import (
    AXIS_DIRECTIONS,
    FLIP_DIRECTIONS,
    BaseInstanceMasks,
    check_direction,
    check_interpolation,
    same_canvas,
)


class BitmapMasks(BaseInstanceMasks):
    """Instance masks as an ``(n, height, width)`` array.

    Args:
        masks: the array, or a list of ``n`` arrays ``(height, width)``; empty for an image without instances.
        height: the canvas's height in pixels.
        width: the canvas's width in pixels.
    """

    def __init__(self, masks: np.ndarray | Sequence[np.ndarray], height: int, width: int) -> None:
        self.height, self.width = int(height), int(width)
        if len(masks) == 0:
            masks = np.zeros((0, self.height, self.width), dtype=np.uint8)
        elif not isinstance(masks, np.ndarray):
            masks = np.stack([np.asarray(mask) for mask in masks])
        if masks.shape[1:] != (self.height, self.width):
            raise ValueError(
                f'expected masks of shape (n, {self.height}, {self.width}) on a canvas of height {self.height} '
                f'and width {self.width}, got {masks.shape}'
            )
        self.masks = masks

    @classmethod
    def random(
        cls,
        num_masks: int = 3,
        height: int = 32,
        width: int = 32,
        dtype: type = np.uint8,
        rng: np.random.RandomState | None = None,
    ) -> BitmapMasks:
        """Masks of noise, nine pixels in ten set, for tests."""
        rng = rng or np.random.RandomState()
        return cls((rng.rand(num_masks, height, width) > 0.1).astype(dtype), height, width)

    @classmethod
    def cat(cls, masks: Sequence[BitmapMasks]) -> BitmapMasks:
        """All instances of several objects on canvases of one size."""
        canvas = same_canvas(masks, cls)
        return cls(np.concatenate([m.masks for m in masks]), *canvas)

    def __getitem__(self, index: int | slice | Sequence | np.ndarray) -> BitmapMasks:
        if isinstance(index, list | tuple):
            index = np.asarray(index, dtype=None if len(index) else np.int64)
        return self._new(self.masks[index].reshape(-1, self.height, self.width), (self.height, self.width))

    def resize(self, out_shape: tuple[int, int], interpolation: str = 'nearest') -> BitmapMasks:
        size = tuple(int(edge) for edge in out_shape)[::-1]
        return self._map(lambda mask, out: mmcv.imresize(mask, size, interpolation=interpolation, out=out), out_shape)

    def flip(self, flip_direction: str = 'horizontal') -> BitmapMasks:
        check_direction(flip_direction, FLIP_DIRECTIONS)
        code = {'horizontal': 1, 'vertical': 0, 'diagonal': -1}[flip_direction]
        return self._map(lambda mask, out: cv2.flip(mask, code, dst=out), (self.height, self.width))

    def pad(self, out_shape: tuple[int, int], pad_val: int = 0) -> BitmapMasks:
        shape = max(int(out_shape[0]), self.height), max(int(out_shape[1]), self.width)
        padded = np.zeros((len(self), *shape), dtype=self.masks.dtype)
        if pad_val:
            padded[:] = pad_val
        padded[:, : self.height, : self.width] = self.masks
        return self._new(padded, shape)

    def crop(self, bbox: np.ndarray) -> BitmapMasks:
        x, y, w, h = self._clipped(bbox)
        cropped = self.masks[:, y : y + h, x : x + w]
        return self._new(cropped, cropped.shape[1:])

    def crop_and_resize(
        self,
        bboxes: np.ndarray | torch.Tensor,
        out_shape: tuple[int, int],
        inds: np.ndarray | torch.Tensor,
        device: str | torch.device = 'cpu',
        interpolation: str = 'bilinear',
        binarize: bool = True,
    ) -> BitmapMasks:
        """RoIAlign of the masks, with as many samples per cell as it covers pixels; see the base class."""
        check_interpolation(interpolation)
        out_shape = (int(out_shape[0]), int(out_shape[1]))
        if len(self) == 0 or len(bboxes) == 0:
            return self._new(np.zeros((0, *out_shape), dtype=self.masks.dtype), out_shape)
        bboxes = torch.as_tensor(bboxes, device=device)
        inds = torch.as_tensor(inds, device=device).to(bboxes)
        rois = torch.cat((inds[:, None], bboxes), dim=1)  # (k, 5)
        masks = torch.from_numpy(np.ascontiguousarray(self.masks)).to(device)  # bytes travel, floats are made there
        masks = masks.to(bboxes.dtype)[:, None]  # (n, 1, height, width)
        covered = roi_align(masks, rois, out_shape, sampling_ratio=0, aligned=True)[:, 0]  # (k, *out_shape)
        return self._new((covered >= 0.5 if binarize else covered).cpu().numpy(), out_shape)

    def expand(self, expanded_h: int, expanded_w: int, top: int, left: int) -> BitmapMasks:
        expanded = np.zeros((len(self), expanded_h, expanded_w), dtype=self.masks.dtype)
        expanded[:, top : top + self.height, left : left + self.width] = self.masks
        return self._new(expanded, (expanded_h, expanded_w))

    def translate(
        self,
        out_shape: tuple[int, int],
        offset: float,
        direction: str = 'horizontal',
        fill_val: int = 0,
        interpolation: str = 'bilinear',
    ) -> BitmapMasks:
        check_direction(direction, AXIS_DIRECTIONS)
        return self._warp(
            lambda mask: mmcv.imtranslate(mask, offset, direction, fill_val, interpolation), out_shape, fill_val
        )

    def shear(
        self,
        out_shape: tuple[int, int],
        magnitude: float,
        direction: str = 'horizontal',
        border_value: int = 0,
        interpolation: str = 'bilinear',
    ) -> BitmapMasks:
        check_direction(direction, AXIS_DIRECTIONS)
        return self._warp(
            lambda mask: mmcv.imshear(mask, magnitude, direction, border_value, interpolation), out_shape, border_value
        )

    def rotate(
        self,
        out_shape: tuple[int, int],
        angle: float,
        center: tuple[float, float] | None = None,
        scale: float = 1.0,
        fill_val: int = 0,
        interpolation: str = 'bilinear',
    ) -> BitmapMasks:
        return self._warp(
            lambda mask: mmcv.imrotate(
                mask, angle, center=center, scale=scale, border_value=fill_val, interpolation=interpolation
            ),
            out_shape,
            fill_val,
        )

    def warp_affine(self, matrix: np.ndarray, out_shape: tuple[int, int]) -> BitmapMasks:
        """The mask of an instance that reaches over half of a pixel covers it; see the base class."""
        size = int(out_shape[1]), int(out_shape[0])
        return self._map(lambda mask, out: cv2.warpAffine(mask, np.float64(matrix[:2]), size, dst=out), out_shape)

    @property
    def areas(self) -> np.ndarray:
        return self.masks.sum((1, 2))

    def to_ndarray(self) -> np.ndarray:
        return self.masks

    def to_bitmap(self) -> BitmapMasks:
        return self

    def get_bboxes(self) -> np.ndarray:
        boxes = np.zeros((len(self), 4), dtype=np.float32)
        columns, rows = self.masks.any(axis=1), self.masks.any(axis=2)  # (n, width), (n, height)
        for box, column, row in zip(boxes, columns, rows, strict=True):
            xs, ys = np.flatnonzero(column), np.flatnonzero(row)
            if len(xs):
                box[:] = xs[0], ys[0], xs[-1] + 1, ys[-1] + 1  # a pixel reaches to the next one's corner
        return boxes

    def _new(self, masks: np.ndarray, shape: Sequence[int]) -> BitmapMasks:
        return type(self)(masks, int(shape[0]), int(shape[1]))

    def _map(self, function: Callable[[np.ndarray, np.ndarray], np.ndarray], out_shape: Sequence[int]) -> BitmapMasks:
        """``function`` takes a mask and an array of ``out_shape``, which it may fill and give back."""
        mapped = np.empty((len(self), int(out_shape[0]), int(out_shape[1])), self.masks.dtype)
        masks, out = (m.view(np.uint8) if m.dtype == bool else m for m in (self.masks, mapped))  # OpenCV knows no bool
        for mask, row in zip(masks, out, strict=True):
            filled = function(mask, row)
            if filled is not row:
                row[...] = filled
        return self._new(mapped, out_shape)

    def _warp(self, function: Callable, out_shape: Sequence[int], fill_val: int) -> BitmapMasks:
        """``function`` keeps the canvas's size: its result is cut or filled up to ``out_shape``."""
        warped = self._map(lambda mask, _: function(mask), (self.height, self.width))
        if (warped.height, warped.width) == tuple(out_shape[:2]):
            return warped
        return warped.crop(np.array([0, 0, out_shape[1], out_shape[0]])).pad(out_shape[:2], fill_val)
