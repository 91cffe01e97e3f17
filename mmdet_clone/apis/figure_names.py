"""The names of the figures that an evaluation will give, known without a result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def figure_names(dataset: Any, arguments: dict) -> list[str] | None:
    """The names of the numbers that ``dataset.evaluate(results, **arguments)`` gives; ``None`` if that is not known.

    Known are the measures of ``CocoDataset``, ``CustomDataset`` and ``VOCDataset`` and of data sets that inherit their
    ``evaluate``. A class with an ``evaluate`` of its own tells by a method ``figure_names(**arguments)`` beside it.
    """
    if hasattr(dataset, 'datasets'):
        return _of_parts(dataset, arguments)
    from mmdet_clone.datasets import CocoDataset, CustomDataset, VOCDataset

    owner = next((cls for cls in type(dataset).__mro__ if 'evaluate' in vars(cls)), None)
    if owner is not None and 'figure_names' in vars(owner):
        return list(dataset.figure_names(**arguments))
    if owner is CocoDataset:
        return _of_coco(**arguments)
    return _of_voc(**arguments) if owner in (CustomDataset, VOCDataset) else None


def _of_parts(dataset: Any, arguments: dict) -> list[str] | None:
    names = [figure_names(part, arguments) for part in dataset.datasets]
    if not getattr(dataset, 'separate_eval', True):
        return names[0]
    if any(of_part is None for of_part in names):
        return None
    return [f'{i}_{name}' for i, of_part in enumerate(names) for name in of_part]


def _of_coco(
    metric: str | Sequence[str] = 'bbox',
    proposal_nums: Sequence[int] = (100, 300, 1000),
    metric_items: str | Sequence[str] | None = None,
    **_: Any,
) -> list[str] | None:
    from mmdet_clone.evaluation.coco_metrics import METRICS, CocoMetrics

    settings = CocoMetrics(proposal_nums=tuple(np.atleast_1d(proposal_nums)), metric_items=metric_items)
    asked = [metric] if isinstance(metric, str) else list(metric)
    return [name for key in asked for name in _of_measure(settings, key)] if set(asked) <= set(METRICS) else None


def _of_measure(settings: Any, metric: str) -> list[str]:
    names = [measure.name for measure in settings.measures(metric)]
    if metric == 'proposal_fast':
        return [f'AR@{limit}' for limit in settings.proposal_nums]
    if metric == 'proposal':
        return list(settings.metric_items or (name for name in names if name.startswith('AR')))
    of_metric = names if metric == 'keypoints' else (name for name in names if name.startswith('mAP'))
    return [f'{metric}_{name}' for name in settings.metric_items or of_metric]


def _of_voc(
    metric: str | Sequence[str] = 'mAP',
    proposal_nums: Sequence[int] = (100, 300, 1000),
    iou_thr: float | Sequence[float] = 0.5,
    **_: Any,
) -> list[str] | None:
    thresholds = [iou_thr] if isinstance(iou_thr, int | float) else list(iou_thr)
    asked = metric if isinstance(metric, str) else (list(metric) or [''])[0]
    if asked == 'mAP':
        return ['mAP', *(f'AP{round(threshold * 100):02d}' for threshold in thresholds)]
    if asked != 'recall':
        return None
    recalls = [f'recall@{limit}@{float(threshold)}' for limit in proposal_nums for threshold in thresholds]
    return recalls + [f'AR@{limit}' for limit in proposal_nums if len(thresholds) > 1]
