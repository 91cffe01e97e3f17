"""All annotations of a data set as flat arrays, as they were written: nothing is filtered, mended or refused.

I: number of images    B: number of boxes
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

OTHER_CLASS, UNDEFINED_CLASS = -1, -2


@dataclass
class AnnotationTable:
    """The annotations of one annotation file.

    Attributes:
        source: the file, for messages.
        class_names: the classes that the data set uses, by label.
        layout: how the file writes its boxes, ``'xywh'`` or ``'xyxy'``.
        image_ids, filenames: (I,) lists.
        sizes: (I, 2) width and height, NaN where the file does not say.
        boxes: (B, 4) as written; NaN where there are not four numbers.
        owner: (B,) the index of each box's image.
        labels: (B,) class indices; ``OTHER_CLASS``, or ``UNDEFINED_CLASS`` for ids that no category has.
        crowd: (B,) regions that are not learnt: crowds, difficult objects, ``bboxes_ignore``.
        areas: (B,) as annotated, NaN where not.
        ids: (B,) annotation ids, or numbers within the image (from 0).
        category_ids: (B,) as written.
        masks: (B,) polygons, RLE or ``None``; ``None`` for a format without masks.
        categories: name -> id of each class that the file defines or, in formats without such a list, uses.
        defines_categories: the file lists its categories, so that another name cannot occur.
        orphans: annotations of images that the file does not list: (annotation id, image id).
        in_pixels: ``False`` for boxes in shares of the image's sides.
    """

    source: str
    class_names: tuple[str, ...]
    layout: str
    image_ids: list
    filenames: list[str]
    sizes: np.ndarray
    boxes: np.ndarray
    owner: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray
    ids: list
    category_ids: list
    masks: list | None = None
    categories: dict[str, Any] = field(default_factory=dict)
    defines_categories: bool = False
    orphans: list[tuple[Any, Any]] = field(default_factory=list)
    in_pixels: bool = True

    @property
    def box_sizes(self) -> np.ndarray:
        """(B, 2) the size of each box's image."""
        return self.sizes[self.owner]


def table_of_coco(
    content: dict, source: str, class_names: Sequence[str] | None, filenames: dict | None = None
) -> AnnotationTable:
    """The table of a COCO dict, however wrong its entries are.

    Args:
        content: ``images``, ``annotations`` and ``categories``; panoptic ``segments_info`` are annotations too.
        source: the file's name.
        class_names: the classes to use; those of ``categories`` by default.
        filenames: image id -> file name, where the data set makes its own.
    """
    images = _dicts(content.get('images'))
    categories = {cat['name']: cat.get('id') for cat in _dicts(content.get('categories')) if 'name' in cat}
    class_names = tuple(categories if class_names is None else class_names)
    index_of = {image.get('id'): i for i, image in enumerate(images)}
    anns = list(_annotations_of(content))
    listed = [ann for ann in anns if ann.get('image_id') in index_of]
    label_of = dict.fromkeys((cat.get('id') for cat in _dicts(content.get('categories'))), OTHER_CLASS)
    label_of.update({categories[name]: i for i, name in enumerate(class_names) if name in categories})
    masks = [ann.get('segmentation') for ann in listed]
    return AnnotationTable(
        source=source,
        class_names=class_names,
        layout='xywh',
        image_ids=[image.get('id') for image in images],
        filenames=[_coco_filename(image, filenames or {}) for image in images],
        sizes=_numbers([[image.get('width'), image.get('height')] for image in images], 2),
        boxes=_numbers([ann.get('bbox') for ann in listed], 4),
        owner=np.array([index_of[ann['image_id']] for ann in listed], dtype=np.int64),
        labels=np.array([label_of.get(ann.get('category_id'), UNDEFINED_CLASS) for ann in listed], dtype=np.int64),
        crowd=np.array([bool(ann.get('iscrowd') or ann.get('ignore')) for ann in listed], dtype=bool),
        areas=_numbers([[ann.get('area')] for ann in listed], 1)[:, 0],
        ids=[ann.get('id') for ann in listed],
        category_ids=[ann.get('category_id') for ann in listed],
        masks=masks if any(mask is not None for mask in masks) else None,
        categories=categories,
        defines_categories=True,
        orphans=[(ann.get('id'), ann.get('image_id')) for ann in anns if ann.get('image_id') not in index_of],
    )


def _annotations_of(content: dict) -> Iterable[dict]:
    for ann in _dicts(content.get('annotations')):
        if 'segments_info' in ann:
            yield from ({**segment, 'image_id': ann.get('image_id')} for segment in _dicts(ann['segments_info']))
        else:
            yield ann


def _dicts(entries: Any) -> list[dict]:
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _coco_filename(image: dict, filenames: dict) -> str:
    url = '/'.join(str(image.get('coco_url', '')).split('/')[-2:])  # LVIS: the folder and name of COCO's image
    return str(filenames.get(image.get('id')) or image.get('filename') or image.get('file_name') or url)


