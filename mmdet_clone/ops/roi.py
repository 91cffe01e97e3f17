"""Features of regions of interest, over torchvision's operators.

RoIs are (k, 5): image index, x1, y1, x2, y2 in pixels of the input; features (N, C, H, W).
"""

from __future__ import annotations

import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from mmdet_clone.ops.precision import upcast


class RoIAlign(nn.Module):
    """RoIAlign of "Mask R-CNN" (arXiv:1703.06870).

    Args:
        output_size: height and width of the result.
        spatial_scale: size of the features relative to the input.
        sampling_ratio: samples along each side of a cell; 0 takes as many as the cell has pixels.
        pool_mode: ``'avg'``; or ``'max'``, which needs a positive ``sampling_ratio``.
        aligned: shift by half a pixel, so that a pixel's centre lies at +0.5.
        use_torchvision: accepted for old configs; torchvision's operator is used either way.
    """

    def __init__(
        self,
        output_size: int | tuple[int, int],
        spatial_scale: float = 1.0,
        sampling_ratio: int = 0,
        pool_mode: str = 'avg',
        aligned: bool = True,
        use_torchvision: bool = False,
    ) -> None:
        super().__init__()
        if pool_mode not in ('avg', 'max'):
            raise ValueError(f"pool_mode must be 'avg' or 'max', got {pool_mode!r}")
        if pool_mode == 'max' and sampling_ratio <= 0:
            raise ValueError("pool_mode='max' needs a fixed grid of samples: set sampling_ratio to 2, for example")
        self.output_size = tuple(_pair(output_size))
        self.spatial_scale = float(spatial_scale)
        self.sampling_ratio = int(sampling_ratio)
        self.pool_mode = pool_mode
        self.aligned = aligned

    def forward(self, feats: Tensor, rois: Tensor) -> Tensor:
        """(k, C, *output_size), computed in float32 at least and returned in the features' type."""
        if self.pool_mode == 'avg':
            return self._sample(feats, rois, self.output_size, self.sampling_ratio)
        fine = tuple(side * self.sampling_ratio for side in self.output_size)
        return F.max_pool2d(self._sample(feats, rois, fine, 1), self.sampling_ratio)

    def _sample(self, feats: Tensor, rois: Tensor, size: tuple[int, int], sampling_ratio: int) -> Tensor:
        dense = upcast(feats)
        pooled = torchvision.ops.roi_align(
            dense, rois.to(dense.dtype), size, self.spatial_scale, sampling_ratio, self.aligned
        )
        return pooled.to(feats.dtype)

    def extra_repr(self) -> str:
        return (
            f'output_size={self.output_size}, spatial_scale={self.spatial_scale}, '
            f'sampling_ratio={self.sampling_ratio}, pool_mode={self.pool_mode}, aligned={self.aligned}'
        )


class RoIPool(nn.Module):
    """RoI pooling of "Fast R-CNN" (arXiv:1504.08083): the largest value in each cell."""

    def __init__(self, output_size: int | tuple[int, int], spatial_scale: float = 1.0) -> None:
        super().__init__()
        self.output_size = tuple(_pair(output_size))
        self.spatial_scale = float(spatial_scale)

    def forward(self, feats: Tensor, rois: Tensor) -> Tensor:
        """(k, C, *output_size)."""
        dense = upcast(feats)
        pooled = torchvision.ops.roi_pool(dense, rois.to(dense.dtype), self.output_size, self.spatial_scale)
        return pooled.to(feats.dtype)

    def extra_repr(self) -> str:
        return f'output_size={self.output_size}, spatial_scale={self.spatial_scale}'
