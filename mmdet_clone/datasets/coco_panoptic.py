"""COCO's panoptic format: a json that lists segments, and PNG files whose colours are the segments' ids."""

from __future__ import annotations

import json
import os
import os.path as osp
import warnings
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..evaluation.class_names import COCO_CLASSES, COCO_PALETTE, COCO_STUFF_CLASSES, COCO_STUFF_PALETTE
from ..registry import DATASETS
from . import coco_results, files
from .coco import CocoDataset
from .coco_index import CocoIndex
from .lazy_records import LazyMapping, packed

_KEYS = ('image_id', 'file_name', 'segments_info')


@DATASETS.register_module()
class CocoPanopticDataset(CocoDataset):
    """Things and stuff (Kirillov et al., "Panoptic Segmentation", arXiv:1801.00868), in COCO's format::

        annotations: [dict(image_id, file_name='x.png', segments_info=[dict(id, category_id, iscrowd, bbox, area)])]
        categories: [dict(id, name, isthing=0 or 1)]

    ``coco`` has ``imgs``, ``cats`` and ``imgToAnns`` (image id -> its segments). Label ``i`` is ``CLASSES[i]``.

    Args:
        ann_file, pipeline, classes, ...: as of :class:`CustomDataset`; ``seg_prefix`` is the folder of the PNG files.
        ins_ann_file: the json of the same images' instances, which ``bbox`` and ``segm`` are evaluated with.
    """

    CLASSES = (*COCO_CLASSES, *COCO_STUFF_CLASSES)
    THING_CLASSES = COCO_CLASSES
    STUFF_CLASSES = COCO_STUFF_CLASSES
    PALETTE = (*COCO_PALETTE, *COCO_STUFF_PALETTE)
    METRICS = ('PQ', 'pq', 'bbox', 'segm', 'proposal', 'proposal_fast')

    def __init__(
        self,
        ann_file: str,
        pipeline: list[dict],
        ins_ann_file: str | None = None,
        classes: Sequence[str] | str | None = None,
        data_root: str | None = None,
        img_prefix: str = '',
        seg_prefix: str | None = None,
        proposal_file: str | None = None,
        test_mode: bool = False,
        filter_empty_gt: bool = True,
        file_client_args: dict = dict(backend='disk'),  # noqa: B006 (read only)
    ) -> None:
        self.ins_ann_file = files.join_root(data_root, ins_ann_file)
        super().__init__(
            ann_file,
            pipeline,
            classes=classes,
            data_root=data_root,
            img_prefix=img_prefix,
            seg_prefix=seg_prefix,
            proposal_file=proposal_file,
            test_mode=test_mode,
            filter_empty_gt=filter_empty_gt,
            file_client_args=file_client_args,
        )

    # ------------------------------------------------------------------ annotations

    def load_annotations(self, ann_file: str) -> Sequence[dict]:
        """Read the file, number the wanted categories, and pack the segments."""
        content = files.read_json(ann_file)
        annotations = _checked_annotations(content, ann_file)
        self.coco = CocoIndex({**content, 'annotations': []})
        self.categories = self.coco.cats
        self._index_segments(annotations)
        self._number_categories()
        self._check_things()
        self.img_ids = self.coco.getImgIds()
        for image in self.coco.loadImgs(self.img_ids):
            if 'file_name' not in image:
                raise ValueError(f"{ann_file!r}: image {image['id']} has no 'file_name'; its keys: {sorted(image)}")
        return packed([self.image_info(image) for image in self.coco.loadImgs(self.img_ids)])

    def _index_segments(self, annotations: list[dict]) -> None:
        row_of = {annotation['image_id']: row for row, annotation in enumerate(annotations)}
        self._segments = packed([annotation['segments_info'] for annotation in annotations])
        self._png_of = {annotation['image_id']: annotation['file_name'] for annotation in annotations}
        self.coco.imgToAnns = LazyMapping(lambda: list(row_of), row_of.get, self._segments.__getitem__, list)

    def image_info(self, image: dict) -> dict:
        """The entry of ``data_infos``: ``filename`` of the image, ``segm_file`` of its PNG."""
        name = image['file_name']
        return {**image, 'filename': name, 'segm_file': self._png_of.get(image['id'], f'{osp.splitext(name)[0]}.png')}

    def _check_things(self) -> None:
        without = [category['name'] for category in self.categories.values() if 'isthing' not in category]
        if without:
            raise ValueError(
                f"{self.ann_file!r}: {len(without)} categories have no 'isthing' (1 for things, 0 for stuff), first "
                f"{without[:5]}: is it an instance file (type='CocoDataset')?"
            )
        self._is_thing = [bool(self.categories[cat_id]['isthing']) for cat_id in self.cat_ids]

    def get_ann_info(self, idx: int) -> dict[str, Any]:
        """What is known about an image.

        Returns:
            ``bboxes`` (n, 4) float32 and ``labels`` (n,) of its things; ``bboxes_ignore`` (k, 4), crowds of things;
            ``masks``: each segment as a dict of ``id``, ``category`` (its label) and ``is_thing``, ``False`` for a
            crowd; ``seg_map``: its PNG.
        """
        info = self.data_infos[idx]
        return self._parse_ann_info(info, self.coco.imgToAnns.get(info['id'], []))

    def _parse_ann_info(self, img_info: dict, ann_info: list[dict]) -> dict[str, Any]:
        kept, crowd, segments = [], [], []
        for segment in ann_info:
            label = self.cat2label.get(segment['category_id'])
            width, height = segment['bbox'][2:]
            if label is None or segment['area'] <= 0 or width < 1 or height < 1:
                continue
            is_object = self._is_thing[label] and not segment.get('iscrowd', False)
            if is_object:
                kept.append((segment['bbox'], label))
            elif self._is_thing[label]:
                crowd.append(segment['bbox'])
            segments.append(dict(id=segment['id'], category=label, is_thing=is_object))
        return dict(
            bboxes=_xyxy([bbox for bbox, _ in kept]),
            labels=np.array([label for _, label in kept], dtype=np.int64),
            bboxes_ignore=_xyxy(crowd),
            masks=segments,
            seg_map=img_info['segm_file'],
        )

    # ------------------------------------------------------------------ checks and filters, at construction

    def check_annotations(self) -> None:
        """Segments whose category or image is not listed, segments without a box, images without an annotation."""
        unknown: Counter = Counter()
        for image_id, segments in self._segments_by_image():
            ids = [segment.get('id') for segment in segments]
            if len(set(ids)) < len(ids):
                raise ValueError(f'{self.ann_file!r}: the segments of image {image_id} have ids that come twice: {ids}')
            for segment in segments:
                _check_segment(segment, image_id, repr(self.ann_file))
                unknown[segment['category_id']] += segment['category_id'] not in self.categories
        unknown = +unknown
        if unknown:
            raise ValueError(
                f'{self.ann_file!r}: {sum(unknown.values())} segments are of categories that it does not define, ids '
                f'{sorted(unknown)[:10]}'
            )
        without = [info['filename'] for info in self.data_infos if info['id'] not in self._png_of]
        if without:
            warnings.warn(
                f'{self.ann_file!r}: {len(without)} of {len(self.data_infos)} images have no annotation, first '
                f'{without[0]!r}',
                stacklevel=3,
            )

    def _segments_by_image(self) -> Iterator[tuple[Any, list[dict]]]:
        return zip(self._png_of, self._segments, strict=True)

    def _filter_imgs(self, min_size: int = 32) -> list[int]:
        """Indices of the images to train on: large enough and, if asked for, with a thing of the wanted classes."""
        self._check_sizes_known()
        shows_thing = {
            image_id
            for image_id, segments in self._segments_by_image()
            if any(self._thing_label(segment) is not None for segment in segments)
        }
        keep = [
            i
            for i, info in enumerate(self.data_infos)
            if min(info['width'], info['height']) >= min_size
            and (not self.filter_empty_gt or info['id'] in shows_thing)
        ]
        self.img_ids = [self.img_ids[i] for i in keep]
        return keep

    def _thing_label(self, segment: dict) -> int | None:
        label = self.cat2label.get(segment['category_id'])
        return label if label is not None and self._is_thing[label] else None

    def _removal_reasons(self) -> dict[str, int]:
        small = sum(min(info['width'], info['height']) < 32 for info in self.data_infos)
        return {'smaller than 32 pixels': small, 'without a thing of the classes': len(self.data_infos) - small}

    # ------------------------------------------------------------------ results

    def results2json(self, results: list, outfile_prefix: str) -> dict[str, str]:
        """Write results in the formats of COCO's servers.

        Args:
            results: per image a dict: ``pan_results`` (h, w) ids, label + instance * ``INSTANCE_OFFSET`` (the label
                ``len(CLASSES)`` is void), plain or packed; and ``ins_results``: (boxes, masks) by class of thing.
            outfile_prefix: path of the files without their suffix.

        Returns:
            The files by kind: ``panoptic`` -> ``prefix.panoptic.json``, with PNG files in the folder ``panoptic``
            beside it; ``bbox``, ``proposal`` and ``segm`` of the instances.
        """
        _check_kinds(results)
        written = {}
        if 'pan_results' in results[0]:
            written['panoptic'] = self._write_panoptic(results, outfile_prefix)
        if 'ins_results' in results[0]:
            instances = [result['ins_results'] for result in results]
            kinds = [kind for kind in ('bbox', 'segm') if kind in coco_results.kinds(instances)]
            thing_ids = [cat_id for cat_id, is_thing in zip(self.cat_ids, self._is_thing, strict=True) if is_thing]
            img_ids = [info['id'] for info in self.data_infos]
            by_kind = ((kind, coco_results.records_of(kind, instances, img_ids, thing_ids)) for kind in kinds)
            written.update(coco_results.write(by_kind, outfile_prefix))
        return written

    def _write_panoptic(self, results: Sequence[dict], outfile_prefix: str) -> str:
        from ..evaluation.panoptic import segments_of_map, write_id_png
        from ..structures.panoptic import unpack_map

        folder = osp.join(osp.dirname(osp.abspath(outfile_prefix)), 'panoptic')
        annotations = []
        for info, result in zip(self.data_infos, results, strict=True):
            name = f'the result of {info["filename"]!r}'
            ids, segments = segments_of_map(unpack_map(result['pan_results']), self.cat_ids, name)
            for segment in segments:
                segment['isthing'] = int(self.categories[segment['category_id']]['isthing'])
            write_id_png(ids, osp.join(folder, info['segm_file']))
            annotations.append(dict(image_id=info['id'], segments_info=segments, file_name=info['segm_file']))
        path = f'{outfile_prefix}.panoptic.json'
        with open(path, 'w', encoding='utf-8') as file:
            file.write(json.dumps(dict(annotations=annotations)))
        return path

    def evaluate(
        self,
        results: list,
        metric: str | Sequence[str] = 'PQ',
        logger: Any = None,
        jsonfile_prefix: str | None = None,
        classwise: bool = False,
        nproc: int = 32,
        proposal_nums: Sequence[int] = (100, 300, 1000),
        iou_thrs: float | Sequence[float] | None = None,
        metric_items: str | Sequence[str] | None = None,
        backend: str | None = None,
    ) -> OrderedDict[str, float | str]:
        """Panoptic quality, and COCO's measures of the instances.

        Args:
            results: one entry an image; see ``results2json``.
            metric: ``'PQ'``; ``'bbox'``, ``'segm'``, ``'proposal'``, ``'proposal_fast'`` of ``ins_results`` against
                ``ins_ann_file``; or a list of them.
            logger: where the tables are written; printed by default, ``'silent'`` for nowhere.
            jsonfile_prefix: also keep the results as files; see ``results2json``.
            classwise: also print the numbers of each class.
            nproc: how many processes match segments, at most as many as there are processors.
            proposal_nums, iou_thrs, metric_items, backend: of the instances' measures, as in ``CocoDataset``.

        Returns:
            ``PQ, SQ, RQ, PQ_th, SQ_th, RQ_th, PQ_st, SQ_st, RQ_st`` in percent and ``PQ_copypaste``; ``bbox_mAP`` ...
        """
        from ..evaluation.report import check_metrics

        self._check_results(results)
        asked = ['PQ' if name == 'pq' else name for name in ([metric] if isinstance(metric, str) else metric)]
        check_metrics(asked, self.METRICS)
        _check_kinds(results)
        of_instances = [name for name in asked if name != 'PQ']
        judge = self._instance_dataset(results) if of_instances else None  # before hours of matching
        if jsonfile_prefix is not None:
            os.makedirs(osp.dirname(osp.abspath(jsonfile_prefix)), exist_ok=True)
            self.results2json(results, jsonfile_prefix)
        numbers: OrderedDict[str, float | str] = OrderedDict()
        if 'PQ' in asked:
            numbers.update(self._evaluate_panoptic(results, logger, classwise, nproc))
        if judge is not None:
            numbers.update(
                judge.evaluate(
                    [result['ins_results'] for result in results],
                    of_instances,
                    logger=logger,
                    classwise=classwise,
                    proposal_nums=proposal_nums,
                    iou_thrs=iou_thrs,
                    metric_items=metric_items,
                    backend=backend,
                )
            )
        return numbers

    def _evaluate_panoptic(
        self, results: Sequence[dict], logger: Any, classwise: bool, nproc: int
    ) -> OrderedDict[str, float | str]:
        from ..evaluation.panoptic import ImageTask, pq_numbers, pq_of_tasks, say_pq

        if 'pan_results' not in results[0]:
            raise ValueError(f"cannot evaluate 'PQ': the results hold {', '.join(results[0])} only")
        if self.seg_prefix is None:
            raise ValueError("evaluating 'PQ' needs seg_prefix, the folder of the annotations' PNG files")
        without = [info['filename'] for info in self.data_infos if info['id'] not in self._png_of]
        if without:
            raise ValueError(
                f"cannot evaluate 'PQ': {len(without)} of {len(self)} images have no annotation in {self.ann_file!r}, "
                f'first {without[0]!r}: take them out of its images'
            )
        tasks = (
            ImageTask(
                osp.join(self.seg_prefix, info['segm_file']),
                self.coco.imgToAnns[info['id']],
                result['pan_results'],
                info['filename'],
            )
            for info, result in zip(self.data_infos, results, strict=True)
        )
        counts = pq_of_tasks(tasks, self.file_client.get, self.cat_ids, nproc)
        say_pq(counts, self._is_thing, self.CLASSES, classwise, logger)
        return pq_numbers(counts, self._is_thing)

    def _instance_dataset(self, results: Sequence[dict]) -> CocoDataset:
        """The instances of the same images, in the same order, under the thing classes."""
        if 'ins_results' not in results[0]:
            raise ValueError(f'cannot evaluate boxes: the results hold {", ".join(results[0])}, no ins_results')
        if self.ins_ann_file is None:
            raise ValueError(
                "evaluating 'bbox' or 'segm' of a panoptic data set needs ins_ann_file, such as "
                "'annotations/instances_val2017.json'"
            )
        things = [name for name, is_thing in zip(self.CLASSES, self._is_thing, strict=True) if is_thing]
        dataset = CocoDataset(
            self.ins_ann_file, [], classes=things, test_mode=True, file_client_args=self.file_client_args
        )
        info_of = {info['id']: info for info in dataset.data_infos}
        absent = [info['filename'] for info in self.data_infos if info['id'] not in info_of]
        if absent:
            raise ValueError(
                f'{self.ins_ann_file!r} lacks {len(absent)} of the {len(self)} images of {self.ann_file!r}, first '
                f'{absent[0]!r}: does it belong to another split?'
            )
        dataset.data_infos = [info_of[info['id']] for info in self.data_infos]
        return dataset