def _numbers(rows: list, width: int) -> np.ndarray:
    """(n, width) floats, NaN where a row is not ``width`` numbers."""
    try:
        return np.array(rows, dtype=float).reshape(len(rows), width)
    except (ValueError, TypeError):
        return np.array([_row(row, width) for row in rows], dtype=float).reshape(-1, width)


def _row(row: Any, width: int) -> list[float]:
    try:
        values = [float('nan' if value is None else value) for value in row]
    except (ValueError, TypeError):
        values = []
    return values if len(values) == width else [float('nan')] * width


def table_of_dataset(dataset: Any, source: str, normalised: bool = False) -> AnnotationTable:
    """The table of any data set with ``data_infos`` and ``get_ann_info``.

    Boxes come from where they are unfiltered: ``objects`` of xml data sets, ``ann`` of the middle format; else they are
    those that ``get_ann_info`` gives.

    Args:
        dataset: built in test mode, so that no image is left out.
        source: the file's name.
        normalised: boxes are shares of the image's width and height (OpenImages).
    """
    infos = dataset.data_infos
    names = tuple(dataset.CLASSES or ())
    per_image = [_boxes_of(dataset, i, info, names) for i, info in enumerate(infos)]
    counts = [len(found.boxes) for found in per_image]
    sizes = _numbers([[info.get('width') or None, info.get('height') or None] for info in infos], 2)
    masks = [mask for found in per_image for mask in found.masks]
    others = {name: None for found in per_image for name in found.other_names}
    return AnnotationTable(
        source=source,
        class_names=names,
        layout='xyxy',
        image_ids=[info.get('id', i) for i, info in enumerate(infos)],
        filenames=[_name(info.get('filename')) for info in infos],
        sizes=np.ones_like(sizes) if normalised else sizes,
        boxes=_stacked([found.boxes for found in per_image], (0, 4)),
        owner=np.repeat(np.arange(len(infos)), counts),
        labels=_stacked([found.labels for found in per_image], (0,)).astype(np.int64),
        crowd=_stacked([found.crowd for found in per_image], (0,)).astype(bool),
        areas=np.full(sum(counts), np.nan),
        ids=[k for count in counts for k in range(count)],
        category_ids=[value for found in per_image for value in found.written],
        masks=masks if any(mask is not None for mask in masks) else None,
        categories={**dict.fromkeys(names), **others},
        in_pixels=not normalised,
    )


@dataclass
class _OfImage:
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    masks: list
    written: list
    other_names: set[str] = field(default_factory=set)


def _boxes_of(dataset: Any, index: int, info: dict, names: Sequence[str]) -> _OfImage:
    if 'objects' in info:
        return _of_objects(info['objects'], {name: i for i, name in enumerate(names)})
    ann = info['ann'] if isinstance(info.get('ann'), dict) else dataset.get_ann_info(index)
    kept, ignored = (_numbers(_listed(ann.get(key)), 4) for key in ('bboxes', 'bboxes_ignore'))
    written = [*_as_many(ann.get('labels'), len(kept), UNDEFINED_CLASS)]
    written += _as_many(ann.get('labels_ignore'), len(ignored), 0)
    numbers = np.array(written, dtype=np.int64)
    masks = _listed(ann.get('masks'))
    masks = (masks if len(masks) == len(kept) else [None] * len(kept)) + [None] * len(ignored)
    return _OfImage(
        boxes=np.concatenate([kept, ignored]),
        labels=np.where((numbers >= 0) & (numbers < len(names)), numbers, UNDEFINED_CLASS),
        crowd=np.repeat([False, True], [len(kept), len(ignored)]),
        masks=masks,
        written=written,
    )


def _of_objects(objects: Sequence, label_of: dict[str, int]) -> _OfImage:
    return _OfImage(
        boxes=_numbers([list(item.box) for item in objects], 4),
        labels=np.array([label_of.get(item.name, OTHER_CLASS) for item in objects], dtype=np.int64),
        crowd=np.array([item.difficult for item in objects], dtype=bool),
        masks=[None] * len(objects),
        written=[item.name for item in objects],
        other_names={item.name for item in objects} - set(label_of),
    )


def _as_many(labels: Any, count: int, fill: int) -> list[int]:
    values = np.asarray(_listed(labels), dtype=np.int64).reshape(-1).tolist()[:count]
    return values + [fill] * (count - len(values))


def _listed(values: Any) -> list:
    return [] if values is None else list(values)


def _name(filename: Any) -> str:
    return filename if isinstance(filename, str) else str((filename or [''])[0])


def _stacked(parts: list[np.ndarray], empty: tuple[int, ...]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(empty)
