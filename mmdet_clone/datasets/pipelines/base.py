"""What the steps of a pipeline share.

A step takes the sample, a dict that it completes and gives on, or returns ``None`` to drop the sample. Geometric steps
move everything that ``img_fields``, ``bbox_fields``, ``mask_fields`` and ``seg_fields`` list, and ``gt_keypoints``, by
the same parameters.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from numbers import Number
from typing import Any

import numpy as np

# The step that sets a key, for the hint of the error that misses it.
_SET_BY = {
    'img': 'LoadImageFromFile',
    'img_shape': 'LoadImageFromFile',
    'filename': 'LoadImageFromFile',
    'ori_filename': 'LoadImageFromFile',
    'ori_shape': 'LoadImageFromFile',
    'gt_bboxes': 'LoadAnnotations(with_bbox=True)',
    'gt_labels': 'LoadAnnotations(with_label=True)',
    'gt_bboxes_ignore': 'LoadAnnotations(with_bbox=True), for annotations that have ignored boxes,',
    'gt_masks': 'LoadAnnotations(with_mask=True)',
    'gt_keypoints': 'LoadAnnotations(with_keypoints=True)',
    'gt_semantic_seg': 'LoadAnnotations(with_seg=True)',
    'proposals': 'LoadProposals',
    'scale_factor': 'Resize',
    'pad_shape': 'Pad or Resize',
    'flip': 'RandomFlip',
    'flip_direction': 'RandomFlip',
    'img_norm_cfg': 'Normalize',
    'img_info': 'the dataset',
    'ann_info': 'the dataset (not in test mode)',
}
LABELS_OF = {'gt_bboxes': 'gt_labels', 'gt_bboxes_ignore': 'gt_labels_ignore'}
MASKS_OF = {'gt_bboxes': 'gt_masks', 'gt_bboxes_ignore': 'gt_masks_ignore'}
KEYPOINTS_OF = {'gt_bboxes': 'gt_keypoints'}


class MissingKeyError(KeyError):
    """A step asks the sample for a key that no earlier step has set."""

    def __str__(self) -> str:  # KeyError would show the repr, with its line breaks escaped
        return str(self.args[0])


def require(results: dict, step: object, *keys: str) -> None:
    """Raise ``MissingKeyError`` for the first of ``keys`` that ``results`` lacks."""
    for key in keys:
        if key not in results:
            name = type(step).__name__
            origin = f'{_SET_BY[key]} sets it: put that before {name} in the pipeline. ' if key in _SET_BY else ''
            raise MissingKeyError(
                f'{name} needs {key!r}, which no earlier step has set. {origin}The sample has: '
                + ', '.join(sorted(map(str, results)))
            )


class Transform(ABC):
    """A step that draws its random parameters first and then applies them to all that moves together."""

    needs: tuple[str, ...] = ('img',)

    def __call__(self, results: dict) -> dict | None:
        require(results, self, *self.needs)
        return self.apply(results, self.draw(results))

    def draw(self, results: dict) -> Any:
        """The parameters for this sample, which is left as it is."""
        return None

    @abstractmethod
    def apply(self, results: dict, params: Any) -> dict | None:
        """Change the sample by ``params``."""

    def __repr__(self) -> str:
        shown = ', '.join(f'{k}={v!r}' for k, v in vars(self).items() if not k.startswith('_'))
        return f'{type(self).__name__}({shown})'


def img_fields(results: dict) -> Sequence[str]:
    return results.get('img_fields', ['img'])


def bbox_fields(results: dict) -> Sequence[str]:
    return results.get('bbox_fields', [])


def mask_fields(results: dict) -> Sequence[str]:
    return results.get('mask_fields', [])


def seg_fields(results: dict) -> Sequence[str]:
    return results.get('seg_fields', [])


def set_img_shape(results: dict) -> None:
    """Record the image's new size, with no padding yet."""
    shape = results[img_fields(results)[0]].shape
    results['img_shape'] = results['pad_shape'] = shape


def clip_boxes(boxes: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """``(n, 4)`` boxes cut to a canvas of ``shape`` (height, width, ...)."""
    clipped = boxes.copy()
    clipped[:, 0::2] = np.clip(boxes[:, 0::2], 0, shape[1])
    clipped[:, 1::2] = np.clip(boxes[:, 1::2], 0, shape[0])
    return clipped


def keep_instances(results: dict, key: str, keep: np.ndarray) -> None:
    """Keep the boxes under ``key`` where the ``(n,)`` bool array says so, and their labels, masks and keypoints."""
    before = len(results[key])
    if keep.all():
        return
    results[key] = results[key][keep]
    for parallel in (LABELS_OF.get(key), KEYPOINTS_OF.get(key)):
        if parallel in results:
            results[parallel] = results[parallel][keep]
    if MASKS_OF.get(key) in results and len(results[MASKS_OF[key]]) == before:
        results[MASKS_OF[key]] = results[MASKS_OF[key]][np.flatnonzero(keep)]


def as_scales(img_scale: Any, name: str) -> list[tuple[int, int]]:
    """One scale ``(a, b)`` or a list of them, as a list of tuples."""
    scales = [img_scale] if len(img_scale) and isinstance(img_scale[0], Number) else list(img_scale)
    if not scales or any(not isinstance(s, list | tuple) or len(s) != 2 for s in scales):
        raise ValueError(f'{name}: img_scale is a pair (width, height) or a list of pairs, got {img_scale!r}')
    return [tuple(s) for s in scales]


def as_directions(direction: str | Sequence[str], name: str) -> list[str]:
    directions = [direction] if isinstance(direction, str) else list(direction)
    known = ('horizontal', 'vertical', 'diagonal')
    if not directions or any(d not in known for d in directions):
        raise ValueError(f'{name}: a flip direction is one of {", ".join(known)}, or a list of them, got {direction!r}')
    return directions