def _checked_annotations(content: Any, source: str) -> list[dict]:
    annotations = content.get('annotations') if isinstance(content, dict) else None
    if not isinstance(annotations, list):
        raise ValueError(f"{source!r}: expected a COCO panoptic dict with a list 'annotations'")
    for i, annotation in enumerate(annotations):
        lacking = [key for key in _KEYS if not isinstance(annotation, dict) or key not in annotation]
        if lacking:
            raise ValueError(
                f'{source!r}: annotation {i} (from 0) has no {" and ".join(map(repr, lacking))}: a panoptic annotation '
                f'has {", ".join(_KEYS)}. Is it an instance file (type="CocoDataset")?'
            )
    repeated = [i for i, count in Counter(annotation['image_id'] for annotation in annotations).items() if count > 1]
    if repeated:
        raise ValueError(f'{source!r}: several annotations of the images {repeated[:10]}: a panoptic file has one each')
    return annotations


def _check_segment(segment: dict, image_id: Any, source: str) -> None:
    lacking = [key for key in ('id', 'category_id', 'bbox', 'area') if key not in segment]
    if lacking or len(segment['bbox']) != 4:
        what = f'no {", ".join(lacking)}' if lacking else f'the bbox {segment["bbox"]}, not [x, y, width, height]'
        raise ValueError(f'{source}: a segment of image {image_id} has {what}; it has {sorted(segment)}')


def _check_kinds(results: Sequence) -> None:
    if not isinstance(results[0], dict) or not {'pan_results', 'ins_results'} & set(results[0]):
        raise TypeError(
            f"a panoptic result is a dict with 'pan_results' or 'ins_results', got {type(results[0]).__name__}: the "
            'model is no panoptic one'
        )


def _xyxy(boxes: list) -> np.ndarray:
    found = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    found[:, 2:] += found[:, :2]
    return found.astype(np.float32)
