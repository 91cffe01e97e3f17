"""Pascal VOC."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from ..evaluation.class_names import VOC_CLASSES, VOC_PALETTE
from ..registry import DATASETS
from .xml_style import XMLDataset


@DATASETS.register_module()
class VOCDataset(XMLDataset):
    """The Pascal Visual Object Classes challenges (Everingham et al., IJCV 2010).

    Where ``VOC2007`` stands in ``img_prefix``, AP is taken at 11 recall points, as that year's rules say; otherwise
    it is the area under the curve. Areas count pixels inclusively (``x2 - x1 + 1``), as the devkit does.
    """

    CLASSES = VOC_CLASSES
    PALETTE = VOC_PALETTE
    METRICS = XMLDataset.METRICS

    @property
    def year(self) -> int | None:
        """The challenge's year, ``None`` if ``img_prefix`` does not tell."""
        return next((year for year in (2007, 2012) if f'VOC{year}' in str(self.img_prefix)), None)

    def evaluate(
        self,
        results: list,
        metric: str | Sequence[str] = 'mAP',
        logger: Any = None,
        proposal_nums: Sequence[int] = (100, 300, 1000),
        iou_thr: float | Sequence[float] = 0.5,
        scale_ranges: Sequence[tuple[float, float]] | None = None,
    ) -> OrderedDict[str, float]:
        """``mAP`` (with ``AP50`` ...) or ``recall``; the arguments are those of ``CustomDataset.evaluate``."""
        from ..evaluation.voc_map import evaluate_as_voc

        self._check_results(results)
        annotations = [self.get_ann_info(i) for i in range(len(self))]
        rules = 'voc07' if self.year == 2007 else self.CLASSES
        return evaluate_as_voc(
            results,
            annotations,
            rules,
            metric,
            logger,
            proposal_nums,
            iou_thr,
            scale_ranges,
            use_legacy_coordinate=True,
            class_names=self.CLASSES,
        )
