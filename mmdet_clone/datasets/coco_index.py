"""An index over a COCO annotation file, with pycocotools' interface."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np

from .files import read_json

# what look-ups need of each entry
_KEYS = dict(images=('id',), annotations=('id', 'image_id'), categories=('id', 'name'))


class CocoIndex:
    """Look-ups in a COCO annotation dict, named as pycocotools' ``COCO`` names them, and silent.

    Both spellings of a method work: ``getAnnIds(imgIds=...)`` and ``get_ann_ids(img_ids=...)``.

    Attributes:
        dataset: the annotation dict; ``imgs``, ``anns``, ``cats``: its entries by id.
        imgToAnns: image id -> annotations; ``catToImgs``: category id -> image ids, one an annotation.
    """

    def __init__(self, annotation_file: str | dict | None = None) -> None:
        self.dataset = read_json(annotation_file) if isinstance(annotation_file, str) else annotation_file or {}
        self._check_layout(annotation_file if isinstance(annotation_file, str) else 'the annotations')
        self.createIndex()

    def _check_layout(self, source: str) -> None:
        if not isinstance(self.dataset, dict):
            hint = ": a list of dicts is the middle format of type='CustomDataset'" * isinstance(self.dataset, list)
            raise ValueError(f'{source}: expected a COCO dict, got a {type(self.dataset).__name__}{hint}')
        if self.dataset and self.dataset.get('images') is None:
            raise ValueError(f"{source}: a COCO dict has a list 'images'; this one has {sorted(self.dataset)}")
        for name, keys in _KEYS.items():
            _check_entries(self.dataset.get(name), f"{source}: '{name}'", keys)

    def createIndex(self) -> None:
        """Build the look-up tables from ``dataset``."""
        self.imgs = {img['id']: img for img in self.dataset.get('images') or []}
        self.cats = {cat['id']: cat for cat in self.dataset.get('categories') or []}
        self.anns: dict[Any, dict] = {}
        self.imgToAnns: dict[Any, list[dict]] = defaultdict(list)
        self.catToImgs: dict[Any, list] = defaultdict(list)
        for ann in self.dataset.get('annotations') or []:
            self.anns[ann['id']] = ann
            self.imgToAnns[ann['image_id']].append(ann)
            if 'category_id' in ann:
                self.catToImgs[ann['category_id']].append(ann['image_id'])

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
            for cat in self.dataset.get('categories') or []
            if (not catNms or cat['name'] in catNms)
            and (not supNms or cat.get('supercategory') in supNms)
            and (not catIds or cat['id'] in catIds)
        ]

    def getAnnIds(self, imgIds: Any = (), catIds: Any = (), areaRng: Any = (), iscrowd: bool | None = None) -> list:
        """Ids of the annotations that pass each filter given; ``areaRng`` is an open interval of pixels."""
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
        api.dataset = self.dataset
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
        print(json.dumps(self.dataset.get('info', {}), indent=2, default=str))

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
