"""One Pascal VOC xml file an image."""

from __future__ import annotations

import io
import os.path as osp
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..registry import DATASETS
from . import checks, files
from .custom import CustomDataset
from .image_files import image_size
from .lazy_records import packed


class VOCObject(NamedTuple):
    """An ``<object>``: its class, x1y1x2y2 as written (pixels counted from 1), and whether it is marked difficult."""

    name: str
    box: tuple[float, float, float, float]
    difficult: bool


class VOCFile(NamedTuple):
    """An annotation xml: ``width`` and ``height`` are 0 where it has no ``<size>``, the names may be empty."""

    width: int
    height: int
    objects: tuple[VOCObject, ...]
    filename: str = ''
    folder: str = ''

    def image_name(self, img_id: str, folder: str | None) -> str:
        """``img_id`` with ``.jpg``, or with the suffix that ``filename`` has if ``folder`` holds such a file."""
        suffix = osp.splitext(self.filename)[1]
        if folder and suffix not in ('', '.jpg') and osp.isfile(osp.join(folder, img_id + suffix)):
            return img_id + suffix
        return f'{img_id}.jpg'


def parse_voc_xml(content: bytes | str, source: str) -> VOCFile:
    """Read the content of an annotation xml; ``source`` names it in errors."""
    try:
        root = ElementTree.fromstring(content)
        size = root.find('size')
        width, height = (int(float(size.findtext(key, '0'))) if size is not None else 0 for key in ('width', 'height'))
        objects = tuple(_parse_object(node) for node in root.findall('object'))
        names = (root.findtext(key, '').strip() for key in ('filename', 'folder'))
        return VOCFile(width, height, objects, *names)
    except (ElementTree.ParseError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f'{source!r} is not a Pascal VOC annotation: {error}') from error


def _parse_object(node: ElementTree.Element) -> VOCObject:
    box = node.find('bndbox')
    if box is None or node.findtext('name') is None:
        raise ValueError('an <object> needs a <name> and a <bndbox>')
    corners = tuple(float(int(float(box.findtext(key)))) for key in ('xmin', 'ymin', 'xmax', 'ymax'))
    return VOCObject(node.findtext('name').strip(), corners, bool(int(node.findtext('difficult') or 0)))


