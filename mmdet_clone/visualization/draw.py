"""Detections on an image: translucent masks with a contour, boxes, labels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from mmdet_clone.visualization.labels import Label, LabelWriter
from mmdet_clone.visualization.palette import as_palette, color_of

NOMINAL_SIDE = 550  # geometric mean of the sides of the image that `thickness` and `font_size` are meant for
MASK_OPACITY = 0.45


def draw_detections(
    img: str | os.PathLike | np.ndarray,
    bboxes: np.ndarray | None,
    labels: np.ndarray,
    segms: Sequence | np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
    score_thr: float = 0.0,
    palette: str | Sequence | None = None,
    mask_palette: str | Sequence | None = None,
    text_color: str | Sequence[int] | None = None,
    thickness: float = 2,
    font_size: float = 13,
    out_file: str | os.PathLike | None = None,
) -> np.ndarray:
    """Draw boxes, masks and labels on a copy of an image.

    Args:
        img: a path, or an image (h, w, 3) BGR or (h, w) grey.
        bboxes: (n, 5) ``x1, y1, x2, y2, score`` in pixels, or (n, 4) without scores; None to draw masks alone.
        labels: (n,) class indices.
        segms: n masks: (h, w) arrays, an (n, h, w) array, or COCO RLE dicts; entries may be None.
        class_names: names by class index; ``class 3`` is written where a name is missing.
        score_thr: boxes with a lower score are left out.
        palette: colours by class, RGB: see :func:`~mmdet_clone.visualization.palette.as_palette`.
        mask_palette: the same for masks; those of ``palette`` by default.
        text_color: RGB; black or white by default, whichever is readable on the label.
        thickness: of box lines, in pixels, for an image of about 640x480 pixels; it grows with the image.
        font_size: height of the text, likewise.
        out_file: where to write the picture; its folder is made.

    Returns:
        the picture, uint8 BGR.
    """
    canvas = _as_bgr(img)
    labels = np.asarray(labels, dtype=np.int64).reshape(-1)
    boxes, scores = _split_boxes(bboxes, labels, segms, canvas.shape[:2])
    kept = np.flatnonzero(scores >= score_thr) if scores is not None else np.arange(len(labels))
    num_colors = max(len(class_names or ()), int(labels.max(initial=0)) + 1)
    colors = [_bgr(c) for c in as_palette(palette, num_colors)]
    fills = colors if mask_palette is None else [_bgr(c) for c in as_palette(mask_palette, num_colors)]
    scale = min(max((canvas.shape[0] * canvas.shape[1]) ** 0.5 / NOMINAL_SIDE, 0.5), 6.0)
    line = max(round(thickness * scale), 1)

    if segms is not None:
        for i in _large_first(boxes, kept):
            if segms[i] is not None:
                blend_mask(canvas, decode_mask(segms[i]), fills[labels[i] % len(fills)], line)
    corners = np.rint(boxes).astype(np.int64) if len(boxes) else boxes.astype(np.int64)
    if bboxes is not None:
        for i in _large_first(boxes, kept):
            x1, y1, x2, y2 = corners[i].tolist()
            cv2.rectangle(canvas, (x1, y1), (x2, y2), colors[labels[i] % len(colors)], line)
    ink = None if text_color is None else _bgr(color_of(text_color))
    writer = LabelWriter(canvas, max(font_size * scale, 8), line, ink)
    order = kept if scores is None else kept[np.argsort(-scores[kept], kind='stable')]
    for i in order:
        text = _caption(labels[i], None if scores is None else scores[i], class_names)
        writer.write(Label(text, tuple(corners[i].tolist()), colors[labels[i] % len(colors)]))
    if out_file is not None:
        write_image(canvas, out_file)
    return canvas


def flatten_result(result: list | tuple | dict) -> tuple[np.ndarray, np.ndarray, list | None]:
    """A detector's result for one image as flat arrays.

    Args:
        result: a list over classes of (k, 5) boxes, or a pair of it and a list over classes of lists of masks.

    Returns:
        boxes (n, 5), labels (n,) and the n masks, or None where the result has none.
    """
    per_class, segms = result if isinstance(result, tuple) else (result, None)
    if isinstance(segms, tuple):  # Mask Scoring R-CNN: (masks, mask scores)
        segms = segms[0]
    if not isinstance(per_class, (list, tuple)):
        raise TypeError(
            'expected the result of one image, a list over classes of (n, 5) arrays or a pair (boxes, masks), '
            f'got {type(result).__name__}'
        )
    arrays = [np.asarray(boxes, dtype=np.float32).reshape(-1, 5) for boxes in per_class]
    bboxes = np.concatenate(arrays) if arrays else np.zeros((0, 5), dtype=np.float32)
    labels = np.repeat(np.arange(len(arrays)), [len(a) for a in arrays])
    masks = None if segms is None else [mask for of_class in segms for mask in of_class]
    if masks is not None and len(masks) != len(bboxes):
        raise ValueError(f'the result has {len(bboxes)} boxes but {len(masks)} masks')
    return bboxes, labels, masks


def blend_mask(img: np.ndarray, mask: np.ndarray, color: tuple[int, int, int], line: int = 1) -> None:
    """Tint ``img`` (h, w, 3) where ``mask`` (h, w) is set and draw the mask's outline, in place."""
    if mask.shape != img.shape[:2]:
        raise ValueError(f'a mask of shape {mask.shape} does not fit an image of shape {img.shape[:2]}')
    mask = np.ascontiguousarray(mask, dtype=np.uint8)
    x, y, w, h = cv2.boundingRect(mask)
    if w == 0:
        return
    part, region = mask[y : y + h, x : x + w], img[y : y + h, x : x + w]
    inside = part.astype(bool)
    region[inside] = np.rint(region[inside] * (1 - MASK_OPACITY) + np.array(color) * MASK_OPACITY)
    contours, _ = cv2.findContours(part, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(x, y))
    cv2.drawContours(img, contours, -1, color, max(line // 2, 1), cv2.LINE_AA)


def decode_mask(mask: np.ndarray | dict) -> np.ndarray:
    """A mask (array, tensor or COCO RLE) as an (h, w) array."""
    if isinstance(mask, dict):
        import pycocotools.mask

        return pycocotools.mask.decode(mask)
    return np.asarray(mask.cpu() if hasattr(mask, 'cpu') else mask)


def write_image(img: np.ndarray, path: str | os.PathLike) -> None:
    """Write an image, making its folder; the suffix chooses the format."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    try:
        written = cv2.imwrite(str(path), img)
    except cv2.error as error:
        raise ValueError(f'cannot write {path}: end its name in .jpg or .png') from error
    if not written:
        raise OSError(f'cannot write {path}: is its folder writable?')


def _as_bgr(img: str | os.PathLike | np.ndarray) -> np.ndarray:
    if not isinstance(img, np.ndarray):
        path, img = img, cv2.imread(str(img), cv2.IMREAD_COLOR)
        if img is None:
            raise FileNotFoundError(f'cannot read the image {path}: no such file, or not an image')
    if img.ndim == 2 or img.shape[2] == 1:
        img = np.repeat(img.reshape(*img.shape[:2], 1), 3, axis=2)
    if img.dtype != np.uint8:
        img = np.clip(np.rint(img), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(img[..., :3]).copy()


def _split_boxes(
    bboxes: np.ndarray | None, labels: np.ndarray, segms: Sequence | np.ndarray | None, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Corners (n, 4), clipped to the image, and scores (n,) or None."""
    if bboxes is None:
        masks = [] if segms is None else segms
        boxes, scores = np.array([_mask_box(m) for m in masks], dtype=np.float64).reshape(-1, 4), None
    else:
        bboxes = np.asarray(bboxes, dtype=np.float64)
        if bboxes.size == 0:
            bboxes = bboxes.reshape(0, bboxes.shape[-1] if bboxes.shape[-1:] in ((4,), (5,)) else 5)
        if bboxes.ndim != 2 or bboxes.shape[1] not in (4, 5):
            raise ValueError(
                f'expected boxes of shape (n, 4) or (n, 5) in x1y1x2y2 pixels, got {bboxes.shape}: '
                'wrap a single box in a list'
            )
        boxes, scores = bboxes[:, :4], bboxes[:, 4] if bboxes.shape[1] == 5 else None
    if len(boxes) != len(labels):
        raise ValueError(f'got {len(boxes)} boxes but {len(labels)} labels')
    if segms is not None and len(segms) != len(labels):
        raise ValueError(f'got {len(labels)} labels but {len(segms)} masks')
    height, width = size
    return np.clip(np.nan_to_num(boxes), 0, [width - 1, height - 1] * 2), scores


def _mask_box(mask: np.ndarray | dict | None) -> tuple[int, int, int, int]:
    if mask is None:
        return 0, 0, 0, 0
    x, y, w, h = cv2.boundingRect(np.ascontiguousarray(decode_mask(mask), dtype=np.uint8))
    return x, y, x + w, y + h


def _large_first(boxes: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Large objects first, so that small ones stay visible on them."""
    sides = boxes[kept, 2:] - boxes[kept, :2]
    return kept[np.argsort(-sides.prod(axis=1), kind='stable')]


def _caption(label: int, score: float | None, class_names: Sequence[str] | None) -> str:
    known = class_names is not None and label < len(class_names)
    name = str(class_names[label]) if known else f'class {label}'
    return name if score is None else f'{name} {score:.2f}'


def _bgr(color: Sequence[int]) -> tuple[int, int, int]:
    return int(color[2]), int(color[1]), int(color[0])
