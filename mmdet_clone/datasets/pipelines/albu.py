"""Steps of the package albumentations."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from mmdet_clone.datasets.pipelines.base import bbox_fields, clip_boxes, keep_instances, require, set_img_shape
from mmdet_clone.datasets.pipelines.keypoints import KEY, Pairs, moved, swap_pairs
from mmdet_clone.datasets.pipelines.optional import import_optional
from mmdet_clone.registry import PIPELINES
from mmdet_clone.structures import BitmapMasks

_KEYMAP = {'img': 'image', 'gt_masks': 'masks', 'gt_bboxes': 'bboxes'}
_ROWS = 'row_of_box'


@PIPELINES.register_module()
class Albu:
    """Run transforms of the package ``albumentations`` over image, boxes, masks, keypoints and semantic maps.

    Boxes that it loses take their labels, masks and keypoints with them. Images are uint8. Masks become bitmaps. Random
    numbers follow from numpy's, so that a seed settles them.

    Args:
        transforms: dicts of ``type``, a name in ``albumentations`` (or a class), and its arguments; ``OneOf`` and its
            like have ``transforms`` of their own.
        bbox_params: arguments of ``albumentations.BboxParams``, beside them ``label_fields`` (further keys with a row
            per box, which are filtered too) and ``filter_lost_elements`` (which holds in any case). Its format is
            ``pascal_voc``.
        keymap: key of the sample -> name in ``albumentations``: ``image``, ``bboxes``, ``masks``.
        update_pad_shape: set ``pad_shape`` to the new image's.
        skip_img_without_anno: drop the sample if no ground truth box is left.
        flip_pairs: indices of left and right keypoints, swapped where the image was mirrored; as in ``RandomFlip``.

    Raises:
        ImportError: the package is not installed.
        ValueError: it has no transform of a name, or a transform does not take an argument.
    """

    def __init__(
        self,
        transforms: Sequence[dict],
        bbox_params: dict | None = None,
        keymap: dict[str, str] | None = None,
        update_pad_shape: bool = False,
        skip_img_without_anno: bool = False,
        flip_pairs: Pairs | None = None,
    ) -> None:
        package = _package()
        self.transforms = list(transforms)
        self.bbox_params = dict(bbox_params or {})
        self.update_pad_shape = update_pad_shape
        self.skip_img_without_anno = skip_img_without_anno
        self.flip_pairs = flip_pairs
        self.keymap = dict(keymap or _KEYMAP)
        self._label_fields = self.bbox_params.get('label_fields', [])
        self._image_key = next((key for key, name in self.keymap.items() if name == 'image'), 'img')
        steps = [build_transform(package, transform) for transform in self.transforms]
        with warnings.catch_warnings():  # it warns where no transform moves boxes or keypoints
            warnings.filterwarnings('ignore', message='Got processor', category=UserWarning)
            self._aug = package.Compose(
                steps,
                bbox_params=_box_params(package, self.bbox_params),
                keypoint_params=package.KeypointParams(format='xy', remove_invisible=False),
            )

    def __call__(self, results: dict) -> dict | None:
        require(results, self, self._image_key)
        if results[self._image_key].dtype != np.uint8:
            raise ValueError(
                f'Albu needs uint8 images, got {results[self._image_key].dtype}: load with to_float32=False, normalise '
                'after it'
            )
        if hasattr(self._aug, 'set_random_seed'):
            self._aug.set_random_seed(int(np.random.randint(2**31)))
        owners = _boxes_of(results)
        changed = self._aug(**self._targets(results, owners))
        self._take_back(results, changed, owners)
        return None if self.skip_img_without_anno and len(results.get('gt_bboxes', ())) == 0 else results

    def _targets(self, results: dict, owners: dict[str, np.ndarray]) -> dict[str, Any]:
        """What ``albumentations`` takes; lists, as any version of it does."""
        img = results[self._image_key]
        boxes = [clip_boxes(results[key][rows], img.shape) for key, rows in owners.items()]
        boxes = np.concatenate(boxes) if boxes else np.zeros((0, 4))
        targets = dict(image=img, bboxes=boxes.tolist())
        targets[_ROWS] = list(range(len(boxes)))
        points = results[KEY][..., :2].reshape(-1, 2).tolist() if KEY in results else []
        targets['keypoints'] = [*points, *_corners(img)]
        if len(results.get('gt_masks', ())):
            targets['masks'] = list(results['gt_masks'].to_bitmap().masks.astype(np.uint8))
        if 'gt_semantic_seg' in results:
            targets['mask'] = results['gt_semantic_seg']
        return targets

    def _take_back(self, results: dict, changed: dict[str, Any], owners: dict[str, np.ndarray]) -> None:
        before = results[self._image_key].shape
        results[self._image_key] = img = np.ascontiguousarray(changed['image'])
        pad_shape = results.get('pad_shape')
        if img.shape != before:
            set_img_shape(results)
        if pad_shape is not None and not self.update_pad_shape:
            results['pad_shape'] = pad_shape
        elif self.update_pad_shape:
            results['pad_shape'] = img.shape
        if 'mask' in changed:
            results['gt_semantic_seg'] = changed['mask']
        if 'gt_masks' in results:
            results['gt_masks'] = BitmapMasks(changed.get('masks', []), *img.shape[:2])
        if KEY in results:
            self._take_keypoints(results, np.array(changed['keypoints'], np.float32)[:, :2])
        self._take_boxes(results, changed, owners)

    def _take_keypoints(self, results: dict, points: np.ndarray) -> None:
        places, corners = points[:-3].reshape(*results[KEY].shape[:2], 2), points[-3:]
        results[KEY] = moved(results[KEY], lambda _: places, results[self._image_key].shape)
        right, down = corners[1:] - corners[0]
        if right[0] * down[1] - right[1] * down[0] < 0:
            results[KEY] = swap_pairs(results[KEY], self.flip_pairs, 'Albu')

    def _take_boxes(self, results: dict, changed: dict[str, Any], owners: dict[str, np.ndarray]) -> None:
        rows = np.array(changed[_ROWS], dtype=np.int64)
        boxes = np.array(changed['bboxes'], dtype=np.float32).reshape(-1, 4)
        first = 0
        for key, given in owners.items():
            mine = (rows >= first) & (rows < first + len(given))
            kept = given[rows[mine] - first]
            keep = np.zeros(len(results[key]), dtype=bool)
            keep[kept] = True
            if key == 'gt_bboxes':
                for name in set(self._label_fields) - {'gt_labels'}:
                    results[name] = np.asarray(results[name])[keep]
            keep_instances(results, key, keep)
            results[key] = boxes[mine][np.argsort(kept, kind='stable')]
            first += len(given)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(transforms={self.transforms}, bbox_params={self.bbox_params})'


def build_transform(package: ModuleType, cfg: dict) -> Any:
    """The transform that ``cfg`` describes; names and arguments of older versions of the package are translated.

    Raises:
        ValueError: there is no such transform, or it does not take an argument.
    """
    args = _up_to_date(package, dict(cfg))
    kind = args.pop('type')
    cls = getattr(package, kind, None) if isinstance(kind, str) else kind
    if cls is None:
        raise ValueError(f'Albu: albumentations {package.__version__} has no transform {kind!r}')
    if 'transforms' in args:
        args['transforms'] = [build_transform(package, transform) for transform in args['transforms']]
    try:
        with warnings.catch_warnings():  # it warns of an argument that it does not know, and goes on without
            warnings.filterwarnings('error', message='Argument', category=UserWarning)
            return cls(**args)
    except (UserWarning, TypeError, ValueError) as error:
        raise ValueError(f'Albu: {kind} of albumentations {package.__version__}: {error}') from error


def _up_to_date(package: ModuleType, args: dict) -> dict:
    if args.get('type') == 'JpegCompression' and not hasattr(package, 'JpegCompression'):
        args['type'] = 'ImageCompression'
        low, high = args.pop('quality_lower', 99), args.pop('quality_upper', 100)
        args['quality_range'] = (low, high)
    return args


def _box_params(package: ModuleType, given: dict) -> Any:
    args = {key: value for key, value in given.items() if key not in ('type', 'label_fields', 'filter_lost_elements')}
    if args.setdefault('format', 'pascal_voc') != 'pascal_voc':
        raise ValueError(f"Albu: boxes are x1, y1, x2, y2 in pixels: format='pascal_voc', got {args['format']!r}")
    return package.BboxParams(**args, label_fields=[_ROWS])


def _boxes_of(results: dict) -> dict[str, np.ndarray]:
    """The rows, by key, of the boxes that have a size within the image, which alone the package takes."""
    owners = {}
    for key in bbox_fields(results):
        boxes = clip_boxes(results[key], results['img'].shape)
        owners[key] = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1))
    return owners


def _corners(img: np.ndarray) -> list[list[float]]:
    """Three corners, which tell afterwards whether the image was mirrored."""
    h, w = img.shape[:2]
    return [[0.0, 0.0], [w - 1.0, 0.0], [0.0, h - 1.0]]


def _package() -> ModuleType:
    os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1')  # else its import asks the network for a newer version
    return import_optional('albumentations', 'Albu', 'pip install albumentations')
