"""What COCO's evaluation accumulates, and the numbers that are read from it.

T: overlap thresholds    R: 101 recall points    K: categories    A: area ranges    M: limits on detections an image
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

BOX_AREAS = ('all', 'small', 'medium', 'large')
KEYPOINT_AREAS = ('all', 'medium', 'large')
_TITLES = {'AP': 'Average Precision  (AP)', 'AR': 'Average Recall     (AR)'}


class Measure(NamedTuple):
    """One line of a summary.

    Attributes:
        name: its key in what ``evaluate`` returns, without the metric's prefix.
        kind: ``'AP'`` or ``'AR'``.
        iou: an overlap threshold; ``None`` for the mean over all.
        area: an area range.
        limit: how many detections an image count.
    """

    name: str
    kind: str
    iou: float | None
    area: str
    limit: int


@dataclass
class CocoScores:
    """What COCOeval accumulates; -1 where a category has no ground truth.

    Attributes:
        precision: (T, R, K, A, M).
        recall: (T, K, A, M).
        iou_thrs: (T,).
        max_dets: the M limits, rising.
        cat_ids: the K category ids, rising; [-1] where categories are not told apart.
        areas: the names of the A ranges.
    """

    precision: np.ndarray
    recall: np.ndarray
    iou_thrs: np.ndarray
    max_dets: list[int]
    cat_ids: list
    areas: tuple[str, ...] = BOX_AREAS

    def ap(self, iou: float | None = None, area: str = 'all', max_det: int | None = None) -> float:
        """Average precision, at one threshold or over all; -1 if undefined or the threshold was not evaluated."""
        values = self._at(self.precision, iou)[..., self.areas.index(area), self._limit(max_det)]
        return mean_valid(values)

    def ar(self, area: str = 'all', max_det: int | None = None, iou: float | None = None) -> float:
        """Average recall, over all thresholds or at one; -1 as of :meth:`ap`."""
        return mean_valid(self._at(self.recall, iou)[..., self.areas.index(area), self._limit(max_det)])

    def ap_of_category(self, cat_id: Any, iou: float | None = None) -> float:
        """Average precision of one category, NaN if it has no ground truth."""
        values = self._at(self.precision, iou)[:, :, self.cat_ids.index(cat_id), 0, -1]
        value = mean_valid(values)
        return float('nan') if value == -1 else value

    def _at(self, values: np.ndarray, iou: float | None) -> np.ndarray:
        return values if iou is None else values[np.isclose(self.iou_thrs, iou)]

    def _limit(self, max_det: int | None) -> int:
        return self.max_dets.index(max_det) if max_det in self.max_dets else -1

    def measures(self) -> list[Measure]:
        """The lines of the summary; see :func:`box_measures` and :func:`keypoint_measures`."""
        make = keypoint_measures if self.areas == KEYPOINT_AREAS else box_measures
        return make(self.max_dets)

    def value(self, measure: Measure) -> float:
        if measure.kind == 'AP':
            return self.ap(measure.iou, measure.area, measure.limit)
        return self.ar(measure.area, measure.limit, measure.iou)

    def numbers(self) -> OrderedDict[str, float]:
        """The value of each of :meth:`measures` by its name."""
        return OrderedDict((measure.name, self.value(measure)) for measure in self.measures())

    def summary(self) -> str:
        """The numbers as COCO prints them, to four digits."""
        return '\n'.join(
            f' {_TITLES[m.kind]} @[ IoU={self._iou_text(m.iou):<9} | area={m.area:>6} | maxDets={m.limit:>4} ] = '
            f'{self.value(m):.4f}'
            for m in self.measures()
        )

    def _iou_text(self, iou: float | None) -> str:
        ends = sorted({self.iou_thrs[0], self.iou_thrs[-1]}) if iou is None else [iou]
        return ':'.join(f'{end:.2f}' for end in ends)


def box_measures(max_dets: Sequence[int]) -> list[Measure]:
    """COCO's twelve numbers (three AR limits) by MMDetection's names: ``mAP, mAP_50, ..., AR_l@1000``.

    ``mAP`` counts 100 detections an image, as COCO does; the other APs count as many as the largest limit.
    """
    most = max_dets[-1]
    return [
        Measure('mAP', 'AP', None, 'all', 100 if 100 in max_dets else most),
        Measure('mAP_50', 'AP', 0.5, 'all', most),
        Measure('mAP_75', 'AP', 0.75, 'all', most),
        *(Measure(f'mAP_{area[0]}', 'AP', None, area, most) for area in BOX_AREAS[1:]),
        *(Measure(f'AR@{limit}', 'AR', None, 'all', limit) for limit in max_dets),
        *(Measure(f'AR_{area[0]}@{most}', 'AR', None, area, most) for area in BOX_AREAS[1:]),
    ]


def keypoint_measures(max_dets: Sequence[int]) -> list[Measure]:
    """COCO's ten numbers of keypoints: ``mAP, mAP_50, mAP_75, mAP_m, mAP_l, AR@20, AR_50@20, ... AR_l@20``."""
    most = max_dets[-1]

    def five(kind: str, name: str, tail: str) -> list[Measure]:
        return [
            Measure(name + tail, kind, None, 'all', most),
            *(Measure(f'{name}_{iou * 100:.0f}{tail}', kind, iou, 'all', most) for iou in (0.5, 0.75)),
            *(Measure(f'{name}_{area[0]}{tail}', kind, None, area, most) for area in KEYPOINT_AREAS[1:]),
        ]

    return five('AP', 'mAP', '') + five('AR', 'AR', f'@{most}')


def mean_valid(values: np.ndarray) -> float:
    """The mean of the entries above -1; -1 without any."""
    values = values[values > -1]
    return float(values.mean()) if values.size else -1.0
