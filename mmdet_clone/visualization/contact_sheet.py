"""Many small pictures on one sheet, each with a line or two of text and the boxes that it is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from mmdet_clone.visualization.labels import render_text

_GROUND, _INK, _PALE = (245, 245, 245), (30, 30, 30), (205, 205, 205)
_MARK = (40, 40, 235)  # BGR of the boxes
_FONT = 13
_LEAST_VIEW = 160  # pixels of the image around a small box that are shown


@dataclass
class Cell:
    """One picture.

    Attributes:
        title: the first line.
        text: the second line, cut where it is too long.
        img: (h, w, 3) BGR; ``None`` leaves the place grey.
        box: x1, y1, x2, y2 in pixels of the image, to be drawn; it may lie outside and have no size.
        color: of the title's ground, BGR.
    """

    title: str
    text: str = ''
    img: np.ndarray | None = None
    box: Sequence[float] | None = None
    color: tuple[int, int, int] = _PALE


def contact_sheet(cells: Sequence[Cell], columns: int = 5, side: int = 240) -> np.ndarray:
    """One (h, w, 3) BGR picture of all cells, ``columns`` in a row, each picture ``side`` pixels wide and high."""
    if not cells:
        raise ValueError('a contact sheet needs at least one picture')
    drawn = [_draw(cell, side) for cell in cells]
    columns = min(columns, len(drawn))
    height, width = (edge + 8 for edge in drawn[0].shape[:2])
    rows = -(-len(drawn) // columns)
    sheet = np.full((rows * height + 8, columns * width + 8, 3), _GROUND, dtype=np.uint8)
    for i, picture in enumerate(drawn):
        y, x = 8 + i // columns * height, 8 + i % columns * width
        sheet[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
    return sheet


def _draw(cell: Cell, side: int) -> np.ndarray:
    picture = np.full((side, side, 3), _PALE, dtype=np.uint8)
    if cell.img is not None:
        view, box = _view(cell.img, cell.box)
        scale = side / max(view.shape[:2])
        size = [max(round(edge * scale), 1) for edge in view.shape[1::-1]]
        shown = cv2.resize(view, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        if box is not None:
            _mark(shown, np.asarray(box) * scale)
        picture[: size[1], : size[0]] = shown
    lines = [_line(cell.title, side, cell.color), _line(cell.text, side, _GROUND)]
    return np.concatenate([lines[0], picture, lines[1]])


def _view(img: np.ndarray, box: Sequence[float] | None) -> tuple[np.ndarray, Sequence[float] | None]:
    """The image, or the part around a box that would be too small to see; and the box in it."""
    if img.ndim == 2:
        img = cv2.cvtColor(img, cv2.COLOR_GRAY2BGR)
    if box is None:
        return img, None
    x1, y1, x2, y2 = np.nan_to_num(np.asarray(box, dtype=float), posinf=1e6, neginf=-1e6)
    height, width = img.shape[:2]
    reach = max(4 * abs(x2 - x1), 4 * abs(y2 - y1), _LEAST_VIEW) / 2
    if 2 * reach >= max(height, width):
        return img, (x1, y1, x2, y2)
    left, right = _window((x1 + x2) / 2, reach, width)
    top, bottom = _window((y1 + y2) / 2, reach, height)
    return img[top:bottom, left:right], (x1 - left, y1 - top, x2 - left, y2 - top)


def _window(center: float, reach: float, length: int) -> tuple[int, int]:
    """An interval of up to ``2 * reach`` pixels about ``center`` that lies in ``[0, length]``."""
    start = int(min(max(center - reach, 0), max(length - 2 * reach, 0)))
    return start, max(min(int(start + 2 * reach), length), start + 1)


def _mark(img: np.ndarray, box: np.ndarray) -> None:
    """Draw a box, in place, and a cross where it has no size; what lies outside is drawn at the border."""
    edge = np.array(img.shape[1::-1] * 2) - 1
    x1, y1, x2, y2 = np.clip(np.rint(box), 0, edge).astype(int).tolist()
    cv2.rectangle(img, (min(x1, x2), min(y1, y2)), (max(x1, x2), max(y1, y2)), _MARK, 2)
    if x2 - x1 < 3 or y2 - y1 < 3:
        cv2.drawMarker(img, ((x1 + x2) // 2, (y1 + y2) // 2), _MARK, cv2.MARKER_CROSS, 24, 2)


def _line(text: str, width: int, ground: tuple[int, int, int]) -> np.ndarray:
    alpha = render_text(text or ' ', _FONT)[:, : width - 8]
    strip = np.full((alpha.shape[0] + 6, width, 3), ground, dtype=np.uint8)
    weight = (alpha / 255.0)[..., None]
    inner = strip[3 : 3 + alpha.shape[0], 4 : 4 + alpha.shape[1]]
    inner[:] = inner * (1 - weight) + np.array(_INK) * weight
    return strip
