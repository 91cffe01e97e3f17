"""Precision, recall, F1 and best thresholds, from detections whose verdicts are known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmdet_clone.evaluation.curves import (
    IGNORED,
    RIGHT,
    WRONG,
    at_thresholds,
    best_common_threshold,
    best_operating_point,
    class_curves,
    judge_detections,
    select_classes,
    threshold_rows,
)

SLOTS = [(20 * i, 0, 20 * i + 10, 10) for i in range(8)]
NOWHERE = (500, 500, 510, 510)


def curve_of(*found, objects=4):
    """The curve of one class whose ``objects`` lie in the first slots; ``found`` are (box, score)."""
    dets = np.array([(*box, score) for box, score in found], np.float32).reshape(-1, 5)
    ann = dict(bboxes=np.array(SLOTS[:objects], np.float32).reshape(-1, 4), labels=np.zeros(objects, np.int64))
    return class_curves([[dets]], [ann], num_classes=1)[0]


@pytest.fixture
def three_of_four():
    """Right at .9, wrong at .8, right at .7; the fourth object is never found."""
    return curve_of((SLOTS[0], 0.9), (NOWHERE, 0.8), (SLOTS[2], 0.7))


def test_precision_recall_and_f1_follow_the_order_of_the_scores(three_of_four):
    np.testing.assert_allclose(three_of_four.scores, [0.9, 0.8, 0.7], rtol=1e-6)
    np.testing.assert_allclose(three_of_four.precision, [1, 1 / 2, 2 / 3])
    np.testing.assert_allclose(three_of_four.recall, [1 / 4, 1 / 4, 2 / 4])
    np.testing.assert_allclose(three_of_four.f1, [2 / 5, 2 / 6, 4 / 7])  # 2 TP / (objects + detections)


def test_average_precision_is_the_mean_over_101_recalls(three_of_four):
    # recalls 0 to .25 (26 points) at 1, .26 to .50 (25 points) at 2/3, the other 50 at 0
    assert three_of_four.average_precision == pytest.approx((26 + 25 * 2 / 3) / 101)


def test_best_threshold_has_the_highest_f1(three_of_four):
    best = best_operating_point(three_of_four)
    assert best.score == np.float32(0.7)
    assert (best.precision, best.recall, best.f1) == pytest.approx((2 / 3, 1 / 2, 4 / 7))


def test_highest_of_equally_good_thresholds_is_chosen():
    # F1: 2/2 at .9; one wrong and nothing found after it only lowers it
    assert best_operating_point(curve_of((SLOTS[0], 0.9), (NOWHERE, 0.5), objects=1)).score == np.float32(0.9)
    # 2/5 at .9, 4/10 at .4 after four wrong ones
    wrong = [(NOWHERE, 0.5)] * 4
    even = curve_of((SLOTS[0], 0.9), *wrong, (SLOTS[1], 0.4))
    assert even.f1.tolist() == pytest.approx([2 / 5, 2 / 9, 4 / 10])
    assert best_operating_point(even).score == np.float32(0.9)


def test_equal_scores_make_one_point_because_no_threshold_parts_them():
    curve = curve_of((SLOTS[0], 0.6), (NOWHERE, 0.6), (SLOTS[1], 0.6))
    assert curve.scores.tolist() == [np.float32(0.6)]
    assert (curve.true_positives.tolist(), curve.false_positives.tolist()) == ([2], [1])


def test_second_detection_of_an_object_is_wrong():
    boxes = np.array([(*SLOTS[0], 0.9), (*SLOTS[0], 0.8)])
    assert judge_detections(boxes, np.array(SLOTS[:1]), None).tolist() == [RIGHT, WRONG]


def test_detection_takes_a_free_object_though_it_overlaps_a_taken_one_more():
    objects = np.array([(0, 0, 10, 10), (0, 0, 10, 14)])
    # IoU of the second: 10/11 with the object that is taken, 11/14 with the free one
    boxes = np.array([(0, 0, 10, 10, 0.9), (0, 0, 10, 11, 0.8)])
    assert judge_detections(boxes, objects, None).tolist() == [RIGHT, RIGHT]


def test_detections_in_ignored_regions_count_neither_way():
    boxes = np.array([(*SLOTS[0], 0.9), (*SLOTS[1], 0.8), (*SLOTS[2], 0.7)])
    regions = np.array([(15, -5, 35, 15)])  # around the second slot
    assert judge_detections(boxes, np.array(SLOTS[:1]), regions).tolist() == [RIGHT, IGNORED, WRONG]


def test_ignored_regions_with_labels_are_those_of_a_class():
    dets = np.array([(*SLOTS[0], 0.9)], np.float32)
    ann = dict(bboxes=np.array(SLOTS[1:2]), labels=np.array([0]), bboxes_ignore=np.array(SLOTS[:1]))
    assert class_curves([[dets]], [ann], 1)[0].false_positives.tolist() == []
    ann['labels_ignore'] = np.array([1])
    assert class_curves([[dets]], [ann], 1)[0].false_positives.tolist() == [1]


def test_class_without_objects_has_no_figures_and_one_never_found_no_threshold():
    alarms = curve_of((NOWHERE, 0.9), objects=0)
    assert np.isnan(alarms.average_precision) and np.isnan(alarms.f1).all() and best_operating_point(alarms) is None
    unseen = curve_of(objects=2)
    assert unseen.average_precision == 0 and best_operating_point(unseen) is None


def test_figures_at_given_thresholds_count_scores_that_reach_them(three_of_four):
    numbers = at_thresholds(three_of_four, [0.0, 0.7, 0.75, 0.9, 0.95])
    np.testing.assert_allclose(numbers['precision'], [2 / 3, 2 / 3, 1 / 2, 1, np.nan])
    np.testing.assert_allclose(numbers['recall'], [1 / 2, 1 / 2, 1 / 4, 1 / 4, 0])
    np.testing.assert_allclose(numbers['f1'], [4 / 7, 4 / 7, 2 / 6, 2 / 5, 0])


def test_common_threshold_is_best_for_the_mean_of_the_classes():
    strict = curve_of((SLOTS[0], 0.9), (NOWHERE, 0.5), objects=1)  # F1 1 above .5, then 2/3
    loose = curve_of((SLOTS[0], 0.4), objects=1)  # F1 0 above .4, then 1
    best = best_common_threshold([strict, loose], np.array([0.3, 0.45, 0.6]))
    assert best.score == 0.3 and best.f1 == pytest.approx((2 / 3 + 1) / 2)
    assert best_common_threshold([curve_of(objects=2)], np.array([0.5])) is None


def test_table_has_a_row_for_each_class_and_their_mean(three_of_four):
    rows = threshold_rows(dict(cup=three_of_four, lid=curve_of((NOWHERE, 0.9), objects=0)))
    assert [row[0] for row in rows] == ['cup', 'lid', 'mean']
    assert rows[0][3:] == [np.float32(0.7), 0.666667, 0.5, 0.571429]
    assert rows[1] == ['lid', 0, None, None, None, None, None]
    assert rows[2][1:3] == [4, pytest.approx(three_of_four.average_precision)]


def test_unknown_classes_are_named_with_those_there_are():
    assert select_classes(['cup', 'lid'], ['lid']) == [1]
    with pytest.raises(ValueError, match="'mug'; the classes are cup, lid"):
        select_classes(['cup', 'lid'], ['mug'])


def test_mean_average_precision_is_the_figure_that_cocoapi_publishes(shared):
    folder = shared / 'data' / 'metric_parity'
    truth = json.loads((folder / 'instances_val2014_100.json').read_text())
    records = json.loads((folder / 'instances_val2014_fakebbox100_results.json').read_text())
    label_of = {category['id']: i for i, category in enumerate(truth['categories'])}
    images = sorted(image['id'] for image in truth['images'])

    def boxes(items):
        xywh = np.array([item['bbox'] for item in items], np.float32).reshape(-1, 4)
        return np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)

    def labels(items):
        return np.array([label_of[item['category_id']] for item in items], np.int64)

    results, annotations = [], []
    for image in images:
        dets = [record for record in records if record['image_id'] == image]
        rows = np.concatenate([boxes(dets), np.array([d['score'] for d in dets], np.float32)[:, None]], axis=1)
        results.append([rows[labels(dets) == label] for label in range(len(label_of))])
        objects = [ann for ann in truth['annotations'] if ann['image_id'] == image and not ann['iscrowd']]
        crowds = [ann for ann in truth['annotations'] if ann['image_id'] == image and ann['iscrowd']]
        annotations.append(
            dict(
                bboxes=boxes(objects),
                labels=labels(objects),
                bboxes_ignore=boxes(crowds),
                labels_ignore=labels(crowds),
            )
        )
    for iou, published in ((0.5, 0.6970), (0.75, 0.5730)):
        curves = class_curves(results, annotations, len(label_of), iou)
        assert np.nanmean([curve.average_precision for curve in curves]) == pytest.approx(published, abs=5e-5)
