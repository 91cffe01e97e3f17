"""From masks predicted inside boxes to masks of the whole image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK_PIXELS = 2**26  # of the float32 grid that one chunk of masks holds at a time on a GPU


def paste_masks(masks: Tensor, boxes: Tensor, img_h: int, img_w: int, threshold: float = 0.5) -> Tensor:
    """Paste mask probabilities into the image, bilinearly.

    Args:
        masks: (n, 1, h, w) probabilities inside the boxes.
        boxes: (n, 4) in pixels of the image.
        threshold: pixels that reach it are inside; if negative, the probabilities are returned as 0..255.

    Returns:
        (n, img_h, img_w) bool, or uint8 if ``threshold`` is negative.
    """
    masks, boxes = masks.float(), boxes.float()
    binary = threshold >= 0
    out = torch.zeros(len(masks), img_h, img_w, dtype=torch.bool if binary else torch.uint8, device=masks.device)
    for chunk in _chunks(len(masks), img_h * img_w, masks.is_cuda):
        window = _window(boxes[chunk], img_h, img_w) if not masks.is_cuda else (0, 0, img_w, img_h)
        pasted = _sample(masks[chunk], boxes[chunk], *window)
        x0, y0, x1, y1 = window
        out[chunk, y0:y1, x0:x1] = pasted >= threshold if binary else (pasted * 255).to(torch.uint8)
    return out


def _chunks(n: int, pixels: int, on_gpu: bool) -> list[slice]:
    """One mask at a time on the CPU, where only its window is sampled; as many as memory holds on a GPU."""
    size = max(1, CHUNK_PIXELS // max(pixels, 1)) if on_gpu else 1
    return [slice(start, start + size) for start in range(0, n, size)]


def _window(boxes: Tensor, img_h: int, img_w: int) -> tuple[int, int, int, int]:
    """The part of the image that the boxes touch, with a pixel to spare."""
    x0, y0 = (boxes[:, :2].amin(0).floor() - 1).clamp(min=0).int().tolist()
    x1, y1 = (boxes[:, 2:].amax(0).ceil() + 1).int().tolist()
    return x0, y0, max(x0, min(x1, img_w)), max(y0, min(y1, img_h))


def _sample(masks: Tensor, boxes: Tensor, x0: int, y0: int, x1: int, y1: int) -> Tensor:
    """(n, y1 - y0, x1 - x0): the masks at the centres of the window's pixels."""
    x = _relative(torch.arange(x0, x1, device=masks.device) + 0.5, boxes[:, 0:1], boxes[:, 2:3])
    y = _relative(torch.arange(y0, y1, device=masks.device) + 0.5, boxes[:, 1:2], boxes[:, 3:4])
    grid = torch.stack(torch.broadcast_tensors(x[:, None, :], y[:, :, None]), -1)
    return F.grid_sample(masks, grid, align_corners=False)[:, 0]


def _relative(centres: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Where ``centres`` (m,) lie between ``low`` and ``high`` (n, 1), as -1..1; 0 in a box without extent."""
    position = (centres - low) / (high - low) * 2 - 1
    return torch.where(position.isfinite(), position, 0.0)
