"""Shifting a sample by a few pixels, as YOLOF does."""

from __future__ import annotations

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
from mmdet_clone.datasets.pipelines.enhance import check_probability
from mmdet_clone.datasets.pipelines.keypoints import move_keypoints, shifted
from mmdet_clone.datasets.pipelines.mosaic import paste
from mmdet_clone.registry import PIPELINES


@PIPELINES.register_module()
class RandomShift(Transform):
    """Shift by whole pixels along both axes, with a probability ("You Only Look One-level Feature", arXiv 2103.09460).

    What is uncovered becomes black (255 in semantic maps). A shift that would leave no ground truth is not done.

    Args:
        shift_ratio: the probability.
        max_shift_px: the largest shift; drawn from ``[-max_shift_px, max_shift_px)``.
        filter_thr_px: boxes with an edge not above this many pixels are dropped.
    """

    def __init__(self, shift_ratio: float = 0.5, max_shift_px: int = 32, filter_thr_px: float = 1) -> None:
        check_probability(shift_ratio, 'RandomShift', 'shift_ratio')
        if max_shift_px < 0:
            raise ValueError(f'RandomShift: max_shift_px is a number of pixels, 0 or more, got {max_shift_px!r}')
        self.shift_ratio = shift_ratio
        self.max_shift_px = int(max_shift_px)
        self.filter_thr_px = filter_thr_px

    def draw(self, results: dict) -> tuple[int, int] | None:
        """The shift, x and y; ``None`` for none."""
        if np.random.random() >= self.shift_ratio or self.max_shift_px == 0:
            return None
        return tuple(int(v) for v in np.random.randint(-self.max_shift_px, self.max_shift_px, 2))

    def apply(self, results: dict, params: tuple[int, int] | None) -> dict:
        if params is None:
            return results
        shape = results['img'].shape[:2]
        boxes = {key: clip_boxes(results[key] + np.float32([*params] * 2), shape) for key in bbox_fields(results)}
        keep = {key: (box[:, 2:] - box[:, :2] > self.filter_thr_px).all(1) for key, box in boxes.items()}
        if 'gt_bboxes' in keep and not keep['gt_bboxes'].any():
            return results
        results.update(boxes)
        for key in img_fields(results):
            results[key] = _shifted_image(results[key], params, 0)
        for key in seg_fields(results):
            results[key] = _shifted_image(results[key], params, 255)
        for key in mask_fields(results):
            results[key] = results[key].translate(shape, params[0]).translate(shape, params[1], 'vertical')
        move_keypoints(results, shifted(*params), shape)
        for key, kept in keep.items():
            keep_instances(results, key, kept)
        return results


def _shifted_image(img: np.ndarray, shift: tuple[int, int], fill: int) -> np.ndarray:
    canvas = np.full_like(img, fill)
    paste(canvas, img, *shift)
    return canvas
