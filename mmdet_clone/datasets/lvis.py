"""LVIS: thousands of classes over COCO's images."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from ..evaluation.lvis_classes import LVIS_V05_CLASSES, LVIS_V1_CLASSES
from ..registry import DATASETS
from .coco import CocoDataset

_SERVER = 'http://images.cocodataset.org/'


@DATASETS.register_module(name=['LVISV05Dataset', 'LVISDataset'])
class LVISV05Dataset(CocoDataset):
    """LVIS v0.5 (Gupta, Dollar and Girshick, "LVIS", arXiv:1908.03195), 1230 classes.

    The format is COCO's, and beside it each image lists categories known to be absent and categories of which not every
    object is annotated; each category is rare, common or frequent. Without ``classes`` labels follow the file's
    categories.
    """

    CLASSES = LVIS_V05_CLASSES
    PALETTE = None
    METRICS = ('bbox', 'segm', 'proposal', 'proposal_fast')

    def image_info(self, image: dict) -> dict:
        """``COCO_val2014_000000266409.jpg`` lies in COCO 2017 as ``000000266409.jpg``."""
        name = image['file_name']
        image['filename'] = name[-16:] if name.startswith('COCO_') else name
        return image

    def _number_categories(self) -> None:
        default, names = type(self).CLASSES, tuple(category['name'] for category in self._categories())
        if default == self.CLASSES and set(names) != set(default):
            warnings.warn(
                f'{self.ann_file!r} has {len(names)} categories that are not the {len(default)} of '
                f'{type(self).__name__}: CLASSES are taken from the file',
                stacklevel=2,
            )
            self.CLASSES = names
        super()._number_categories()

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
        """LVIS' measures, of the 300 best detections of each image.

        Args:
            results: one entry an image; see ``results2json``.
            metric: ``'bbox'``, ``'segm'``, ``'proposal'``, ``'proposal_fast'``, or a list of them.
            logger: where the numbers are written; printed by default, ``'silent'`` for nowhere.
            jsonfile_prefix: also keep the results as json files of this prefix.
            classwise: also print the AP of each class.
            proposal_nums: how many proposals an image count.
            iou_thrs: the thresholds to average over; .5 to .95 in steps of .05 by default.
            metric_items: which numbers to return, of ``AP, AP50, AP75, APs, APm, APl, APr, APc, APf, AR@300, ARs@300,
                ARm@300, ARl@300``; the APs by default, of proposals the ARs.
            backend: ``'faster-coco-eval'`` (default) or ``'pycocotools'``: the same numbers.

        Returns:
            ``bbox_AP, bbox_AP50, ..., bbox_APf, bbox_mAP_copypaste``, ``segm_*``, ``AR@100 ...``, to four digits.
        """
        from ..evaluation.lvis import LvisMetrics

        settings = LvisMetrics(classwise, proposal_nums, iou_thrs, metric_items, backend, logger)
        return self._evaluate(results, [metric] if isinstance(metric, str) else list(metric), settings, jsonfile_prefix)


LVISDataset = LVISV05Dataset


@DATASETS.register_module()
class LVISV1Dataset(LVISV05Dataset):
    """LVIS v1, 1203 classes. Images are found by their ``coco_url``, as ``train2017/...jpg`` or ``val2017/...jpg``."""

    CLASSES = LVIS_V1_CLASSES

    def image_info(self, image: dict) -> dict:
        url = image.get('coco_url')
        if not url:
            raise ValueError(
                f"{self.ann_file!r}: image {image['id']} has no 'coco_url', by which LVIS v1 names its images; its "
                f'keys: {sorted(image)}. LVIS v0.5 has file names: type="LVISV05Dataset"'
            )
        image['filename'] = url.removeprefix(_SERVER)
        return image
