"""LVIS AP: thousands of classes, of which each image is annotated with some.

Gupta, Dollar and Girshick, "LVIS: A Dataset for Large Vocabulary Instance Segmentation", arXiv:1908.03195. An image
lists the categories that are known to be absent (``neg_category_ids``) and those of which not every object is annotated
(``not_exhaustive_category_ids``). Section 3: a detection counts only where its category is annotated in the image or
known to be absent; one that matches no object is no mistake where the category is not exhaustively annotated.

Put in COCO's terms: detections of other categories are dropped, and a crowd region without bounds stands for the
unannotated objects of a category.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from .coco import choose_backend, coco_eval, mask_areas
from .coco_metrics import CocoMetrics, classwise_table
from .coco_scores import CocoScores, Measure, mean_valid
from .report import say

MAX_DETECTIONS = 300  # an image, over all categories
FREQUENCIES = ('r', 'c', 'f')  # rare, common, frequent: in < 10, < 100, more images of the training set
METRICS = ('bbox', 'segm', 'proposal', 'proposal_fast')
_FAR = 1e6  # pixels


@dataclass
class LvisScores(CocoScores):
    """COCO's scores by LVIS' names, and those of rare, common and frequent categories.

    Attributes:
        frequencies: ``'r'``, ``'c'`` or ``'f'`` of each of the K categories.
    """

    frequencies: list[str] = field(default_factory=list)

    def measures(self) -> list[Measure]:
        return lvis_measures(self.max_dets)

    def value(self, measure: Measure) -> float:
        if measure.kind == 'AP' and measure.area in FREQUENCIES:
            of_group = np.array(self.frequencies) == measure.area
            return mean_valid(self.precision[:, :, of_group, 0, -1])
        return super().value(measure)


def lvis_measures(max_dets: Sequence[int]) -> list[Measure]:
    """``AP, AP50, AP75, APs, APm, APl, APr, APc, APf, AR@300, ARs@300, ARm@300, ARl@300``."""
    most, sizes = max_dets[-1], ('small', 'medium', 'large')
    return [
        Measure('AP', 'AP', None, 'all', most),
        *(Measure(f'AP{iou * 100:.0f}', 'AP', iou, 'all', most) for iou in (0.5, 0.75)),
        *(Measure(f'AP{area[0]}', 'AP', None, area, most) for area in sizes),
        *(Measure(f'AP{group}', 'AP', None, group, most) for group in FREQUENCIES),
        *(Measure(f'AR@{limit}', 'AR', None, 'all', limit) for limit in max_dets),
        *(Measure(f'AR{area[0]}@{most}', 'AR', None, area, most) for area in sizes),
    ]


def lvis_eval(
    ground_truth: dict,
    detections: list[dict],
    iou_type: str = 'bbox',
    max_dets: Sequence[int] = (MAX_DETECTIONS,),
    iou_thrs: Sequence[float] | None = None,
    use_cats: bool = True,
    backend: str | None = None,
) -> LvisScores:
    """Evaluate as LVIS does. Neither argument is changed.

    Args:
        ground_truth: an LVIS dict: ``images`` with ``neg_category_ids`` and ``not_exhaustive_category_ids``,
            ``annotations``, ``categories`` with ``frequency``.
        detections: records of a result file; the best of each image count, as many as the largest of ``max_dets``.
        iou_type: ``'bbox'`` or ``'segm'``.
        max_dets: limits on the detections of an image.
        iou_thrs: overlap thresholds; .5 to .95 by default.
        use_cats: tell categories apart. Without, what is known of categories is not used, and only recall means much.
        backend: ``'faster-coco-eval'`` or ``'pycocotools'``.
    """
    _check_lvis(ground_truth)
    ground_truth = {**ground_truth, 'annotations': [ann for ann in ground_truth['annotations'] if ann['area'] > 0]}
    detections = without_empty(best_of_images(detections, max(max_dets)), iou_type)
    if use_cats:
        detections = of_known_categories(ground_truth, detections)
        ground_truth = {**ground_truth, 'annotations': _with_unannotated(ground_truth, iou_type)}
    scores = coco_eval(ground_truth, detections, iou_type, max_dets, iou_thrs, use_cats, backend)
    frequency_of = {category['id']: category['frequency'] for category in ground_truth['categories']}
    own = {item.name: getattr(scores, item.name) for item in fields(scores)}
    return LvisScores(**own, frequencies=[frequency_of.get(cat_id, '') for cat_id in scores.cat_ids])


def _check_lvis(ground_truth: dict) -> None:
    for name, keys in (
        ('images', ('neg_category_ids', 'not_exhaustive_category_ids')),
        ('categories', ('frequency',)),
        ('annotations', ('area',)),
    ):
        for entry in ground_truth[name]:
            lacking = [key for key in keys if key not in entry]
            if lacking:
                raise ValueError(
                    f'LVIS evaluation needs {" and ".join(map(repr, lacking))} in the {name} of the annotation file; '
                    f'the entry with id {entry["id"]} has {sorted(entry)}. Is it a COCO file (CocoDataset)?'
                )
    unknown = {category['frequency'] for category in ground_truth['categories']} - set(FREQUENCIES)
    if unknown:
        raise ValueError(f"a category's frequency is 'r', 'c' or 'f', got {sorted(map(str, unknown))}")


def best_of_images(detections: list[dict], limit: int) -> list[dict]:
    """The ``limit`` best-scored detections of each image, image by image."""
    of_image: dict[Any, list[dict]] = defaultdict(list)
    for record in detections:
        of_image[record['image_id']].append(record)
    best: list[dict] = []
    for records in of_image.values():
        if len(records) > limit:
            records = sorted(records, key=lambda record: -record['score'])[:limit]
        best += records
    return best


def of_known_categories(ground_truth: dict, detections: list[dict]) -> list[dict]:
    """The detections whose category is annotated in their image, or known to be absent."""
    known = {(image['id'], cat_id) for image in ground_truth['images'] for cat_id in image['neg_category_ids']}
    known |= {(ann['image_id'], ann['category_id']) for ann in ground_truth['annotations']}
    return [record for record in detections if (record['image_id'], record['category_id']) in known]


def without_empty(detections: list[dict], iou_type: str) -> list[dict]:
    """The detections that cover something: LVIS does not count the others as mistakes."""
    if iou_type == 'segm':
        areas: list[float] = mask_areas([record['segmentation'] for record in detections])
    else:
        areas = [record['bbox'][2] * record['bbox'][3] for record in detections]
    return [record for record, area in zip(detections, areas, strict=True) if area > 0]


def _with_unannotated(ground_truth: dict, iou_type: str) -> list[dict]:
    """The annotations, none of them a crowd, and a crowd without bounds for each category that is not exhaustive."""
    evaluated = {category['id'] for category in ground_truth['categories']}
    annotations = [{**ann, 'iscrowd': 0} for ann in ground_truth['annotations']]
    for image in ground_truth['images']:
        mask = _whole_image(image) if iou_type == 'segm' and image['not_exhaustive_category_ids'] else None
        annotations += [
            dict(
                id=0,
                image_id=image['id'],
                category_id=cat_id,
                bbox=[-_FAR, -_FAR, 2 * _FAR, 2 * _FAR],
                segmentation=mask,
                area=0,
                iscrowd=1,
            )
            for cat_id in dict.fromkeys(image['not_exhaustive_category_ids'])
            if cat_id in evaluated
        ]
    return annotations


def _whole_image(image: dict) -> dict:
    return dict(size=[image['height'], image['width']], counts=[0, image['height'] * image['width']])


@dataclass
class LvisMetrics(CocoMetrics):
    """The settings of ``LVISV1Dataset.evaluate``, which documents them."""

    def measures(self, metric: str) -> list[Measure]:
        return lvis_measures(self._limits(metric))

    def _limits(self, metric: str) -> tuple[int, ...]:
        return self.proposal_nums if metric.startswith('proposal') else (MAX_DETECTIONS,)

    def evaluate(
        self,
        ground_truth: dict,
        detections: list[dict],
        metric: str,
        class_names: Sequence[str],
        cat_ids: Sequence,
    ) -> OrderedDict[str, float | str]:
        """As of :class:`CocoMetrics`."""
        say(f'\nEvaluating {metric}...', self.logger)
        self._say_if_empty(ground_truth, detections, metric)
        scores = lvis_eval(
            ground_truth,
            detections,
            'segm' if metric == 'segm' else 'bbox',
            self._limits(metric),
            self.thresholds,
            use_cats=metric != 'proposal',
            backend=choose_backend(self.backend, self.logger),
        )
        say(scores.summary(), self.logger)
        if self.classwise and metric != 'proposal':
            say('\n' + classwise_table(scores, class_names, cat_ids), self.logger)
        return self._chosen(scores, metric)

    def _chosen(self, scores: CocoScores, metric: str) -> OrderedDict[str, float | str]:
        """``AR@100 ...`` of proposals, ``bbox_AP ...`` otherwise, to four digits."""
        values = scores.numbers()
        if metric == 'proposal':
            names = self.metric_items or [name for name in values if name.startswith('AR')]
            return OrderedDict((name, round(values[name], 4)) for name in names)
        aps = [name for name in values if name.startswith('AP')]
        numbers: OrderedDict[str, float | str] = OrderedDict(
            (f'{metric}_{name}', round(values[name], 4)) for name in self.metric_items or aps
        )
        numbers[f'{metric}_mAP_copypaste'] = ' '.join(f'{name}:{values[name]:.3f}' for name in aps)
        return numbers
