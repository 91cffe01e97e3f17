"""Changing hue, saturation and value as YOLOX does."""

from __future__ import annotations

import cv2
import numpy as np

from mmdet_clone.datasets.pipelines.base import Transform, img_fields
from mmdet_clone.registry import PIPELINES


@PIPELINES.register_module()
class YOLOXHSVRandomAug(Transform):
    """Shift hue, saturation and value by random amounts, each with a probability of one half (arXiv 2107.08430).

    Images are uint8 BGR. A hue is half its angle in degrees, so it runs to 180; saturation and value run to 255.

    Args:
        hue_delta, saturation_delta, value_delta: the largest shifts.
    """

    def __init__(self, hue_delta: float = 5, saturation_delta: float = 30, value_delta: float = 30) -> None:
        self.hue_delta = hue_delta
        self.saturation_delta = saturation_delta
        self.value_delta = value_delta

    def draw(self, results: dict) -> np.ndarray:
        """The three shifts, ``(3,)`` int16."""
        shifts = np.random.uniform(-1, 1, 3) * [self.hue_delta, self.saturation_delta, self.value_delta]
        return (shifts * np.random.randint(0, 2, 3)).astype(np.int16)

    def apply(self, results: dict, params: np.ndarray) -> dict:
        for key in img_fields(results):
            results[key] = shift_hsv(results[key], params)
        return results


def shift_hsv(img: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """``img`` (h, w, 3) uint8 BGR with ``shifts`` (3,) added to hue, saturation and value."""
    if img.dtype != np.uint8:
        raise ValueError(
            f'YOLOXHSVRandomAug needs uint8 images, got {img.dtype}: load with to_float32=False, normalise after it'
        )
    values = np.arange(256, dtype=np.int16)
    hue = ((values + shifts[0]) % 180).astype(np.uint8)
    saturation, value = (np.clip(values + shift, 0, 255).astype(np.uint8) for shift in shifts[1:])
    table = np.stack((hue, saturation, value), 1)[None]  # (1, 256, 3): what each value of each channel becomes
    hsv = cv2.LUT(cv2.cvtColor(img, cv2.COLOR_BGR2HSV), table)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
