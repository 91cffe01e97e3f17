"""From arrays to the tensors that a model takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from mmdet_clone.datasets.pipelines.base import require
from mmdet_clone.datasets.pipelines.loading import no_normalisation
from mmdet_clone.registry import PIPELINES

# The keys that the loader stacks to one tensor per batch, and the value it pads them with at the bottom and on the
# right to the batch's largest size; every other key becomes a list over images.
STACKED: dict[str, float] = {'img': 0, 'gt_semantic_seg': 255}

META_KEYS = (
    'filename',
    'ori_filename',
    'ori_shape',
    'img_shape',
    'pad_shape',
    'scale_factor',
    'flip',
    'flip_direction',
    'img_norm_cfg',
)


def to_tensor(data: torch.Tensor | np.ndarray | Sequence | int | float) -> torch.Tensor:
    """``data`` as a tensor; an array shares its memory, a number becomes a tensor of one element."""
    if isinstance(data, torch.Tensor):
        return data
    if isinstance(data, np.ndarray):
        return torch.from_numpy(data)
    if isinstance(data, Sequence) and not isinstance(data, str):
        return torch.tensor(data)
    if isinstance(data, int):
        return torch.LongTensor([data])
    if isinstance(data, float):
        return torch.FloatTensor([data])
    raise TypeError(f'cannot make a tensor of a {type(data).__name__}')


def image_to_tensor(img: np.ndarray) -> torch.Tensor:
    """``(h, w)`` or ``(h, w, c)`` array to ``(c, h, w)`` tensor."""
    img = img[..., None] if img.ndim < 3 else img
    return torch.from_numpy(np.ascontiguousarray(img.transpose(2, 0, 1)))


@PIPELINES.register_module()
class DefaultFormatBundle:
    """Turn the usual keys of a training sample into tensors.

    ``img`` to ``(c, h, w)``; ``proposals, gt_bboxes, gt_bboxes_ignore, gt_labels, gt_keypoints`` as they are;
    ``gt_semantic_seg`` to ``(1, h, w)``; masks stay. ``pad_shape, scale_factor, img_norm_cfg`` get the values of an
    image that no step has changed, where they are not set.

    Args:
        img_to_float: convert a uint8 image to float32.
        pad_val: the values for ``img``, ``masks`` and ``seg`` where the loader pads images to a common size.
    """

    def __init__(self, img_to_float: bool = True, pad_val: dict | None = None) -> None:
        self.img_to_float = img_to_float
        self.pad_val = dict(img=0, masks=0, seg=255) if pad_val is None else dict(pad_val)

    def __call__(self, results: dict) -> dict:
        if 'img' in results:
            self._format_image(results)
        for key in ('proposals', 'gt_bboxes', 'gt_bboxes_ignore', 'gt_labels', 'gt_keypoints'):
            if key in results:
                results[key] = to_tensor(results[key])
        if 'gt_semantic_seg' in results:
            results['gt_semantic_seg'] = to_tensor(np.ascontiguousarray(results['gt_semantic_seg'][None]))
        padding = {'img': self.pad_val.get('img', 0), 'gt_semantic_seg': self.pad_val.get('seg', 255)}
        if padding != STACKED:
            results['stack_fields'] = {**results.get('stack_fields', {}), **padding}
        return results

    def _format_image(self, results: dict) -> None:
        img = results['img']
        if self.img_to_float and img.dtype == np.uint8:
            img = img.astype(np.float32)
        results.setdefault('pad_shape', img.shape)
        results.setdefault('scale_factor', 1.0)
        results.setdefault('img_norm_cfg', no_normalisation(1 if img.ndim < 3 else img.shape[2]))
        results['img'] = image_to_tensor(img)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(img_to_float={self.img_to_float}, pad_val={self.pad_val})'


class _OfKeys:
    """A step that treats several keys alike.

    Args:
        keys: the keys.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = keys

    def __call__(self, results: dict) -> dict:
        require(results, self, *self.keys)
        for key in self.keys:
            results[key] = self.convert(results[key])
        return results

    def convert(self, value: Any) -> Any:
        raise NotImplementedError(f'{type(self).__name__}.convert')

    def __repr__(self) -> str:
        return f'{type(self).__name__}(keys={self.keys})'


@PIPELINES.register_module()
class ToTensor(_OfKeys):
    """Turn arrays into tensors, as they are."""

    def convert(self, value: Any) -> torch.Tensor:
        return to_tensor(value)


@PIPELINES.register_module()
class ImageToTensor(_OfKeys):
    """Turn ``(h, w, c)`` images into ``(c, h, w)`` tensors."""

    def convert(self, value: np.ndarray) -> torch.Tensor:
        return image_to_tensor(value)


@PIPELINES.register_module()
class Transpose(_OfKeys):
    """Reorder the axes of arrays.

    Args:
        keys: the keys.
        order: the new order of the axes.
    """

    def __init__(self, keys: Sequence[str], order: Sequence[int]) -> None:
        super().__init__(keys)
        self.order = order

    def convert(self, value: np.ndarray) -> np.ndarray:
        return value.transpose(self.order)


@PIPELINES.register_module()
class ToDataContainer:
    """Say how the loader collates keys: those with ``stack`` become one tensor per batch, the others a list.

    Nothing is wrapped: what is to be stacked goes into ``stack_fields`` with its padding value.

    Args:
        fields: dicts of ``key``, ``stack`` and ``padding_value``.
    """

    def __init__(
        self, fields: Sequence[dict] = (dict(key='img', stack=True), dict(key='gt_bboxes'), dict(key='gt_labels'))
    ) -> None:
        self.fields = fields

    def __call__(self, results: dict) -> dict:
        require(results, self, *(field['key'] for field in self.fields))
        marked = {f['key']: f.get('padding_value', 0) for f in self.fields if f.get('stack', False)}
        marked = {key: value for key, value in marked.items() if STACKED.get(key) != value}
        if marked:
            results['stack_fields'] = {**results.get('stack_fields', {}), **marked}
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(fields={self.fields})'


@PIPELINES.register_module()
class Collect:
    """Reduce the sample to what the model takes, and to ``img_metas``.

    Args:
        keys: what is given to the model by name.
        meta_keys: what goes into the dict ``img_metas``.
    """

    def __init__(self, keys: Sequence[str], meta_keys: Sequence[str] = META_KEYS) -> None:
        self.keys = keys
        self.meta_keys = meta_keys

    def __call__(self, results: dict) -> dict:
        require(results, self, *self.keys, *self.meta_keys)
        data = {'img_metas': {key: results[key] for key in self.meta_keys}}
        data.update((key, results[key]) for key in self.keys)
        if 'stack_fields' in results:
            data['stack_fields'] = results['stack_fields']
        return data

    def __repr__(self) -> str:
        return f'{type(self).__name__}(keys={self.keys}, meta_keys={self.meta_keys})'


@PIPELINES.register_module()
class WrapFieldsToLists:
    """Put every value into a list of one, as ``MultiScaleFlipAug`` with one version of the image would."""

    def __call__(self, results: dict) -> dict:
        return {key: value if key == 'stack_fields' else [value] for key, value in results.items()}

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'