@DATASETS.register_module()
class XMLDataset(CustomDataset):
    """Boxes from one xml an image, laid out as Pascal VOC lays it out.

    ``ann_file`` lists image names without suffix; ``img_prefix`` holds ``img_subdir`` and ``ann_subdir``. Coordinates
    count from 1 in the files and from 0 in samples. Difficult objects become ``bboxes_ignore``.

    Args:
        min_size: also ignore boxes with a side shorter than this many pixels (in training).
        img_subdir: the folder of the images in ``img_prefix``: ``.jpg``, or with the suffix that the xml names.
        ann_subdir: the folder of the xml files in ``img_prefix``.
    """

    def __init__(
        self,
        ann_file: str,
        pipeline: list[dict],
        classes: Sequence[str] | str | None = None,
        data_root: str | None = None,
        img_prefix: str = '',
        seg_prefix: str | None = None,
        seg_suffix: str = '.png',
        proposal_file: str | None = None,
        test_mode: bool = False,
        filter_empty_gt: bool = True,
        file_client_args: dict = dict(backend='disk'),  # noqa: B006 (read only)
        min_size: int | None = None,
        img_subdir: str = 'JPEGImages',
        ann_subdir: str = 'Annotations',
    ) -> None:
        if self.get_classes(classes) is None:
            raise ValueError(f'{type(self).__name__} has no CLASSES: set classes=[...] of the dataset')
        if min_size is not None and test_mode:
            raise ValueError('min_size ignores small boxes in training; leave it out where test_mode=True')
        self.min_size = min_size
        self.img_subdir = img_subdir
        self.ann_subdir = ann_subdir
        super().__init__(
            ann_file,
            pipeline,
            classes=classes,
            data_root=data_root,
            img_prefix=img_prefix,
            seg_prefix=seg_prefix,
            seg_suffix=seg_suffix,
            proposal_file=proposal_file,
            test_mode=test_mode,
            filter_empty_gt=filter_empty_gt,
            file_client_args=file_client_args,
        )

    def load_annotations(self, ann_file: str) -> Sequence[dict]:
        """One dict an image: ``id, filename, width, height`` and the xml's ``objects``."""
        self.cat2label = {name: label for label, name in enumerate(self.CLASSES)}
        return packed([self._load_one(img_id) for img_id in files.read_lines(ann_file)])

    def _load_one(self, img_id: str) -> dict:
        path = osp.join(self.img_prefix, self.ann_subdir, f'{img_id}.xml')
        if self._on_disk() and not osp.isfile(path):
            raise FileNotFoundError(
                f'{self.ann_file!r} lists {img_id!r}, but there is no {path!r} (img_prefix={self.img_prefix!r}, '
                f'ann_subdir={self.ann_subdir!r}, name, .xml): correct one of these parts'
            )
        annotation = parse_voc_xml(self.file_client.get(path), path)
        info = dict(id=img_id, filename=self._image_file(img_id, annotation), objects=annotation.objects)
        width, height = annotation.width, annotation.height
        if not (width and height):
            width, height = self._image_size(info['filename'])
        return {**info, 'width': width, 'height': height}

    def _image_file(self, img_id: str, annotation: VOCFile) -> str:
        """The image of an annotation, relative to ``img_prefix``."""
        folder = osp.join(self.img_prefix, self.img_subdir) if self._on_disk() else None
        return f'{self.img_subdir}/{annotation.image_name(img_id, folder)}'

    def _image_size(self, filename: str) -> tuple[int, int]:
        return image_size(io.BytesIO(self.file_client.get(osp.join(self.img_prefix, filename))))

    def get_ann_info(self, idx: int) -> dict[str, Any]:
        """``bboxes`` (n, 4) float32 counted from 0, ``labels``, ``bboxes_ignore`` and ``labels_ignore`` of an image."""
        objects = [item for item in self.data_infos[idx]['objects'] if item.name in self.cat2label and has_size(item)]
        kept = [item for item in objects if not self._to_ignore(item)]
        ignored = [item for item in objects if self._to_ignore(item)]
        return dict(
            bboxes=_from_zero(kept),
            labels=np.array([self.cat2label[item.name] for item in kept], dtype=np.int64),
            bboxes_ignore=_from_zero(ignored),
            labels_ignore=np.array([self.cat2label[item.name] for item in ignored], dtype=np.int64),
        )

    def _to_ignore(self, item: VOCObject) -> bool:
        x1, y1, x2, y2 = item.box
        small = self.min_size is not None and (x2 - x1 < self.min_size or y2 - y1 < self.min_size)
        return item.difficult or small

    def get_cat_ids(self, idx: int) -> list[int]:
        """The label of each object of an image, difficult ones too."""
        names = (item.name for item in self.data_infos[idx]['objects'])
        return [self.cat2label[name] for name in names if name in self.cat2label]

    def check_annotations(self) -> None:
        """Boxes, and class names that nearly match one in the files."""
        owner = np.repeat(np.arange(len(self)), [len(info['objects']) for info in self.data_infos])
        objects = [item for info in self.data_infos for item in info['objects']]
        boxes = np.array([item.box for item in objects], dtype=float).reshape(-1, 4)
        self._check_boxes_lie_inside(boxes, owner, 'xyxy')
        self._check_names({item.name for item in objects})
        if self._asks_for('with_mask') and not self.test_mode:
            raise ValueError(
                f'{type(self).__name__} has boxes and no masks, but the pipeline asks for masks (with_mask=True): '
                'set with_mask=False, or use a data set with polygons'
            )

    def _check_names(self, present: set[str]) -> None:
        absent = [name for name in self.CLASSES if name not in present]
        if present and len(absent) == len(self.CLASSES):
            checks.check_class_names(self.CLASSES, sorted(present), f'the xml files of {self.ann_file!r}')
        other = sorted(present - set(self.CLASSES))
        for name in absent:
            near = checks.near_names(name, other)
            if near:
                warnings.warn(
                    f'{self.ann_file!r}: no object is named {name!r}, but some are {near[0]!r}: are they the same?',
                    stacklevel=2,
                )

    def _filter_imgs(self, min_size: int = 32) -> list[int]:
        self._check_sizes_known()
        keep = [i for i, info in enumerate(self.data_infos) if min(info['width'], info['height']) >= min_size]
        return [i for i in keep if self.get_cat_ids(i)] if self.filter_empty_gt else keep

    def _removal_reasons(self) -> dict[str, int]:
        small = sum(min(info['width'], info['height']) < 32 for info in self.data_infos)
        empty = sum(not info['objects'] for info in self.data_infos)
        rest = len(self) - small - empty
        return {
            'smaller than 32 pixels': small,
            'without annotation': empty,
            'without annotation of the wanted classes': rest,
        }

    def get_subset_by_classes(self) -> list[dict]:
        """The entries of the images that show one of ``CLASSES``."""
        return [info for i, info in enumerate(self.data_infos) if self.get_cat_ids(i)]


def has_size(item: VOCObject) -> bool:
    """Whether the box is wider and higher than nothing."""
    return item.box[2] > item.box[0] and item.box[3] > item.box[1]


def _from_zero(objects: list[VOCObject]) -> np.ndarray:
    return np.array([item.box for item in objects], dtype=np.float32).reshape(-1, 4) - 1
