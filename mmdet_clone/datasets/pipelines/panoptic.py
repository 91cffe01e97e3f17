"""Loading panoptic ground truth from COCO's PNG files, whose colour is an id: R + 256 G + 256^2 B."""

from __future__ import annotations

import numpy as np

from mmdet_clone.datasets.pipelines.annotations import LoadAnnotations, add_field, image_name
from mmdet_clone.datasets.pipelines.files import decode_image, read_member
from mmdet_clone.registry import PIPELINES
from mmdet_clone.structures import BitmapMasks

IGNORED = 255


@PIPELINES.register_module()
class LoadPanopticAnnotations(LoadAnnotations):
    """Load boxes and labels from ``ann_info``, masks and the semantic map from its PNG of segment ids.

    ``ann_info['masks']`` lists the image's segments, each a dict of ``id``, ``category`` (the semantic label) and
    ``is_thing``; ``ann_info['seg_map']`` is the PNG below ``seg_prefix``.

    Args:
        with_bbox: ``gt_bboxes`` (n, 4) and ``gt_bboxes_ignore``, of things.
        with_label: ``gt_labels`` (n,), of things.
        with_mask: ``gt_masks``: bitmaps of the things, in the order of the segments.
        with_seg: ``gt_semantic_seg`` (h, w) int32: the category of each pixel, 255 where no segment is.
        file_client_args: the file backend of the PNG files.
    """

    def __init__(
        self,
        with_bbox: bool = True,
        with_label: bool = True,
        with_mask: bool = True,
        with_seg: bool = True,
        file_client_args: dict | None = None,
    ) -> None:
        super().__init__(with_bbox, with_label, with_mask, with_seg, file_client_args=file_client_args)

    def _load_pixels(self, results: dict) -> None:
        if not (self.with_mask or self.with_seg):
            return
        segments = self._annotation(results, 'masks', 'with_mask')
        ids = self._load_ids(results)  # (h, w)
        if self.with_mask:
            results['gt_masks'] = BitmapMasks(
                [(ids == segment['id']).astype(np.uint8) for segment in segments if segment.get('is_thing')], *ids.shape
            )
            add_field(results, 'mask_fields', 'gt_masks')
        if self.with_seg:
            results['gt_semantic_seg'] = _semantic_map(ids, segments)
            add_field(results, 'seg_fields', 'gt_semantic_seg')

    def _load_ids(self, results: dict) -> np.ndarray:
        name = self._annotation(results, 'seg_map', 'with_seg')
        path, data = read_member(self.read, results, name, 'seg_prefix', 'panoptic map')
        ids = rgb_to_id(decode_image(data, path, 'color', channel_order='rgb'))
        expected = results.get('img_shape', ids.shape)[:2]
        if ids.shape != tuple(expected):
            raise ValueError(
                f'the panoptic map {path} is {ids.shape[1]} x {ids.shape[0]} pixels (width x height), '
                f'{image_name(results)} {expected[1]} x {expected[0]}: it belongs to another image, or was resized'
            )
        return ids

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(with_bbox={self.with_bbox}, with_label={self.with_label}, '
            f'with_mask={self.with_mask}, with_seg={self.with_seg}, file_client_args={self.read!r})'
        )


def rgb_to_id(img: np.ndarray) -> np.ndarray:
    """``(h, w)`` int32 ids of an RGB image ``(h, w, 3)`` uint8."""
    r, g, b = (img[..., channel].astype(np.int32) for channel in range(3))
    return r + 256 * g + 256 * 256 * b


def _semantic_map(ids: np.ndarray, segments: list[dict]) -> np.ndarray:
    """``(h, w)`` int32 categories; one look at the pixels, however many segments there are."""
    known, positions = np.unique(ids, return_inverse=True)
    category_of = {segment['id']: segment['category'] for segment in segments}
    categories = np.array([category_of.get(int(i), IGNORED) for i in known], dtype=np.int32)
    return categories[positions].reshape(ids.shape)
