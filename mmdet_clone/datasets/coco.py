"""COCO's annotation format."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..evaluation.class_names import COCO_CLASSES, COCO_PALETTE
from ..registry import DATASETS
from . import checks, coco_checks, coco_results, coco_samples
from .coco_columns import CocoColumns
from .coco_index import CocoIndex
from .custom import CustomDataset
from .lazy_records import LazyList

if TYPE_CHECKING:
    from ..evaluation.coco_metrics import CocoMetrics


@DATASETS.register_module()
class CocoDataset(CustomDataset):
    """Instances in COCO's json (Lin et al., "Microsoft COCO: Common Objects in Context", arXiv:1405.0312).

    Label ``i`` is ``CLASSES[i]``, whatever the order of the file's categories. Crowd regions become
    ``bboxes_ignore``. ``coco`` holds the index over the file, with pycocotools' methods.
    """

    CLASSES = COCO_CLASSES
    PALETTE = COCO_PALETTE

    def load_annotations(self, ann_file: str) -> Sequence[dict]:
        """Read the file, index it, and number the wanted categories.

        The entries are made when they are asked for. To find images elsewhere, override ``image_info``.
        """
        self.coco = CocoIndex(ann_file)
        self._number_categories()
        self.num_keypoints = coco_checks.max_keypoints(self.coco)
        self.img_ids = self.coco.getImgIds()
        if self.coco.table is None:
            return [self.image_info(image) for image in self.coco.loadImgs(self.img_ids)]
        infos = LazyList(self._read_info, np.arange(len(self.img_ids)))
        if type(self).image_info is CocoDataset.image_info:
            infos.take(np.flatnonzero(~self.coco.table.image_named)[:1]).check()
        else:
            infos.check()
        return infos

    def _read_info(self, row: int) -> dict:
        return self.image_info(dict(self.coco.images[row]))

    def image_info(self, image: dict) -> dict:
        """The entry of ``data_infos`` for an image of the file, which may be changed: it gets a ``filename``."""
        if 'file_name' not in image:
            raise ValueError(f"{self.ann_file!r}: image {image['id']} has no 'file_name'; its keys: {sorted(image)}")
        image['filename'] = image['file_name']
        return image

    def _number_categories(self) -> None:
        """``cat_ids`` (category id of each label), ``cat2label`` (its inverse)."""
        categories = self._categories()
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

    def _categories(self) -> list[dict]:
        """The file's categories in the order by which labels are numbered where ``classes`` does not say."""
        return coco_checks.lists_of(self.coco)[2]

    # ------------------------------------------------------------------ annotations

    num_keypoints = 0  # the most that an annotation has

    def get_ann_info(self, idx: int) -> dict[str, Any]:
        """What is known about an image.

        Returns:
            ``bboxes`` (n, 4) float32 x1y1x2y2, ``labels`` (n,) int64, ``bboxes_ignore`` (k, 4), ``masks`` (polygons or
            RLE, ``None`` without), ``ann_ids``, ``seg_map``; and, where the file has them, ``keypoints`` (n, K, 3)
            float32 x, y, visibility, zeros for an annotation without.
        """
        info = self.data_infos[idx]
        row = self._table_row(info)
        if row is None or type(self)._parse_ann_info is not CocoDataset._parse_ann_info:
            return self._parse_ann_info(info, self.coco.imgToAnns.get(info['id'], []))
        return self._ann_info(coco_samples.annotations_of_row(self.coco.table, row), info)

    def _parse_ann_info(self, img_info: dict, ann_info: list[dict]) -> dict[str, Any]:
        """Sort one image's annotations into ground truth and regions to ignore.

        Left out: other classes, boxes that do not touch the image or are thinner than a pixel, ``ignore=1``.
        """
        return self._ann_info(coco_samples.annotations_of_dicts(ann_info), img_info)

    def _ann_info(self, annotations: coco_samples.Annotations, info: dict) -> dict[str, Any]:
        seg_map = info['filename'].rsplit('.', 1)[0] + self.seg_suffix
        size = info.get('width', np.nan), info.get('height', np.nan)  # not needed for testing
        return {**annotations.as_ann_info(size, self.cat2label, self.num_keypoints), 'seg_map': seg_map}

    def get_cat_ids(self, idx: int) -> list[int]:
        """The category id, as in the file, of each annotation of an image."""
        info = self.data_infos[idx]
        row = self._table_row(info)
        if row is None:
            return [ann['category_id'] for ann in self.coco.imgToAnns.get(info['id'], [])]
        return self.coco.table.ann_category_ids[self.coco.table.anns_of(row)].tolist()

    def _labels_of(self, idx: int) -> list[int]:
        return [self.cat2label[cat_id] for cat_id in self.get_cat_ids(idx) if cat_id in self.cat2label]

    def _table_row(self, info: dict) -> int | None:
        """The row of an image in the table of annotations; ``None`` where they are dicts."""
        table = getattr(self.coco, 'table', None)
        return None if table is None else table.image_row(info['id'])

    def cat_ids_by_image(self) -> tuple[np.ndarray, np.ndarray]:
        rows = self._table_rows()
        if rows is None or type(self).get_cat_ids is not CocoDataset.get_cat_ids:
            return super().cat_ids_by_image()
        owner, anns = coco_samples.annotations_of_rows(self.coco.table, rows)
        return owner, self.coco.table.ann_category_ids[anns]

    def get_cat2imgs(self) -> dict[int, list[int]]:
        if self._table_rows() is None or type(self)._labels_of is not CocoDataset._labels_of:
            return super().get_cat2imgs()
        owner, cat_ids = self.cat_ids_by_image()
        order = np.argsort(cat_ids, kind='stable')
        present, first = np.unique(cat_ids[order], return_index=True)
        images = dict(zip(present.tolist(), np.split(owner[order], first[1:])))
        return {label: np.unique(images.get(cat_id, ())).tolist() for label, cat_id in enumerate(self.cat_ids)}

    def _table_rows(self) -> np.ndarray | None:
        """The row of each image in the table; ``None`` where annotations are dicts, or ``data_infos`` were changed."""
        lazy = isinstance(self.data_infos, LazyList) and self.data_infos.reads_by(self._read_info)
        return self.data_infos.rows if lazy and getattr(self.coco, 'table', None) is not None else None

    # ------------------------------------------------------------------ checks and filters, at construction

    def check_annotations(self) -> None:
        """Ids, categories, numbers, boxes, masks and keypoints of the annotation file."""
        if not hasattr(self, 'coco'):  # a subclass loads in its own way
            return super().check_annotations()
        source = repr(self.ann_file)
        coco_checks.check_images(self.coco, source)
        images, anns, categories = coco_checks.lists_of(self.coco)
        if anns is None:
            if not self.test_mode:
                raise ValueError(f"{source} has no 'annotations' to train on: is it a list of test images?")
            return None
        columns = coco_checks.checked_columns(self.coco, source)
        coco_checks.check_boxes(columns, images, source)
        coco_checks.check_keypoints(columns, categories, source)
        if self._asks_for('with_mask') and not self.test_mode:
            coco_checks.check_segmentations(columns, self._of_classes(columns), source)
        return None

    def _of_classes(self, columns: CocoColumns) -> np.ndarray:
        return coco_checks.of_classes(columns, coco_checks.lists_of(self.coco)[2], self.cat2label)

    def _filter_imgs(self, min_size: int = 32) -> list[int]:
        """Indices of the images to train on; ``img_ids`` is narrowed to them."""
        if not hasattr(self, 'coco'):
            return super()._filter_imgs(min_size)
        self._check_sizes_known()
        columns = coco_checks.columns_of(self.coco, repr(self.ann_file))
        rows = self._image_rows()
        keep = self._sizes().min(axis=1) >= min_size
        if self.filter_empty_gt:
            of_classes = self._of_classes(columns)
            keep &= coco_samples.images_with(columns, of_classes)[rows]
            good = of_classes & ~columns.crowd & ~columns.ignored & columns.usable()
            keep &= (keep & coco_samples.images_with(columns, good)[rows]).any()
        kept = np.flatnonzero(keep).tolist()
        self.img_ids = [self.img_ids[i] for i in kept]
        return kept

    def _image_rows(self) -> np.ndarray:
        """The place of each image in the file."""
        rows = self._table_rows()
        if rows is None:
            place = {image['id']: row for row, image in enumerate(coco_checks.lists_of(self.coco)[0])}
            rows = np.array([place[info['id']] for info in self.data_infos], dtype=np.int64)
        return rows

    def _sizes(self) -> np.ndarray:
        rows = self._table_rows() if hasattr(self, 'coco') else None
        return super()._sizes() if rows is None else self.coco.table.image_sizes[rows]

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
        return (
            ''
            if len(CocoDataset._parse_ann_info(self, info, single)['bboxes'])
            else 'with boxes of no usable size only'
        )

    # ------------------------------------------------------------------ evaluation

    METRICS = ('bbox', 'segm', 'keypoints', 'proposal', 'proposal_fast')

    def results2json(self, results: list, outfile_prefix: str) -> dict[str, str]:
        """Write results in COCO's submission format.

        Args:
            results: per image, arrays (n, 5) by class; or (boxes, masks) by class; or (boxes, masks or ``None``,
                keypoints) with (n, K, 3) arrays x, y, score by class; or an (n, 5) array of proposals.
            outfile_prefix: path of the files without their suffix.

        Returns:
            The files by kind: ``bbox`` and ``proposal`` -> ``prefix.bbox.json``, ``segm`` -> ``prefix.segm.json``,
            ``keypoints`` -> ``prefix.keypoints.json``; for proposals only ``proposal`` -> ``prefix.proposal.json``.
        """
        by_kind = ((kind, self._records_of(kind, results)) for kind in coco_results.kinds(results))
        return coco_results.write(by_kind, outfile_prefix)

    def _records(self, results: list) -> dict[str, list[dict]]:
        return {kind: self._records_of(kind, results) for kind in coco_results.kinds(results)}

    def _records_of(self, kind: str, results: list) -> list[dict]:
        return coco_results.records_of(kind, results, [info['id'] for info in self.data_infos], self.cat_ids)

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
        from ..evaluation.recall import as_proposals, eval_recalls

        truths = [self.get_ann_info(i) for i in range(len(self))]
        proposals = [as_proposals(result) for result in results]
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
        sigmas: Sequence[float] | None = None,
    ) -> OrderedDict[str, float | str]:
        """COCO's measures.

        Args:
            results: one entry an image; see ``results2json``.
            metric: ``'bbox'``, ``'segm'``, ``'keypoints'``, ``'proposal'``, ``'proposal_fast'``, or a list of them.
            logger: where the numbers are written; printed by default, ``'silent'`` for nowhere.
            jsonfile_prefix: also keep the results as json files of this prefix.
            classwise: also print the AP of each class.
            proposal_nums: how many detections an image count; for keypoints 20 do, as in COCO.
            iou_thrs: the thresholds to average over; .5 to .95 in steps of .05 by default.
            metric_items: which numbers to return, of ``mAP, mAP_50, mAP_75, mAP_s, mAP_m, mAP_l, AR@100 ...``.
            backend: ``'faster-coco-eval'`` (default) or ``'pycocotools'``: the same numbers.
            sigmas: how far apart annotators place each keypoint, in units of the object's size; COCO's of the body's
                17 keypoints by default.

        Returns:
            ``bbox_mAP, bbox_mAP_50, ..., bbox_mAP_copypaste``, ``segm_*``, ``keypoints_*``, ``AR@100 ...``, to four
            digits.
        """
        from ..evaluation.coco_metrics import CocoMetrics

        settings = CocoMetrics(classwise, proposal_nums, iou_thrs, metric_items, backend, logger, sigmas)
        return self._evaluate(results, [metric] if isinstance(metric, str) else list(metric), settings, jsonfile_prefix)

    def _evaluate(
        self, results: list, metrics: list[str], settings: CocoMetrics, jsonfile_prefix: str | None
    ) -> OrderedDict[str, float | str]:
        from ..evaluation.coco import paused_collection
        from ..evaluation.coco_metrics import evaluate_fast_recall, kind_for
        from ..evaluation.report import say

        self._check_results(results)
        settings.check(metrics, self.METRICS)
        if jsonfile_prefix is not None:
            self.results2json(results, jsonfile_prefix)
        shared = [name for name in metrics if name.startswith('proposal')]
        if len(set(shared)) > 1:
            say(
                f'proposal and proposal_fast both give AR@N: both are written, those of {shared[-1]} returned',
                settings.logger,
            )
        numbers: OrderedDict[str, float | str] = OrderedDict()
        for name in metrics:
            if name == 'proposal_fast':
                recalls = self.fast_eval_recall(results, settings.proposal_nums, settings.thresholds, logger='silent')
                numbers.update(evaluate_fast_recall(recalls, settings.proposal_nums, settings.logger))
            else:
                kind = kind_for(name, coco_results.kinds(results))
                with paused_collection():
                    truth, found = self._ground_truth(), self._records_of(kind, results)
                    numbers.update(settings.evaluate(truth, found, name, self.CLASSES, self.cat_ids))
                del truth, found
        return numbers

    def _ground_truth(self) -> dict:
        """The part of the annotation file that the images and classes of this data set cover."""
        anns = (ann for info in self.data_infos for ann in self.coco.imgToAnns.get(info['id'], ()))
        return dict(
            images=list(self.data_infos),
            annotations=[ann for ann in anns if ann['category_id'] in self.cat2label],
            categories=[self.coco.cats[cat_id] for cat_id in self.cat_ids],
        )
