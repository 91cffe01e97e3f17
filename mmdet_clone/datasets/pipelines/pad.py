"""Enlarging a sample's canvas."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import mmcv
import numpy as np

from mmdet_clone.datasets.pipelines.base import (
    Transform,
    bbox_fields,
    img_fields,
    mask_fields,
    seg_fields,
    set_img_shape,
)
from mmdet_clone.datasets.pipelines.keypoints import move_keypoints, shifted
from mmdet_clone.registry import PIPELINES


@PIPELINES.register_module()
class Pad(Transform):
    """Pad image, masks and semantic maps at the bottom and on the right.

    Exactly one of ``size``, ``size_divisor`` and ``pad_to_square`` says how far. Sets ``pad_shape``, ``pad_fixed_size``
    and ``pad_size_divisor``.

    Args:
        size: to ``(height, width)``; a larger image stays as it is.
        size_divisor: to the next multiple of this.
        pad_to_square: to a square of the longer edge.
        pad_val: the value for all of ``img``, or a dict of values for ``img`` (one, or one per channel),
            ``masks`` and ``seg``.
    """

    def __init__(
        self,
        size: tuple[int, int] | None = None,
        size_divisor: int | None = None,
        pad_to_square: bool = False,
        pad_val: float | dict | None = None,
    ) -> None:
        if (size is not None) + (size_divisor is not None) + bool(pad_to_square) != 1:
            raise ValueError(
                'Pad: give exactly one of size, size_divisor and pad_to_square, got '
                f'size={size}, size_divisor={size_divisor}, pad_to_square={pad_to_square}'
            )
        if isinstance(pad_val, int | float):
            warnings.warn(
                f'Pad(pad_val={pad_val}) pads img and masks with it, semantic maps with 255; '
                f'write pad_val=dict(img={pad_val}, masks=0, seg=255) to say what is meant',
                stacklevel=2,
            )
            pad_val = dict(img=pad_val, masks=pad_val, seg=255)
        self.size = None if size is None else tuple(size)
        self.size_divisor = size_divisor
        self.pad_to_square = pad_to_square
        self.pad_val = dict(img=0, masks=0, seg=255) if pad_val is None else dict(pad_val)

    def draw(self, results: dict) -> tuple[int, int]:
        """The padded height and width."""
        h, w = results[img_fields(results)[0]].shape[:2]
        if self.pad_to_square:
            return max(h, w), max(h, w)
        if self.size_divisor is not None:
            return tuple(math.ceil(edge / self.size_divisor) * self.size_divisor for edge in (h, w))
        return max(self.size[0], h), max(self.size[1], w)

    def apply(self, results: dict, params: tuple[int, int]) -> dict:
        for key in img_fields(results):
            results[key] = pad_image(results[key], params, self.pad_val.get('img', 0))
        results['pad_shape'] = results[img_fields(results)[0]].shape
        results['pad_fixed_size'] = params if self.pad_to_square else self.size
        results['pad_size_divisor'] = self.size_divisor
        for key in mask_fields(results):
            results[key] = results[key].pad(params, pad_val=self.pad_val.get('masks', 0))
        for key in seg_fields(results):
            results[key] = pad_image(results[key], params, self.pad_val.get('seg', 255))
        return results


@PIPELINES.register_module()
class Expand(Transform):
    """Put the image on a larger canvas at a random place ("SSD", arXiv 1512.02325), with a probability.

    Args:
        mean: the canvas's colour.
        to_rgb: whether ``mean`` is given in RGB while the image is BGR.
        ratio_range: the canvas's edges as multiples of the image's.
        seg_ignore_label: the canvas's value in semantic maps; needed where there are any.
        prob: the probability.
    """

    def __init__(
        self,
        mean: Sequence[float] = (0, 0, 0),
        to_rgb: bool = True,
        ratio_range: tuple[float, float] = (1, 4),
        seg_ignore_label: int | None = None,
        prob: float = 0.5,
    ) -> None:
        self.mean = tuple(mean)
        self.to_rgb = to_rgb
        self.ratio_range = tuple(ratio_range)
        self.seg_ignore_label = seg_ignore_label
        self.prob = prob

    def draw(self, results: dict) -> dict | None:
        """The canvas's ``shape`` (h, w) and the image's place on it, ``left`` and ``top``; ``None`` for no change."""
        if np.random.uniform(0, 1) > self.prob:
            return None
        h, w = results['img'].shape[:2]
        ratio = np.random.uniform(*self.ratio_range)
        left = int(np.random.uniform(0, w * ratio - w))
        top = int(np.random.uniform(0, h * ratio - h))
        return dict(shape=(int(h * ratio), int(w * ratio)), left=left, top=top)

    def apply(self, results: dict, params: dict | None) -> dict:
        if params is None:
            return results
        colour = self.mean[::-1] if self.to_rgb else self.mean
        for key in img_fields(results):
            results[key] = _placed(results[key], colour, **params)
        set_img_shape(results)
        shift = np.array([params['left'], params['top']] * 2, dtype=np.float32)
        for key in bbox_fields(results):
            results[key] = results[key] + shift
        move_keypoints(results, shifted(params['left'], params['top']), params['shape'])
        for key in mask_fields(results):
            results[key] = results[key].expand(*params['shape'], params['top'], params['left'])
        for key in seg_fields(results):
            if self.seg_ignore_label is None:
                raise ValueError('Expand: the sample has semantic maps: give seg_ignore_label, the value of the canvas')
            results[key] = _placed(results[key], self.seg_ignore_label, **params)
        return results


def pad_image(img: np.ndarray, shape: tuple[int, int], value: Any) -> np.ndarray:
    """Pad ``(h, w, ...)`` at the bottom and on the right to ``shape``."""
    if img.shape[:2] == shape:
        return img
    channels = img.shape[2] if img.ndim == 3 else 1
    if channels > 4 or not img.flags.c_contiguous:  # more than OpenCV pads, or channel after channel in memory
        return _placed(img, value, shape, 0, 0)
    if np.ndim(value) or channels > 1:  # OpenCV takes a number for the first channel alone
        value = tuple(value) if np.ndim(value) else (value,) * channels
    return mmcv.impad(img, shape=shape, pad_val=value).reshape(*shape, *img.shape[2:])


def _placed(img: np.ndarray, value: Any, shape: tuple[int, int], left: int, top: int) -> np.ndarray:
    """``img`` on a canvas of one value (or one per channel), which lies in memory as ``img`` does."""
    h, w = img.shape[:2]
    canvas = np.empty_like(img, shape=(*shape, *img.shape[2:]))
    colour = np.asarray(value).astype(img.dtype)
    for rim in (canvas[:top], canvas[top + h :], canvas[top : top + h, :left], canvas[top : top + h, left + w :]):
        rim[...] = colour
    canvas[top : top + h, left : left + w] = img
    return canvas
