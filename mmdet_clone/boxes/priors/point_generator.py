"""Points on a grid, for detectors without anchors.

L: levels   H, W: size of a level's map. Rows of a grid run over y, then x.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.modules.utils import _pair

from mmdet_clone.registry import PRIOR_GENERATORS


@PRIOR_GENERATORS.register_module()
class MlvlPointGenerator:
    """One point for each cell of each level.

    Args:
        strides: of each level in pixels, one number or (x, y).
        offset: of a point from its cell's corner, as a part of the stride: 0.5 is the cell's middle.
    """

    def __init__(self, strides: Sequence, offset: float = 0.5) -> None:
        self.strides = [tuple(_pair(stride)) for stride in strides]
        self.offset = offset

    @property
    def num_levels(self) -> int:
        return len(self.strides)

    @property
    def num_base_priors(self) -> list[int]:
        """Points of a cell, for each level."""
        return [1] * self.num_levels

    def grid_priors(
        self,
        featmap_sizes: Sequence[tuple[int, int]],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = 'cpu',
        with_stride: bool = False,
    ) -> list[Tensor]:
        """The points of each level, (H * W, 2) x, y; with strides (H * W, 4) x, y, stride of x, stride of y."""
        self._check_levels(featmap_sizes)
        return [
            self.single_level_grid_priors(size, level, dtype, device, with_stride)
            for level, size in enumerate(featmap_sizes)
        ]

    def single_level_grid_priors(
        self,
        featmap_size: tuple[int, int],
        level_idx: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = 'cpu',
        with_stride: bool = False,
    ) -> Tensor:
        """The points of one level, see :meth:`grid_priors`."""
        height, width = featmap_size
        stride_x, stride_y = self.strides[level_idx]
        x = ((torch.arange(width, device=device) + self.offset) * stride_x).to(dtype)
        y = ((torch.arange(height, device=device) + self.offset) * stride_y).to(dtype)
        y, x = torch.meshgrid(y, x, indexing='ij')
        columns = [x, y]
        if with_stride:
            columns += [torch.full_like(x, stride_x), torch.full_like(x, stride_y)]
        return torch.stack(columns, -1).reshape(height * width, -1)

    def sparse_priors(
        self,
        prior_idxs: Tensor,
        featmap_size: tuple[int, int],
        level_idx: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = 'cpu',
    ) -> Tensor:
        """The rows ``prior_idxs`` (n,) of one level's grid, without the grid; (n, 2)."""
        width = featmap_size[1]
        stride_x, stride_y = self.strides[level_idx]
        rows = torch.div(prior_idxs, width, rounding_mode='floor')
        x, y = (prior_idxs % width + self.offset) * stride_x, (rows + self.offset) * stride_y
        return torch.stack((x, y), 1).to(device=device, dtype=dtype)

    def valid_flags(
        self,
        featmap_sizes: Sequence[tuple[int, int]],
        pad_shape: Sequence[int],
        device: torch.device | str = 'cpu',
    ) -> list[Tensor]:
        """For each level, (H * W,) bool: whose cells begin inside the image padded to ``pad_shape`` (h, w, ...)."""
        self._check_levels(featmap_sizes)
        return [_valid(size, pad_shape, stride, device) for size, stride in zip(featmap_sizes, self.strides)]

    def _check_levels(self, featmap_sizes: Sequence[tuple[int, int]]) -> None:
        if len(featmap_sizes) != self.num_levels:
            raise ValueError(
                f'{type(self).__name__} has {self.num_levels} levels (strides={self.strides}) '
                f'but was given {len(featmap_sizes)} feature maps'
            )

    def __repr__(self) -> str:
        return f'{type(self).__name__}(strides={self.strides}, offset={self.offset})'


@PRIOR_GENERATORS.register_module()
class PointGenerator:
    """The corners of one level's cells, with the stride: RepPoints' older generator."""

    def grid_points(
        self, featmap_size: tuple[int, int], stride: float = 16, device: torch.device | str = 'cpu'
    ) -> Tensor:
        """(H * W, 3) x, y, stride in pixels."""
        height, width = featmap_size
        x = torch.arange(width, device=device, dtype=torch.float32) * stride
        y = torch.arange(height, device=device, dtype=torch.float32) * stride
        y, x = torch.meshgrid(y, x, indexing='ij')
        return torch.stack((x, y, torch.full_like(x, stride)), -1).reshape(-1, 3)

    def valid_flags(
        self, featmap_size: tuple[int, int], valid_size: tuple[int, int], device: torch.device | str = 'cpu'
    ) -> Tensor:
        """(H * W,) bool: the cells in the first ``valid_size`` (rows, columns)."""
        return _valid(featmap_size, valid_size, (1, 1), device)


def _valid(
    featmap_size: tuple[int, int], pad_shape: Sequence[int], stride: tuple[float, float], device: torch.device | str
) -> Tensor:
    valid = torch.zeros(tuple(featmap_size), dtype=torch.bool, device=device)
    valid[: math.ceil(pad_shape[0] / stride[1]), : math.ceil(pad_shape[1] / stride[0])] = True
    return valid.flatten()
