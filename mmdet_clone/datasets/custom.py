"""The data set that others derive from, reading MMDetection's middle format."""

from __future__ import annotations

import os.path as osp
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from ..registry import DATASETS, type_name
from . import checks, files, middle_format
from .image_files import check_files
from .lazy_records import chosen, plain
from .middle_format import boxes_of
from .pipelines import Compose, LoadImageFromFile

_MOST_RETRIES = 1000
_PER_BOX = ('labels', 'masks')  # entries of ``ann`` that run parallel to ``bboxes``


@DATASETS.register_module()
class CustomDataset(Dataset):
    """Images and boxes from a list of dicts, the middle format::

        [dict(filename='a.jpg', width=1280, height=720,
              ann=dict(bboxes=(n, 4) x1y1x2y2 pixels, labels=(n,), bboxes_ignore=(k, 4), labels_ignore=(k,))), ...]

    Labels are in [0, len(CLASSES)). The file is ``.json`` or ``.pkl`` (plain data and numpy arrays only). Boxes of zero
    or negative size are left out. A subclass for another format overrides ``load_annotations`` (and ``get_ann_info``
    where its entries have no ``ann``) and sets ``CLASSES``.

    Args:
        ann_file: the annotation file, under ``data_root`` unless absolute.
        pipeline: the steps that turn one image's dict into a sample.
        classes: names in label order, or a text file with one a line; by default ``CLASSES``.
        data_root: the folder that the other paths are relative to.
        img_prefix: the folder of the images.
        seg_prefix: the folder of the semantic maps.
        seg_suffix: the suffix of a semantic map, in place of the image's.
        proposal_file: a pickle with one (n, 4) or (n, 5) array an image, in the order of ``ann_file``.
        test_mode: annotations are not loaded with a sample and nothing is filtered.
        filter_empty_gt: in training, leave out images without a box of ``classes``.
        file_client_args: where the files lie (an mmengine file backend).
    """

    CLASSES: Sequence[str] | None = None
    PALETTE: Sequence[tuple[int, int, int]] | None = None

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
    ) -> None:
        self.CLASSES = self.get_classes(classes)
        self.data_root = data_root
        self.ann_file = files.join_root(data_root, ann_file)
        self.img_prefix = files.join_root(data_root, img_prefix)
        self.seg_prefix = files.join_root(data_root, seg_prefix)
        self.proposal_file = files.join_root(data_root, proposal_file)
        self.seg_suffix = seg_suffix
        self.test_mode = test_mode
        self.filter_empty_gt = filter_empty_gt
        self.file_client_args = dict(file_client_args or {})
        self.file_client = files.storage_backend(file_client_args, self.ann_file)
        self._pipeline_steps = [step for step in pipeline if isinstance(step, dict)]

        self.data_infos = self._through_local_path('ann_file', self.ann_file, self.load_annotations)
        self.proposals = None
        if self.proposal_file is not None:
            self.proposals = self._through_local_path('proposal_file', self.proposal_file, self.load_proposals)
            self._check_proposals()
        self._check_image_folders()
        self.check_annotations()
        if not len(self.data_infos):
            raise ValueError(checks.no_images_message(str(self.ann_file), 0, {}))
        if not test_mode:
            self._keep(self._filter_imgs())
            self._set_group_flag()
        self.pipeline = Compose(pipeline)

    # ------------------------------------------------------------------ what a subclass overrides

    def load_annotations(self, ann_file: str) -> Sequence[dict]:
        """One dict an image from ``ann_file``, a local path."""
        infos = files.read_records(ann_file)
        if not isinstance(infos, list) or not all(isinstance(info, dict) for info in infos):
            raise ValueError(f'{ann_file!r} is not in the middle format: expected a list of dicts, {_found(infos)}')
        return infos

    def load_proposals(self, proposal_file: str) -> list[np.ndarray]:
        """One (n, 4) or (n, 5) array an image, in the order of the annotation file."""
        return files.read_records(proposal_file)

    def get_ann_info(self, idx: int) -> dict[str, Any]:
        """``bboxes`` (n, 4) float32, ``labels`` (n,) int64, ``bboxes_ignore``, ``labels_ignore`` of an image."""
        ann = self.data_infos[idx].get('ann', {})
        bboxes = boxes_of(ann.get('bboxes'))
        sized = (bboxes[:, 2:] > bboxes[:, :2]).all(axis=1)
        info = {**ann, 'bboxes': bboxes[sized], 'bboxes_ignore': boxes_of(ann.get('bboxes_ignore'))}
        for key in _PER_BOX:
            if key in ann:
                info[key] = [item for item, keep in zip(ann[key], sized, strict=True) if keep]
        info['labels'] = np.array(info.get('labels', []), dtype=np.int64)
        info['labels_ignore'] = np.array(ann.get('labels_ignore', [0] * len(info['bboxes_ignore'])), dtype=np.int64)
        return info

    def get_cat_ids(self, idx: int) -> list[int]:
        """The class of each box of an image, which class-balanced sampling counts."""
        return self.get_ann_info(idx)['labels'].tolist()

    def cat_ids_by_image(self) -> tuple[np.ndarray, np.ndarray]:
        """``get_cat_ids`` of all images: the image's index and the class of each box, two arrays of one length."""
        found = [list(self.get_cat_ids(i)) for i in range(len(self))]
        owner = np.repeat(np.arange(len(self)), [len(cat_ids) for cat_ids in found])
        return owner, np.array([cat_id for cat_ids in found for cat_id in cat_ids])

    def check_annotations(self) -> None:
        """Look for mistakes in the annotations; called once, at construction."""
        annotated = [(i, info['ann']) for i, info in enumerate(self.data_infos) if isinstance(info.get('ann'), dict)]
        if not annotated:
            return
        self._check_middle_format(annotated)
        if self._asks_for('with_mask'):
            middle_format.check_masks(annotated, self.data_infos, repr(self.ann_file))

    def _filter_imgs(self, min_size: int = 32) -> list[int]:
        """Indices of the images to train on: at least ``min_size`` pixels a side and, if asked for, with a box."""
        self._check_sizes_known()
        keep = np.flatnonzero(self._sizes().min(axis=1) >= min_size).tolist()
        if not self.filter_empty_gt:
            return keep
        return [i for i in keep if 'ann' not in self.data_infos[i] or len(self.get_ann_info(i)['bboxes'])]

    def _removal_reasons(self) -> dict[str, int]:
        """How many images are left out for what reason; asked only when none is left."""
        small = sum(min(info['width'], info['height']) < 32 for info in self.data_infos)
        return {'are smaller than 32 pixels': small, 'have no box of a usable size': len(self.data_infos) - small}

    # ------------------------------------------------------------------ samples

    def check_images(self, limit: int | None = None) -> None:
        """Raise ``FileNotFoundError`` or ``ValueError`` for images that are missing, damaged or of another size.

        Lists the folders and reads the beginning and end of the files, of ``limit`` of them where it is given; those
        that look odd are loaded. Images of a remote backend are not looked at.
        """
        if not self._on_disk() or '://' in (self.img_prefix or ''):
            return
        named = [i for i, info in enumerate(self.data_infos) if isinstance(info.get('filename'), str)]
        check_files(chosen(self.data_infos, named), self.img_prefix or '', self._load_image, repr(self.ann_file), limit)

    def _load_image(self, info: dict) -> None:
        """Load an image by the pipeline's loading step, which says what is wrong with it."""
        load = next((step for step in self.pipeline.transforms if isinstance(step, LoadImageFromFile)), None)
        results = dict(img_info=info)
        self.pre_pipeline(results)
        (load or LoadImageFromFile())(results)

    def __len__(self) -> int:
        return len(self.data_infos)

    def __getitem__(self, idx: int) -> dict:
        """A sample; in training, an image that the pipeline drops is replaced by a random one of its group."""
        if self.test_mode:
            return self.prepare_test_img(idx)
        for _ in range(_MOST_RETRIES):
            sample = self.prepare_train_img(idx)
            if sample is not None:
                return sample
            idx = self._rand_another(idx)
        raise RuntimeError(
            f'the pipeline of {type(self).__name__} dropped {_MOST_RETRIES} images in a row (last: '
            f'{self.data_infos[idx].get("filename")!r}): a crop or filter step leaves no box'
        )

    def prepare_train_img(self, idx: int) -> dict | None:
        """The training sample of an image, ``None`` if a pipeline step drops it."""
        results = dict(img_info=plain(self.data_infos[idx]), ann_info=self.get_ann_info(idx))
        return self._run_pipeline(results, idx)

    def prepare_test_img(self, idx: int) -> dict:
        """The test sample of an image; it carries no annotation."""
        return self._run_pipeline(dict(img_info=plain(self.data_infos[idx])), idx)

    def pre_pipeline(self, results: dict) -> None:
        """Put what every pipeline starts from into ``results``."""
        results.update(
            data_root=self.data_root,
            img_prefix=self.img_prefix,
            seg_prefix=self.seg_prefix,
            proposal_file=self.proposal_file,
            bbox_fields=[],
            mask_fields=[],
            seg_fields=[],
        )

    def _run_pipeline(self, results: dict, idx: int) -> dict | None:
        if self.proposals is not None:
            results['proposals'] = self.proposals[idx]
        self.pre_pipeline(results)
        return self.pipeline(results)

    def _rand_another(self, idx: int) -> int:
        return int(np.random.choice(np.flatnonzero(self.flag == self.flag[idx])))

    # ------------------------------------------------------------------ classes

    @classmethod
    def get_classes(cls, classes: Sequence[str] | str | None = None) -> tuple[str, ...] | None:
        """``classes`` as a tuple of names: a list, a tuple, or a text file with one a line; default ``CLASSES``."""
        return checks.resolve_classes(classes, cls.CLASSES)

    def get_cat2imgs(self) -> dict[int, list[int]]:
        """label -> indices of the images that show it, which class-aware sampling draws from."""
        if self.CLASSES is None:
            raise ValueError(f'{type(self).__name__} has no CLASSES: set classes=[...] of the dataset')
        images: dict[int, list[int]] = {label: [] for label in range(len(self.CLASSES))}
        for i in range(len(self)):
            for label in sorted(set(self._labels_of(i))):
                images[label].append(i)
        return images

    def _labels_of(self, idx: int) -> list[int]:
        return self.get_cat_ids(idx)

    # ------------------------------------------------------------------ evaluation

    METRICS = ('mAP', 'recall')  # what ``evaluate`` takes as ``metric``

    def format_results(self, results: list, **kwargs: Any) -> None:
        """Nothing to write: the middle format has no submission server."""

    def evaluate(
        self,
        results: list,
        metric: str | Sequence[str] = 'mAP',
        logger: Any = None,
        proposal_nums: Sequence[int] = (100, 300, 1000),
        iou_thr: float | Sequence[float] = 0.5,
        scale_ranges: Sequence[tuple[float, float]] | None = None,
    ) -> OrderedDict[str, float]:
        """Pascal VOC's measures: ``mAP`` (with ``AP50`` ... per threshold) or ``recall`` of proposals.

        Args:
            results: per image, a list over classes of (n, 5) arrays, or one (n, 4+) array of proposals for recall.
            metric: ``'mAP'`` or ``'recall'``.
            logger: where the table goes; printed by default.
            proposal_nums: how many proposals an image, for recall.
            iou_thr: the thresholds.
            scale_ranges: further, evaluate objects whose sqrt(area) is in each range, for mAP.
        """
        from ..evaluation.voc_map import evaluate_as_voc

        self._check_results(results)
        annotations = [self.get_ann_info(i) for i in range(len(self))]
        return evaluate_as_voc(results, annotations, self.CLASSES, metric, logger, proposal_nums, iou_thr, scale_ranges)

    def _check_results(self, results: list) -> None:
        if not isinstance(results, Sequence) or isinstance(results, str):
            raise TypeError(f'results must be a list with one entry an image, got {type(results).__name__}')
        if len(results) != len(self):
            raise ValueError(
                f'{len(results)} results for the {len(self)} images of {self.ann_file!r}: '
                'were they made from another data set, or from a part of it?'
            )

    # ------------------------------------------------------------------ construction

    def _through_local_path(self, name: str, path: str, load: Any) -> Any:
        """``load(path)``, with a file of a remote backend copied first and an absent one explained."""
        try:
            with self.file_client.get_local_path(path) as local_path:
                return load(str(local_path))
        except FileNotFoundError as error:
            if not isinstance(path, str) or osp.exists(path) or '://' in path:
                raise
            raise FileNotFoundError(files.missing_path(name, path, self.data_root)) from error

    @property
    def loads_images(self) -> bool:
        """Whether the pipeline reads the image files that the annotations name."""
        return any(type_name(step) == 'LoadImageFromFile' for step in self._pipeline_steps)

    def _check_image_folders(self) -> None:
        """Raise ``FileNotFoundError`` if the pipeline reads images from a local folder that does not exist."""
        for name, folder in (('img_prefix', self.img_prefix), ('seg_prefix', self.seg_prefix)):
            if self.loads_images and folder and '://' not in folder and self._on_disk() and not osp.isdir(folder):
                raise FileNotFoundError(files.missing_path(name, folder, self.data_root, 'folder'))

    def _on_disk(self) -> bool:
        backends = [self.file_client_args, *(step.get('file_client_args') or {} for step in self._pipeline_steps)]
        return all(args.get('backend', 'disk') in ('disk', 'local') for args in backends)

    def _asks_for(self, option: str) -> bool:
        """Whether the pipeline's annotation loading has ``option`` (``'with_mask'``) switched on."""
        return any(type_name(step) == 'LoadAnnotations' and step.get(option) for step in self._pipeline_steps)

    def _check_proposals(self) -> None:
        if len(self.proposals) != len(self.data_infos):
            raise ValueError(
                f'{self.proposal_file!r} holds proposals for {len(self.proposals)} images, {self.ann_file!r} lists '
                f'{len(self.data_infos)}: make them with the same, unfiltered annotation file (test_mode=True)'
            )

    def _check_sizes_known(self) -> None:
        sizes = self._sizes()
        if ((sizes > 0) | (sizes < 0)).all():
            return
        for i, info in enumerate(self.data_infos):
            if not (info.get('width') and info.get('height')):
                raise ValueError(
                    f"{self.ann_file!r}: image {i} ({info.get('filename')!r}) has no 'width' and 'height'; "
                    f'training groups images by their shape. Its keys: {sorted(info)}'
                )

    def _check_middle_format(self, annotated: list[tuple[int, dict]]) -> None:
        """Shapes, labels and boxes of the entries' ``ann``, given with their index."""
        count = len(self.CLASSES) if self.CLASSES is not None else np.inf
        boxes, owner = middle_format.checked_boxes(annotated, self.data_infos, count, repr(self.ann_file))
        self._check_boxes_lie_inside(boxes, owner, 'xyxy')

    def _check_boxes_lie_inside(self, boxes: np.ndarray, owner: np.ndarray, layout: str) -> None:
        """See ``check_boxes``; ``owner`` (n,) is the index of each box's image."""
        sizes = self._sizes()
        checks.check_boxes(
            boxes, sizes[owner], layout, lambda i: str(self.data_infos[owner[i]].get('filename')), str(self.ann_file)
        )

    def _keep(self, indices: Sequence[int]) -> None:
        """Narrow the data set to ``indices``, and say why if nothing is left."""
        if not len(indices):
            reasons = self._removal_reasons()
            raise ValueError(checks.no_images_message(str(self.ann_file), len(self.data_infos), reasons))
        self.data_infos = chosen(self.data_infos, indices)
        if self.proposals is not None:
            self.proposals = [self.proposals[i] for i in indices]

    def _set_group_flag(self) -> None:
        """``flag`` (n,) uint8: 1 for images wider than high; a batch holds images of one group."""
        sizes = self._sizes()
        self.flag = (sizes[:, 0] > sizes[:, 1]).astype(np.uint8)

    def _sizes(self) -> np.ndarray:
        """(n, 2) width and height of the images, NaN where unknown."""
        sizes = [[info.get('width'), info.get('height')] for info in self.data_infos]
        return np.array(sizes, dtype=float).reshape(-1, 2)

    def __repr__(self) -> str:
        from ..evaluation.report import table

        counts = np.zeros(len(self.CLASSES or ()) + 1, dtype=int)
        for i in range(len(self)):
            np.add.at(counts, np.minimum(self.get_ann_info(i)['labels'], len(counts) - 1), 1)
        names = [*(self.CLASSES or ()), 'other']
        rows = [(name, str(count)) for name, count in zip(names, counts, strict=True) if count]
        title = f'{type(self).__name__} for {"test" if self.test_mode else "training"} with {len(self)} images'
        return f'{title}, boxes by class:\n' + table(['category', 'count'], rows)


def _found(infos: Any) -> str:
    if isinstance(infos, dict) and 'annotations' in infos:
        return "got a dict with 'annotations': this is COCO's format, use type='CocoDataset'"
    return f'got {type(infos).__name__}'
