"""COCO's measures by faster-coco-eval or pycocotools, which give the same numbers.

T: overlap thresholds    R: 101 recall points    K: categories    A: area ranges (all, small, medium, large)
M: limits on detections an image
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .report import check_metrics, say, table

BACKENDS = ('faster-coco-eval', 'pycocotools')
BACKEND_VARIABLE = 'MMDET_CLONE_COCO_BACKEND'
DEFAULT_THRESHOLDS = np.linspace(0.5, 0.95, 10)
_AREAS = dict(all=0, small=1, medium=2, large=3)
_METRICS = ('bbox', 'segm', 'proposal', 'proposal_fast')


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Drop what pycocotools prints."""
    with open(os.devnull, 'w') as sink, contextlib.redirect_stdout(sink):
        yield


def choose_backend(asked: str | None = None, logger: Any = None) -> str:
    """The evaluation library: ``asked``, else the environment's choice, else the fastest that is installed."""
    wanted = asked or os.environ.get(BACKEND_VARIABLE) or BACKENDS[0]
    if wanted not in BACKENDS:
        raise ValueError(f'unknown COCO backend {wanted!r} (argument backend or {BACKEND_VARIABLE}); known: {BACKENDS}')
    if importlib.util.find_spec(wanted.replace('-', '_')) is not None:
        return wanted
    other = next(name for name in BACKENDS if name != wanted)
    if importlib.util.find_spec(other.replace('-', '_')) is None:
        raise ImportError('COCO evaluation needs faster-coco-eval or pycocotools: pip install faster-coco-eval')
    say(f'{wanted} is not installed: evaluating with {other} (pip install {wanted})', logger)
    return other


@dataclass
class CocoScores:
    """What COCOeval accumulates; -1 where a category has no ground truth.

    Attributes:
        precision: (T, R, K, A, M).
        recall: (T, K, A, M).
        iou_thrs: (T,).
        max_dets: the M limits, rising.
        cat_ids: the K category ids, rising; [-1] where categories are not told apart.
    """

    precision: np.ndarray
    recall: np.ndarray
    iou_thrs: np.ndarray
    max_dets: list[int]
    cat_ids: list

    def ap(self, iou: float | None = None, area: str = 'all', max_det: int | None = None) -> float:
        """Average precision, at one threshold or over all; -1 if undefined or the threshold was not evaluated."""
        values = self._at(self.precision, iou)[..., _AREAS[area], self._limit(max_det)]
        return _mean_valid(values)

    def ar(self, area: str = 'all', max_det: int | None = None) -> float:
        """Average recall over all thresholds."""
        return _mean_valid(self.recall[..., _AREAS[area], self._limit(max_det)])

    def ap_of_category(self, cat_id: Any, iou: float | None = None) -> float:
        """Average precision of one category, NaN if it has no ground truth."""
        values = self._at(self.precision, iou)[:, :, self.cat_ids.index(cat_id), 0, -1]
        value = _mean_valid(values)
        return float('nan') if value == -1 else value

    def _at(self, values: np.ndarray, iou: float | None) -> np.ndarray:
        return values if iou is None else values[np.isclose(self.iou_thrs, iou)]

    def _limit(self, max_det: int | None) -> int:
        return self.max_dets.index(max_det) if max_det in self.max_dets else -1

    def numbers(self) -> OrderedDict[str, float]:
        """COCO's twelve numbers (three AR limits) by MMDetection's names: ``mAP, mAP_50, ..., AR_l@1000``.

        ``mAP`` counts 100 detections an image, as COCO does; the other APs count as many as the largest limit.
        """
        found = OrderedDict(
            mAP=self.ap(max_det=100),
            mAP_50=self.ap(0.5),
            mAP_75=self.ap(0.75),
            mAP_s=self.ap(area='small'),
            mAP_m=self.ap(area='medium'),
            mAP_l=self.ap(area='large'),
        )
        for limit in self.max_dets:
            found[f'AR@{limit}'] = self.ar(max_det=limit)
        for letter, area in (('s', 'small'), ('m', 'medium'), ('l', 'large')):
            found[f'AR_{letter}@{self.max_dets[-1]}'] = self.ar(area)
        return found

    def summary(self) -> str:
        """The twelve numbers as COCO prints them, to four digits."""
        whole = ':'.join(f'{iou:.2f}' for iou in sorted({self.iou_thrs[0], self.iou_thrs[-1]}))
        most = self.max_dets[-1]
        of_ap = [(whole, 'all', 100 if 100 in self.max_dets else most), ('0.50', 'all', most), ('0.75', 'all', most)]
        of_ap += [(whole, area, most) for area in ('small', 'medium', 'large')]
        of_ar = [(whole, 'all', limit) for limit in self.max_dets]
        of_ar += [(whole, area, most) for area in ('small', 'medium', 'large')]
        titles = ['Average Precision  (AP)'] * len(of_ap) + ['Average Recall     (AR)'] * len(of_ar)
        return '\n'.join(
            f' {title} @[ IoU={iou:<9} | area={area:>6} | maxDets={limit:>4} ] = {value:.4f}'
            for title, (iou, area, limit), value in zip(titles, of_ap + of_ar, self.numbers().values(), strict=True)
        )


