"""Pasting the objects of one image onto another."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmdet_clone.datasets.pipelines.base import Transform, img_fields, keep_instances, seg_fields
from mmdet_clone.datasets.pipelines.instances import instances_of, join_instances, mixed_samples
from mmdet_clone.datasets.pipelines.keypoints import KEY
from mmdet_clone.registry import PIPELINES
from mmdet_clone.structures import BitmapMasks

_PARALLEL = 'gt_bboxes'


@PIPELINES.register_module()
class CopyPaste(Transform):
    """Paste objects of another image onto this one.

    From "Simple Copy-Paste is a Strong Data Augmentation Method for Instance Segmentation" (arXiv 2012.07177).

    The step of a ``MultiImageMixDataset`` over samples with masks, padded to one size. Boxes of this image's instances
    are taken anew from what is left of their masks; an instance is dropped if its box changed much and little of its
    mask is left. Masks become bitmaps; keypoints that are covered count as hidden (visibility 1).

    Args:
        max_num_pasted: the largest number of objects; how many is drawn, and may be none.
        bbox_occluded_thr: how far, in pixels, the edges of a box may move without a look at its mask.
        mask_occluded_thr: more pixels than this must be left of an instance whose box moved farther.
        selected: ``False`` pastes all objects.
    """

    needs = ('img', 'gt_bboxes', 'gt_labels', 'gt_masks')

    def __init__(
        self,
        max_num_pasted: int = 100,
        bbox_occluded_thr: float = 10,
        mask_occluded_thr: float = 300,
        selected: bool = True,
    ) -> None:
        if max_num_pasted < 1:
            raise ValueError(f'CopyPaste: max_num_pasted is a number of objects, 1 or more, got {max_num_pasted!r}')
        self.max_num_pasted = max_num_pasted
        self.bbox_occluded_thr = bbox_occluded_thr
        self.mask_occluded_thr = mask_occluded_thr
        self.selected = selected

    def get_indexes(self, dataset: Any) -> int:
        """Which image of ``dataset`` to take objects from."""
        return int(np.random.randint(0, len(dataset)))

    def draw(self, results: dict) -> np.ndarray:
        """Indices of the other image's instances that are pasted."""
        count = len(mixed_samples(results, self, 1)[0]['gt_bboxes'])
        if not self.selected:
            return np.arange(count)
        number = np.random.randint(0, min(count + 1, self.max_num_pasted))
        return np.random.choice(count, size=number, replace=False)

    def apply(self, results: dict, params: np.ndarray) -> dict:
        if len(params) == 0:
            return results
        (other,) = results['mix_results']
        self._check(results, other)
        pasted = {key: value[params] for key, value in instances_of(other, _PARALLEL).items()}
        pasted['gt_masks'] = pasted['gt_masks'].to_bitmap()
        cover = pasted['gt_masks'].masks.any(axis=0)  # (h, w)
        for key in [*img_fields(results), *seg_fields(results)]:
            results[key] = results[key].copy()
            results[key][cover] = other[key][cover]
        self._uncover(results, cover)
        results.update(join_instances([instances_of(results, _PARALLEL), pasted]))
        return results

    def _uncover(self, results: dict, cover: np.ndarray) -> None:
        """Take the ``(h, w)`` bool ``cover`` off this image's instances."""
        masks = results['gt_masks'].to_bitmap()
        masks = BitmapMasks(np.where(cover, 0, masks.masks).astype(masks.masks.dtype), masks.height, masks.width)
        boxes = masks.get_bboxes()
        nearly_same = (np.abs(boxes - results['gt_bboxes']) <= self.bbox_occluded_thr).all(axis=1)
        if KEY in results:
            results[KEY] = _hidden_below(results[KEY], cover)
        results.update(gt_bboxes=boxes, gt_masks=masks)
        keep_instances(results, 'gt_bboxes', nearly_same | (masks.areas > self.mask_occluded_thr))

    def _check(self, results: dict, other: dict) -> None:
        for key in img_fields(results):
            if results[key].shape != other[key].shape:
                raise ValueError(
                    f'CopyPaste needs images of one size, got {results[key].shape} and {other[key].shape}: let the '
                    'pipeline of the inner data set end with Pad(size=(height, width)), or a Resize to a fixed size'
                )


def _hidden_below(keypoints: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """``(n, K, 3)`` keypoints with visibility 1 for those labelled ones that ``cover`` (h, w) hides."""
    x = np.clip(np.rint(keypoints[..., 0]).astype(int), 0, cover.shape[1] - 1)
    y = np.clip(np.rint(keypoints[..., 1]).astype(int), 0, cover.shape[0] - 1)
    hidden = keypoints.copy()
    hidden[..., 2] = np.where(cover[y, x], np.minimum(keypoints[..., 2], 1), keypoints[..., 2])
    return hidden
