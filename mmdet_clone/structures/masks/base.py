"""What bitmaps and polygons have in common.

Coordinates are pixels of the image's canvas, ``(0, 0)`` its top left corner; a shape is ``(height, width)``.
Every geometric method returns a new object and leaves the one it is called on as it was.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from mmcv.image import rescale_size

FLIP_DIRECTIONS = ('horizontal', 'vertical', 'diagonal')
AXIS_DIRECTIONS = ('horizontal', 'vertical')


class BaseInstanceMasks(ABC):
    """The masks of the instances of one image.

    Attributes:
        masks: one entry per instance.
        height: the canvas's height in pixels.
        width: the canvas's width in pixels.
    """

    masks: Any
    height: int
    width: int

    def __len__(self) -> int:
        return len(self.masks)

    def __iter__(self) -> Iterator:
        return iter(self.masks)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(num_masks={len(self)}, height={self.height}, width={self.width})'

    def rescale(self, scale: float | tuple[int, int], interpolation: str = 'nearest') -> BaseInstanceMasks:
        """Resize and keep the aspect ratio.

        Args:
            scale: a factor, or the longest and shortest edge that the result must fit in (in either order).
            interpolation: the method for bitmaps.
        """
        scale = scale if isinstance(scale, int | float) else tuple(scale)
        new_w, new_h = rescale_size((self.width, self.height), scale)
        return self.resize((new_h, new_w), interpolation)

    @abstractmethod
    def __getitem__(self, index: int | slice | Sequence | np.ndarray) -> BaseInstanceMasks: ...

    @abstractmethod
    def resize(self, out_shape: tuple[int, int], interpolation: str = 'nearest') -> BaseInstanceMasks:
        """Resize to ``out_shape``."""

    @abstractmethod
    def flip(self, flip_direction: str = 'horizontal') -> BaseInstanceMasks:
        """Mirror: ``horizontal`` swaps left and right, ``vertical`` top and bottom, ``diagonal`` both."""

    @abstractmethod
    def pad(self, out_shape: tuple[int, int], pad_val: int = 0) -> BaseInstanceMasks:
        """Extend the canvas at the bottom and on the right to at least ``out_shape``."""

    @abstractmethod
    def crop(self, bbox: np.ndarray) -> BaseInstanceMasks:
        """Keep what lies in the box ``x1, y1, x2, y2``, which is clipped to the canvas (1 pixel at least remains)."""

    @abstractmethod
    def crop_and_resize(
        self,
        bboxes: np.ndarray | torch.Tensor,
        out_shape: tuple[int, int],
        inds: np.ndarray | torch.Tensor,
        device: str | torch.device = 'cpu',
        interpolation: str = 'bilinear',
        binarize: bool = True,
    ) -> BaseInstanceMasks:
        """Crop mask ``inds[i]`` by ``bboxes[i]`` and resize it to ``out_shape``: the targets of mask heads.

        Args:
            bboxes: ``(k, 4)`` boxes ``x1, y1, x2, y2``.
            out_shape: the size of each result.
            inds: ``(k,)`` which mask belongs to each box.
            device: where the work is done, for bitmaps.
            interpolation: ``bilinear`` is the only one.
            binarize: give 0 or 1 (threshold 0.5) instead of the share of each cell that is covered.
        """

    @abstractmethod
    def expand(self, expanded_h: int, expanded_w: int, top: int, left: int) -> BaseInstanceMasks:
        """Put the canvas onto a larger one, its top left corner at ``(left, top)``."""

    @abstractmethod
    def translate(
        self,
        out_shape: tuple[int, int],
        offset: float,
        direction: str = 'horizontal',
        fill_val: int = 0,
        interpolation: str = 'bilinear',
    ) -> BaseInstanceMasks:
        """Shift by ``offset`` pixels to the right (``horizontal``) or down (``vertical``)."""

    @abstractmethod
    def shear(
        self,
        out_shape: tuple[int, int],
        magnitude: float,
        direction: str = 'horizontal',
        border_value: int = 0,
        interpolation: str = 'bilinear',
    ) -> BaseInstanceMasks:
        """Shear: ``x + magnitude * y`` (``horizontal``) or ``y + magnitude * x`` (``vertical``)."""

    @abstractmethod
    def rotate(
        self,
        out_shape: tuple[int, int],
        angle: float,
        center: tuple[float, float] | None = None,
        scale: float = 1.0,
        fill_val: int = 0,
        interpolation: str = 'bilinear',
    ) -> BaseInstanceMasks:
        """Turn clockwise by ``angle`` degrees about ``center`` (x, y), by default the middle of the canvas."""

    @abstractmethod
    def warp_affine(self, matrix: np.ndarray, out_shape: tuple[int, int]) -> BaseInstanceMasks:
        """Move by a ``(2, 3)`` or ``(3, 3)`` affine matrix over the middles of pixels, as OpenCV warps images.

        The middle of the first pixel is (0, 0) to the matrix, while it is (0.5, 0.5) to boxes and polygons.
        """

    @property
    @abstractmethod
    def areas(self) -> np.ndarray:
        """``(n,)`` area of each mask in square pixels."""

    @abstractmethod
    def to_ndarray(self) -> np.ndarray:
        """``(n, height, width)`` array of 0 and 1."""

    @abstractmethod
    def to_bitmap(self) -> BaseInstanceMasks:
        """The same masks as bitmaps."""

    @abstractmethod
    def get_bboxes(self) -> np.ndarray:
        """``(n, 4)`` float32 boxes ``x1, y1, x2, y2`` around each mask; zeros for an empty one."""

    def to_tensor(self, dtype: torch.dtype, device: str | torch.device) -> torch.Tensor:
        """``(n, height, width)`` tensor of 0 and 1."""
        return torch.as_tensor(np.ascontiguousarray(self.to_ndarray()), dtype=dtype, device=device)

    def _clipped(self, bbox: np.ndarray) -> tuple[int, int, int, int]:
        """``bbox`` clipped to the canvas and cut to whole pixels: x1, y1, width, height."""
        bbox = np.asarray(bbox)
        if bbox.shape != (4,):
            raise ValueError(f'expected one box x1, y1, x2, y2 to crop by, got an array of shape {bbox.shape}')
        x1, x2 = np.clip(bbox[0::2], 0, self.width).astype(int).tolist()
        y1, y2 = np.clip(bbox[1::2], 0, self.height).astype(int).tolist()
        x1, y1 = max(min(x1, self.width - 1), 0), max(min(y1, self.height - 1), 0)
        return x1, y1, max(x2 - x1, 1), max(y2 - y1, 1)


def check_direction(direction: str, known: tuple[str, ...]) -> None:
    if direction not in known:
        raise ValueError(f'direction must be one of {", ".join(known)}, got {direction!r}')


def check_interpolation(interpolation: str) -> None:
    if interpolation != 'bilinear':
        raise ValueError(f"crop_and_resize of masks interpolates 'bilinear', got {interpolation!r}")


def same_canvas(masks: Sequence[BaseInstanceMasks], kind: type) -> tuple[int, int]:
    """The canvas that all of ``masks`` share; raises where they differ or are not ``kind``."""
    if not isinstance(masks, list | tuple) or not masks or not all(isinstance(m, kind) for m in masks):
        raise TypeError(f'{kind.__name__}.cat takes a list of at least one {kind.__name__}, got {masks!r}')
    canvases = {(m.height, m.width) for m in masks}
    if len(canvases) > 1:
        raise ValueError(f'masks can be concatenated on one canvas only, got the (height, width) {sorted(canvases)}')
    return canvases.pop()