def _mean_valid(values: np.ndarray) -> float:
    values = values[values > -1]
    return float(values.mean()) if values.size else -1.0


def coco_eval(
    ground_truth: dict,
    detections: list[dict],
    iou_type: str = 'bbox',
    max_dets: Sequence[int] = (1, 10, 100),
    iou_thrs: Sequence[float] | None = None,
    use_cats: bool = True,
    backend: str | None = None,
) -> CocoScores:
    """Run COCOeval. Neither argument is changed.

    Args:
        ground_truth: a COCO dict: ``images, annotations, categories``.
        detections: records of a result file, ``bbox`` x, y, width, height or ``segmentation`` RLE.
        iou_type: ``'bbox'`` or ``'segm'``.
        max_dets: limits on the detections of an image and category.
        iou_thrs: overlap thresholds; .5 to .95 by default.
        use_cats: tell categories apart.
        backend: ``'faster-coco-eval'`` or ``'pycocotools'``.
    """
    if choose_backend(backend, 'silent') == 'pycocotools':
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    else:
        from faster_coco_eval import COCO
        from faster_coco_eval import COCOeval_faster as COCOeval

    annotations = _evaluable(ground_truth['annotations'], iou_type)
    if not use_cats:  # faster-coco-eval drops categories that the ground truth does not define even then
        ground_truth = {**ground_truth, 'categories': [dict(id=1, name='object')]}
        annotations, detections = (
            [{**item, 'category_id': 1} for item in items] for items in (annotations, detections)
        )
    with silenced():
        truth_api = _index(COCO, {**ground_truth, 'annotations': annotations})
        found_api = _load_detections(COCO, truth_api, detections, iou_type)
        evaluation = COCOeval(truth_api, found_api, iou_type)
        parameters = evaluation.params
        parameters.maxDets = sorted(int(limit) for limit in max_dets)
        parameters.useCats = int(use_cats)
        if iou_thrs is not None:
            parameters.iouThrs = np.atleast_1d(np.asarray(iou_thrs, dtype=float))
        evaluation.evaluate()
        evaluation.accumulate()
    return CocoScores(
        precision=np.asarray(evaluation.eval['precision']),
        recall=np.asarray(evaluation.eval['recall']),
        iou_thrs=np.asarray(parameters.iouThrs),
        max_dets=list(parameters.maxDets),
        cat_ids=np.asarray(parameters.catIds).tolist() if use_cats else [-1],
    )


def _evaluable(annotations: list[dict], iou_type: str) -> list[dict]:
    """Copies (the libraries write into them) with what they need: an area, a crowd flag, ids that count from 1."""
    if iou_type == 'segm':
        without = [ann['id'] for ann in annotations if not ann.get('segmentation')]
        if without:
            raise ValueError(
                f"cannot evaluate 'segm': {len(without)} of {len(annotations)} annotations have no 'segmentation', "
                f"first annotations {without[:10]}. Evaluate 'bbox' only"
            )
    return [
        {'iscrowd': 0, 'area': ann['bbox'][2] * ann['bbox'][3], **ann, 'id': number}
        for number, ann in enumerate(annotations, 1)
    ]


