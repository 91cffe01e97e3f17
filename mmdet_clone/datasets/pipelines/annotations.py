"""Loading what is known about an image: boxes, labels, masks, semantic maps, proposals.

n: number of instances    h, w: the image's size
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mmdet_clone.datasets.pipelines.base import MissingKeyError, keep_instances, require
from mmdet_clone.datasets.pipelines.files import FileReader, decode_image, read_member
from mmdet_clone.registry import PIPELINES
from mmdet_clone.structures import BitmapMasks, PolygonMasks
from mmdet_clone.structures.masks import decode_rles, polygons_to_rle


@PIPELINES.register_module()
class LoadAnnotations:
    """Load the ground truth from ``ann_info``.

    Args:
        with_bbox: ``gt_bboxes`` (n, 4) and, where the dataset knows them, ``gt_bboxes_ignore``.
        with_label: ``gt_labels`` (n,).
        with_mask: ``gt_masks``. A mask is a list of polygons, an RLE (``counts`` a list or compressed) or a bitmap.
        with_seg: ``gt_semantic_seg`` (h, w), from the file ``seg_prefix`` + ``ann_info['seg_map']``.
        poly2mask: masks become ``BitmapMasks``, else they stay ``PolygonMasks``.
        denorm_bbox: boxes are given as shares of the image's width and height (OpenImages).
        normed_bbox: another name of ``denorm_bbox``.
        file_client_args: the file backend of semantic maps.
        with_keypoints: ``gt_keypoints`` (n, K, 3) float32: x, y (whole numbers are the middles of pixels), visibility
            (0 not labelled, 1 hidden, 2 visible), from ``ann_info['keypoints']``.
    """

    def __init__(
        self,
        with_bbox: bool = True,
        with_label: bool = True,
        with_mask: bool = False,
        with_seg: bool = False,
        poly2mask: bool = True,
        denorm_bbox: bool = False,
        normed_bbox: bool = False,
        file_client_args: dict | None = None,
        with_keypoints: bool = False,
    ) -> None:
        self.with_bbox = with_bbox
        self.with_label = with_label
        self.with_mask = with_mask
        self.with_seg = with_seg
        self.poly2mask = poly2mask
        self.denorm_bbox = denorm_bbox or normed_bbox
        self.with_keypoints = with_keypoints
        self.read = FileReader(file_client_args)

    def __call__(self, results: dict) -> dict:
        require(results, self, 'ann_info')
        if self.with_bbox:
            self._load_bboxes(results)
        if self.with_label:
            results['gt_labels'] = self._annotation(results, 'labels', 'with_label').copy()
        if self.with_keypoints:
            keypoints = self._annotation(results, 'keypoints', 'with_keypoints')
            num_boxes = len(results['ann_info'].get('bboxes', keypoints))
            results['gt_keypoints'] = _as_keypoints(keypoints, num_boxes, results)
        self._load_pixels(results)
        return results

    def _load_pixels(self, results: dict) -> None:
        if self.with_mask:
            self._load_masks(results)
        if self.with_seg:
            self._load_semantic_seg(results)

    def _annotation(self, results: dict, key: str, flag: str) -> Any:
        if results['ann_info'].get(key) is None:
            raise MissingKeyError(
                f'{type(self).__name__}({flag}=True) needs ann_info[{key!r}], which the annotation of '
                f'{image_name(results)} lacks; it has: {", ".join(sorted(results["ann_info"]))}. Set {flag}=False in '
                'the pipeline of the config (data.train.pipeline), or use annotations that have it'
            )
        return results['ann_info'][key]

    def _load_bboxes(self, results: dict) -> None:
        boxes = self._annotation(results, 'bboxes', 'with_bbox').copy()
        if self.denorm_bbox:
            require(results, self, 'img_shape')
            h, w = results['img_shape'][:2]
            boxes = boxes.astype(np.float32) * np.array([w, h, w, h], dtype=np.float32)
        results['gt_bboxes'] = boxes
        ignored = results['ann_info'].get('bboxes_ignore')
        if ignored is not None:
            results['gt_bboxes_ignore'] = ignored.copy()
            add_field(results, 'bbox_fields', 'gt_bboxes_ignore')
        add_field(results, 'bbox_fields', 'gt_bboxes')
        groups = results['ann_info'].get('gt_is_group_ofs')
        if groups is not None:
            results['gt_is_group_ofs'] = groups.copy()

    def _load_masks(self, results: dict) -> None:
        masks = results['ann_info'].get('masks')
        if masks is None:
            raise ValueError(_no_masks(f'the annotation of {image_name(results)} holds no masks'))
        info = results.get('img_info', {})
        h, w = (info[edge] for edge in ('height', 'width')) if 'height' in info else results['img_shape'][:2]
        convert = to_rle if self.poly2mask else _to_polygons
        converted = []
        for i, mask in enumerate(masks):
            try:
                converted.append(convert(mask, h, w))
            except ValueError as error:
                raise ValueError(f'{_instance_name(results, i)}: {error}') from error
        if self.poly2mask:
            results['gt_masks'] = BitmapMasks(decode_rles(converted, h, w), h, w)
        else:
            results['gt_masks'] = PolygonMasks(converted, h, w)
        add_field(results, 'mask_fields', 'gt_masks')

    def _load_semantic_seg(self, results: dict) -> None:
        name = self._annotation(results, 'seg_map', 'with_seg')
        path, data = read_member(self.read, results, name, 'seg_prefix', 'semantic map')
        results['gt_semantic_seg'] = decode_image(data, path, 'unchanged').squeeze()
        add_field(results, 'seg_fields', 'gt_semantic_seg')

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(with_bbox={self.with_bbox}, with_label={self.with_label}, '
            f'with_mask={self.with_mask}, with_seg={self.with_seg}, poly2mask={self.poly2mask}, '
            f'denorm_bbox={self.denorm_bbox}, file_client_args={self.read!r}, with_keypoints={self.with_keypoints})'
        )


@PIPELINES.register_module()
class LoadProposals:
    """Take the image's proposals, ``(n, 4)`` or ``(n, 5)`` with scores, best first.

    Args:
        num_max_proposals: how many to keep; ``None`` keeps all.
    """

    def __init__(self, num_max_proposals: int | None = None) -> None:
        self.num_max_proposals = num_max_proposals

    def __call__(self, results: dict) -> dict:
        require(results, self, 'proposals')
        proposals = np.array(results['proposals'], dtype=np.float32)  # a copy: the data set keeps its own
        if proposals.ndim != 2 or proposals.shape[1] not in (4, 5):
            raise ValueError(
                f'expected proposals of shape (n, 4) or (n, 5) for {image_name(results)}, got {proposals.shape}'
            )
        proposals = proposals[: self.num_max_proposals, :4]
        results['proposals'] = proposals if len(proposals) else np.zeros((1, 4), dtype=np.float32)
        add_field(results, 'bbox_fields', 'proposals')
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(num_max_proposals={self.num_max_proposals})'


@PIPELINES.register_module()
class FilterAnnotations:
    """Drop instances that are too small to learn from.

    Args:
        min_gt_bbox_wh: an instance's box must be wider and higher than this, in pixels.
        min_gt_mask_area: its mask must have this many pixels.
        by_box: look at boxes.
        by_mask: look at masks.
        keep_empty: where no instance of an image remains, drop the sample (so it reads in MMDetection 2.x, whatever the
            name says); ``False`` gives it on without instances.
    """

    def __init__(
        self,
        min_gt_bbox_wh: tuple[float, float] = (1.0, 1.0),
        min_gt_mask_area: int = 1,
        by_box: bool = True,
        by_mask: bool = False,
        keep_empty: bool = True,
    ) -> None:
        if not (by_box or by_mask):
            raise ValueError('FilterAnnotations: set by_box, by_mask or both')
        self.min_gt_bbox_wh = min_gt_bbox_wh
        self.min_gt_mask_area = min_gt_mask_area
        self.by_box = by_box
        self.by_mask = by_mask
        self.keep_empty = keep_empty

    def __call__(self, results: dict) -> dict | None:
        require(results, self, 'gt_bboxes', *(['gt_masks'] * self.by_mask))
        boxes = results['gt_bboxes']
        if len(boxes) == 0:
            return results
        keep = np.ones(len(boxes), dtype=bool)
        if self.by_box:
            keep &= ((boxes[:, 2:] - boxes[:, :2]) > np.asarray(self.min_gt_bbox_wh)).all(axis=1)
        if self.by_mask:
            keep &= results['gt_masks'].areas >= self.min_gt_mask_area
        keep_instances(results, 'gt_bboxes', keep)
        return None if self.keep_empty and not keep.any() else results

    def __repr__(self) -> str:
        return f'{type(self).__name__}({", ".join(f"{k}={v!r}" for k, v in vars(self).items())})'


def add_field(results: dict, fields: str, key: str) -> None:
    """List ``key`` among ``bbox_fields``, ``mask_fields`` or ``seg_fields``, once."""
    if key not in results.setdefault(fields, []):
        results[fields].append(key)


def _as_keypoints(keypoints: Any, num_boxes: int, results: dict) -> np.ndarray:
    """``(n, K, 3)`` float32 from rows of K triples or of 3 K numbers; points that are not labelled become zeros."""
    array = np.asarray(keypoints, dtype=np.float32)
    if array.ndim < 2 and array.size == 0:
        array = np.zeros((0, 17, 3), dtype=np.float32)
    elif array.ndim == 2 and array.shape[1] % 3 == 0:
        array = array.reshape(len(array), array.shape[1] // 3, 3)
    if array.ndim != 3 or array.shape[2] != 3 or len(array) != num_boxes:
        raise ValueError(
            f'expected keypoints of shape ({num_boxes}, K, 3), x, y, visibility for each of the {num_boxes} boxes of '
            f'{image_name(results)}, got {np.shape(keypoints)}'
        )
    return np.where(array[..., 2:] > 0, array, np.float32(0))


def to_rle(mask: Any, h: int, w: int) -> dict:
    """A mask in any of COCO's forms, or an ``(h, w)`` bitmap, as a compressed RLE."""
    from pycocotools import mask as mask_utils

    _check_present(mask)
    if isinstance(mask, np.ndarray) and mask.ndim == 2:
        rle = mask_utils.encode(np.asfortranarray(mask != 0, dtype=np.uint8))
    elif isinstance(mask, dict):
        rle = mask_utils.frPyObjects(mask, *mask['size']) if isinstance(mask['counts'], list) else mask
    else:
        rle = polygons_to_rle(_valid_polygons(mask), h, w)
    if tuple(rle['size']) != (h, w):
        raise ValueError(
            f'its mask is {rle["size"][1]} x {rle["size"][0]} pixels (width x height), the image {w} x {h}: '
            'correct the size in the segmentation or in the image entry of the annotation file'
        )
    return rle


