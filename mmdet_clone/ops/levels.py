"""From maps over feature levels to one row for each prior.

N: images   L: levels   A: priors of a cell   C: channels of a prior   P: priors of an image, sum of H * W * A.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def flatten_levels(maps: Sequence[Tensor], channels: int) -> Tensor:
    """L maps (N, A * C, H, W) -> (N, P, C), in the order level, y, x, prior: that of the prior generators."""
    rows = [m.permute(0, 2, 3, 1).reshape(m.shape[0], -1, channels) for m in maps]
    return torch.cat(rows, 1)
