from __future__ import annotations

import numpy as np
import pytest

from mmdet_clone.evaluation import average_precision, bbox_overlaps, eval_map, get_classes
from mmdet_clone.evaluation.voc_map import evaluate_as_voc

NONE = np.zeros((0, 5))


def toy_files(folder, score_column: bool) -> list[np.ndarray]:
    """The rows ``class [score] x y w h`` of each file, as corners and score."""
    found = []
    for path in sorted(folder.glob('*.txt')):
        rows = np.array([line.split()[1:] for line in path.read_text().splitlines()], dtype=np.float64)
        boxes = np.concatenate([rows[:, -4:-2], rows[:, -4:-2] + rows[:, -2:]], axis=1)
        found.append(np.concatenate([boxes, rows[:, :1]], axis=1) if score_column else boxes)
    return found


@pytest.mark.parametrize('mode, percent', [('area', 24.57), ('11points', 26.84)])
def test_the_published_figures_of_the_toy_set(shared, mode, percent):
    detections = [[boxes] for boxes in toy_files(shared / 'data/voc_map/detections', True)]
    truths = toy_files(shared / 'data/voc_map/groundtruths', False)
    annotations = [dict(bboxes=boxes, labels=np.zeros(len(boxes), dtype=int)) for boxes in truths]
    kwargs = dict(iou_thr=0.3, logger='silent', use_legacy_coordinate=True)
    mean_ap, results = eval_map(detections, annotations, mode=mode, **kwargs)
    assert 100 * mean_ap == pytest.approx(percent, abs=0.005)
    assert results[0]['num_gts'] == 15 and results[0]['num_dets'] == 24
    if mode == '11points':
        named, _ = eval_map([r * 20 for r in detections], annotations, dataset='voc07', **kwargs)
        assert named == pytest.approx(mean_ap)


def test_average_precision_by_hand():
    recalls, precisions = np.array([0.5, 0.5, 1.0]), np.array([1.0, 0.5, 2 / 3])
    assert average_precision(recalls, precisions) == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert average_precision(recalls, precisions, '11points') == pytest.approx((6 + 5 * 2 / 3) / 11)
    several = average_precision(np.stack([recalls] * 2), np.stack([precisions] * 2))
    assert several.shape == (2,)
    with pytest.raises(ValueError, match='mode'):
        average_precision(recalls, precisions, 'voc')


def one_image(dets, gts, ignored=(), **kwargs):
    annotation = dict(
        bboxes=np.array(gts, dtype=float).reshape(-1, 4),
        labels=np.zeros(len(gts), dtype=int),
        bboxes_ignore=np.array(ignored, dtype=float).reshape(-1, 4),
        labels_ignore=np.zeros(len(ignored), dtype=int),
    )
    mean_ap, results = eval_map([[np.array(dets)]], [annotation], logger='silent', **kwargs)
    return mean_ap, results[0]


def test_a_second_detection_of_an_object_is_wrong():
    _, result = one_image([[0, 0, 10, 10, 0.9], [0, 0, 10, 9, 0.8]], [[0, 0, 10, 10]])
    assert result['precision'].tolist() == [1, 0.5] and result['recall'].tolist() == [1, 1]


def test_hits_on_ignored_objects_do_not_count():
    mean_ap, result = one_image([[50, 50, 60, 60, 0.9], [0, 0, 10, 10, 0.8]], [[0, 0, 10, 10]], [[50, 50, 60, 60]])
    assert mean_ap == 1 and result['precision'].tolist() == [0, 1] and result['num_gts'] == 1


def test_size_ranges_are_evaluated_apart():
    gts = [[0, 0, 10, 10], [20, 20, 60, 60]]
    dets = [[0, 0, 10, 10, 0.9], [70, 70, 75, 75, 0.8]]
    mean_ap, result = one_image(dets, gts, scale_ranges=[(0, 32), (32, 1000)])
    assert mean_ap == [1.0, 0.0] and result['num_gts'].tolist() == [1, 1]
    assert result['precision'][0].tolist() == [1, 0.5]


