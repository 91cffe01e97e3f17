"""COCO's annotation format."""

from __future__ import annotations

import math
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..evaluation.class_names import COCO_CLASSES, COCO_PALETTE
from ..registry import DATASETS
from . import checks, coco_results
from .coco_index import CocoIndex
from .custom import CustomDataset


@DATASETS.register_module()
class CocoDataset(CustomDataset):
    """Instances in COCO's json (Lin et al., "Microsoft COCO: Common Objects in Context", arXiv:1405.0312).

    Label ``i`` is ``CLASSES[i]``, whatever the order of the file's categories. Crowd regions become
    ``bboxes_ignore``. ``coco`` holds the index over the file, with pycocotools' methods.
    """

    CLASSES = COCO_CLASSES
    PALETTE = COCO_PALETTE

    def load_annotations(self, ann_file: str) -> list[dict]:
        """Read the file, index it, and number the wanted categories."""
        self.coco = CocoIndex(ann_file)
        self._number_categories()
        self.img_ids = self.coco.getImgIds()
        infos = self.coco.loadImgs(self.img_ids)
        for info in infos:
            if 'file_name' not in info:
                raise ValueError(f"{ann_file!r}: image {info['id']} has no 'file_name'; its keys: {sorted(info)}")
            info['filename'] = info['file_name']
        return infos

    def _number_categories(self) -> None:
        """``cat_ids`` (category id of each label), ``cat2label`` (its inverse)."""
        categories = self.coco.dataset.get('categories') or []
        names = [category['name'] for category in categories]
        if self.CLASSES is None:
            self.CLASSES = tuple(names)
        checks.check_unique_ids([category['id'] for category in categories], 'category', str(self.ann_file))
        checks.check_class_names(self.CLASSES, names, repr(self.ann_file))
        checks.check_unique_ids([name for name in names if name in set(self.CLASSES)], 'category', str(self.ann_file))
        id_of = {category['name']: category['id'] for category in categories}
        self.cat_ids = [id_of[name] for name in self.CLASSES]
        self.cat2label = {cat_id: label for label, cat_id in enumerate(self.cat_ids)}
        if self.cat_ids != [category['id'] for category in categories if category['id'] in self.cat2label]:
            warnings.warn(
                f'{self.ann_file!r}: labels follow the order of classes, which is not that of its categories. '
                'MMDetection 2.x numbers them in the order of the categories: to go on with weights that it trained '
                'on this file, list classes in that order',
                stacklevel=2,
            )

    # ------------------------------------------------------------------ annotations

    def get_ann_info(self, idx: int) -> dict[str, Any]:
        """``bboxes, labels, bboxes_ignore, masks`` (polygons or RLE), ``ann_ids`` and ``seg_map`` of an image."""
        info = self.data_infos[idx]
        return self._parse_ann_info(info, self.coco.imgToAnns.get(info['id'], []))

    def _parse_ann_info(self, img_info: dict, ann_info: list[dict]) -> dict[str, Any]:
        """Sort one image's annotations into ground truth and regions to ignore.

        Left out: other classes, boxes that do not touch the image or are thinner than a pixel, ``ignore=1``.
        """
        kept, crowd = [], []
        for ann in ann_info:
            if not ann.get('ignore', False) and _usable(ann, img_info) and ann['category_id'] in self.cat2label:
                (crowd if ann.get('iscrowd', False) else kept).append(ann)
        return dict(
            bboxes=_xyxy(kept),
            labels=np.array([self.cat2label[ann['category_id']] for ann in kept], dtype=np.int64),
            bboxes_ignore=_xyxy(crowd),
            masks=[ann.get('segmentation') for ann in kept],
            ann_ids=[ann['id'] for ann in kept],
            seg_map=img_info['filename'].rsplit('.', 1)[0] + self.seg_suffix,
        )

    def get_cat_ids(self, idx: int) -> list[int]:
        """The category id, as in the file, of each annotation of an image."""
        return [ann['category_id'] for ann in self.coco.imgToAnns.get(self.data_infos[idx]['id'], [])]

    def _labels_of(self, idx: int) -> list[int]:
        return [self.cat2label[cat_id] for cat_id in self.get_cat_ids(idx) if cat_id in self.cat2label]

    # ------------------------------------------------------------------ checks and filters, at construction

    def check_annotations(self) -> None:
        """Ids, categories, boxes and masks of the annotation file."""
        if not hasattr(self, 'coco'):  # a subclass loads in its own way
            return super().check_annotations()
        source = repr(self.ann_file)
        checks.check_unique_ids([image['id'] for image in self.coco.dataset['images']], 'image', source)
        anns = self.coco.dataset.get('annotations')
        if anns is None:
            if not self.test_mode:
                raise ValueError(f"{source} has no 'annotations' to train on: is it a list of test images?")
            return None
        checks.check_unique_ids([ann['id'] for ann in anns], 'annotation', source)
        checks.check_category_ids(anns, self.coco.cats, source)
        known = [ann for ann in anns if ann['image_id'] in self.coco.imgs]
        if len(known) < len(anns):
            lost = len(anns) - len(known)
            warnings.warn(f'{source}: {lost} annotations belong to images it does not list', stacklevel=2)
        self._check_boxes(known)
        if self._asks_for('with_mask') and not self.test_mode:
            self._check_segmentations(known)
        return None

    def _check_boxes(self, anns: list[dict]) -> None:
        without = [ann['id'] for ann in anns if len(ann.get('bbox') or ()) != 4]
        if without:
            raise ValueError(
                f'{self.ann_file!r}: {len(without)} annotations have no bbox of four numbers [x, y, width, height], '
                f'first annotations {without[:10]}'
            )
        boxes = np.array([ann['bbox'] for ann in anns], dtype=float).reshape(-1, 4)
        images = [self.coco.imgs[ann['image_id']] for ann in anns]
        sizes = np.array([[image.get('width'), image.get('height')] for image in images], dtype=float).reshape(-1, 2)
        checks.check_boxes(
            boxes,
            sizes,
            'xywh',
            lambda i: f'annotation {anns[i]["id"]} of {images[i]["file_name"]}',
            repr(self.ann_file),
        )

    def _check_segmentations(self, anns: list[dict]) -> None:
        wanted = [ann for ann in anns if ann['category_id'] in self.cat2label and not ann.get('iscrowd')]
        without = [ann['id'] for ann in wanted if not ann.get('segmentation')]
        if without:
            raise ValueError(
                f'{self.ann_file!r}: the pipeline asks for masks (with_mask=True), but {len(without)} of {len(wanted)} '
                f"annotations have no 'segmentation', first annotations {without[:10]}. "
                'Train a box detector on it (with_mask=False), or add polygons'
            )

    def _filter_imgs(self, min_size: int = 32) -> list[int]:
        """Indices of the images to train on; ``img_ids`` is narrowed to them."""
        if not hasattr(self, 'coco'):
            return super()._filter_imgs(min_size)
        self._check_sizes_known()
        shows_class = {img_id for cat_id in self.cat_ids for img_id in self.coco.catToImgs.get(cat_id, ())}
        keep = [
            i
            for i, info in enumerate(self.data_infos)
            if min(info['width'], info['height']) >= min_size
            and (not self.filter_empty_gt or info['id'] in shows_class)
        ]
        if self.filter_empty_gt and not any(self._why_unusable(self.data_infos[i], min_size) == '' for i in keep):
            keep = []
        self.img_ids = [self.img_ids[i] for i in keep]
        return keep

    def _removal_reasons(self) -> dict[str, int]:
        if not hasattr(self, 'coco'):
            return super()._removal_reasons()
        reasons: dict[str, int] = {}
        for info in self.data_infos:
            reason = self._why_unusable(info, 32)
            reasons[reason] = reasons.get(reason, 0) + 1
        return reasons

    def _why_unusable(self, info: dict, min_size: int) -> str:
        """Why an image has nothing to train on, as ``no_images_message`` puts it; empty if it has."""
        anns = self.coco.imgToAnns.get(info['id'], [])
        wanted = [ann for ann in anns if ann['category_id'] in self.cat2label]
        single = [ann for ann in wanted if not ann.get('iscrowd', False) and not ann.get('ignore', False)]
        if min(info['width'], info['height']) < min_size:
            return f'smaller than {min_size} pixels'
        if not anns:
            return 'without annotation'
        if not wanted:
            return 'without annotation of the wanted classes'
        if not single:
            return 'with crowd or ignored regions only'
        return '' if any(_usable(ann, info) for ann in single) else 'with boxes of no usable size only'

    # ------------------------------------------------------------------ evaluation

    METRICS = ('bbox', 'segm', 'proposal', 'proposal_fast')

    def results2json(self, results: list, outfile_prefix: str) -> dict[str, str]:
        """Write results in COCO's submission format.

        Args:
            results: per image, arrays by class; or (boxes, masks) by class; or an (n, 5) array of proposals.
            outfile_prefix: path of the files without their suffix.

        Returns:
            The files by kind: ``bbox`` and ``proposal`` -> ``prefix.bbox.json``, ``segm`` -> ``prefix.segm.json``;
            for proposals only ``proposal`` -> ``prefix.proposal.json``.
        """
        return coco_results.write(self._records(results), outfile_prefix)

    def _records(self, results: list) -> dict[str, list[dict]]:
        return coco_results.records(results, [info['id'] for info in self.data_infos], self.cat_ids)

    def format_results(
        self, results: list, jsonfile_prefix: str | None = None, **kwargs: Any
    ) -> tuple[dict[str, str], Any]:
        """Write results as json files.

        Returns:
            The files by kind, and the temporary folder that holds them if no ``jsonfile_prefix`` was given (``None``
            otherwise): the caller removes it with ``cleanup()``.
        """
        self._check_results(results)
        prefix, folder = coco_results.output_prefix(jsonfile_prefix)
        return self.results2json(results, prefix), folder

    def fast_eval_recall(
        self, results: list, proposal_nums: Sequence[int], iou_thrs: Sequence[float], logger: Any = None
    ) -> np.ndarray:
        """Average recall of proposals by numpy, one value per entry of ``proposal_nums``; crowds do not count."""
        from ..evaluation.recall import eval_recalls

        truths = [self._parse_ann_info(info, self.coco.imgToAnns.get(info['id'], [])) for info in self.data_infos]
        proposals = [coco_results.as_proposals(result) for result in results]
        recalls = eval_recalls([truth['bboxes'] for truth in truths], proposals, proposal_nums, iou_thrs, logger)
        return recalls.mean(axis=1)

    def evaluate(
        self,
        results: list,
        metric: str | Sequence[str] = 'bbox',
        logger: Any = None,
        jsonfile_prefix: str | None = None,
        classwise: bool = False,
        proposal_nums: Sequence[int] = (100, 300, 1000),
        iou_thrs: float | Sequence[float] | None = None,
        metric_items: str | Sequence[str] | None = None,
        backend: str | None = None,
    ) -> OrderedDict[str, float | str]:
        """COCO's measures.

        Args:
            results: one entry an image; see ``results2json``.
            metric: ``'bbox'``, ``'segm'``, ``'proposal'``, ``'proposal_fast'``, or a list of them.
            logger: where the numbers are written; printed by default, ``'silent'`` for nowhere.
            jsonfile_prefix: also keep the results as json files of this prefix.
            classwise: also print the AP of each class.
            proposal_nums: how many detections an image count.
            iou_thrs: the thresholds to average over; .5 to .95 in steps of .05 by default.
            metric_items: which numbers to return, of ``mAP, mAP_50, mAP_75, mAP_s, mAP_m, mAP_l, AR@100 ...``.
            backend: ``'faster-coco-eval'`` (default) or ``'pycocotools'``: the same numbers.

        Returns:
            ``bbox_mAP, bbox_mAP_50, ..., bbox_mAP_copypaste``, ``segm_*``, ``AR@100 ...``, to four digits.
        """
        from ..evaluation.coco import CocoMetrics, evaluate_fast_recall

        self._check_results(results)
        metrics = [metric] if isinstance(metric, str) else list(metric)
        settings = CocoMetrics(classwise, tuple(proposal_nums), iou_thrs, metric_items, backend, logger)
        settings.check(metrics)
        numbers: OrderedDict[str, float | str] = OrderedDict()
        records = self._records(results) if set(metrics) - {'proposal_fast'} or jsonfile_prefix else {}
        if jsonfile_prefix is not None:
            coco_results.write(records, jsonfile_prefix)
        for name in metrics:
            if name == 'proposal_fast':
                recalls = self.fast_eval_recall(results, proposal_nums, settings.thresholds, logger='silent')
                numbers.update(evaluate_fast_recall(recalls, proposal_nums, logger))
            else:
                numbers.update(settings.evaluate(self._ground_truth(), records, name, self.CLASSES, self.cat_ids))
        return numbers

    def _ground_truth(self) -> dict:
        """The part of the annotation file that the images and classes of this data set cover."""
        anns = (ann for info in self.data_infos for ann in self.coco.imgToAnns.get(info['id'], ()))
        return dict(
            images=list(self.data_infos),
            annotations=[ann for ann in anns if ann['category_id'] in self.cat2label],
            categories=[self.coco.cats[cat_id] for cat_id in self.cat_ids],
        )


def _usable(ann: dict, image: dict) -> bool:
    """Whether a box touches its image, is at least a pixel wide and high, and has an area."""
    x, y, w, h = ann['bbox']
    width, height = image.get('width', math.inf), image.get('height', math.inf)  # not needed for testing
    touches = min(x + w, width) > max(x, 0) and min(y + h, height) > max(y, 0)
    return touches and w >= 1 and h >= 1 and ann.get('area', w * h) > 0


def _xyxy(anns: list[dict]) -> np.ndarray:
    """(n, 4) float32 x1y1x2y2 of the annotations' x, y, width, height."""
    boxes = np.array([ann['bbox'] for ann in anns], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes.astype(np.float32)
