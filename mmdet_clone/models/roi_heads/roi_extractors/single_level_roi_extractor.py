"""Each region from the one pyramid level that fits its size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...builder import ROI_EXTRACTORS
from .base_roi_extractor import BaseRoIExtractor

__all__ = ['SingleRoIExtractor']


@ROI_EXTRACTORS.register_module()
class SingleRoIExtractor(BaseRoIExtractor):
    """Equation 1 of "Feature Pyramid Networks for Object Detection" (arXiv 1612.03144).

    Args:
        finest_scale: regions with sqrt(width * height) below twice this many pixels come from the finest level.
    """

    def __init__(
        self,
        roi_layer: dict,
        out_channels: int,
        featmap_strides: Sequence[int],
        finest_scale: int = 56,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(roi_layer, out_channels, featmap_strides, init_cfg)
        self.finest_scale = finest_scale

    def map_roi_levels(self, rois: Tensor, num_levels: int) -> Tensor:
        """The level, (R,) in [0, num_levels), of rois (R, 5)."""
        sizes = torch.sqrt((rois[:, 3] - rois[:, 1]) * (rois[:, 4] - rois[:, 2]))
        levels = torch.floor(torch.log2(sizes / self.finest_scale + 1e-6))
        return levels.clamp(min=0, max=num_levels - 1).long()

    def forward(
        self, feats: Sequence[Tensor], rois: Tensor, roi_scale_factor: float | tuple[float, float] | None = None
    ) -> Tensor:
        num_levels = len(feats)
        levels = self.map_roi_levels(rois, num_levels)
        if roi_scale_factor is not None:
            rois = self.roi_rescale(rois, roi_scale_factor)
        if num_levels == 1:
            return self.roi_layers[0](feats[0], rois)
        # A level without regions takes part with none, so that it has a gradient, of zero, in every process.
        where = [torch.nonzero(levels == i).squeeze(1) for i in range(num_levels)]
        pooled = [layer(feat, rois[inds]) for layer, feat, inds in zip(self.roi_layers, feats, where)]
        out = pooled[0].new_zeros(len(rois), *pooled[0].shape[1:])
        return out.index_copy_(0, torch.cat(where), torch.cat(pooled))
