"""Changing a sample's colours; nothing moves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import mmcv
import numpy as np

from mmdet_clone.datasets.pipelines.base import Transform, img_fields
from mmdet_clone.datasets.pipelines.formatting import DefaultFormatBundle, ImageToTensor
from mmdet_clone.datasets.pipelines.pad import Pad
from mmdet_clone.datasets.pipelines.resize import SegRescale
from mmdet_clone.registry import PIPELINES


@PIPELINES.register_module()
class Normalize(Transform):
    """Subtract the mean of each channel and divide by its deviation. Sets ``img_norm_cfg``.

    Args:
        mean: per channel, in the order of the result.
        std: per channel, in the order of the result.
        to_rgb: turn BGR into RGB before.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], to_rgb: bool = True) -> None:
        self.mean = np.array(mean, dtype=np.float32)
        self.std = np.array(std, dtype=np.float32)
        self.to_rgb = to_rgb
        self._tables: np.ndarray | None = None
        self._channels_apart = False

    def precede(self, steps: Sequence[object]) -> None:
        """Learn what follows in the pipeline: channels may lie apart in memory where only our own steps see it.

        To a step of someone else's, which may draw into the image in place, channels must lie side by side.
        """
        kinds = (type(step) for step in steps)
        first = next((kind for kind in kinds if kind not in (Pad, SegRescale)), None)
        self._channels_apart = first in (DefaultFormatBundle, ImageToTensor)

    def apply(self, results: dict, params: None) -> dict:
        for key in img_fields(results):
            results[key] = self._normalised(results[key])
        results['img_norm_cfg'] = dict(mean=self.mean, std=self.std, to_rgb=self.to_rgb)
        return results

    def _normalised(self, img: np.ndarray) -> np.ndarray:
        channels = img.shape[2] if img.ndim == 3 else 1
        if self.mean.size not in (1, channels) or self.std.size not in (1, channels):
            raise ValueError(
                f'Normalize has {self.mean.size} means and {self.std.size} deviations, the image {channels} channels '
                f'(shape {img.shape}): give one for each, or load the image with a fitting color_type'
            )
        if self.to_rgb and channels != 3:
            raise ValueError(f'Normalize(to_rgb=True) needs 3 channels, the image has the shape {img.shape}')
        if img.ndim == 3 and channels == 3 and self.mean.size == self.std.size == 3:
            if img.dtype == np.uint8:
                return self._looked_up(img)
            return mmcv.imnormalize(img, self.mean, self.std, self.to_rgb)
        img = img[..., ::-1] if self.to_rgb else img
        return ((img - self.mean.astype(np.float64)) / self.std).astype(np.float32)

    def _looked_up(self, img: np.ndarray) -> np.ndarray:
        """A uint8 image by a table of what each of its 256 values becomes: the same numbers in one pass.

        Right before formatting, channel after channel lies in memory, as the model's tensor will: no further copy.
        """
        if self._tables is None:
            values = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(256, 1, 3)
            self._tables = mmcv.imnormalize(values, self.mean, self.std, False).transpose(2, 1, 0).copy()  # (3, 1, 256)
        channels = cv2.split(img)
        planes = np.empty((3, *img.shape[:2]), dtype=np.float32)
        for plane, channel, table in zip(planes, channels[::-1] if self.to_rgb else channels, self._tables):
            cv2.LUT(channel, table, dst=plane)
        return planes.transpose(1, 2, 0) if self._channels_apart else cv2.merge(list(planes))


