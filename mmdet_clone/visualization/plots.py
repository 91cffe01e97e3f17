"""Plots of evaluation figures. They are drawn into files, on machines without a screen too.

C: number of classes    R: recall points    S: score thresholds
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_NAMED = 10  # curves that can be told apart by colour
RULE_COLORS = ('white', 'white', '#4f82bd', '#bf4f4d', '#5ce661', '#8064a2', '#ff9900')  # C75 to FN
MEAN_COLOR = 'black'


@dataclass
class Curve:
    """A line of ``x`` and ``y``, falling or rising; ``rank`` (an AP, a best F1) tells the best from the worst."""

    name: str
    x: np.ndarray
    y: np.ndarray
    rank: float
    marked: tuple[float, float] | None = None


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure in inches that no window belongs to, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout='constrained')
    return figure, figure.add_subplot()


def save_figure(figure: Figure, path: str | os.PathLike, dpi: int = 120) -> Path:
    """Write a figure, making its folder; the suffix chooses the format."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi)
    return path


def plain(text: str) -> str:
    """``text`` so that matplotlib writes it as it is: dollar signs in a class's name begin no formula."""
    return text.replace('$', r'\$')


def file_name(text: str) -> str:
    """``text`` without what file systems take for something else (classes are called ``n/a`` or ``bow:arrow``)."""
    return re.sub(r'[^\w\-. ]', '_', text)


def show_file(path: str | os.PathLike) -> None:
    """Show a picture that was written in a window, until a key is pressed."""
    import cv2

    from mmdet_clone.visualization.window import show_image

    show_image(cv2.imread(str(path)), Path(path).name)


# ---------------------------------------------------------------- confusion matrix


def matrix_figure(percent: np.ndarray, names: Sequence[str], title: str, color_theme: str = 'plasma') -> Figure:
    """A matrix as coloured cells with their rounded values; undefined (NaN) cells are grey, zeros are left blank.

    Args:
        percent: (C, C) in 0..100, NaN where undefined; rows are the truth.
        names: of rows and columns.
        title: above the matrix.
        color_theme: a colour map of matplotlib.
    """
    size, names = len(names), [plain(name) for name in names]
    large = size > 30
    side = max((0.34 if large else 0.5) * size, 3.5)
    margin = 0.4 + 0.075 * max(map(len, names))
    figure, axes = new_figure(side + margin + 1.2, side + margin + 0.6)
    colors = color_map(color_theme).with_extremes(bad='lightgrey')
    image = axes.imshow(np.ma.masked_invalid(percent), cmap=colors, vmin=0, vmax=100)
    bar = figure.colorbar(image, ax=axes, fraction=0.02 if large else 0.046, pad=0.01 if large else 0.02)
    heading = 18 if large else 10
    bar.set_label('share of the row (%)', fontsize=heading)
    axes.set_title(title, fontsize=heading + 2)
    axes.set_xlabel('detected class', fontsize=heading)
    axes.set_ylabel('true class', fontsize=heading)
    steep = size > 8
    axes.set_xticks(range(size), names, rotation=90 if steep else 30, ha='center' if steep else 'right')
    axes.set_yticks(range(size), names)
    axes.tick_params(labelsize=9)
    axes.set_xticks(np.arange(-0.5, size), minor=True)
    axes.set_yticks(np.arange(-0.5, size), minor=True)
    axes.grid(which='minor', color='grey', linewidth=0.3, alpha=0.5)
    axes.tick_params(which='minor', length=0)
    _write_values(axes, percent, colors, fontsize=8 if large else 9)
    return figure


def color_map(name: str) -> Any:
    """One of matplotlib's colour maps."""
    import difflib

    import matplotlib

    if name not in matplotlib.colormaps:
        near = difflib.get_close_matches(name, list(matplotlib.colormaps), n=3) or ['plasma', 'viridis', 'Blues']
        raise ValueError(f'matplotlib has no colour map {name!r}: use {", ".join(near)} or another of its names')
    return matplotlib.colormaps[name]


def _write_values(axes: Axes, percent: np.ndarray, colors: Any, fontsize: float) -> None:
    for row, column in np.argwhere(np.nan_to_num(percent) >= 0.5):
        value = percent[row, column]
        r, g, b, _ = colors(value / 100)
        ink = 'black' if 0.299 * r + 0.587 * g + 0.114 * b > 0.55 else 'white'
        axes.text(column, row, f'{value:.0f}', ha='center', va='center', color=ink, fontsize=fontsize)


# ---------------------------------------------------------------- curves of classes


def precision_recall_figure(curves: Sequence[Curve], mean: Curve | None, title: str) -> Figure:
    """Precision over recall; the marked point of each curve is the one of the best F1. Grey lines join equal F1."""
    figure, axes = new_figure(8, 5.2)
    recalls = np.linspace(0.01, 1, 200)
    for f1 in (0.2, 0.4, 0.6, 0.8):
        with np.errstate(divide='ignore', invalid='ignore'):
            precisions = f1 * recalls / (2 * recalls - f1)
        shown = (precisions > 0) & (precisions <= 1)
        axes.plot(recalls[shown], precisions[shown], color='lightgrey', linewidth=0.8, linestyle=':', zorder=0)
        at = f1 / (2 - f1)  # where precision is 1
        axes.annotate(f'F1 {f1}', (at, 1.005), color='grey', fontsize=7, ha='center', va='bottom')
    _draw_curves(axes, curves, mean, 'AP')
    _finish(axes, 'recall', 'precision', title)
    return figure


