"""COCO's objects that are partly occluded, or that an occluder separates into parts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..registry import DATASETS
from . import files
from .coco import CocoDataset
from .safe_pickle import loads_plain

_SOURCE = 'https://www.robots.ox.ac.uk/~vgg/research/tpod/datasets/'


@DATASETS.register_module()
class OccludedSeparatedCocoDataset(CocoDataset):
    """COCO val2017 with the recall of masks on Occluded COCO and Separated COCO (Zhan et al., arXiv:2210.10046).

    Args:
        occluded_ann: a pickle with a list of ``(file name, class name, annotation id, bbox, RLE)``; a path (under
            ``data_root``) or an address to read it from. Only plain data is read from it.
        separated_ann: likewise.
        others: as of ``CocoDataset``.
    """

    METRICS = CocoDataset.METRICS

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
        occluded_ann: str = _SOURCE + 'occluded_coco.pkl',
        separated_ann: str = _SOURCE + 'separated_coco.pkl',
    ) -> None:
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
        self.occluded_ann = self._load_objects('occluded_ann', occluded_ann)
        self.separated_ann = self._load_objects('separated_ann', separated_ann)

    def _load_objects(self, name: str, path: str) -> list:
        joined = files.join_root(self.data_root, path)
        if '://' in joined:
            objects = loads_plain(files.storage_backend(None, joined).get(joined), joined)
        else:
            objects = self._through_local_path(name, joined, files.read_records)
        if not isinstance(objects, list | tuple) or not all(len(item) == 5 for item in objects):
            raise ValueError(f'{name}: {joined!r} is not a list of (file name, class, id, bbox, RLE)')
        return list(objects)

    def evaluate(
        self,
        results: list,
        metric: str | Sequence[str] = (),
        logger: Any = None,
        jsonfile_prefix: str | None = None,
        classwise: bool = False,
        proposal_nums: Sequence[int] = (100, 300, 1000),
        iou_thrs: float | Sequence[float] | None = None,
        metric_items: str | Sequence[str] | None = None,
        backend: str | None = None,
        score_thr: float = 0.3,
        iou_thr: float = 0.75,
    ) -> OrderedDict[str, float | str]:
        """COCO's measures, and ``occluded_recall`` and ``separated_recall`` in percent.

        Args:
            results: per image, (boxes by class, masks by class).
            metric: what to evaluate besides the recalls, as of ``CocoDataset.evaluate``.
            score_thr: detections of a lower score are left out of the recalls.
            iou_thr: an object is found by a mask of its class with at least this overlap.
        """
        others = (jsonfile_prefix, classwise, proposal_nums, iou_thrs, metric_items, backend)
        numbers = super().evaluate(results, metric, logger, *others) if metric else OrderedDict()
        numbers.update(self.evaluate_occluded_separated(results, score_thr, iou_thr, logger))
        return numbers

    def evaluate_occluded_separated(
        self, results: list, score_thr: float = 0.3, iou_thr: float = 0.75, logger: Any = None
    ) -> OrderedDict[str, float]:
        """The two recalls, written as a table too."""
        from ..evaluation.report import say, table

        self._check_results(results)
        masks = self._masks_by_image_and_class(results, score_thr)
        numbers: OrderedDict[str, float] = OrderedDict()
        rows = []
        for kind, objects in (('occluded', self.occluded_ann), ('separated', self.separated_ann)):
            correct, numbers[f'{kind}_recall'] = compute_recall(masks, objects, iou_thr)
            rows.append([kind, f'{numbers[f"{kind}_recall"]:.2f}%', f'{correct} of {len(objects)}'])
        say('\n' + table(['mask type', 'recall', 'found'], rows), logger)
        return numbers

    def _masks_by_image_and_class(self, results: list, score_thr: float) -> dict[str, dict[str, list[dict]]]:
        """RLE of the detections of at least ``score_thr``, by file name and class name."""
        found = {}
        for info, result in zip(self.data_infos, results, strict=True):
            if not isinstance(result, tuple):
                raise ValueError(f'the recalls need masks, but the result of {info["filename"]!r} holds boxes only')
            boxes, masks = result
            masks = masks[0] if isinstance(masks, tuple) else masks
            found[info['filename']] = {
                name: [_as_rle(mask) for box, mask in zip(own, shapes, strict=True) if box[4] >= score_thr]
                for name, own, shapes in zip(self.CLASSES, boxes, masks, strict=True)
            }
        return found


def compute_recall(
    masks: dict[str, dict[str, list[dict]]], objects: Sequence[tuple], iou_thr: float
) -> tuple[int, float]:
    """How many ``objects`` are found, and in percent.

    Args:
        masks: RLE of the detections by file name and class name.
        objects: ``(file name, class name, annotation id, bbox, RLE)``.
        iou_thr: the overlap that counts as found.
    """
    from pycocotools import mask as mask_api

    absent = [item[0] for item in objects if item[0] not in masks]
    if absent:
        raise ValueError(
            f'{len(absent)} of {len(objects)} objects are in images that the data set does not have, first '
            f'{absent[0]!r}: evaluate on val2017 with test_mode=True'
        )
    correct = 0
    for name, class_name, _, _, rle in objects:
        candidates = masks[name].get(class_name, [])
        overlaps = mask_api.iou(candidates, [rle], [0]) if candidates else np.zeros(0)
        correct += bool((np.asarray(overlaps) >= iou_thr).any())
    return correct, 100 * correct / max(len(objects), 1)


def _as_rle(mask: Any) -> dict:
    from pycocotools import mask as mask_api

    return mask if isinstance(mask, dict) else mask_api.encode(np.asfortranarray(mask, dtype=np.uint8))
