"""Moving instances about in their own image: InstaBoost (arXiv 1908.07801)."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from mmdet_clone.datasets.pipelines.annotations import to_rle
from mmdet_clone.datasets.pipelines.base import require
from mmdet_clone.datasets.pipelines.enhance import check_probability
from mmdet_clone.datasets.pipelines.optional import import_optional
from mmdet_clone.registry import PIPELINES
from mmdet_clone.structures.masks import decode_rles


@PIPELINES.register_module()
class InstaBoost:
    """Cut instances out, fill the gap, and paste them nearby, by the package ``instaboostfast``.

    Stands between ``LoadImageFromFile`` and ``LoadAnnotations(with_mask=True)``: it changes ``ann_info``, whose masks
    become RLE (so ``poly2mask`` stays on). Keypoints do not move with it and are left out of ``ann_info``.

    Args:
        action_candidate: ``normal``, ``horizontal``, ``vertical``, ``skip``.
        action_prob: the probability of each, 1 in all; 0 for the flips, as the package leaves their masks unflipped.
        scale: the smallest and largest factor of an instance's size.
        dx, dy: an instance moves by its width / ``dx`` and height / ``dy`` at most.
        theta: the smallest and largest angle in degrees.
        color_prob: the probability of a change of colours.
        hflag: place instances by the heat map of similar surroundings.
        aug_ratio: the probability of any of this.

    Raises:
        ImportError: the package is not installed.
    """

    def __init__(
        self,
        action_candidate: Sequence[str] = ('normal', 'horizontal', 'skip'),
        action_prob: Sequence[float] = (1, 0, 0),
        scale: tuple[float, float] = (0.8, 1.2),
        dx: float = 15,
        dy: float = 15,
        theta: tuple[float, float] = (-1, 1),
        color_prob: float = 0.5,
        hflag: bool = False,
        aug_ratio: float = 0.5,
    ) -> None:
        check_probability(aug_ratio, 'InstaBoost', 'aug_ratio')
        if any(p for name, p in zip(action_candidate, action_prob) if name in ('horizontal', 'vertical')):
            raise ValueError(
                f'InstaBoost: action_prob of horizontal and vertical must be 0, got {tuple(action_prob)} for '
                f'{tuple(action_candidate)}: instaboostfast 0.1.2 flips the pixels of an instance and not its mask'
            )
        self.cfg = _package().InstaBoostConfig(action_candidate, action_prob, scale, dx, dy, theta, color_prob, hflag)
        self.aug_ratio = aug_ratio

    def __call__(self, results: dict) -> dict:
        require(results, self, 'img', 'ann_info')
        results['ann_info'] = {key: value for key, value in results['ann_info'].items() if key != 'keypoints'}
        if not np.random.choice([0, 1], p=[1 - self.aug_ratio, self.aug_ratio]):
            return results
        img = results['img']
        anns, changed = _package().get_new_data(
            _as_coco(results['ann_info'], img.shape), img.astype(np.uint8), self.cfg, background=None
        )
        results['img'] = changed.astype(img.dtype)
        results['ann_info'].update(_from_coco(anns, results['ann_info']))
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(aug_ratio={self.aug_ratio}, cfg={vars(self.cfg)})'


def _package() -> ModuleType:
    return import_optional('instaboostfast', 'InstaBoost', 'pip install instaboostfast')


def _as_coco(ann_info: dict, shape: tuple[int, ...]) -> list[dict]:
    """The instances as COCO's dicts, with their row as ``id``."""
    rows = zip(ann_info['labels'], ann_info['masks'], ann_info['bboxes'], strict=True)
    return [
        dict(
            id=i,
            category_id=label,
            segmentation=_as_rle(mask, *shape[:2]),
            bbox=[float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])],
        )
        for i, (label, mask, box) in enumerate(rows)
    ]


def _as_rle(mask: Any, height: int, width: int) -> dict:
    """The uncompressed RLE: of polygons the package makes ragged lists, which numpy has refused since 1.24."""
    bits = decode_rles([to_rle(mask, height, width)], height, width)[0].ravel(order='F')
    changes = np.flatnonzero(np.diff(bits)) + 1
    runs = np.diff(np.concatenate(([0], changes, [bits.size]))).tolist()
    return dict(counts=[0, *runs] if bits[0] else runs, size=[height, width])


def _from_coco(anns: list[dict], ann_info: dict) -> dict:
    """``labels, bboxes, masks``, and ``ann_ids`` where there are, of the instances that have a size."""
    sized = [ann for ann in anns if ann['bbox'][2] > 0 and ann['bbox'][3] > 0]
    boxes = np.array([ann['bbox'] for ann in sized], dtype=np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    changed = dict(
        labels=np.array([ann['category_id'] for ann in sized], dtype=np.int64),
        bboxes=boxes,
        masks=[ann['segmentation'] for ann in sized],
    )
    if 'ann_ids' in ann_info:
        changed['ann_ids'] = [ann_info['ann_ids'][ann['id']] for ann in sized]
    return changed
