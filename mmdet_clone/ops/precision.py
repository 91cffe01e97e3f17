"""Where half precision would not do."""

from __future__ import annotations

import torch
from torch import Tensor


def upcast(tensor: Tensor) -> Tensor:
    """``tensor`` in single precision at least.

    Half formats cannot tell apart neighbouring pixels past 256 (bfloat16) or 2048 (float16), and their exponentials and
    sums lose what a loss is made of.
    """
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()