def f1_figure(curves: Sequence[Curve], mean: Curve | None, title: str) -> Figure:
    """F1 over the score threshold, the best threshold of each curve marked."""
    figure, axes = new_figure(8, 5.2)
    _draw_curves(axes, curves, mean, 'best F1')
    if mean is not None and mean.marked is not None:
        axes.axvline(mean.marked[0], color=MEAN_COLOR, linewidth=0.8, linestyle='--', zorder=0)
    _finish(axes, 'score threshold', 'F1', title)
    return figure


def _draw_curves(axes: Axes, curves: Sequence[Curve], mean: Curve | None, rank_name: str) -> None:
    import matplotlib

    palette = matplotlib.colormaps['tab10']
    named = named_curves(curves)
    for curve in curves:
        if curve not in named:
            axes.plot(curve.x, curve.y, color='silver', linewidth=0.6, zorder=1)
    for i, curve in enumerate(named):
        _draw_curve(axes, curve, palette(i % 10), plain(f'{curve.name}  {curve.rank:.3f}'), 1.4)
    if len(curves) > len(named):
        axes.plot([], [], color='silver', linewidth=0.6, label=f'{len(curves) - len(named)} others')
    if mean is not None:
        _draw_curve(axes, mean, MEAN_COLOR, f'{mean.name}  {mean.rank:.3f}', 2.4)
    heading = rank_name if len(named) == len(curves) else f'{rank_name}, best and worst'
    axes.legend(title=heading, loc='upper left', bbox_to_anchor=(1.01, 1), fontsize=9, frameon=False, alignment='left')


def _draw_curve(axes: Axes, curve: Curve, color: Any, label: str, width: float) -> None:
    axes.plot(curve.x, curve.y, color=color, linewidth=width, label=label, zorder=2)
    if curve.marked is not None:
        axes.plot(*curve.marked, marker='o', color=color, markersize=5, markeredgecolor='white', zorder=3)


def named_curves(curves: Sequence[Curve]) -> list[Curve]:
    """The curves that get a colour and an entry in the legend: all, or the best and the worst of many."""
    if len(curves) <= MOST_NAMED:
        return list(curves)
    order = sorted(curves, key=lambda curve: -curve.rank)
    half = MOST_NAMED // 2
    return [*order[:half], *order[-half:]]


def _finish(axes: Axes, xlabel: str, ylabel: str, title: str) -> None:
    axes.set_xlim(0, 1.005)
    axes.set_ylim(0, 1.05)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.set_title(title)
    axes.grid(alpha=0.25)


# ---------------------------------------------------------------- error analysis


def error_figure(recalls: np.ndarray, precisions: np.ndarray, rules: Sequence[str], title: str) -> Figure:
    """Nested precision-recall curves with the area that each rule wins in its colour.

    Args:
        recalls: (R,).
        precisions: (7, R) under the rules from the strictest to the mildest.
        rules: names of the rules with their meaning, for the legend.
        title: above the plot.
    """
    figure, axes = new_figure(8.4, 4.8)
    below = np.zeros(len(recalls))
    for precision, color, rule in zip(precisions, RULE_COLORS, rules, strict=True):
        label = f'[{precision.mean():.3f}] {rule}'
        axes.fill_between(recalls, below, precision, facecolor=color, edgecolor='black', linewidth=0.5, label=label)
        axes.plot(recalls, precision, color='black', linewidth=0.6)
        below = precision
    _finish(axes, 'recall', 'precision', plain(title))
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(
        handles[::-1], labels[::-1], title='mean precision', loc='upper left', bbox_to_anchor=(1.01, 1), frameon=False,
        fontsize=9,
    )  # fmt: skip
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    return figure


def grouped_bars_figure(
    values: np.ndarray, groups: Sequence[str], kinds: Sequence[str], ylabel: str, title: str, digits: int = 2
) -> Figure:
    """Bars of ``values`` (len(groups), len(kinds)), with their figures to ``digits`` on top; NaN is left out."""
    figure, axes = new_figure(max(1.6 * len(groups) + 2.5, 6), 4)
    width = 0.84 / len(kinds)
    for k, kind in enumerate(kinds):
        color = RULE_COLORS[k] if len(kinds) == len(RULE_COLORS) and k > 1 else ('#dddddd', '#aaaaaa')[k % 2]
        places = np.arange(len(groups)) + (k - (len(kinds) - 1) / 2) * width
        bars = axes.bar(places, values[:, k], width, label=kind, color=color, edgecolor='black', linewidth=0.4)
        texts = ['' if np.isnan(value) else f'{value:.{digits}f}' for value in values[:, k]]
        axes.bar_label(bars, texts, fontsize=7, rotation=90 if len(kinds) > 3 else 0, padding=2)
    axes.set_xticks(range(len(groups)), groups)
    axes.set_xlim(-0.6, len(groups) - 0.4)
    axes.margins(y=0.15)
    axes.set_ylabel(ylabel)
    axes.set_title(plain(title))
    if len(kinds) > 1:
        axes.legend(loc='upper left', bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9)
    return figure


def area_histogram_figure(areas: np.ndarray, limits: Sequence[float], title: str) -> Figure:
    """How many objects there are of each size: a histogram over the root of their areas (n,) in pixels."""
    figure, axes = new_figure(7, 4)
    sides = np.sqrt(np.asarray(areas, dtype=float))
    axes.hist(sides, bins=min(max(len(sides) // 10, 10), 100), color='#4f82bd', edgecolor='white', linewidth=0.3)
    for limit in limits:
        if limit**0.5 <= sides.max(initial=0):
            axes.axvline(limit**0.5, color='black', linewidth=0.8, linestyle='--')
    axes.set_xlabel('square root of the area (pixels)')
    axes.set_ylabel('objects')
    axes.set_title(title)
    return figure
