"""Plots and comparisons: what is written in them, and that they come out as files."""

from __future__ import annotations

import numpy as np
import pytest

from mmdet_clone.visualization.comparison import Objects, comparison
from mmdet_clone.visualization.plots import (
    Curve,
    color_map,
    error_figure,
    f1_figure,
    file_name,
    grouped_bars_figure,
    matrix_figure,
    named_curves,
    save_figure,
)


def curves(count):
    x = np.linspace(0, 1, 5)
    return [Curve(f'class {i}', x, np.full(5, i / count), i / count, (0.5, i / count)) for i in range(count)]


def test_matrix_writes_rounded_shares_and_leaves_zeros_blank(tmp_path):
    percent = np.array([[99.6, 0.4, 0.0], [25.0, 75.0, 0.0], [np.nan] * 3])
    figure = matrix_figure(percent, ['a', 'b', 'background'], 'title', 'viridis')
    assert sorted(text.get_text() for text in figure.axes[0].texts) == ['100', '25', '75']
    assert save_figure(figure, tmp_path / 'new' / 'm.png').stat().st_size > 1000


def test_values_in_a_matrix_contrast_with_their_cells():
    texts = matrix_figure(np.array([[90.0, 10.0], [10.0, 90.0]]), ['a', 'b'], '', 'Blues').axes[0].texts
    assert {text.get_text(): text.get_color() for text in texts} == {'90': 'white', '10': 'black'}


def test_matrices_of_many_classes_grow_but_keep_their_labels_apart():
    figure = matrix_figure(np.eye(81) * 100, [f'class number {i}' for i in range(81)], '', 'plasma')
    assert 25 < figure.get_figwidth() < 35  # inches: a third of one for each label


def test_few_curves_are_all_named_and_of_many_the_best_and_the_worst():
    assert len(named_curves(curves(10))) == 10
    assert [c.name for c in named_curves(curves(80))] == [f'class {i}' for i in (79, 78, 77, 76, 75, 4, 3, 2, 1, 0)]
    figure = f1_figure(curves(80), curves(1)[0], 'F1')
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert len(labels) == 12 and labels[0] == 'class 79  0.988' and labels[10] == '70 others'


def test_error_plot_names_the_mean_precision_of_each_rule():
    precisions = np.linspace(0.1, 1, 7)[:, None] * np.ones(11)
    figure = error_figure(np.linspace(0, 1, 11), precisions, list('abcdefg'), 'bbox-cat-small')
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels[0] == '[1.000] g' and labels[-1] == '[0.100] a'


def test_bars_leave_out_what_is_undefined():
    figure = grouped_bars_figure(np.array([[0.5, 1.0], [np.nan, 0.25]]), ['x', 'y'], ['a', 'b'], 'AP', '')
    assert [text.get_text() for text in figure.axes[0].texts] == ['0.50', '', '1.00', '0.25']


def test_names_of_classes_become_names_of_files():
    assert file_name('bbox-n/a: bow*-small') == 'bbox-n_a_ bow_-small'


def test_unknown_colour_map_is_told_with_near_names():
    with pytest.raises(ValueError, match="'viridos': use viridis"):
        color_map('viridos')


def test_ground_truth_stands_left_of_the_detections():
    img = np.full((480, 640, 3), 128, np.uint8)
    truth = Objects(np.array([[100.0, 100, 200, 200]]), np.array([0]))
    nothing = Objects(np.zeros((0, 5)), np.zeros(0, int))
    picture = comparison(img, truth, nothing, ['cup'])
    left, right = picture[-480:, :640], picture[-480:, -640:]
    assert (left != 128).any() and (right == 128).all()


def test_small_images_are_enlarged_with_their_boxes_and_masks():
    img = np.zeros((48, 64, 3), np.uint8)
    mask = np.zeros((48, 64), bool)
    mask[10:20, 10:20] = True
    one = Objects(np.array([[10.0, 10, 20, 20, 0.9]]), np.array([0]), [mask])
    picture = comparison(img, one, one, ['cup'], palette='red')
    panel = picture[-48 * 8 :, : 64 * 8]
    assert panel[120, 120].any() and not panel[40, 40].any()  # inside the eightfold mask; outside of it


def test_overlay_draws_both_in_one_picture():
    img = np.zeros((480, 480, 3), np.uint8)
    truth = Objects(np.array([[50.0, 150, 150, 250]]), np.array([0]))
    found = Objects(np.array([[250.0, 150, 350, 250, 0.5]]), np.array([0]))
    picture = comparison(img, truth, found, ['cup'], heading='an image', overlay=True)[-480:]
    assert picture.shape == (480, 480, 3)
    assert picture[200, 50].tolist() == [0, 255, 0] and picture[200, 350].tolist() == [0, 0, 255]


def test_dollar_signs_in_the_names_of_classes_are_no_formula(tmp_path):
    name = r'US$ \x{ $'
    curve = Curve(name, np.linspace(0, 1, 5), np.ones(5), 1.0)
    figures = [
        matrix_figure(np.eye(2) * 100, [name, 'b'], 'title'),
        f1_figure([curve], None, 'title'),
        error_figure(np.linspace(0, 1, 5), np.ones((7, 5)), list('abcdefg'), f'bbox-{name}-all'),
        grouped_bars_figure(np.ones((1, 1)), ['all'], ['objects'], 'AP', f'bbox-{name}'),
    ]
    for i, figure in enumerate(figures):
        assert save_figure(figure, tmp_path / f'{i}.png', dpi=30).stat().st_size > 1000
