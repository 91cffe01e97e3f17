"""Confusion matrices counted on paper."""

from __future__ import annotations

import numpy as np
import pytest

from mmdet_clone.evaluation.confusion import confident_boxes, confusion_matrix, normalise_rows

A, B, C, FAR = (0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10), (70, 70, 80, 80)


def result(*by_class):
    """``result([(box, score), ...], ...)``: an image's detections by class."""
    return [np.array([(*box, score) for box, score in found], np.float32).reshape(-1, 5) for found in by_class]


def truth(*objects, ignored=()):
    return dict(
        bboxes=np.array([box for box, _ in objects], np.float32).reshape(-1, 4),
        labels=np.array([label for _, label in objects], np.int64),
        bboxes_ignore=np.array(ignored, np.float32).reshape(-1, 4),
    )


def test_hit_confusion_false_alarm_and_miss_are_counted_in_their_cells():
    # A (class 0) is found, B (1) is taken for class 0, C (1) is missed, nothing is at FAR, below .3 nothing counts
    found = result([(A, 0.9), (B, 0.8)], [(FAR, 0.7), (C, 0.29)])
    matrix = confusion_matrix([found], [truth((A, 0), (B, 1), (C, 1))], num_classes=2)
    #          as 0  as 1  missed
    assert matrix.tolist() == [
        [1, 0, 0],
        [1, 0, 2],  # B is missed too: no detection of its own class lies on it
        [0, 1, 0],
    ]


def test_images_add_up_and_results_with_masks_are_taken():
    found = result([(A, 0.9)])
    pairs = [(found, [[]]), (found, [[]])]
    assert confusion_matrix(pairs, [truth((A, 0)), truth((B, 0))], 1).tolist() == [[1, 1], [1, 0]]


def test_each_overlap_of_at_least_the_threshold_counts():
    half = (0, 0, 10, 5)  # IoU .5 with A
    assert confusion_matrix([result([(half, 0.9)])], [truth((A, 0))], 1, tp_iou_thr=0.5)[0, 0] == 1
    assert confusion_matrix([result([(half, 0.9)])], [truth((A, 0))], 1, tp_iou_thr=0.51).tolist() == [[0, 1], [1, 0]]
    assert confusion_matrix([result([(A, 0.9), (half, 0.8)])], [truth((A, 0))], 1)[0, 0] == 2


def test_nms_drops_repeated_detections_of_a_class():
    found = result([(A, 0.9), ((0, 0, 10, 9), 0.8), (B, 0.7)], [(A, 0.6)])
    matrix = confusion_matrix([found], [truth((A, 0), (B, 0))], 2, nms_iou_thr=0.5)
    assert matrix.tolist() == [[2, 1, 0], [0, 0, 0], [0, 0, 0]]


def test_detections_in_an_ignored_region_are_no_false_alarms():
    region = (60, 60, 100, 100)
    inside, half_inside, barely = (70, 70, 80, 80), (50, 70, 70, 80), (45, 70, 65, 80)
    found = result([(box, 0.9) for box in (inside, half_inside, barely)])
    assert confusion_matrix([found], [truth(ignored=[region])], 1)[1, 0] == 1  # barely: a quarter of it lies there
    assert confusion_matrix([found], [truth((inside, 0), ignored=[region])], 1)[0, 0] == 1


def test_images_without_objects_or_detections_are_counted():
    nothing = result([], [])
    assert not confusion_matrix([nothing], [truth()], 2).any()
    assert confusion_matrix([nothing], [truth((A, 1))], 2)[1].tolist() == [0, 0, 1]
    assert confusion_matrix([result([(A, 0.9)], [])], [truth()], 2)[2].tolist() == [1, 0, 0]


def test_rows_are_normalised_to_per_cent():
    percent = normalise_rows(np.array([[3, 1, 0], [0, 0, 0], [1, 4, 0]]))
    assert percent[0].tolist() == [75, 25, 0]
    assert np.isnan(percent[1]).all()
    assert percent[2, :2].tolist() == [20, 80] and np.isnan(percent[2, 2])


def test_random_boxes_are_counted_as_pair_by_pair(rng):
    def iou(a, b):
        width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
        shared = max(width, 0) * max(height, 0)
        return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)

    def boxes(n):
        corners = rng.integers(0, 60, (n, 2))
        return np.concatenate([corners, corners + rng.integers(20, 40, (n, 2))], axis=1).astype(np.float32)

    objects, labels = boxes(12), rng.integers(0, 3, 12)
    found = [np.concatenate([boxes(9), rng.random((9, 1), dtype=np.float32)], axis=1) for _ in range(3)]
    expected, right = np.zeros((4, 4), int), [False] * 12
    for as_class, dets in enumerate(found):
        for det in dets[dets[:, 4] >= 0.3]:
            hits = [j for j in range(12) if iou(det, objects[j]) >= 0.4]
            for j in hits:
                expected[labels[j], as_class] += 1
                right[j] |= labels[j] == as_class
            expected[3, as_class] += not hits
    for j in range(12):
        expected[labels[j], 3] += not right[j]
    ann = dict(bboxes=objects, labels=labels)
    assert confusion_matrix([found], [ann], 3, tp_iou_thr=0.4).tolist() == expected.tolist()


def test_wrong_thresholds_and_numbers_of_classes_are_refused():
    with pytest.raises(ValueError, match='score_thr must lie between 0 and 1, got 30'):
        confusion_matrix([], [], 1, score_thr=30)
    with pytest.raises(ValueError, match='results have 2 classes, the data set has 3'):
        confident_boxes(result([], []), 3, 0.3)
