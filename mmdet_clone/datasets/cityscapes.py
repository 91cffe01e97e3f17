"""Cityscapes."""

from __future__ import annotations

import os.path as osp
import tempfile
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from ..registry import DATASETS
from .coco import CocoDataset


@DATASETS.register_module()
class CityscapesDataset(CocoDataset):
    """Instances of Cityscapes (Cordts et al., arXiv:1604.01685) in COCO's json.

    ``tools/dataset_converters/cityscapes.py`` writes the json. Groups of objects (``car group``) are crowd regions; an
    image that shows nothing but groups is not trained on.
    """

    CLASSES = ('person', 'rider', 'car', 'truck', 'bus', 'train', 'motorcycle', 'bicycle')
    PALETTE = [
        (220, 20, 60),
        (255, 0, 0),
        (0, 0, 142),
        (0, 0, 70),
        (0, 60, 100),
        (0, 80, 100),
        (0, 0, 230),
        (119, 11, 32),
    ]
    METRICS = (*CocoDataset.METRICS, 'cityscapes')

    def _filter_imgs(self, min_size: int = 32) -> list[int]:
        kept = super()._filter_imgs(min_size)
        if not self.filter_empty_gt:
            return kept
        single = [i for i in kept if self._shows_single_objects(i)]
        self.img_ids = [self.data_infos[i]['id'] for i in single]
        return single

    def _shows_single_objects(self, idx: int) -> bool:
        anns = self.coco.imgToAnns.get(self.data_infos[idx]['id'], [])
        return any(not ann.get('iscrowd', False) for ann in anns)

    def get_ann_info(self, idx: int) -> dict[str, Any]:
        """As of ``CocoDataset``; ``seg_map`` is the image's ``segm_file``, where the json has it."""
        ann, info = super().get_ann_info(idx), self.data_infos[idx]
        return {**ann, 'seg_map': info['segm_file']} if 'segm_file' in info else ann

    def results2txt(self, results: list, outfile_prefix: str) -> list[str]:
        """Write results as the Cityscapes benchmark takes them: one text file an image, one png a mask.

        Args:
            results: per image, (boxes by class, masks by class).
            outfile_prefix: the folder to write to.

        Returns:
            The text files, in the order of the images.
        """
        from ..evaluation.cityscapes import write_predictions

        names = [self._stem(info) for info in self.data_infos]
        return write_predictions(results, names, self.CLASSES, outfile_prefix)

    def format_results(
        self, results: list, txtfile_prefix: str | None = None, **kwargs: Any
    ) -> tuple[list[str], tempfile.TemporaryDirectory | None]:
        """Write results for the benchmark; see ``results2txt``.

        Returns:
            The text files, and the temporary folder that holds them if no ``txtfile_prefix`` was given (``None``
            otherwise): the caller removes it with ``cleanup()``.
        """
        self._check_results(results)
        folder = tempfile.TemporaryDirectory() if txtfile_prefix is None else None
        prefix = txtfile_prefix if folder is None else osp.join(folder.name, 'results')
        return self.results2txt(results, prefix), folder

    def evaluate(
        self,
        results: list,
        metric: str | Sequence[str] = 'bbox',
        logger: Any = None,
        outfile_prefix: str | None = None,
        classwise: bool = False,
        proposal_nums: Sequence[int] = (100, 300, 1000),
        iou_thrs: float | Sequence[float] | None = None,
        metric_items: str | Sequence[str] | None = None,
        backend: str | None = None,
    ) -> OrderedDict[str, float | str]:
        """COCO's measures, and ``'cityscapes'``: ``mAP`` and ``AP@50`` of masks by the benchmark's own rules.

        Args:
            results: one entry an image; see ``results2json`` and, for ``'cityscapes'``, ``results2txt``.
            metric: ``'cityscapes'`` and what ``CocoDataset.evaluate`` takes.
            logger: where the numbers are written.
            outfile_prefix: keep the results: json files of this prefix, and for ``'cityscapes'`` this folder.
            classwise, proposal_nums, iou_thrs, metric_items, backend: as of ``CocoDataset.evaluate``.
        """
        self._check_results(results)
        metrics = [metric] if isinstance(metric, str) else list(metric)
        numbers: OrderedDict[str, float | str] = OrderedDict()
        if 'cityscapes' in metrics:
            numbers.update(self._evaluate_cityscapes(results, outfile_prefix, logger))
            metrics.remove('cityscapes')
        if metrics:
            others = (classwise, proposal_nums, iou_thrs, metric_items, backend)
            numbers.update(super().evaluate(results, metrics, logger, outfile_prefix, *others))
        return numbers

    def _evaluate_cityscapes(self, results: list, outfile_prefix: str | None, logger: Any) -> dict[str, float]:
        from ..evaluation.cityscapes import evaluate_files

        truths = [self._instance_ids_file(info) for info in self.data_infos]
        files, folder = self.format_results(results, outfile_prefix)
        try:
            return evaluate_files(files, truths, logger)
        finally:
            if folder is not None:
                folder.cleanup()

    def _instance_ids_file(self, info: dict) -> str:
        """The png of instance ids of an image, in ``gtFine`` where the images are in ``leftImg8bit``."""
        folder = osp.dirname(info['filename'])
        name = self._stem(info).replace('_leftImg8bit', '_gtFine_instanceIds') + '.png'
        return osp.join(str(self.img_prefix).replace('leftImg8bit', 'gtFine'), folder, name)

    @staticmethod
    def _stem(info: dict) -> str:
        return osp.splitext(osp.basename(info['filename']))[0]
