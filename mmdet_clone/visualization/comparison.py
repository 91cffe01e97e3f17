"""What was annotated beside what was detected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from mmdet_clone.visualization.draw import decode_mask, draw_detections
from mmdet_clone.visualization.labels import render_text

GAP = 8
LEAST_SIDE = 480  # smaller images are enlarged to it, so that labels have room


@dataclass
class Objects:
    """What is on an image.

    Attributes:
        boxes: (n, 4) or, with scores, (n, 5) in pixels; None where there are masks alone.
        labels: (n,).
        masks: n arrays (h, w) or COCO RLE, if there are any.
    """

    boxes: np.ndarray | None
    labels: np.ndarray
    masks: Sequence | None = None

    def enlarged(self, factor: int) -> Objects:
        """The same on an image ``factor`` times as large."""
        boxes = None if self.boxes is None else self.boxes * np.array([factor] * 4 + [1])[: self.boxes.shape[1]]
        masks = None if self.masks is None else [_enlarged(decode_mask(mask), factor) for mask in self.masks]
        return Objects(boxes, self.labels, masks)


def comparison(
    img: np.ndarray,
    truth: Objects,
    found: Objects,
    class_names: Sequence[str],
    palette: str | Sequence | None = None,
    heading: str = '',
    overlay: bool = False,
) -> np.ndarray:
    """Draw ground truth on the left and detections on the right.

    Args:
        img: (h, w, 3) BGR.
        truth, found: the objects; those found have scores.
        class_names: names by label.
        palette: colours by label, RGB; of our choice by default.
        heading: a line above both.
        overlay: draw the boxes of both on one picture instead, ground truth green and detections red.

    Returns:
        the picture, uint8 BGR.
    """
    factor = max(-(-LEAST_SIDE // max(img.shape[:2])), 1)
    if factor > 1:
        img = cv2.resize(img, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        truth, found = truth.enlarged(factor), found.enlarged(factor)
    captions = [f'ground truth: {len(truth.labels)}', f'detections: {len(found.labels)}']
    if overlay:
        return with_captions(
            [overlaid(img, truth, found, class_names)], [f'green: {captions[0]}, red: {captions[1]}'], heading
        )
    pictures = [
        draw_detections(img, side.boxes, side.labels, side.masks, class_names, palette=palette)
        for side in (truth, found)
    ]
    return with_captions(pictures, captions, heading)


def overlaid(img: np.ndarray, truth: Objects, found: Objects, class_names: Sequence[str]) -> np.ndarray:
    """Both sides' boxes on one image, each object with a colour and a caption of its own."""
    captions = [class_names[label] for label in truth.labels]
    captions += [f'{class_names[label]} {score:.2f}' for label, score in zip(found.labels, found.boxes[:, 4])]
    colors = ['green'] * len(truth.labels) + ['red'] * len(found.labels)
    boxes = np.concatenate([truth.boxes[:, :4], found.boxes[:, :4]])
    return draw_detections(img, boxes, np.arange(len(boxes)), None, captions, palette=colors)


def with_captions(pictures: Sequence[np.ndarray], captions: Sequence[str], heading: str = '') -> np.ndarray:
    """One BGR picture of several (h, w, 3) of one height, with a caption above each and a heading over all."""
    font = int(min(max(pictures[0].shape[0] / 28, 13), 40))
    titled = [np.vstack([text_strip(c, p.shape[1], font), p]) for c, p in zip(captions, pictures, strict=True)]
    gap = np.full((titled[0].shape[0], GAP, 3), 255, dtype=np.uint8)
    joined = np.hstack([part for picture in titled for part in (gap, picture)][1:])
    return np.vstack([text_strip(heading, joined.shape[1], font), joined]) if heading else joined


def text_strip(text: str, width: int, font_size: int) -> np.ndarray:
    """``text`` in black on white, cut at ``width``; the height depends on the font size alone."""
    alpha = render_text(text, font_size)[:, : max(width - 2 * GAP, 0)]
    pad = max(font_size // 4, 2)
    strip = np.full((alpha.shape[0] + 2 * pad, width, 3), 255, dtype=np.uint8)
    strip[pad : pad + alpha.shape[0], GAP : GAP + alpha.shape[1]] = 255 - alpha[..., None]
    return strip


def _enlarged(mask: np.ndarray, factor: int) -> np.ndarray:
    return np.asarray(mask, dtype=np.uint8).repeat(factor, axis=0).repeat(factor, axis=1)