def test_classes_without_ground_truth_do_not_enter_the_mean():
    annotation = dict(bboxes=np.array([[0, 0, 10, 10.0]]), labels=np.array([1]))
    found = np.array([[0, 0, 10, 10, 0.9]])
    mean_ap, results = eval_map([[found, found]], [annotation], logger='silent')
    assert mean_ap == 1 and results[0]['num_gts'] == 0 and results[0]['ap'] == 0
    assert eval_map([[NONE, NONE]], [annotation], logger='silent')[0] == 0
    empty = dict(bboxes=np.zeros((0, 4)), labels=np.zeros(0, dtype=int))
    assert eval_map([[NONE]], [empty], logger='silent')[0] == 0


def test_processes_give_the_same(rng):
    annotations, detections = [], []
    for _ in range(5):
        boxes = rng.uniform(0, 50, (4, 4))
        boxes[:, 2:] += boxes[:, :2]
        annotations.append(dict(bboxes=boxes, labels=np.array([0, 1, 1, 0])))
        detections.append([np.c_[boxes + rng.normal(0, 3, (4, 4)), rng.uniform(size=4)] for _ in range(2)])
    alone, shared_out = (eval_map(detections, annotations, nproc=n, logger='silent')[0] for n in (1, 2))
    assert alone == shared_out


def test_the_table_names_classes(capsys):
    annotation = dict(bboxes=np.array([[0, 0, 10, 10.0]]), labels=np.array([0]))
    eval_map([[np.array([[0, 0, 10, 10, 0.9]])]], [annotation], dataset=['cat'])
    assert '| cat   | 1   | 1    | 1.0000 | 1.0000 |' in capsys.readouterr().out


def test_overlaps_by_hand():
    first, second = np.array([[0, 0, 9, 9]]), np.array([[0, 0, 9, 4], [20, 20, 30, 30]])
    assert bbox_overlaps(first, second).tolist() == [[pytest.approx(4 / 9), 0]]
    assert bbox_overlaps(first, second, use_legacy_coordinate=True).tolist() == [[0.5, 0]]
    assert bbox_overlaps(second, first, mode='iof').tolist() == [[1], [0]]
    assert bbox_overlaps(np.zeros((0, 4)), second).shape == (0, 2)
    with pytest.raises(ValueError, match='giou'):
        bbox_overlaps(first, second, mode='giou')


def test_class_names_by_data_set():
    assert len(get_classes('coco')) == 80 and get_classes('voc')[0] == 'aeroplane'
    with pytest.raises(ValueError, match='known: coco'):
        get_classes('imagenet')


ONE_OBJECT = [dict(bboxes=np.array([[10, 10, 50, 50]]), labels=np.array([1]))]
FOUND = [[np.zeros((0, 5)), np.array([[0, 0, 9, 9, 0.9], [10, 10, 50, 50, 0.8]])]]


def test_recall_takes_the_results_of_a_detector_and_one_limit():
    numbers = evaluate_as_voc(FOUND, ONE_OBJECT, ('a', 'b'), 'recall', 'silent', proposal_nums=2)
    assert numbers == {'recall@2@0.5': 1.0}
    assert evaluate_as_voc(FOUND, ONE_OBJECT, ('a', 'b'), 'recall', 'silent', (1,)) == {'recall@1@0.5': 0.0}


def test_results_of_another_number_of_classes_are_refused():
    with pytest.raises(ValueError, match='the results have 2 classes, the data set has 3: set num_classes'):
        evaluate_as_voc(FOUND, ONE_OBJECT, ('a', 'b', 'c'), logger='silent')
    with pytest.raises(ValueError, match='2 classes, the data set has 3'):
        evaluate_as_voc(FOUND, ONE_OBJECT, 'voc07', logger='silent', class_names=('a', 'b', 'c'))
