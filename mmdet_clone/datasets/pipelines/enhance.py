"""AutoAugment's changes of colour ("Learning Data Augmentation Strategies for Object Detection", arXiv 1906.11172).

Images are uint8 or float of 0 to 255; nothing moves.
"""

from __future__ import annotations

from collections.abc import Callable

import mmcv
import numpy as np

from mmdet_clone.datasets.pipelines.base import Transform, img_fields
from mmdet_clone.registry import PIPELINES

MAX_LEVEL = 10


def check_level(level: float, name: str) -> None:
    if not isinstance(level, int | float) or not 0 <= level <= MAX_LEVEL:
        raise ValueError(f'{name}: level is a number from 0 to {MAX_LEVEL}, got {level!r}')


def check_probability(value: float, name: str, argument: str = 'prob') -> None:
    if not 0 <= value <= 1:
        raise ValueError(f'{name}: {argument} is a probability, between 0 and 1, got {value!r}')


class _Enhance(Transform):
    """A change of all colours, with a probability."""

    def __init__(self, prob: float) -> None:
        check_probability(prob, type(self).__name__)
        self.prob = prob

    def draw(self, results: dict) -> bool:
        return bool(np.random.rand() <= self.prob)

    def apply(self, results: dict, params: bool) -> dict:
        if params:
            for key in img_fields(results):
                results[key] = self.enhanced(results[key]).astype(results[key].dtype)
        return results

    def enhanced(self, img: np.ndarray) -> np.ndarray:
        raise NotImplementedError(f'{type(self).__name__}.enhanced')


class _EnhanceByLevel(_Enhance):
    """A change by a factor: 0.1 at level 0, 1 (no change) at level 5, 1.9 at level 10.

    Args:
        level: the strength, 0 to 10.
        prob: the probability.
    """

    function: Callable[[np.ndarray, float], np.ndarray]

    def __init__(self, level: float, prob: float = 0.5) -> None:
        super().__init__(prob)
        check_level(level, type(self).__name__)
        self.level = level
        self.factor = level / MAX_LEVEL * 1.8 + 0.1

    def enhanced(self, img: np.ndarray) -> np.ndarray:
        return type(self).function(img, self.factor)


@PIPELINES.register_module()
class ColorTransform(_EnhanceByLevel):
    """Blend the image with its grey version: saturation by a factor of 0.1 (level 0) to 1.9 (level 10)."""

    function = staticmethod(mmcv.adjust_color)


@PIPELINES.register_module()
class BrightnessTransform(_EnhanceByLevel):
    """Blend the image with black: brightness by a factor of 0.1 (level 0) to 1.9 (level 10)."""

    function = staticmethod(mmcv.adjust_brightness)


@PIPELINES.register_module()
class ContrastTransform(_EnhanceByLevel):
    """Blend the image with its mean grey: contrast by a factor of 0.1 (level 0) to 1.9 (level 10)."""

    function = staticmethod(mmcv.adjust_contrast)


@PIPELINES.register_module()
class EqualizeTransform(_Enhance):
    """Equalise the histogram of each channel.

    Args:
        prob: the probability.
    """

    def __init__(self, prob: float = 0.5) -> None:
        super().__init__(prob)

    def enhanced(self, img: np.ndarray) -> np.ndarray:
        return mmcv.imequalize(img)
