"""One RoI pooling layer for each level of a feature pyramid."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdet_clone.ops import deform_roi, roi
from mmdet_clone.registry import ROI_EXTRACTORS, UnknownTypeError

__all__ = ['BaseRoIExtractor']


class BaseRoIExtractor(BaseModule):
    """Holds the RoI layers.

    Args:
        roi_layer: a layer of ``mmdet_clone.ops.roi``, or a registered one, and its arguments:
            ``dict(type='RoIAlign', output_size=7, sampling_ratio=0)``.
        out_channels: channels of the features.
        featmap_strides: the stride of each level used, finest first.
    """

    def __init__(
        self,
        roi_layer: dict,
        out_channels: int,
        featmap_strides: Sequence[int],
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.roi_layers = self.build_roi_layers(roi_layer, featmap_strides)
        self.out_channels = out_channels
        self.featmap_strides = featmap_strides

    @property
    def num_inputs(self) -> int:
        """The number of feature levels used."""
        return len(self.featmap_strides)

    def build_roi_layers(self, layer_cfg: dict, featmap_strides: Sequence[int]) -> nn.ModuleList:
        """A RoI layer for each stride."""
        args = dict(layer_cfg)
        layer = _layer_class(args.pop('type'))
        return nn.ModuleList(layer(spatial_scale=1 / stride, **args) for stride in featmap_strides)

    def roi_rescale(self, rois: Tensor, scale_factor: float | tuple[float, float]) -> Tensor:
        """Rois (R, 5) scaled about their centres by one factor, or by one of the height and one of the width."""
        scale_h, scale_w = (scale_factor, scale_factor) if isinstance(scale_factor, int | float) else scale_factor
        center = (rois[:, 1:3] + rois[:, 3:5]) / 2
        half = (rois[:, 3:5] - rois[:, 1:3]) / 2 * rois.new_tensor([scale_w, scale_h])
        return torch.cat([rois[:, :1], center - half, center + half], dim=1)

    @abstractmethod
    def forward(
        self, feats: Sequence[Tensor], rois: Tensor, roi_scale_factor: float | tuple[float, float] | None = None
    ) -> Tensor:
        """The features (R, C, h, w) of rois (R, 5): image index, x1, y1, x2, y2 in pixels of the input."""


def _layer_class(name: str) -> type[nn.Module]:
    """A RoI layer of ours, or one that is registered as a model part."""
    layers = {**vars(roi), **vars(deform_roi)}
    own = {n: cls for n, cls in layers.items() if inspect.isclass(cls) and 'RoI' in n}
    found = own.get(name) or ROI_EXTRACTORS.get(name)
    if found is None:
        raise UnknownTypeError(
            f'{name!r} is neither an own nor a registered roi_layer; ours are {", ".join(sorted(own))}. One of yours '
            "is registered by @ROI_EXTRACTORS.register_module() in a file that the config's custom_imports names"
        )
    return found
