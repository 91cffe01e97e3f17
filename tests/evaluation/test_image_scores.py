"""The ranking of images."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mmdet_clone.evaluation.image_scores import image_map, ranked, score_images

BOX, OTHER = (0, 0, 100, 100), (200, 0, 300, 100)


def dets(*found):
    return np.array([(*box, score) for box, score in found], np.float32).reshape(-1, 5)


def ann(*objects):
    return dict(
        bboxes=np.array([box for box, _ in objects], np.float32).reshape(-1, 4),
        labels=np.array([label for _, label in objects], np.int64),
    )


def test_images_are_ranked_from_worst_to_best_without_those_that_show_nothing():
    results = [[dets((BOX, 0.9))], [dets((OTHER, 0.9))], [dets((BOX, 0.9))], [dets((OTHER, 0.9), (BOX, 0.8))]]
    annotations = [ann((BOX, 0)), ann((BOX, 0)), ann(), ann((BOX, 0))]
    scores = score_images(results, annotations)
    assert [score.value for score in scores[:2]] == [1, 0]
    assert math.isnan(scores[2].value) and scores[3].value == pytest.approx(0.5)
    assert [(score.num_objects, score.num_detections) for score in scores] == [(1, 1), (1, 1), (0, 1), (1, 2)]
    assert ranked(scores) == [1, 3, 0]


def test_score_is_the_mean_over_thresholds_and_the_classes_shown():
    # class 0: IoU .8, found at the 7 thresholds from .5 to .8; class 2: exact; class 1 is not shown: its alarm is free
    near = (0, 0, 100, 80)
    found = [dets((near, 0.9)), dets((BOX, 0.9)), dets((OTHER, 0.9))]
    assert image_map(found, ann((BOX, 0), (OTHER, 2))) == pytest.approx((0.7 + 1) / 2)


def test_ignored_objects_of_shown_classes_do_not_count():
    truth = ann((BOX, 1)) | dict(
        bboxes_ignore=np.array([OTHER, OTHER], np.float32), labels_ignore=np.array([0, 1], np.int64)
    )
    assert image_map([dets((OTHER, 0.9)), dets((OTHER, 0.9), (BOX, 0.8))], truth) == pytest.approx(1)
