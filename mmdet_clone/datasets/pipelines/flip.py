"""Mirroring a sample."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import mmcv
import numpy as np

from mmdet_clone.datasets.pipelines.base import (
    Transform,
    as_directions,
    bbox_fields,
    img_fields,
    mask_fields,
    seg_fields,
)
from mmdet_clone.datasets.pipelines.keypoints import KEY, Pairs, flip_keypoints
from mmdet_clone.registry import PIPELINES


@PIPELINES.register_module()
class RandomFlip(Transform):
    """Mirror image, boxes, masks, keypoints and semantic maps.

    An earlier step (``MultiScaleFlipAug``) may have set ``flip`` and ``flip_direction``; else they are drawn and set.

    Args:
        flip_ratio: the probability of a flip, shared equally by the directions; or a list, one for each direction.
        direction: ``horizontal``, ``vertical``, ``diagonal``, or a list.
        flip_pairs: indices of left and right keypoints, which a horizontal or vertical flip swaps; by default those of
            COCO's person for 17 keypoints.
    """

    def __init__(
        self,
        flip_ratio: float | Sequence[float] | None = None,
        direction: str | Sequence[str] = 'horizontal',
        flip_pairs: Pairs | None = None,
    ) -> None:
        self.direction = as_directions(direction, 'RandomFlip')
        self.flip_ratio = flip_ratio
        self.flip_pairs = flip_pairs
        self._probabilities = None if flip_ratio is None else _probabilities(flip_ratio, len(self.direction))

    def draw(self, results: dict) -> dict:
        """``flip`` and ``flip_direction`` (``None`` where nothing is flipped)."""
        if 'flip' in results:
            default = self.direction[0] if results['flip'] else None
            return dict(flip=results['flip'], flip_direction=results.get('flip_direction', default))
        if self._probabilities is None:
            raise ValueError('RandomFlip needs flip_ratio, or an earlier step (MultiScaleFlipAug) that sets flip')
        choice = np.random.choice(len(self._probabilities), p=self._probabilities)
        direction = [*self.direction, None][choice]
        return dict(flip=direction is not None, flip_direction=results.get('flip_direction', direction))

    def apply(self, results: dict, params: dict) -> dict:
        results.update(params)
        if not params['flip']:
            return results
        direction = params['flip_direction']
        for key in img_fields(results):
            results[key] = flip_image(results[key], direction)
        for key in bbox_fields(results):
            results[key] = flip_boxes(results[key], results['img'].shape, direction)
        if KEY in results:
            shape = results['img'].shape
            results[KEY] = flip_keypoints(results[KEY], shape, direction, self.flip_pairs, 'RandomFlip')
        for key in mask_fields(results):
            results[key] = results[key].flip(direction)
        for key in seg_fields(results):
            results[key] = flip_image(results[key], direction)
        return results


def flip_image(img: np.ndarray, direction: str) -> np.ndarray:
    """Mirror ``(h, w, ...)``."""
    if img.ndim == 3 and img.shape[2] > 4:
        return mmcv.imflip(img, direction)
    code = {'horizontal': 1, 'vertical': 0, 'diagonal': -1}[direction]
    return cv2.flip(img, code).reshape(img.shape)  # OpenCV drops a single channel


def flip_boxes(boxes: np.ndarray, shape: Sequence[int], direction: str) -> np.ndarray:
    """Mirror ``(n, 4)`` boxes on a canvas of ``shape`` (height, width, ...)."""
    flipped = boxes.copy()
    if direction in ('horizontal', 'diagonal'):
        flipped[:, 0::2] = shape[1] - boxes[:, 2::-2]
    if direction in ('vertical', 'diagonal'):
        flipped[:, 1::2] = shape[0] - boxes[:, 3::-2]
    return flipped


def _probabilities(flip_ratio: float | Sequence[float], num_directions: int) -> np.ndarray:
    """``(num_directions + 1,)`` probabilities of each direction and of no flip."""
    if isinstance(flip_ratio, list | tuple):
        if len(flip_ratio) != num_directions:
            raise ValueError(f'RandomFlip: {len(flip_ratio)} flip ratios for {num_directions} directions')
        ratios = list(flip_ratio)
    else:
        ratios = [flip_ratio / num_directions] * num_directions
    if min(ratios) < 0 or sum(ratios) > 1 + 1e-9:
        raise ValueError(f'RandomFlip: flip_ratio is a probability, in all between 0 and 1, got {flip_ratio!r}')
    return np.asarray([*ratios, max(1 - sum(ratios), 0)])
