"""WIDER FACE's easy, medium and hard AP; all expected values by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mmdet_clone.evaluation.wider_face import WiderImage, evaluate_wider, read_ground_truth


def face(x):
    """A face of 10x10 at x, counting pixels inclusively as the benchmark does."""
    return [x, 0, x + 9, 9]


def image(*xs, easy, medium=None, hard=None):
    boxes = np.array([face(x) for x in xs], dtype=float).reshape(-1, 4)
    masks = (easy, easy if medium is None else medium, easy if hard is None else hard)
    return WiderImage(boxes, {n: np.array(m, bool) for n, m in zip(('easy', 'medium', 'hard'), masks)})


def dets(*rows):
    return np.array([[*face(x), score] for x, score in rows]).reshape(-1, 5)


def test_faces_that_do_not_count_are_neither_found_nor_errors():
    truths = dict(a=image(0, 20, easy=[1, 0], medium=[1, 0], hard=[1, 1]))
    found = dict(a=dets((20, 0.9), (0, 0.5), (60, 0.1)))
    numbers = evaluate_wider(found, truths, logger='silent')
    # easy: the first detection does not count, the second is right; the third is wrong and comes last
    assert numbers == dict(easy_AP=pytest.approx(1), medium_AP=pytest.approx(1), hard_AP=pytest.approx(1))


def test_a_second_detection_of_a_face_is_wrong():
    truths = dict(a=image(0, 20, easy=[1, 1]))
    found = dict(a=dets((0, 0.9), (0, 0.8), (20, 0.7), (60, 0.0)))
    # right, wrong, right: 1/2 at a precision of 1, 1/2 at 2/3
    assert evaluate_wider(found, truths, logger='silent')['easy_AP'] == pytest.approx(0.5 + 1 / 3)


def test_scores_are_scaled_over_all_images_together():
    truths = dict(a=image(0, easy=[1]), b=image(0, easy=[1]))
    # whatever the range of the scores, the order over both images decides: right, wrong, right
    for scale in (1, 100):
        found = dict(a=dets((0, 0.9 * scale), (50, 0.5 * scale)), b=dets((0, 0.4 * scale), (50, 0.0)))
        assert evaluate_wider(found, truths, logger='silent')['hard_AP'] == pytest.approx(0.5 + 1 / 3)


def test_overlap_counts_pixels_inclusively():
    truths = dict(a=image(0, easy=[1]))
    third = np.array([[0, 0, 4, 9, 0.9], [70, 0, 79, 9, 0.1]])  # 5 of 10 columns: exactly .5
    assert evaluate_wider(dict(a=third), truths, logger='silent')['easy_AP'] == pytest.approx(1)


def test_images_without_detections_count_their_faces():
    truths = dict(a=image(0, easy=[1]), b=image(0, 20, 40, easy=[1, 1, 1]), c=image(easy=[]))
    found = dict(a=dets((0, 0.9), (60, 0.1)), b=dets(), c=dets((0, 0.5)))
    assert evaluate_wider(found, truths, logger='silent')['easy_AP'] == pytest.approx(0.25)
    nothing = evaluate_wider(dict(a=dets()), truths, logger='silent')
    assert nothing == dict(easy_AP=0, medium_AP=0, hard_AP=0)


def test_unknown_images_are_refused_and_a_part_is_told(capsys):
    truths = dict(a=image(0, easy=[1]), b=image(0, easy=[1]))
    with pytest.raises(ValueError, match="first 'z'"):
        evaluate_wider(dict(z=dets()), truths)
    evaluate_wider(dict(a=dets((0, 0.9))), truths)
    assert 'Evaluating 1 of the 2 images' in capsys.readouterr().out


def cells(*values):
    column = np.empty((len(values), 1), dtype=object)
    for i, value in enumerate(values):
        column[i, 0] = value
    return column


def test_the_benchmarks_mat_files_are_read(tmp_path):
    from scipy.io import savemat

    boxes = cells(cells(np.array([[0, 0, 9, 9], [20, 0, 9, 9]]), np.array([[5, 5, 3, 4]])), cells(np.zeros((0, 4))))
    names = cells(cells('a', 'b'), cells('c'))
    savemat(tmp_path / 'wider_face_val.mat', dict(face_bbx_list=boxes, file_list=names, event_list=cells('0', '1')))
    for level, chosen in (('easy', [[2]]), ('medium', [[1], [2]]), ('hard', [[1], [2]])):
        lists = cells(cells(np.array(chosen), np.array([[1]])), cells(np.zeros((0, 1))))
        savemat(tmp_path / f'wider_{level}_val.mat', dict(gt_list=lists))
    truths = read_ground_truth(str(tmp_path))
    assert list(truths) == ['a', 'b', 'c'] and truths['a'].boxes.tolist() == [[0, 0, 9, 9], [20, 0, 29, 9]]
    assert truths['a'].counts['easy'].tolist() == [False, True] and truths['a'].counts['hard'].tolist() == [True, True]
    assert truths['b'].boxes.tolist() == [[5, 5, 8, 9]] and len(truths['c'].boxes) == 0
    (tmp_path / 'wider_hard_val.mat').unlink()
    with pytest.raises(FileNotFoundError, match='which lacks wider_hard_val'):
        read_ground_truth(str(tmp_path))
