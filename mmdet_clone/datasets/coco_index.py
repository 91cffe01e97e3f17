"""An index over a COCO annotation file, with pycocotools' interface."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .coco_columns import CocoColumns, columns_of_dicts, columns_of_table
from .coco_table import ANNOTATION_KEYS, IMAGE_KEYS, CocoTable
from .coco_views import AnnotationsByImage, ImagesByCategory, entries_by_id, matching_ids
from .files import read_json
from .lazy_records import LazyList, LazyMapping
from .table_cache import load_table

# what look-ups need of each entry
_KEYS = dict(images=('id',), annotations=('id', 'image_id'), categories=('id', 'name'))


class CocoIndex:
    """Look-ups in a COCO annotation dict, named as pycocotools' ``COCO`` names them, and silent.

    Both spellings of a method work: ``getAnnIds(imgIds=...)`` and ``get_ann_ids(img_ids=...)``.

    A file of the usual layout is kept as a ``CocoTable``: its entries are made when they are asked for, and remember
    changes made to them (not those inside a list: set ``ann['bbox']`` anew). ``dataset``, the whole as dicts, takes
    many times the memory; from when it was asked for, all entries are those of it. Given a dict, its entries are used.

    Attributes:
        imgs, anns, cats: entries by id.
        imgToAnns: image id -> annotations; ``catToImgs``: category id -> image ids, one an annotation.
    """

    imgs: Mapping[Any, dict]
    anns: Mapping[Any, dict]
    cats: dict[Any, dict]
    imgToAnns: Mapping[Any, list[dict]]
    catToImgs: Mapping[Any, list]

    def __init__(self, annotation_file: str | os.PathLike | dict | None = None) -> None:
        annotation_file = os.fspath(annotation_file) if isinstance(annotation_file, os.PathLike) else annotation_file
        from_file = isinstance(annotation_file, str)
        self._dataset: dict | None = None
        self._table = load_table(annotation_file) if from_file else None
        if self._table is None:
            self._dataset = read_json(annotation_file) if from_file else annotation_file or {}
        self._check_layout(annotation_file if from_file else 'the annotations')
        self.createIndex()

    def _check_layout(self, source: str) -> None:
        content = self._table.other_entries() if self._table is not None else self._dataset
        if not isinstance(content, dict):
            hint = ": a list of dicts is the middle format of type='CustomDataset'" * isinstance(content, list)
            raise ValueError(f'{source}: expected a COCO dict, got a {type(content).__name__}{hint}')
        if self._table is None and content and content.get('images') is None:
            raise ValueError(f"{source}: a COCO dict has a list 'images'; this one has {sorted(content)}")
        for name, keys in _KEYS.items():
            _check_entries(content.get(name), f"{source}: '{name}'", keys)

    # ------------------------------------------------------------------ storage

    @property
    def table(self) -> CocoTable | None:
        """The file's arrays; ``None`` for dicts, and once a value that they hold was set in an entry."""
        unchanged = self._table is not None and self._dataset is None
        return self._table if unchanged and self._images.rows is not None and self._anns.rows is not None else None

    @property
    def dataset(self) -> dict:
        """The annotation dict."""
        if self._dataset is None:
            content = self._table.other_entries()
            content['images'] = list(map(dict, self._images))
            if 'annotations' in content:
                content['annotations'] = list(map(dict, self._anns))
            self.dataset = content
            self.createIndex()
        return self._dataset

    @dataset.setter
    def dataset(self, content: dict) -> None:
        self._dataset = content

    @property
    def images(self) -> Sequence[dict]:
        """All images in the file's order."""
        return self._images if self._dataset is None else self._dataset.get('images') or []

    @property
    def annotations(self) -> Sequence[dict] | None:
        """All annotations in the file's order; ``None`` for a file that has no such list."""
        if self._dataset is not None:
            return self._dataset.get('annotations')
        return self._anns if 'annotations' in self._others else None

    @property
    def categories(self) -> list[dict]:
        """All categories in the file's order."""
        return (self._others if self._dataset is None else self._dataset).get('categories') or []

    def columns(self, source: str = 'the annotations') -> CocoColumns:
        """The annotations' numbers as arrays; of dicts, those whose image is listed.

        Raises:
            ValueError: a text or null stands where a number belongs.
        """
        if self.table is not None:
            return columns_of_table(self.table)
        return columns_of_dicts(
            self.images,
            [ann for ann in self.annotations or () if ann['image_id'] in self.imgs],
            self.categories,
            source,
        )

    # ------------------------------------------------------------------ look-ups

    def createIndex(self) -> None:
        """Build the look-up tables; to be called after a change of ``dataset``."""
        if self._dataset is None:
            self._index_table(self._table)
        else:
            self._index_dicts(self._dataset)

    def _index_dicts(self, content: dict) -> None:
        self.imgs = {img['id']: img for img in content.get('images') or []}
        self.cats = {cat['id']: cat for cat in content.get('categories') or []}
        self.anns = {}
        self.imgToAnns = defaultdict(list)
        self.catToImgs = defaultdict(list)
        for ann in content.get('annotations') or []:
            self.anns[ann['id']] = ann
            self.imgToAnns[ann['image_id']].append(ann)
            if 'category_id' in ann:
                self.catToImgs[ann['category_id']].append(ann['image_id'])

    def _index_table(self, table: CocoTable) -> None:
        self._others = table.other_entries()
        self._images = LazyList(table.image, np.arange(table.num_images), IMAGE_KEYS)
        self._anns = LazyList(table.annotation, table.ann_rows, ANNOTATION_KEYS)
        self.cats = {cat['id']: cat for cat in self.categories}
        self.imgs, self.anns = entries_by_id(table, self._images, self._anns)
        by_image, by_category = AnnotationsByImage(table, self._anns), ImagesByCategory(table)
        self._anns_of = by_image.find
        self.imgToAnns = LazyMapping(by_image.keys, by_image.find, by_image.read, missing=list)
        self.catToImgs = LazyMapping(by_category.keys, by_category.find, by_category.read, missing=list)

    def getImgIds(self, imgIds: Any = (), catIds: Any = ()) -> list:
        """Ids of the images, of those in ``imgIds`` that show every category of ``catIds`` where these are given."""
        imgIds, catIds = _as_list(imgIds), _as_list(catIds)
        if not imgIds and not catIds:
            return list(self.imgs)
        shows_all = [set(self.catToImgs.get(cat_id, ())) for cat_id in catIds]
        return [i for i in dict.fromkeys(imgIds or self.imgs) if all(i in images for images in shows_all)]

    def getCatIds(self, catNms: Any = (), supNms: Any = (), catIds: Any = ()) -> list:
        """Ids of the categories, in the file's order, that pass each filter given."""
        catNms, supNms, catIds = _as_list(catNms), _as_list(supNms), _as_list(catIds)
        return [
            cat['id']
            for cat in self.categories
            if (not catNms or cat['name'] in catNms)
            and (not supNms or cat.get('supercategory') in supNms)
            and (not catIds or cat['id'] in catIds)
        ]

    def getAnnIds(self, imgIds: Any = (), catIds: Any = (), areaRng: Any = (), iscrowd: bool | None = None) -> list:
        """Ids of the annotations that pass each filter given; ``areaRng`` is an open interval of pixels."""
        if self.table is not None:
            spans = [self._anns_of(image_id) for image_id in _as_list(imgIds)] or None
            return matching_ids(self.table, spans, _as_list(catIds), areaRng, iscrowd)
        imgIds, catIds = _as_list(imgIds), set(_as_list(catIds))
        anns = (ann for i in imgIds for ann in self.imgToAnns.get(i, ())) if imgIds else self.anns.values()
        return [
            ann['id']
            for ann in anns
            if (not catIds or ann['category_id'] in catIds)
            and (not len(areaRng) or areaRng[0] < ann['area'] < areaRng[1])
            and (iscrowd is None or bool(ann.get('iscrowd', 0)) == bool(iscrowd))
        ]

    def loadImgs(self, ids: Any = ()) -> list[dict]:
        return [self.imgs[i] for i in _as_list(ids)]

    def loadAnns(self, ids: Any = ()) -> list[dict]:
        return [self.anns[i] for i in _as_list(ids)]

    def loadCats(self, ids: Any = ()) -> list[dict]:
        return [self.cats[i] for i in _as_list(ids)]

    def loadRes(self, resFile: str | list[dict]) -> Any:
        """Detections (a result file or list) as pycocotools' ``COCO``, ready for its ``COCOeval``."""
        from pycocotools.coco import COCO

        from ..evaluation.coco import silenced

        api = COCO()
        api.dataset = dict(images=list(self.images), categories=self.categories, annotations=[])
        with silenced():
            api.createIndex()
            return api.loadRes(resFile)

    def annToRLE(self, ann: dict) -> dict:
        """The annotation's mask as compressed RLE."""
        from pycocotools import mask

        segmentation, image = ann['segmentation'], self.imgs[ann['image_id']]
        if isinstance(segmentation, list):
            return mask.merge(mask.frPyObjects(segmentation, image['height'], image['width']))
        if isinstance(segmentation['counts'], list):
            return mask.frPyObjects(segmentation, image['height'], image['width'])
        return segmentation

    def annToMask(self, ann: dict) -> np.ndarray:
        """The annotation's mask, (height, width) uint8."""
        from pycocotools import mask

        return mask.decode(self.annToRLE(ann))

    def info(self) -> None:
        """Print the file's ``info`` block."""
        content = self._others if self._dataset is None else self._dataset
        print(json.dumps(content.get('info', {}), indent=2, default=str))

    # the second spelling
    @property
    def img_ann_map(self) -> dict[Any, list[dict]]:
        return self.imgToAnns

    @property
    def cat_img_map(self) -> dict[Any, list]:
        return self.catToImgs

    def get_ann_ids(
        self, img_ids: Any = (), cat_ids: Any = (), area_rng: Any = (), iscrowd: bool | None = None
    ) -> list:
        return self.getAnnIds(img_ids, cat_ids, area_rng, iscrowd)

    def get_cat_ids(self, cat_names: Any = (), sup_names: Any = (), cat_ids: Any = ()) -> list:
        return self.getCatIds(cat_names, sup_names, cat_ids)

    def get_img_ids(self, img_ids: Any = (), cat_ids: Any = ()) -> list:
        return self.getImgIds(img_ids, cat_ids)

    def load_anns(self, ids: Any = ()) -> list[dict]:
        return self.loadAnns(ids)

    def load_cats(self, ids: Any = ()) -> list[dict]:
        return self.loadCats(ids)

    def load_imgs(self, ids: Any = ()) -> list[dict]:
        return self.loadImgs(ids)


def _check_entries(entries: Any, place: str, keys: Iterable[str]) -> None:
    """Raise ``ValueError`` where ``entries`` is no list of dicts with ``keys``; it may be missing altogether."""
    if entries is not None and not isinstance(entries, list):
        raise ValueError(f'{place} is a list of dicts, got a {type(entries).__name__}')
    for i, entry in enumerate(entries or ()):
        for key in keys:
            if not isinstance(entry, dict) or key not in entry:
                found = sorted(entry) if isinstance(entry, dict) else entry
                raise ValueError(f'{place}: entry {i} (from 0) has no {key!r}, it has {found}')


def _as_list(value: Any) -> list:
    if value is None:
        return []
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str | bytes) else [value]
