"""Labels that stay readable on any image: a filled box with contrasting text, inside the image, clear of the others."""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

Box = tuple[int, int, int, int]

# Fonts tried for text outside ASCII, which Pillow's own font lacks; the last is found where matplotlib is installed.
FONTS = ('NotoSansCJK-Regular.ttc', 'wqy-zenhei.ttc', 'wqy-microhei.ttc', 'msyh.ttc', 'PingFang.ttc', 'DejaVuSans.ttf')


@dataclass
class Label:
    """A text to write beside ``box`` (x1, y1, x2, y2) on a ground of ``color`` (BGR)."""

    text: str
    box: Box
    color: tuple[int, int, int]


class LabelWriter:
    """Writes labels on one image, and remembers where, so that the next goes elsewhere.

    Args:
        img: BGR image that is written on.
        font_size: height of the text in pixels.
        margin: width of the box outlines, which labels stand clear of.
        text_color: BGR; None for black or white, whichever contrasts with the label's ground.
    """

    def __init__(self, img: np.ndarray, font_size: float, margin: int = 1, text_color: tuple | None = None) -> None:
        self.img = img
        self.font_size = max(round(font_size), 7)
        self.margin = margin
        self.text_color = text_color
        self._taken = np.zeros((0, 4), dtype=np.int64)

    def write(self, label: Label) -> Box:
        """Write ``label`` at the best free place and return the rectangle it fills."""
        alpha = render_text(label.text, self.font_size)
        pad = max(self.font_size // 5, 1)
        height, width = alpha.shape[0] + 2 * pad, alpha.shape[1] + 2 * pad
        rect = self._place(label.box, width, height)
        self._taken = np.concatenate([self._taken, [rect]])
        ink = self.text_color or contrasting(label.color)
        x1, y1, x2, y2 = rect
        patch = np.empty((height, width, 3), dtype=np.float32)
        patch[:] = label.color
        weight = (alpha.astype(np.float32) / 255)[..., None]
        inner = patch[pad : pad + alpha.shape[0], pad : pad + alpha.shape[1]]
        inner[:] = inner * (1 - weight) + np.asarray(ink, dtype=np.float32) * weight
        self.img[y1:y2, x1:x2] = np.rint(patch[: y2 - y1, : x2 - x1])
        return rect

    def _place(self, box: Box, width: int, height: int) -> Box:
        """The first candidate that is free and inside the image, else the one that hides least of earlier labels."""
        corners = np.array(self._candidates(box, width, height))
        rects = np.array([self._inside(x, y, width, height) for x, y in corners.tolist()])
        moved = (corners != rects[:, :2]).sum(axis=1)
        cost = _overlaps(rects, self._taken) + 1e-3 * moved * width * height
        return tuple(rects[int(cost.argmin())].tolist())

    def _candidates(self, box: Box, width: int, height: int) -> list[tuple[int, int]]:
        """Top-left corners to try, best first: above the box, inside its top, below it, inside its bottom, beside."""
        m = self.margin
        x1, y1, x2, y2 = box
        left, right = x1 - m // 2, x2 + m // 2 - width
        above, top, below, bottom = y1 - height, y1 + m, y2 + m, y2 - height - m
        corners = [(left, above), (left, top), (right, above), (right, top)]
        corners += [(left, below), (right, below), (left, bottom), (right, bottom)]
        middle = (y1 + y2 - height) // 2
        corners += [(x2 + m, top), (x1 - width - m, top), (left, middle), (right, middle)]
        return corners + [(left, y + sign * k * height) for k in range(1, 5) for y, sign in ((above, -1), (below, 1))]

    def _inside(self, x: int, y: int, width: int, height: int) -> Box:
        img_h, img_w = self.img.shape[:2]
        x, y = max(min(x, img_w - width), 0), max(min(y, img_h - height), 0)
        return x, y, min(x + width, img_w), min(y + height, img_h)


def contrasting(color: tuple[int, int, int]) -> tuple[int, int, int]:
    """Black or white (BGR), whichever has the higher contrast ratio with ``color`` (BGR) by WCAG 2's formula."""
    linear = [(c / 255 / 12.92) if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in color]
    luminance = 0.0722 * linear[0] + 0.7152 * linear[1] + 0.2126 * linear[2]
    return (0, 0, 0) if (luminance + 0.05) ** 2 > 1.05 * 0.05 else (255, 255, 255)


@functools.lru_cache(maxsize=1024)
def render_text(text: str, size: int) -> np.ndarray:
    """Coverage of ``text`` in 0..255, shape (height, width); the height depends on ``size`` alone."""
    from PIL import Image, ImageDraw

    font = _font(size, text.isascii())
    if font is None:
        return _hershey(text, size)
    ascent, descent = font.getmetrics()
    width = max(int(np.ceil(font.getlength(text))), 1)
    canvas = Image.new('L', (width, ascent + descent))
    ImageDraw.Draw(canvas).text((0, 0), text, fill=255, font=font)
    return np.asarray(canvas)


@functools.lru_cache(maxsize=64)
def _font(size: int, is_ascii: bool) -> object | None:
    from PIL import ImageFont

    try:
        if is_ascii:
            return ImageFont.load_default(size)
        spec = importlib.util.find_spec('matplotlib')
        bundled = Path(spec.origin).parent / 'mpl-data/fonts/ttf/DejaVuSans.ttf' if spec else 'DejaVuSans.ttf'
        for name in (*FONTS, str(bundled)):
            try:
                return ImageFont.truetype(name, size)
            except OSError:
                continue
        return ImageFont.load_default(size)
    except (TypeError, ImportError):  # a Pillow without FreeType or older than 10.1
        return None


def _hershey(text: str, size: int) -> np.ndarray:
    face, scale = cv2.FONT_HERSHEY_SIMPLEX, size / 30
    (width, height), base = cv2.getTextSize(text, face, scale, 1)
    canvas = np.zeros((height + base, width), dtype=np.uint8)
    cv2.putText(canvas, text, (0, height), face, scale, 255, 1, cv2.LINE_AA)
    return canvas


def _overlaps(rects: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Pixels of each of ``rects`` (k, 4) that lie in ``taken`` (n, 4), summed over ``taken``: (k,)."""
    low = np.maximum(rects[:, None, :2], taken[None, :, :2])
    high = np.minimum(rects[:, None, 2:], taken[None, :, 2:])
    return (high - low).clip(min=0).prod(axis=2).sum(axis=1).astype(np.float64)
