from __future__ import annotations

import numpy as np
import pytest

from mmdet_clone.evaluation import eval_recalls, plot_iou_recall, plot_num_recall

TRUTH = [np.array([[0, 0, 10, 10], [20, 20, 40, 40]]), np.zeros((0, 4)), np.array([[0, 0, 10, 10]])]
PROPOSALS = [
    np.array([[20, 20, 40, 40, 0.2], [0, 0, 10, 8, 0.9]]),  # best first: overlap .8, then 1
    np.array([[0, 0, 5, 5, 0.5]]),
    np.zeros((0, 5)),
]


def test_recall_by_hand():
    recalls = eval_recalls(TRUTH, PROPOSALS, (1, 2), (0.5, 0.9), 'silent')
    np.testing.assert_allclose(recalls, [[1 / 3, 0], [2 / 3, 1 / 3]])


def test_a_proposal_covers_one_object():
    truth = [np.array([[0, 0, 10, 10], [0, 0, 10, 9]])]
    assert eval_recalls(truth, [np.array([[0, 0, 10, 10]])], 10, 0.5, 'silent').tolist() == [[0.5]]


def test_proposals_without_scores_are_taken_in_order():
    boxes = [np.array([[50, 50, 60, 60], [0, 0, 10, 10]])]
    recalls = eval_recalls([np.array([[0, 0, 10, 10]])], boxes, (1, 2), logger='silent')
    assert recalls.tolist() == [[0], [1]]


def test_nothing_to_find_and_unequal_lists():
    assert eval_recalls([np.zeros((0, 4))], [np.zeros((0, 5))], 5, 0.5, 'silent').tolist() == [[0]]
    with pytest.raises(ValueError, match='2 lists of proposals for 3'):
        eval_recalls(TRUTH, PROPOSALS[:2])


def test_a_table_is_printed(capsys):
    eval_recalls(TRUTH, PROPOSALS, (1, 2), (0.5, 0.9))
    assert '| 2 | 0.667 | 0.333 |' in capsys.readouterr().out


def test_plots():
    import matplotlib.pyplot as plt

    for figure in (plot_num_recall([0.1, 0.5], [1, 10]), plot_iou_recall([0.9, 0.2], [0.5, 0.9])):
        assert figure.axes[0].get_ylabel() == 'recall'
        plt.close(figure)