def _index(api_class: type, dataset: dict) -> Any:
    api = api_class()
    api.dataset = dataset
    api.createIndex()
    return api


def _load_detections(api_class: type, truth_api: Any, detections: list[dict], iou_type: str) -> Any:
    if not detections:
        return _index(api_class, {**truth_api.dataset, 'annotations': []})
    # with a box beside the mask the libraries would take the box's area for the mask's
    dropped = {'bbox'} if iou_type == 'segm' else {'segmentation'}
    return truth_api.loadRes([{k: v for k, v in record.items() if k not in dropped} for record in detections])


@dataclass
class CocoMetrics:
    """The settings of ``CocoDataset.evaluate``, which documents them."""

    classwise: bool = False
    proposal_nums: tuple[int, ...] = (100, 300, 1000)
    iou_thrs: float | Sequence[float] | None = None
    metric_items: str | Sequence[str] | None = None
    backend: str | None = None
    logger: Any = None

    def __post_init__(self) -> None:
        self.proposal_nums = tuple(sorted(self.proposal_nums))
        if isinstance(self.metric_items, str):
            self.metric_items = [self.metric_items]

    @property
    def thresholds(self) -> np.ndarray:
        return DEFAULT_THRESHOLDS if self.iou_thrs is None else np.atleast_1d(np.asarray(self.iou_thrs, dtype=float))

    def check(self, metrics: Sequence[str]) -> None:
        """Raise ``UnknownMetricError`` for a measure or item that there is not."""
        check_metrics(metrics, _METRICS)
        check_metrics(self.metric_items or (), self._all_items(), 'metric item')

    def _all_items(self) -> list[str]:
        empty = np.zeros((1, 1, 1, 4, len(self.proposal_nums)))
        return list(CocoScores(empty, empty[0], np.array([0.5]), list(self.proposal_nums), [1]).numbers())

    def evaluate(
        self,
        ground_truth: dict,
        records: dict[str, list[dict]],
        metric: str,
        class_names: Sequence[str],
        cat_ids: Sequence,
    ) -> OrderedDict[str, float | str]:
        """Evaluate ``metric``, write its lines, return its numbers."""
        say(f'\nEvaluating {metric}...', self.logger)
        detections = self._detections(records, metric)
        scores = coco_eval(
            ground_truth,
            detections,
            'segm' if metric == 'segm' else 'bbox',
            self.proposal_nums,
            self.thresholds,
            use_cats=metric != 'proposal',
            backend=choose_backend(self.backend, self.logger),
        )
        say(scores.summary(), self.logger)
        if metric == 'proposal':
            return self._chosen(scores, '', [name for name in self._all_items() if name.startswith('AR')])
        if self.classwise:
            say('\n' + classwise_table(scores, class_names, cat_ids), self.logger)
        numbers = self._chosen(scores, f'{metric}_', [name for name in self._all_items() if name.startswith('mAP')])
        aps = [value for name, value in scores.numbers().items() if name.startswith('mAP')]
        numbers[f'{metric}_mAP_copypaste'] = ' '.join(f'{value:.3f}' for value in aps)
        return numbers

    def _detections(self, records: dict[str, list[dict]], metric: str) -> list[dict]:
        kind = 'segm' if metric == 'segm' else 'bbox'
        if metric == 'proposal' and 'proposal' in records:
            kind = 'proposal'
        if kind not in records:
            raise ValueError(f'cannot evaluate {metric!r}: the results hold {" and ".join(records)} only')
        if not records[kind]:
            say(f'The results hold no detection at all: every {metric} number is 0', self.logger)
        return records[kind]

    def _chosen(self, scores: CocoScores, prefix: str, default: list[str]) -> OrderedDict[str, float | str]:
        values = scores.numbers()
        return OrderedDict((prefix + name, round(values[name], 4)) for name in self.metric_items or default)


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