def _to_polygons(mask: Any, h: int, w: int) -> list[np.ndarray]:
    _check_present(mask)
    if isinstance(mask, dict) or (isinstance(mask, np.ndarray) and mask.ndim == 2):
        raise ValueError(
            'its mask is an RLE or a bitmap, which LoadAnnotations(poly2mask=False) cannot keep as polygons: '
            'set poly2mask=True in the pipeline of the config'
        )
    return _valid_polygons(mask)


def _valid_polygons(polygons: Any) -> list[np.ndarray]:
    """The polygons of 3 points or more."""
    if not isinstance(polygons, list | tuple) or any(np.ndim(p) != 1 for p in polygons):
        raise ValueError(f'expected its segmentation to be a list of polygons [x0, y0, x1, y1, ...], got {polygons!r}')
    arrays = [np.asarray(p) for p in polygons]
    return [p for p in arrays if len(p) % 2 == 0 and len(p) >= 6]


def _check_present(mask: Any) -> None:
    if mask is None or (isinstance(mask, list | tuple) and not mask):
        raise ValueError(_no_masks("its 'segmentation' is missing or empty"))


def _no_masks(what: str) -> str:
    return (
        f'{what}, but LoadAnnotations(with_mask=True) asks for masks. Use annotations with polygons or RLE, or train '
        'without masks: with_mask=False in data.train.pipeline, no gt_masks in Collect, and a model without a mask head'
    )


def image_name(results: dict) -> str:
    info = results.get('img_info', {})
    image_id = f' (image id {info["id"]})' if 'id' in info else ''
    return f'image {info.get("filename", results.get("filename"))}{image_id}'


def _instance_name(results: dict, index: int) -> str:
    ids = results['ann_info'].get('ann_ids')
    which = f'annotation id {ids[index]}' if ids is not None and index < len(ids) else f'annotation {index} (from 0)'
    return f'{which} of {image_name(results)}'