@PIPELINES.register_module()
class PhotoMetricDistortion(Transform):
    """Distort brightness, contrast, saturation, hue and the channels' order, each with a probability of one half.

    From "SSD: Single Shot MultiBox Detector" (arXiv 1512.02325). Contrast comes before the other colours or after them,
    which is drawn too. Images are BGR and become float32.

    Args:
        brightness_delta: the largest shift of brightness, of 255.
        contrast_range: the smallest and largest factor of contrast.
        saturation_range: the smallest and largest factor of saturation.
        hue_delta: the largest shift of hue, in degrees.
    """

    def __init__(
        self,
        brightness_delta: float = 32,
        contrast_range: tuple[float, float] = (0.5, 1.5),
        saturation_range: tuple[float, float] = (0.5, 1.5),
        hue_delta: float = 18,
    ) -> None:
        self.brightness_delta = brightness_delta
        self.contrast_range = tuple(contrast_range)
        self.saturation_range = tuple(saturation_range)
        self.hue_delta = hue_delta

    def draw(self, results: dict) -> dict[str, Any]:
        brightness = _maybe(-self.brightness_delta, self.brightness_delta)
        contrast_first = bool(np.random.randint(2))
        early_contrast = _maybe(*self.contrast_range) if contrast_first else None
        saturation = _maybe(*self.saturation_range)
        hue = _maybe(-self.hue_delta, self.hue_delta)
        late_contrast = None if contrast_first else _maybe(*self.contrast_range)
        order = np.random.permutation(3) if np.random.randint(2) else None
        return dict(
            brightness=brightness,
            early_contrast=early_contrast,
            saturation=saturation,
            hue=hue,
            late_contrast=late_contrast,
            order=order,
        )

    def apply(self, results: dict, params: dict[str, Any]) -> dict:
        for key in img_fields(results):
            results[key] = _distorted(results[key], **params)
        return results


@PIPELINES.register_module()
class CutOut(Transform):
    """Cover random rectangles of the image ("Improved Regularization of CNNs with Cutout", arXiv 1708.04552).

    Args:
        n_holes: how many, or the smallest and largest number of them.
        cutout_shape: ``(width, height)`` of a rectangle in pixels, or a list to draw from.
        cutout_ratio: the same as shares of the image; exactly one of the two is given.
        fill_in: the colour.
    """

    def __init__(
        self,
        n_holes: int | tuple[int, int],
        cutout_shape: tuple[int, int] | Sequence[tuple[int, int]] | None = None,
        cutout_ratio: tuple[float, float] | Sequence[tuple[float, float]] | None = None,
        fill_in: Sequence[float] = (0, 0, 0),
    ) -> None:
        if (cutout_shape is None) == (cutout_ratio is None):
            raise ValueError('CutOut: give exactly one of cutout_shape and cutout_ratio')
        self.n_holes = (n_holes, n_holes) if isinstance(n_holes, int) else tuple(n_holes)
        self.with_ratio = cutout_ratio is not None
        candidates = cutout_ratio if self.with_ratio else cutout_shape
        self.candidates = list(candidates) if isinstance(candidates[0], list | tuple) else [candidates]
        self.fill_in = tuple(fill_in)

    def draw(self, results: dict) -> list[tuple[int, int, int, int]]:
        """The rectangles, ``x1, y1, x2, y2``."""
        h, w = results['img'].shape[:2]
        holes = []
        for _ in range(np.random.randint(self.n_holes[0], self.n_holes[1] + 1)):
            x1, y1 = np.random.randint(0, w), np.random.randint(0, h)
            hole_w, hole_h = self.candidates[np.random.randint(0, len(self.candidates))]
            if self.with_ratio:
                hole_w, hole_h = int(hole_w * w), int(hole_h * h)
            holes.append((x1, y1, min(x1 + hole_w, w), min(y1 + hole_h, h)))
        return holes

    def apply(self, results: dict, params: list[tuple[int, int, int, int]]) -> dict:
        for key in img_fields(results):
            covered = results[key].copy()
            for x1, y1, x2, y2 in params:
                covered[y1:y2, x1:x2] = self.fill_in
            results[key] = covered
        return results


def _maybe(low: float, high: float) -> float | None:
    """A value of the range, or with a probability of one half ``None``."""
    return np.random.uniform(low, high) if np.random.randint(2) else None


def _distorted(
    img: np.ndarray,
    brightness: float | None,
    early_contrast: float | None,
    saturation: float | None,
    hue: float | None,
    late_contrast: float | None,
    order: np.ndarray | None,
) -> np.ndarray:
    img = img.astype(np.float32)
    if brightness is not None:
        img += brightness
    if early_contrast is not None:
        img *= early_contrast
    hsv = mmcv.bgr2hsv(img)  # of floats: hue in [0, 360], saturation in [0, 1]
    if saturation is not None:
        hsv[..., 1] *= saturation
        if saturation > 1:
            hsv[..., 1] = hsv[..., 1].clip(0, 1)
    if hue is not None:
        hsv[..., 0] = (hsv[..., 0] + hue) % 360
    img = mmcv.hsv2bgr(hsv)
    if late_contrast is not None:
        img *= late_contrast
    return img if order is None else img[..., order]
