"""Matching and AP of the Open Images challenge; all expected values by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mmdet_clone.evaluation.openimages import eval_openimages, expand_detections, hierarchy_matrix, match_image

BOX, FAR = [0, 0, 10, 10], [50, 50, 60, 60]


def dets(*rows):
    return np.array(rows, dtype=np.float32).reshape(-1, 5)


def match(found, truth, is_group, **options):
    result = match_image(found, np.array(truth, dtype=np.float32).reshape(-1, 4), np.array(is_group, bool), **options)
    order = np.argsort(-result.scores)
    return [(round(float(result.scores[i]), 2), bool(result.right[i])) for i in order]


def test_the_best_detection_of_an_object_is_right_and_others_are_wrong():
    found = dets([*BOX, 0.5], [*BOX, 0.9], [*FAR, 0.7])
    assert match(found, [BOX], [False]) == [(0.9, True), (0.7, False), (0.5, False)]


def test_detections_inside_a_group_count_once():
    group = [0, 0, 100, 100]
    inside = dets([5, 5, 10, 10, 0.6], [20, 20, 30, 30, 0.9], [40, 40, 50, 50, 0.3])
    assert match(inside, [group], [True]) == [(0.9, True)]
    # half of the detection's own area must lie in it
    assert match(dets([95, 0, 105, 10, 0.9]), [group], [True]) == [(0.9, True)]
    assert match(dets([96, 0, 106, 10, 0.9]), [group], [True]) == [(0.9, False)]
    assert match(dets([96, 0, 106, 10, 0.9]), [group], [True], ioa_thr=0.4) == [(0.9, True)]


def test_a_single_object_is_matched_before_the_group_around_it():
    group = [0, 0, 100, 100]
    found = dets([*BOX, 0.9], [*BOX, 0.8])
    # the second on the same object is no error: it lies in the group, which it finds
    assert match(found, [BOX, group], [False, True]) == [(0.9, True), (0.8, True)]
    assert match(found[:1], [BOX, group], [False, True]) == [(0.9, True)]


def test_a_detection_belongs_to_the_group_that_it_lies_in_most():
    found = dets([0, 0, 10, 10, 0.9], [0, 0, 8, 10, 0.8])
    groups = [[0, 0, 7, 50], [2, 0, 50, 50]]  # .7 and .8 of the first; .875 and .75 of the second
    assert match(found, groups, [True, True]) == [(0.9, True), (0.8, True)]


def test_objects_of_other_sizes_do_not_count_either_way():
    small, large = [0, 0, 10, 10], [20, 20, 60, 60]
    found = dets([*small, 0.9], [*large, 0.8], [70, 70, 80, 80, 0.7], [0, 70, 40, 110, 0.6])
    assert match(found, [small, large], [False, False], size_range=(0, 400)) == [(0.9, True), (0.7, False)]
    assert match(found, [large], [True], size_range=(0, 400)) == [(0.9, False), (0.7, False)]


def test_images_without_objects_or_detections():
    assert match(dets(), [BOX], [False]) == [] and match(dets(), [], []) == []
    assert match(dets([*BOX, 0.9]), [], []) == [(0.9, False)]


def annotation(boxes, labels, groups):
    return dict(
        bboxes=np.array(boxes, dtype=np.float32).reshape(-1, 4), labels=np.array(labels, int), gt_is_group_ofs=groups
    )


def test_ap_over_images_with_a_group_counts_it_as_one_object():
    annotations = [annotation([BOX, [0, 0, 100, 100]], [0, 0], [False, True]), annotation([BOX], [0], [False])]
    found = [[dets([*BOX, 0.9], [30, 30, 40, 40, 0.5], [50, 50, 60, 60, 0.4])], [dets([*FAR, 0.7])]]
    mean, (numbers,) = eval_openimages(found, annotations, logger='silent')
    # right, wrong, right over three objects: 1/3 at a precision of 1 and 1/3 at 2/3
    assert mean == pytest.approx(1 / 3 + 2 / 9) and numbers['num_gts'] == 3 and numbers['num_dets'] == 4
    alone, _ = eval_openimages(found, annotations, ioa_thr=None, logger='silent')
    assert alone == pytest.approx(1 / 3)


def test_without_groups_it_is_vocs_area_under_the_curve(rng):
    from mmdet_clone.evaluation import eval_map

    def boxes(count):
        corner = rng.uniform(0, 50, (count, 2))
        return np.concatenate([corner, corner + rng.uniform(5, 40, (count, 2))], axis=1).astype(np.float32)

    annotations = [annotation(boxes(6), rng.integers(0, 2, 6), [False] * 6) for _ in range(8)]
    found = [[np.column_stack([boxes(9), rng.random(9)]).astype(np.float32) for _ in range(2)] for _ in annotations]
    ranges = [(0, 20), (20, 100)]
    for options in ({}, dict(scale_ranges=ranges)):
        mean, numbers = eval_openimages(found, annotations, 0.3, logger='silent', **options)
        peer, peers = eval_map(found, annotations, iou_thr=0.3, logger='silent', **options)
        assert mean == pytest.approx(peer, abs=1e-6) and np.all(np.array(mean) > 0)
        assert [np.atleast_1d(n['num_gts']).tolist() for n in numbers] == [
            np.atleast_1d(p['num_gts']).tolist() for p in peers
        ]


def test_the_tables_are_printed_for_ranges_too(capsys):
    annotations = [annotation([BOX], [0], [False])]
    eval_openimages([[dets([*BOX, 0.9])]], annotations, scale_ranges=[(0, 5), (5, 50)], class_names=('car',))
    told = capsys.readouterr().out
    assert 'Scale range (5, 50)' in told and '1.0000' in told and 'car' in told


def test_a_name_in_the_tree_that_is_no_class_is_passed_through():
    tree = dict(
        LabelName='root', Subcategory=[dict(LabelName='a', Subcategory=[dict(Subcategory=[dict(LabelName='b')])])]
    )
    assert hierarchy_matrix(tree, dict(a=0, b=1)).tolist() == [[True, False], [True, True]]


def test_detections_go_to_the_verified_classes_above_them():
    matrix = np.array([[1, 0, 1], [0, 1, 1], [0, 0, 1]], dtype=bool)
    boxes = [dets([*BOX, 0.9]), dets([*FAR, 0.8]), dets()]
    lengths = lambda *args: [len(item) for item in expand_detections(boxes, *args)]  # noqa: E731
    assert lengths(np.array([0, 2]), matrix, True) == [1, 0, 2]
    assert lengths(np.array([0, 2]), matrix, False) == [1, 1, 2]
    assert lengths(np.array([0, 1]), matrix, True) == [1, 1, 0]
    assert lengths(np.array([0, 2]), None, True) == [1, 0, 0]
    assert [len(item) for item in boxes] == [1, 1, 0]
