"""One self-contained html page of annotated samples: pictures, boxes, masks, keypoints, and how each was made.

Pictures stand in the page as data URIs, annotations as svg over them, so that the page can hide and show them; it
loads nothing, from the network or elsewhere.
"""

from __future__ import annotations

import base64
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import cv2
import numpy as np

from mmdet_clone.visualization.html_page import PAGE
from mmdet_clone.visualization.labels import contrasting
from mmdet_clone.visualization.palette import as_palette

_IGNORED = 'ignored'


@dataclass
class StepTrace:
    """What one pipeline step did to a sample: its name, the parameters it drew, and what changed."""

    name: str
    params: str = ''
    changes: Sequence[str] = ()


@dataclass
class SampleView:
    """A sample to be shown.

    Attributes:
        name: its file.
        img: (h, w, 3) BGR, 0..255.
        boxes: (n, 4) x1, y1, x2, y2 in pixels.
        labels: (n,) class indices.
        masks: (n, h, w) of 0 and 1; ``None`` without masks.
        keypoints: (n, k, 3) x, y, visibility (0: not annotated); ``None`` without keypoints.
        ignored: (m, 4) boxes that are not learnt.
        facts: (name, value) of the sample.
        steps: what each step did, in order.
    """

    name: str
    img: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    masks: np.ndarray | None = None
    keypoints: np.ndarray | None = None
    ignored: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))
    facts: Sequence[tuple[str, str]] = ()
    steps: Sequence[StepTrace] = ()


def write_html(
    path: str | os.PathLike,
    samples: Iterable[SampleView],
    class_names: Sequence[str] | None,
    palette: str | Sequence | None = None,
    title: str = 'Samples',
    most_pixels: int = 800,
) -> Path:
    """Write the page.

    Args:
        path: the file to write; its folder is made.
        samples: what to show.
        class_names: names by label; ``class 3`` is written where one is missing.
        palette: colours by class, RGB: see :func:`~mmdet_clone.visualization.palette.as_palette`.
        title: the page's heading.
        most_pixels: pictures are shrunk to this length of their longer side.
    """
    names = _Names(class_names or ())
    cards, counts = [], Counter()
    for sample in samples:
        cards.append(_card(sample, names, palette, most_pixels))
        counts.update(set(np.asarray(sample.labels).tolist()))
    options = ''.join(
        f'<option value="{label}">{escape(names[label])} ({count})</option>' for label, count in sorted(counts.items())
    )
    filled = dict(TITLE=escape(title), COUNT=str(len(cards)), CLASSES=options, SAMPLES='\n'.join(cards))
    page = re.sub(r'\{\{([A-Z]+)\}\}', lambda place: filled[place[1]], PAGE)  # once: names may hold such places too
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'.{path.name}.part')  # a run that is broken off leaves no half of a page
    part.write_text(page, encoding='utf-8', errors='backslashreplace')  # file names may be no valid text
    part.replace(path)
    return path


class _Names:
    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def __getitem__(self, label: int) -> str:
        return str(self._names[label]) if 0 <= label < len(self._names) else f'class {label}'

    def __len__(self) -> int:
        return len(self._names)


def _card(sample: SampleView, names: _Names, palette: str | Sequence | None, most_pixels: int) -> str:
    labels = np.asarray(sample.labels, dtype=np.int64).reshape(-1)
    present = ' '.join(map(str, sorted(set(labels.tolist()))))
    facts = ''.join(f'<dt>{escape(key)}</dt><dd>{escape(value)}</dd>' for key, value in sample.facts)
    steps = ''.join(_step(step) for step in sample.steps)
    return (
        f'<article data-labels="{present}" data-name="{escape(sample.name.lower())}">'
        f'<div class="picture"><img alt="{escape(sample.name)}" src="{jpeg_uri(sample.img, most_pixels)}">'
        f'{_overlay(sample, labels, names, palette)}</div>'
        f'<h2>{escape(sample.name)} <small>{len(labels)} objects</small></h2><dl>{facts}</dl>'
        f'<details><summary>{len(sample.steps)} steps</summary><ol>{steps}</ol></details></article>'
    )


