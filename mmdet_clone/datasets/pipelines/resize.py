"""Changing the size of a sample."""

from __future__ import annotations

from collections.abc import Sequence

import mmcv
import numpy as np

from mmdet_clone.datasets.pipelines.base import (
    Transform,
    as_scales,
    bbox_fields,
    clip_boxes,
    img_fields,
    mask_fields,
    require,
    seg_fields,
    set_img_shape,
)
from mmdet_clone.datasets.pipelines.keypoints import move_keypoints, scaled
from mmdet_clone.registry import PIPELINES

Scale = tuple[int, int]


@PIPELINES.register_module()
class Resize(Transform):
    """Resize image, boxes, masks, keypoints and semantic maps to a scale: fixed, drawn or set by an earlier step.

    The scale is ``results['scale']`` if an earlier step (``MultiScaleFlipAug``) has set it, else
    ``results['scale_factor']`` times the image's size if that is set, else drawn from ``img_scale``:

    - with ``ratio_range``, the one scale times a ratio out of the range;
    - one scale: itself;
    - ``multiscale_mode='range'``: the longer and the shorter edge each drawn between its extremes in the list;
    - ``multiscale_mode='value'``: one of the list.

    Sets ``scale, scale_idx, scale_factor`` ((4,) float32: w, h, w, h), ``img_shape, pad_shape, keep_ratio``.

    Args:
        img_scale: ``(width, height)`` or a list of such pairs; with ``keep_ratio`` the longest and shortest edge that
            the image must fit in, in either order.
        multiscale_mode: ``range`` or ``value``.
        ratio_range: the smallest and largest factor of ``img_scale``.
        keep_ratio: keep the image's aspect ratio.
        bbox_clip_border: cut boxes at the image's border.
        backend: ``cv2`` or ``pillow``.
        interpolation: for images; masks and semantic maps take the nearest pixel.
        override: resize anew a sample that has been resized.
    """

    def __init__(
        self,
        img_scale: Scale | Sequence[Scale] | None = None,
        multiscale_mode: str = 'range',
        ratio_range: tuple[float, float] | None = None,
        keep_ratio: bool = True,
        bbox_clip_border: bool = True,
        backend: str = 'cv2',
        interpolation: str = 'bilinear',
        override: bool = False,
    ) -> None:
        self.img_scale = None if img_scale is None else as_scales(img_scale, 'Resize')
        if ratio_range is not None and len(self.img_scale or ()) != 1:
            raise ValueError(f'Resize: ratio_range needs exactly one img_scale, got {img_scale!r}')
        if multiscale_mode not in ('range', 'value'):
            raise ValueError(f"Resize: multiscale_mode is 'range' or 'value', got {multiscale_mode!r}")
        self.multiscale_mode = multiscale_mode
        self.ratio_range = ratio_range
        self.keep_ratio = keep_ratio
        self.bbox_clip_border = bbox_clip_border
        self.backend = backend
        self.interpolation = interpolation
        self.override = override

    def draw(self, results: dict) -> dict:
        """``scale`` (width, height) and, where it was drawn, ``scale_idx`` in the list."""
        if 'scale' in results and not self.override:
            if 'scale_factor' in results:
                raise ValueError(
                    'Resize: the sample has been resized already; a second Resize in a pipeline needs override=True'
                )
            return dict(scale=results['scale'])
        factor = results.get('scale_factor')
        # an image that LoadMultiChannelImageFromFiles has marked as unscaled (1.0) is still to be resized
        if 'scale' not in results and np.ndim(factor) == 0 and factor and not (self.img_scale and factor == 1.0):
            h, w = results['img'].shape[:2]
            return dict(scale=(int(w * factor), int(h * factor)))
        if self.img_scale is None:
            raise ValueError('Resize needs img_scale, or an earlier step (MultiScaleFlipAug) that sets the scale')
        scale, index = self._draw_scale()
        return dict(scale=scale, scale_idx=index)

    def _draw_scale(self) -> tuple[Scale, int | None]:
        scales = self.img_scale
        if self.ratio_range is not None:
            low, high = self.ratio_range
            ratio = np.random.random_sample() * (high - low) + low
            return (int(scales[0][0] * ratio), int(scales[0][1] * ratio)), None
        if len(scales) == 1:
            return scales[0], 0
        if self.multiscale_mode == 'value':
            index = np.random.randint(len(scales))
            return scales[index], index
        longer, shorter = [max(s) for s in scales], [min(s) for s in scales]
        return (
            np.random.randint(min(longer), max(longer) + 1),
            np.random.randint(min(shorter), max(shorter) + 1),
        ), None

    def apply(self, results: dict, params: dict) -> dict:
        results.update(params)
        for key in img_fields(results):
            h, w = results[key].shape[:2]
            results[key] = self._resized(results[key], params['scale'], self.interpolation)
        set_img_shape(results)
        new_h, new_w = results['img_shape'][:2]
        results['scale_factor'] = np.array([new_w / w, new_h / h] * 2, dtype=np.float32)
        results['keep_ratio'] = self.keep_ratio
        for key in bbox_fields(results):
            boxes = results[key] * results['scale_factor']
            results[key] = clip_boxes(boxes, results['img_shape']) if self.bbox_clip_border else boxes
        move_keypoints(results, scaled(*results['scale_factor'][:2]), results['img_shape'])
        for key in mask_fields(results):
            results[key] = results[key].resize((new_h, new_w))
        for key in seg_fields(results):
            results[key] = self._resized(results[key], params['scale'], 'nearest')
        return results

    def _resized(self, img: np.ndarray, scale: Scale, interpolation: str) -> np.ndarray:
        size = mmcv.rescale_size(img.shape[1::-1], tuple(scale)) if self.keep_ratio else scale
        size = tuple(max(edge, 1) for edge in size)  # of a panorama a pixel's height is left
        resized = mmcv.imresize(img, size, interpolation=interpolation, backend=self.backend)
        return resized.reshape(*resized.shape[:2], *img.shape[2:])  # OpenCV drops a single channel


@PIPELINES.register_module()
class SegRescale(Transform):
    """Scale the semantic maps alone, to the stride of the head that learns from them.

    Args:
        scale_factor: the factor.
        backend: ``cv2`` or ``pillow``.
    """

    needs = ()

    def __init__(self, scale_factor: float = 1, backend: str = 'cv2') -> None:
        self.scale_factor = scale_factor
        self.backend = backend

    def apply(self, results: dict, params: None) -> dict:
        for key in seg_fields(results):
            require(results, self, key)
            if self.scale_factor != 1:
                results[key] = mmcv.imrescale(
                    results[key], self.scale_factor, interpolation='nearest', backend=self.backend
                )
        return results
