"""Several versions of one image at test time."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from numbers import Number

from mmdet_clone.datasets.pipelines.base import as_directions, as_scales
from mmdet_clone.datasets.pipelines.compose import Compose
from mmdet_clone.registry import PIPELINES, type_name

_FIELDS = ('img_fields', 'bbox_fields', 'mask_fields', 'seg_fields')


@PIPELINES.register_module()
class MultiScaleFlipAug:
    """Run ``transforms`` at each scale, unflipped and flipped; every key of the result is a list over these versions.

    Args:
        transforms: the steps, a ``Resize`` and a ``RandomFlip`` among them.
        img_scale: one scale ``(width, height)`` or a list of them.
        scale_factor: one factor or a list of them; exactly one of this and ``img_scale`` is given.
        flip: whether flipped versions are made.
        flip_direction: the direction or directions of these.
    """

    def __init__(
        self,
        transforms: Sequence[dict],
        img_scale: tuple[int, int] | Sequence[tuple[int, int]] | None = None,
        scale_factor: float | Sequence[float] | None = None,
        flip: bool = False,
        flip_direction: str | Sequence[str] = 'horizontal',
    ) -> None:
        if (img_scale is None) == (scale_factor is None):
            raise ValueError('MultiScaleFlipAug: give exactly one of img_scale and scale_factor')
        self.transforms = Compose(transforms)
        if img_scale is not None:
            self.img_scale = as_scales(img_scale, 'MultiScaleFlipAug')
            self.scale_key = 'scale'
        else:
            self.img_scale = [scale_factor] if isinstance(scale_factor, Number) else list(scale_factor)
            self.scale_key = 'scale_factor'
        self.flip = flip
        self.flip_direction = as_directions(flip_direction, 'MultiScaleFlipAug')
        self._warn_of_no_effect(transforms)

    def __call__(self, results: dict) -> dict:
        flips = [(False, None)] + [(True, direction) for direction in self.flip_direction if self.flip]
        versions = []
        for scale in self.img_scale:
            for flip, direction in flips:
                version = {key: list(value) if key in _FIELDS else value for key, value in results.items()}
                version.update({self.scale_key: scale, 'flip': flip, 'flip_direction': direction})
                versions.append(self.transforms(version))
        data = {key: [version[key] for version in versions] for key in versions[0]}
        if 'stack_fields' in data:  # how to collate, the same for all
            data['stack_fields'] = data['stack_fields'][0]
        return data

    def _warn_of_no_effect(self, transforms: Sequence[dict]) -> None:
        if not self.flip and self.flip_direction != ['horizontal']:
            warnings.warn('MultiScaleFlipAug: flip_direction has no effect when flip is False', stacklevel=3)
        if self.flip and not any(type_name(step) == 'RandomFlip' for step in transforms):
            warnings.warn('MultiScaleFlipAug: flip has no effect without RandomFlip among the transforms', stacklevel=3)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(transforms={self.transforms}, img_scale={self.img_scale}, flip={self.flip}, '
            f'flip_direction={self.flip_direction})'
        )
