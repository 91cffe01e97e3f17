"""Leave out priors that lie outside the image, and come back to all of them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def anchor_inside_flags(
    flat_anchors: Tensor, valid_flags: Tensor, img_shape: Sequence[int], allowed_border: int = 0
) -> Tensor:
    """(n,) bool: the valid anchors that reach at most ``allowed_border`` pixels beyond the image.

    Args:
        flat_anchors: (n, 4).
        valid_flags: (n,) bool.
        img_shape: (height, width, ...).
        allowed_border: a negative value switches the test off.
    """
    if allowed_border < 0:
        return valid_flags
    height, width = img_shape[:2]
    x1, y1, x2, y2 = flat_anchors.unbind(-1)
    inside = (x1 >= -allowed_border) & (y1 >= -allowed_border)
    return valid_flags & inside & (x2 < width + allowed_border) & (y2 < height + allowed_border)


def unmap(data: Tensor, count: int, inds: Tensor, fill: float = 0) -> Tensor:
    """Spread the rows of ``data`` over ``count`` rows: where the bool mask ``inds`` (count,) is set; else ``fill``."""
    full = data.new_full((count, *data.shape[1:]), fill)
    full[inds.bool()] = data
    return full
