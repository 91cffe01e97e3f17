"""Open Images and its challenge."""

from __future__ import annotations

import csv
import os.path as osp
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..registry import DATASETS
from . import checks, files
from .custom import CustomDataset
from .image_files import image_size
from .lazy_records import LazyList
from .openimages_files import Boxes, image_id, read_boxes_csv, read_boxes_txt, read_image_labels


@DATASETS.register_module()
class OpenImagesDataset(CustomDataset):
    """Boxes of Open Images V4 to V7 (Kuznetsova et al., arXiv:1811.00982) from its csv files.

    Boxes are given as shares of the image's width and height: load them with ``LoadAnnotations(denorm_bbox=True)``.
    ``get_ann_info`` has ``gt_is_group_ofs`` too, and ``is_occludeds, is_truncateds, is_depictions, is_insides``.
    The sizes of the images are not in the files: batches are not grouped by shape, and no image is left out.

    Args:
        ann_file: ``*-annotations-bbox.csv``; images are listed in the order in which it names them first.
        pipeline: the steps that turn one image's dict into a sample.
        label_file: ``class-descriptions-boxable.csv``; it gives ``CLASSES`` and their order.
        image_level_ann_file: ``*-annotations-human-imagelabels-boxable.csv``, the classes verified in each image.
        get_supercategory: evaluate an object as one of each class above its own too, which ``hierarchy_file`` tells.
        hierarchy_file: ``bbox_labels_600_hierarchy.json``.
        get_metas: learn the sizes of the images for evaluation; without, evaluate with ``denorm_gt_bbox=False``.
        load_from_file: take them from ``meta_file``, where one is given, and not from the images' headers.
        meta_file: a pickle with a dict of ``filename`` and ``ori_shape`` (h, w, ...) an image.
        filter_labels: do not evaluate detections of classes that were not verified in their image.
        load_image_level_labels: count the classes of ``image_level_ann_file`` as verified, besides those of the boxes.
        classes: the names of ``label_file`` again; another choice is an error.
        data_root, img_prefix, seg_prefix, seg_suffix, proposal_file, test_mode, file_client_args: as of
            ``CustomDataset``.
        filter_empty_gt: has no effect, as every image listed has boxes.
    """

    METRICS = ('mAP',)

    def __init__(
        self,
        ann_file: str,
        pipeline: list[dict],
        label_file: str = '',
        image_level_ann_file: str = '',
        get_supercategory: bool = True,
        hierarchy_file: str | None = None,
        get_metas: bool = True,
        load_from_file: bool = True,
        meta_file: str = '',
        filter_labels: bool = True,
        load_image_level_labels: bool = True,
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
        self.file_client = files.storage_backend(file_client_args, ann_file)
        self.data_root = data_root
        self.get_supercategory = get_supercategory
        self.get_metas = get_metas
        self.load_from_file = load_from_file
        self.filter_labels = filter_labels
        self.load_image_level_labels = load_image_level_labels
        self.image_level_ann_file = self._resolve(image_level_ann_file)
        self.meta_file = self._resolve(meta_file)
        self.hierarchy_file = self._resolve(hierarchy_file)
        label_file = self._required('label_file', label_file, '.csv')
        names = self._through_local_path('label_file', self._resolve(label_file), self._read_class_names)
        given = checks.resolve_classes(classes, None)
        if given is not None and given != names:
            raise ValueError(f'classes are those of label_file={label_file!r}, in its order: leave classes out')
        if get_supercategory:
            self._required('hierarchy_file', hierarchy_file, self.HIERARCHY_SUFFIX)
            path = self.hierarchy_file
            self.class_label_tree = self._through_local_path('hierarchy_file', path, self.get_relation_matrix)
        super().__init__(
            ann_file,
            pipeline,
            classes=names,
            data_root=data_root,
            img_prefix=img_prefix,
            seg_prefix=seg_prefix,
            seg_suffix=seg_suffix,
            proposal_file=proposal_file,
            test_mode=test_mode,
            filter_empty_gt=filter_empty_gt,
            file_client_args=file_client_args,
        )

    HIERARCHY_SUFFIX = '.json'

    def _resolve(self, path: str | None) -> str | None:
        """``path`` under ``data_root``, or as it is where only that exists."""
        joined = files.join_root(self.data_root, path or None)
        return path if joined and path and not osp.exists(joined) and osp.exists(path) else joined

    def _required(self, name: str, path: str | None, suffix: str) -> str:
        if not path or not path.endswith(suffix):
            raise ValueError(f'{type(self).__name__} needs {name}, a {suffix} file, got {path!r}')
        return path

    # ------------------------------------------------------------------ reading

    def _read_class_names(self, label_file: str) -> tuple[str, ...]:
        """The names in label order; ``index_dict`` maps the ids (``/m/0cmf2``) to labels, ``cat2label`` to names."""
        with open(label_file, encoding='utf-8', newline='') as file:
            rows = [row for row in csv.reader(file) if row]
        self.cat2label = {row[0]: row[1] for row in rows}
        self.index_dict = {row[0]: i for i, row in enumerate(self._in_label_order(rows, label_file))}
        return tuple(self.cat2label[key] for key in self.index_dict)

    def _in_label_order(self, rows: list[list[str]], label_file: str) -> list[list[str]]:
        return rows

    def get_relation_matrix(self, hierarchy_file: str) -> np.ndarray:
        """(C, C) bool: row ``i`` is true at ``i`` and at the classes above it."""
        from ..evaluation.openimages import hierarchy_matrix

        return hierarchy_matrix(files.read_json(hierarchy_file), self.index_dict)

    def load_annotations(self, ann_file: str) -> Sequence[dict]:
        """One dict an image: ``img_id``, ``filename`` and ``row``, its place in the arrays of boxes."""
        self._boxes = self._read_boxes(ann_file)
        return LazyList(self._read_info, np.arange(len(self._boxes.filenames)))

    def _read_info(self, row: int) -> dict:
        filename = self._boxes.filenames[row].decode()
        return dict(img_id=image_id(filename), filename=filename, row=row)

    def _read_boxes(self, ann_file: str) -> Boxes:
        return read_boxes_csv(ann_file, self.index_dict)

    def get_ann_info(self, idx: int) -> dict[str, Any]:
        """``bboxes`` (n, 4) x1y1x2y2 as shares of the image, ``labels``, ``gt_is_group_ofs`` (n,) bool and the rest."""
        return self._boxes.of_image(self.data_infos[idx]['row'])

    def get_cat_ids(self, idx: int) -> list[int]:
        return self._boxes.labels_of(self.data_infos[idx]['row']).tolist()

    def cat_ids_by_image(self) -> tuple[np.ndarray, np.ndarray]:
        rows = [info['row'] for info in self.data_infos]
        counts = np.diff(self._boxes.starts)[rows]
        return np.repeat(np.arange(len(rows)), counts), np.concatenate([self._boxes.labels_of(row) for row in rows])

    # ------------------------------------------------------------------ at construction

    def check_annotations(self) -> None:
        """Warn once of boxes that reach outside their image or have no size."""
        boxes, slack = self._boxes.boxes, 0.01
        flat = ~(boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        outside = ((boxes < -slack) | (boxes > 1 + slack)).any(axis=1)
        if outside.mean() > 0.5:
            raise ValueError(
                f'{self.ann_file!r}: most boxes reach beyond 1. Open Images gives boxes as shares of the width and '
                f'height of the image, this file seems to give pixels: first {boxes[outside][0].tolist()}'
            )
        if (flat | outside).any():
            warnings.warn(
                f'{self.ann_file!r}: of {len(boxes)} boxes {int(outside.sum())} reach outside their image and '
                f'{int(flat.sum())} have a width or height of zero or less',
                stacklevel=2,
            )
        self._check_loading_step()

    def _check_loading_step(self) -> None:
        if not self.test_mode and self._asks_for('type') and not self._denormalizes():
            warnings.warn(
                f'{type(self).__name__} gives boxes as shares of the image: set denorm_bbox=True of LoadAnnotations',
                stacklevel=2,
            )

    def _denormalizes(self) -> bool:
        return self._asks_for('denorm_bbox') or self._asks_for('normed_bbox')

    def _filter_imgs(self, min_size: int = 32) -> list[int]:
        return list(range(len(self.data_infos)))

    def _set_group_flag(self) -> None:
        """All images are of one group, as their sizes are not known."""
        self.flag = np.zeros(len(self.data_infos), dtype=np.uint8)

    # ------------------------------------------------------------------ evaluation

    def get_image_level_ann(self, image_level_ann_file: str) -> list[np.ndarray]:
        """The labels that were verified in each image, as present or absent."""
        path = self._resolve(image_level_ann_file)
        verified = self._through_local_path(
            'image_level_ann_file', path, lambda local: read_image_labels(local, self.index_dict)
        )
        return [np.array(verified.get(info['img_id'], []), dtype=np.int64) for info in self.data_infos]

    def get_image_shapes(self) -> Iterator[tuple[int, int]]:
        """Height and width of each image: of ``meta_file``, else of the image's header."""
        known = {}
        if self.load_from_file and self.meta_file:
            metas = self._through_local_path('meta_file', self.meta_file, files.read_records)
            known = {osp.basename(meta['filename']): tuple(meta['ori_shape'][:2]) for meta in metas}
        for info in self.data_infos:
            name = osp.basename(info['filename'])
            if known and name not in known:
                raise ValueError(f'meta_file={self.meta_file!r} does not have the image {name!r}: is it of this split?')
            yield known[name] if known else image_size(osp.join(self.img_prefix or '', info['filename']))[::-1]

    def evaluate(
        self,
        results: list,
        metric: str | Sequence[str] = 'mAP',
        logger: Any = None,
        iou_thr: float | Sequence[float] = 0.5,
        ioa_thr: float | Sequence[float] | None = 0.5,
        scale_ranges: Sequence[tuple[float, float]] | None = None,
        denorm_gt_bbox: bool = True,
        use_group_of: bool = True,
    ) -> OrderedDict[str, float]:
        """The challenge's mean AP: see ``mmdet_clone.evaluation.openimages``.

        Args:
            results: per image, a list over classes of (n, 5) arrays in pixels.
            metric: ``'mAP'``.
            logger: where the tables go.
            iou_thr: the threshold, or several.
            ioa_thr: the share of a detection that must lie in a group; as many as thresholds.
            scale_ranges: evaluate objects whose sqrt(area) is in each range.
            denorm_gt_bbox: turn the boxes of the annotations into pixels first.
            use_group_of: a box of a group is found once, by whatever lies inside; else it is an object like others.

        Returns:
            ``AP50`` ... for each threshold, to three digits, and their mean ``mAP``.
        """
        from ..evaluation.openimages import eval_openimages
        from ..evaluation.report import check_metrics, say

        check_metrics([metric] if isinstance(metric, str) else list(metric), self.METRICS)
        self._check_results(results)
        self._check_own_images()
        iou_thrs = [float(value) for value in np.atleast_1d(iou_thr)]
        ioa_thrs = self._ioa_thrs(ioa_thr, len(iou_thrs)) if use_group_of else [None] * len(iou_thrs)
        detections, annotations = self._expanded(results, self._truths(denorm_gt_bbox))
        numbers: OrderedDict[str, float] = OrderedDict()
        means = []
        for iou, ioa in zip(iou_thrs, ioa_thrs):
            say(f'\n{"-" * 15}iou_thr, ioa_thr: {iou}, {ioa}{"-" * 15}', logger)
            mean, _ = eval_openimages(detections, annotations, iou, ioa, scale_ranges, self.CLASSES, logger)
            means.append(float(np.mean(mean)))
            numbers[f'AP{round(iou * 100):02d}'] = round(means[-1], 3)
        numbers['mAP'] = float(np.mean(means))
        return numbers

    def _check_own_images(self) -> None:
        if not (isinstance(self.data_infos, LazyList) and self.data_infos.reads_by(self._read_info)):
            raise NotImplementedError(
                f'{type(self).__name__} is evaluated with the images of its own file: for joined data sets set '
                'separate_eval=True'
            )

    def _ioa_thrs(self, ioa_thr: float | Sequence[float] | None, count: int) -> list[float]:
        if ioa_thr is None:
            raise ValueError('use_group_of=True needs ioa_thr, the share of a detection that must lie in the group')
        values = [float(value) for value in np.atleast_1d(ioa_thr)]
        values = values * count if len(values) == 1 else values
        if len(values) != count:
            raise ValueError(f'{count} values of iou_thr and {len(values)} of ioa_thr: give one for each')
        return values

    def _truths(self, denormalize: bool) -> list[dict]:
        annotations = [self.get_ann_info(i) for i in range(len(self))]
        if not denormalize:
            return annotations
        if not self.get_metas:
            raise ValueError('get_metas=False: the sizes of the images are not known; evaluate with get_metas=True')
        return [
            {**ann, 'bboxes': ann['bboxes'] * np.array([w, h, w, h], dtype=np.float32)}
            for ann, (h, w) in zip(annotations, self.get_image_shapes(), strict=True)
        ]

    def _expanded(self, results: list, annotations: list[dict]) -> tuple[list, list[dict]]:
        """Results and annotations with the classes above, and what was not verified left out."""
        from ..evaluation.openimages import expand_annotation, expand_detections
        from ..evaluation.voc_map import check_number_of_classes

        matrix = self._checked_tree() if self.get_supercategory else None
        if matrix is not None:
            annotations = [expand_annotation(ann, matrix) for ann in annotations]
        verified = [ann['labels'] for ann in annotations]
        if self.load_image_level_labels:
            if not self.image_level_ann_file:
                raise ValueError('set image_level_ann_file of the data set, or load_image_level_labels=False')
            labels = self.get_image_level_ann(self.image_level_ann_file)
            verified = [np.union1d(of_boxes, of_image) for of_boxes, of_image in zip(verified, labels)]
        boxes = [result[0] if isinstance(result, tuple) else result for result in results]
        check_number_of_classes(boxes, self.CLASSES)
        pairs = zip(boxes, verified, strict=True)
        return [expand_detections(dets, known, matrix, self.filter_labels) for dets, known in pairs], annotations

    def _checked_tree(self) -> np.ndarray:
        count = len(self.CLASSES)
        if self.class_label_tree.shape != (count, count):
            raise ValueError(
                f'{self.hierarchy_file!r} holds a matrix of shape {self.class_label_tree.shape}, label_file lists '
                f'{count} classes: they do not belong together'
            )
        return self.class_label_tree


@DATASETS.register_module()
class OpenImagesChallengeDataset(OpenImagesDataset):
    """Boxes of the Open Images challenges, from ``challenge-2019-*-detection-bbox.txt``.

    Labels are in the order of the numbers in ``label_file``, whose rows are ``id, name, number``. ``hierarchy_file`` is
    ``class_label_tree.np``, a (C, C) array saved by numpy. Otherwise see ``OpenImagesDataset``.
    """

    HIERARCHY_SUFFIX = '.np'

    def _in_label_order(self, rows: list[list[str]], label_file: str) -> list[list[str]]:
        try:
            rows = sorted(rows, key=lambda row: int(row[2]))
            self._label_of = {int(row[2]): i for i, row in enumerate(rows)}
        except (ValueError, IndexError) as error:
            raise ValueError(f'{label_file!r}: every row is id,name,number ({error})') from error
        return rows

    def _read_boxes(self, ann_file: str) -> Boxes:
        if not ann_file.endswith('.txt'):
            raise ValueError(f'{type(self).__name__} reads a .txt file, got ann_file={ann_file!r}')
        return read_boxes_txt(ann_file, self._label_of)

    def get_relation_matrix(self, hierarchy_file: str) -> np.ndarray:
        with open(hierarchy_file, 'rb') as file:
            return np.load(file, allow_pickle=False).astype(bool)
