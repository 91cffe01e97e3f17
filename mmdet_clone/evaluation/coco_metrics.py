"""The measures of ``CocoDataset.evaluate``: what is asked for, what is returned, what is written."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .coco import DEFAULT_THRESHOLDS, choose_backend, coco_eval
from .coco_scores import CocoScores, Measure, box_measures, keypoint_measures
from .report import check_metrics, say, table

METRICS = ('bbox', 'segm', 'keypoints', 'proposal', 'proposal_fast')
KEYPOINT_LIMITS = (20,)


@dataclass
class CocoMetrics:
    """The settings of ``CocoDataset.evaluate``, which documents them."""

    classwise: bool = False
    proposal_nums: tuple[int, ...] = (100, 300, 1000)
    iou_thrs: float | Sequence[float] | None = None
    metric_items: str | Sequence[str] | None = None
    backend: str | None = None
    logger: Any = None
    sigmas: Sequence[float] | None = None

    def __post_init__(self) -> None:
        self.proposal_nums = tuple(sorted(int(num) for num in np.atleast_1d(self.proposal_nums)))
        if isinstance(self.metric_items, str):
            self.metric_items = [self.metric_items]

    @property
    def thresholds(self) -> np.ndarray:
        return DEFAULT_THRESHOLDS if self.iou_thrs is None else np.atleast_1d(np.asarray(self.iou_thrs, dtype=float))

    def check(self, metrics: Sequence[str], known: Sequence[str] = METRICS) -> None:
        """Raise ``UnknownMetricError`` for a measure or item that there is not."""
        check_metrics(metrics, known)
        for metric in metrics:
            check_metrics(self.metric_items or (), [m.name for m in self.measures(metric)], 'metric item')

    def measures(self, metric: str) -> list[Measure]:
        """The lines of a metric's summary."""
        return keypoint_measures(KEYPOINT_LIMITS) if metric == 'keypoints' else box_measures(self.proposal_nums)

    def evaluate(
        self,
        ground_truth: dict,
        detections: list[dict],
        metric: str,
        class_names: Sequence[str],
        cat_ids: Sequence,
    ) -> OrderedDict[str, float | str]:
        """Evaluate ``metric``, write its lines, return its numbers.

        Args:
            ground_truth: a COCO dict.
            detections: the records of the kind that :func:`kind_for` names.
            class_names: of the labels, for the table by class.
            cat_ids: the category id of each label.
        """
        say(f'\nEvaluating {metric}...', self.logger)
        self._say_if_empty(ground_truth, detections, metric)
        scores = coco_eval(
            ground_truth,
            detections,
            metric if metric in ('segm', 'keypoints') else 'bbox',
            KEYPOINT_LIMITS if metric == 'keypoints' else self.proposal_nums,
            self.thresholds,
            use_cats=metric != 'proposal',
            backend=choose_backend(self.backend, self.logger),
            sigmas=self.sigmas,
        )
        say(scores.summary(), self.logger)
        if self.classwise and metric != 'proposal':
            say('\n' + classwise_table(scores, class_names, cat_ids), self.logger)
        return self._chosen(scores, metric)

    def _say_if_empty(self, ground_truth: dict, detections: list[dict], metric: str) -> None:
        if not ground_truth['annotations']:
            say(f'The annotations hold no object of the classes: every {metric} number is -1', self.logger)
        elif not detections:
            say(f'The results hold no detection at all: every {metric} number is 0', self.logger)

    def _chosen(self, scores: CocoScores, metric: str) -> OrderedDict[str, float | str]:
        """The numbers asked for; by default AR for proposals, mAP for boxes and masks, all for keypoints."""
        values = scores.numbers()
        if metric == 'proposal':
            names = self.metric_items or [name for name in values if name.startswith('AR')]
            return OrderedDict((name, round(values[name], 4)) for name in names)
        aps = [name for name in values if name.startswith('mAP')]
        names = self.metric_items or (list(values) if metric == 'keypoints' else aps)
        numbers: OrderedDict[str, float | str] = OrderedDict(
            (f'{metric}_{name}', round(values[name], 4)) for name in names
        )
        numbers[f'{metric}_mAP_copypaste'] = ' '.join(f'{values[name]:.3f}' for name in aps)
        return numbers


def kind_for(metric: str, kinds: Sequence[str]) -> str:
    """The kind of record, of those the results hold, that a metric is taken of.

    Raises:
        ValueError: the results do not hold it.
    """
    if metric == 'proposal':
        kind = 'proposal' if 'proposal' in kinds else 'bbox'
    else:
        kind = metric
    if kind not in kinds:
        raise ValueError(f'cannot evaluate {metric!r}: the results hold {" and ".join(kinds)} only')
    return kind


def classwise_table(scores: CocoScores, class_names: Sequence[str], cat_ids: Sequence) -> str:
    """The AP of each class, ``nan`` for one without ground truth."""
    rows = [(name, f'{scores.ap_of_category(cat_id):.3f}') for name, cat_id in zip(class_names, cat_ids, strict=True)]
    return table(['category', 'AP'], rows, pairs=min(3, len(rows)))


def evaluate_fast_recall(
    recalls: np.ndarray, proposal_nums: Sequence[int], logger: Any = None
) -> OrderedDict[str, float]:
    """``AR@100 ...`` of numpy recalls, written as lines too."""
    numbers = OrderedDict((f'AR@{num}', float(value)) for num, value in zip(proposal_nums, recalls, strict=True))
    lines = [f'{name}\t{value:.4f}' for name, value in numbers.items()]
    say('\n'.join(['\nEvaluating proposal_fast...', *lines]), logger)
    return numbers
