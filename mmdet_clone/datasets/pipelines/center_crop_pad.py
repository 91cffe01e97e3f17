"""Cropping about a random centre and padding to a fixed size: the augmentation of CornerNet and CenterNet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmdet_clone.datasets.pipelines.base import (
    Transform,
    bbox_fields,
    clip_boxes,
    keep_instances,
    mask_fields,
    seg_fields,
    set_img_shape,
)
from mmdet_clone.datasets.pipelines.keypoints import move_keypoints, shifted
from mmdet_clone.registry import PIPELINES

_CENTRES_A_SIZE = 50
_MOST_SIZES = 100


@dataclass
class Placement:
    """A piece of the image, ``x1 <= x < x2``, and where its upper left corner lies on the canvas, in whole pixels."""

    x1: int
    y1: int
    x2: int
    y2: int
    left: int
    top: int
    height: int  # of the canvas
    width: int

    @classmethod
    def about(cls, center: tuple[int, int], shape: Sequence[int], canvas: tuple[int, int]) -> Placement:
        """Pixel ``center`` (x, y) of an image of ``shape`` comes to the middle of a canvas (height, width)."""
        (x, y), (height, width) = center, canvas
        x1, x2 = max(0, x - width // 2), min(x + width // 2, shape[1])
        y1, y2 = max(0, y - height // 2), min(y + height // 2, shape[0])
        return cls(x1, y1, x2, y2, width // 2 - (x - x1), height // 2 - (y - y1), height, width)

    @property
    def shift(self) -> tuple[int, int]:
        return self.left - self.x1, self.top - self.y1

    @property
    def border(self) -> np.ndarray:
        """``(4,)`` float32: where the image lies on the canvas: top, bottom, left, right."""
        bottom, right = self.top + self.y2 - self.y1, self.left + self.x2 - self.x1
        return np.array([self.top, bottom, self.left, right], dtype=np.float32)

    def image(self, img: np.ndarray, fill: np.ndarray | float) -> np.ndarray:
        canvas = np.empty((self.height, self.width, *img.shape[2:]), dtype=img.dtype)
        canvas[...] = fill
        piece = img[self.y1 : self.y2, self.x1 : self.x2]
        canvas[self.top : self.top + piece.shape[0], self.left : self.left + piece.shape[1]] = piece
        return canvas

    def holds_centres(self, boxes: np.ndarray) -> np.ndarray:
        """``(n,)`` bool: whether the centre of each box lies within the piece."""
        x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
        return (x > self.x1) & (x < self.x2) & (y > self.y1) & (y < self.y2)


@PIPELINES.register_module()
class RandomCenterCropPad(Transform):
    """Crop about a random centre and pad with the mean colour ("CornerNet", arXiv 1808.01244; CenterNet).

    In training the canvas is ``crop_size`` times a ratio that is drawn; the image's pixel that is drawn comes to its
    middle, and boxes whose centre is in the piece are kept. In testing the whole image comes to the middle of a canvas
    that ``test_pad_mode`` says, and ``border`` (top, bottom, left, right) tells the model where. Semantic maps get 255
    where there is no image. The image is float32, of 0 to 255: it is normalised later.

    Args:
        crop_size: ``(height, width)`` in pixels; training only.
        ratios: the factors of ``crop_size``; training only.
        border: how near, in pixels, the centre may come to the image's border (less in small images); training only.
        mean: the mean colour; needed.
        std: the deviation of the same ``Normalize``, which the fill colour does not depend on.
        to_rgb: whether ``mean`` is given in RGB while the image is BGR.
        test_mode: testing.
        test_pad_mode: ``('logical_or', n)``: each edge is ``edge | n``; ``('size_divisor', n)``: the next multiple.
        test_pad_add_pix: pixels more, with ``logical_or`` (CenterNet).
        bbox_clip_border: cut boxes at the canvas's border.
    """

    def __init__(
        self,
        crop_size: tuple[int, int] | None = None,
        ratios: Sequence[float] | None = (0.9, 1.0, 1.1),
        border: int | None = 128,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        to_rgb: bool | None = None,
        test_mode: bool = False,
        test_pad_mode: tuple[str, int] | None = ('logical_or', 127),
        test_pad_add_pix: int = 0,
        bbox_clip_border: bool = True,
    ) -> None:
        if mean is None or std is None or to_rgb is None:
            raise ValueError('RandomCenterCropPad: give mean, std and to_rgb, the same as to Normalize')
        if test_mode:
            _check_testing(crop_size, ratios, border, test_pad_mode)
        else:
            _check_training(crop_size, ratios, border, test_pad_mode)
        self.crop_size = crop_size
        self.ratios = ratios
        self.border = border
        self.mean = np.array(mean[::-1] if to_rgb else mean, dtype=np.float32)  # in the image's order
        self.std = np.array(std[::-1] if to_rgb else std, dtype=np.float32)
        self.to_rgb = to_rgb
        self.test_mode = test_mode
        self.test_pad_mode = test_pad_mode
        self.test_pad_add_pix = test_pad_add_pix
        self.bbox_clip_border = bbox_clip_border

    def draw(self, results: dict) -> Placement | None:
        """Where the image comes; ``None`` if no piece with the centre of a box was found."""
        img = results['img']
        self._check_image(img)
        if self.test_mode:
            return Placement.about((img.shape[1] // 2, img.shape[0] // 2), img.shape, self._test_size(img.shape))
        boxes = results.get('gt_bboxes', np.zeros((0, 4), dtype=np.float32))
        for _ in range(_MOST_SIZES):
            ratio = np.random.choice(self.ratios)
            canvas = int(self.crop_size[0] * ratio), int(self.crop_size[1] * ratio)
            rim_y, rim_x = (_rim(self.border, edge) for edge in img.shape[:2])
            for _ in range(_CENTRES_A_SIZE):
                x = int(np.random.randint(rim_x, img.shape[1] - rim_x))
                y = int(np.random.randint(rim_y, img.shape[0] - rim_y))
                placement = Placement.about((x, y), img.shape, canvas)
                if len(boxes) == 0 or placement.holds_centres(boxes).any():
                    return placement
        return None

    def _test_size(self, shape: Sequence[int]) -> tuple[int, int]:
        mode, number = self.test_pad_mode
        if mode == 'logical_or':
            return (shape[0] | number) + self.test_pad_add_pix, (shape[1] | number) + self.test_pad_add_pix
        return math.ceil(shape[0] / number) * number, math.ceil(shape[1] / number) * number

    def apply(self, results: dict, params: Placement | None) -> dict | None:
        if params is None:
            return None
        canvas = params.height, params.width
        if self.test_mode:
            results['img_shape'] = results['img'].shape
            results['img'] = params.image(results['img'], self.mean)
            results.update(pad_shape=results['img'].shape, border=params.border)
        else:
            results['img'] = params.image(results['img'], self.mean)
            set_img_shape(results)
        for key in mask_fields(results):
            piece = results[key].crop(np.array([params.x1, params.y1, params.x2, params.y2]))
            results[key] = piece.expand(*canvas, params.top, params.left)
        for key in seg_fields(results):
            results[key] = params.image(results[key], 255)
        move_keypoints(results, shifted(*params.shift), canvas)
        for key in bbox_fields(results):
            self._place_boxes(results, key, params)
        return results

    def _place_boxes(self, results: dict, key: str, placement: Placement) -> None:
        if not self.test_mode:
            keep_instances(results, key, placement.holds_centres(results[key]))
        boxes = results[key] + np.float32([*placement.shift] * 2)
        results[key] = clip_boxes(boxes, (placement.height, placement.width)) if self.bbox_clip_border else boxes
        keep_instances(results, key, (results[key][:, 2:] > results[key][:, :2]).all(axis=1))

    def _check_image(self, img: np.ndarray) -> None:
        if img.dtype != np.float32:
            raise ValueError(
                f'RandomCenterCropPad needs float32 images, got {img.dtype}: set to_float32=True in LoadImageFromFile'
            )
        channels = img.shape[2] if img.ndim == 3 else 1
        if channels != len(self.mean):
            raise ValueError(f'RandomCenterCropPad has {len(self.mean)} means, the image {channels} channels')


def _rim(border: int, size: int) -> int:
    """How far centres stay from the edge: ``border`` by the first power of two that leaves pixels between both rims."""
    divisor = 1
    while 2 * border / divisor >= size:
        divisor *= 2
    return int(border // divisor)


def _check_training(crop_size: object, ratios: object, border: object, test_pad_mode: object) -> None:
    if not isinstance(crop_size, list | tuple) or len(crop_size) != 2 or min(crop_size) <= 0:
        raise ValueError(f'RandomCenterCropPad: crop_size is (height, width) in training, above 0, got {crop_size!r}')
    if not isinstance(ratios, list | tuple) or not ratios or min(ratios) <= 0:
        raise ValueError(f'RandomCenterCropPad: ratios is a list of factors above 0 in training, got {ratios!r}')
    if not isinstance(border, int) or border < 0:
        raise ValueError(f'RandomCenterCropPad: border is a number of pixels in training, 0 or more, got {border!r}')
    if test_pad_mode is not None:
        raise ValueError(f'RandomCenterCropPad: test_pad_mode is for test_mode=True, else None: {test_pad_mode!r}')


def _check_testing(crop_size: object, ratios: object, border: object, test_pad_mode: object) -> None:
    for name, value in (('crop_size', crop_size), ('ratios', ratios), ('border', border)):
        if value is not None:
            raise ValueError(f'RandomCenterCropPad: {name} is for training, with test_mode=True None: got {value!r}')
    modes = ('logical_or', 'size_divisor')
    if not isinstance(test_pad_mode, list | tuple) or len(test_pad_mode) != 2 or test_pad_mode[0] not in modes:
        raise ValueError(
            f"RandomCenterCropPad: test_pad_mode is ('logical_or', n) or ('size_divisor', n), got {test_pad_mode!r}"
        )
