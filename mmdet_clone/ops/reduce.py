"""Sums and means over the processes of a distributed run."""

from __future__ import annotations

from mmengine.dist import all_reduce, get_world_size
from torch import Tensor

__all__ = ['reduce_mean']


def reduce_mean(tensor: Tensor) -> Tensor:
    """The mean of ``tensor`` over all processes, without a gradient; itself where there is one process."""
    if get_world_size() == 1:
        return tensor
    mean = tensor.detach().clone()
    all_reduce(mean, 'mean')
    return mean