def _step(step: StepTrace) -> str:
    params = f' <code>{escape(step.params)}</code>' if step.params else ''
    changes = ''.join(f'<li>{escape(change)}</li>' for change in step.changes)
    return f'<li><b>{escape(step.name)}</b>{params}<ul>{changes}</ul></li>'


def jpeg_uri(img: np.ndarray, most_pixels: int) -> str:
    """A BGR picture as a ``data:image/jpeg`` URI, shrunk to ``most_pixels`` on its longer side."""
    img = np.clip(np.rint(img), 0, 255).astype(np.uint8) if img.dtype != np.uint8 else img
    scale = most_pixels / max(img.shape[:2])
    if scale < 1:
        img = cv2.resize(img, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode('.jpg', img, [cv2.IMWRITE_JPEG_QUALITY, 85])
    return 'data:image/jpeg;base64,' + base64.b64encode(data.tobytes()).decode()


# ---------------------------------------------------------------------- the drawing over a picture


def _overlay(sample: SampleView, labels: np.ndarray, names: _Names, palette: str | Sequence | None) -> str:
    height, width = sample.img.shape[:2]
    colors = as_palette(palette, max(len(names), int(labels.max(initial=0)) + 1))
    font = max(max(height, width) / 45, 9)
    objects = []
    for i in _large_first(sample.boxes):
        color = colors[labels[i] % len(colors)]
        parts = [] if sample.masks is None else [_mask(sample.masks[i])]
        parts.append(_rect(sample.boxes[i], 'box'))
        parts += [] if sample.keypoints is None else [_keypoints(sample.keypoints[i], font / 4)]
        parts.append(_label(sample.boxes[i], names[labels[i]], color, font))
        objects.append(f'<g data-label="{labels[i]}" style="--c:rgb{color}">{"".join(parts)}</g>')
    for box in sample.ignored:
        label = _label(box, _IGNORED, (255, 255, 255), font)
        objects.append(f'<g class="ignored" style="--c:#fff">{_rect(box, "box")}{label}</g>')
    return f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none">{"".join(objects)}</svg>'


def _large_first(boxes: np.ndarray) -> list[int]:
    """So that small objects stay visible on large ones."""
    return np.argsort(-(boxes[:, 2:] - boxes[:, :2]).prod(axis=1), kind='stable').tolist() if len(boxes) else []


def _rect(box: np.ndarray, kind: str) -> str:
    x1, y1, x2, y2 = np.nan_to_num(box).tolist()
    return (
        f'<rect class="{kind}" x="{x1:.1f}" y="{y1:.1f}" width="{max(x2 - x1, 0):.1f}" height="{max(y2 - y1, 0):.1f}"/>'
    )


def _label(box: np.ndarray, name: str, color: tuple[int, int, int], font: float) -> str:
    x, y = max(float(box[0]), 0), max(float(box[1]), font * 1.3)
    ink = 'rgb({0},{0},{0})'.format(contrasting(tuple(reversed(color)))[0])
    ground = f'<rect x="{x:.1f}" y="{y - font * 1.3:.1f}" width="{font * (0.58 * len(name) + 0.6):.1f}" '
    text = f'<text x="{x + font * 0.3:.1f}" y="{y - font * 0.3:.1f}" font-size="{font:.1f}" fill="{ink}">'
    return f'<g class="label">{ground}height="{font * 1.3:.1f}"/>{text}{escape(name)}</text></g>'


def _mask(mask: np.ndarray) -> str:
    contours, _ = cv2.findContours(np.ascontiguousarray(mask, np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_TC89_L1)
    rings = ['M' + 'L'.join(f'{x} {y}' for x, y in contour.reshape(-1, 2).tolist()) + 'Z' for contour in contours]
    return f'<path class="mask" fill-rule="evenodd" d="{"".join(rings)}"/>'


def _keypoints(points: np.ndarray, radius: float) -> str:
    visible = [(x, y) for x, y, seen in np.asarray(points, dtype=float).tolist() if seen > 0]
    circles = ''.join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>' for x, y in visible)
    return f'<g class="keypoints">{circles}</g>'
