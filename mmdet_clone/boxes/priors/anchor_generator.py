"""Anchors of "Faster R-CNN" (arXiv:1506.01497) and RetinaNet (arXiv:1708.02002).

L: levels   A: anchors of a cell   H, W: size of a level's map. Rows of a grid run over y, x, anchor.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.modules.utils import _pair

from mmdet_clone.registry import PRIOR_GENERATORS

CACHED_GRIDS = 8  # of all levels each, about 4 MB for a 800 x 1333 image with 9 anchors a cell


@PRIOR_GENERATORS.register_module()
class AnchorGenerator:
    """Boxes of several scales and aspect ratios around each cell of each level.

    Args:
        strides: of each level in pixels, one number or (x, y).
        ratios: heights over widths; the area stays.
        scales: sizes relative to the level's base size. Give these, or the two octave arguments.
        base_sizes: of each level; its smaller stride by default.
        scale_major: anchors of a cell run over ratios, then over scales; the other way round if False.
        octave_base_scale, scales_per_octave: scales ``octave_base_scale * 2 ** (i / scales_per_octave)``.
        centers: (x, y) of each level's first anchors; ``center_offset`` is not used then.
        center_offset: of those centres, relative to the base size: 0 is a cell's corner, 0.5 its middle.
    """

    def __init__(
        self,
        strides: Sequence,
        ratios: Sequence[float],
        scales: Sequence[float] | None = None,
        base_sizes: Sequence[float] | None = None,
        scale_major: bool = True,
        octave_base_scale: float | None = None,
        scales_per_octave: int | None = None,
        centers: Sequence[Sequence[float]] | None = None,
        center_offset: float = 0.0,
    ) -> None:
        if center_offset != 0 and centers is not None:
            raise ValueError(f'give centers or center_offset, not both: center_offset={center_offset}')
        if not 0 <= center_offset <= 1:
            raise ValueError(f'center_offset must lie in [0, 1], got {center_offset}')
        self.strides = [tuple(_pair(stride)) for stride in strides]
        self.base_sizes = [min(s) for s in self.strides] if base_sizes is None else list(base_sizes)
        for name, values in (('base_sizes', self.base_sizes), ('centers', centers)):
            if values is not None and len(values) != len(self.strides):
                raise ValueError(f'{len(self.strides)} strides but {len(values)} {name}: give one for each level')
        self.octave_base_scale = octave_base_scale
        self.scales_per_octave = scales_per_octave
        self.scales = torch.tensor(_scales(scales, octave_base_scale, scales_per_octave), dtype=torch.float32)
        self.ratios = torch.tensor(list(ratios), dtype=torch.float32)
        self.scale_major = scale_major
        self.centers = centers
        self.center_offset = center_offset
        self.base_anchors = self.gen_base_anchors()
        self._grids: OrderedDict[tuple, list[Tensor]] = OrderedDict()

    @property
    def num_base_priors(self) -> list[int]:
        """Anchors of a cell, for each level."""
        return [len(anchors) for anchors in self.base_anchors]

    @property
    def num_base_anchors(self) -> list[int]:
        """Anchors of a cell, for each level."""
        return self.num_base_priors

    @property
    def num_levels(self) -> int:
        return len(self.strides)

    def gen_base_anchors(self) -> list[Tensor]:
        """The anchors (A, 4) of each level's first cell."""
        centers = self.centers or [None] * self.num_levels
        return [
            self.gen_single_level_base_anchors(size, self.scales, self.ratios, center)
            for size, center in zip(self.base_sizes, centers)
        ]

    def gen_single_level_base_anchors(
        self, base_size: float, scales: Tensor, ratios: Tensor, center: Sequence[float] | None = None
    ) -> Tensor:
        """(A, 4) around ``center``, by default ``center_offset * base_size`` on both axes."""
        cx, cy = (self.center_offset * base_size,) * 2 if center is None else center
        h_ratios = torch.sqrt(ratios)
        w_ratios = 1 / h_ratios
        if self.scale_major:
            ws = (base_size * w_ratios[:, None] * scales[None, :]).flatten()
            hs = (base_size * h_ratios[:, None] * scales[None, :]).flatten()
        else:
            ws = (base_size * scales[:, None] * w_ratios[None, :]).flatten()
            hs = (base_size * scales[:, None] * h_ratios[None, :]).flatten()
        return torch.stack((cx - 0.5 * ws, cy - 0.5 * hs, cx + 0.5 * ws, cy + 0.5 * hs), -1)

    def grid_priors(
        self,
        featmap_sizes: Sequence[tuple[int, int]],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = 'cpu',
    ) -> list[Tensor]:
        """The anchors (H * W * A, 4) of each level.

        The tensors are shared between calls of the same sizes, so do not write to them.
        """
        self._check_levels(featmap_sizes)
        key = (tuple((int(h), int(w)) for h, w in featmap_sizes), dtype, torch.device(device))
        if key in self._grids:
            self._grids.move_to_end(key)
        else:
            with torch.inference_mode(False):  # a grid first made at inference may serve training later
                self._grids[key] = [
                    self.single_level_grid_priors(size, level, dtype, device) for level, size in enumerate(key[0])
                ]
            if len(self._grids) > CACHED_GRIDS:
                self._grids.popitem(last=False)
        return list(self._grids[key])

    def grid_anchors(
        self, featmap_sizes: Sequence[tuple[int, int]], device: torch.device | str = 'cpu'
    ) -> list[Tensor]:
        """``grid_priors`` in float32, under its older name."""
        return self.grid_priors(featmap_sizes, device=device)

    def single_level_grid_priors(
        self,
        featmap_size: tuple[int, int],
        level_idx: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = 'cpu',
    ) -> Tensor:
        """The anchors (H * W * A, 4) of one level."""
        base = self.base_anchors[level_idx].to(device=device, dtype=dtype)
        height, width = featmap_size
        stride_x, stride_y = self.strides[level_idx]
        x = torch.arange(width, device=device).to(dtype) * stride_x
        y = torch.arange(height, device=device).to(dtype) * stride_y
        y, x = torch.meshgrid(y, x, indexing='ij')
        shifts = torch.stack((x, y, x, y), -1).reshape(-1, 1, 4)
        return (base + shifts).reshape(-1, 4)

    def sparse_priors(
        self,
        prior_idxs: Tensor,
        featmap_size: tuple[int, int],
        level_idx: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = 'cpu',
    ) -> Tensor:
        """The rows ``prior_idxs`` (n,) of one level's grid, without the grid; (n, 4)."""
        width, num_base = featmap_size[1], self.num_base_priors[level_idx]
        stride_x, stride_y = self.strides[level_idx]
        cells = torch.div(prior_idxs, num_base, rounding_mode='floor')
        x, y = cells % width * stride_x, torch.div(cells, width, rounding_mode='floor') * stride_y
        shifts = torch.stack((x, y, x, y), 1).to(device=device, dtype=dtype)
        base = self.base_anchors[level_idx].to(device=device, dtype=dtype)
        return shifts + base[(prior_idxs % num_base).to(device)]

    def valid_flags(
        self,
        featmap_sizes: Sequence[tuple[int, int]],
        pad_shape: Sequence[int],
        device: torch.device | str = 'cpu',
    ) -> list[Tensor]:
        """For each level, (H * W * A,) bool: whose cells begin inside the image padded to ``pad_shape``.

        In a batch, an image smaller than the largest has cells beyond its own padding.
        """
        self._check_levels(featmap_sizes)
        flags = []
        for (height, width), (stride_x, stride_y), num_base in zip(featmap_sizes, self.strides, self.num_base_priors):
            valid = torch.zeros(height, width, num_base, dtype=torch.bool, device=device)
            valid[: math.ceil(pad_shape[0] / stride_y), : math.ceil(pad_shape[1] / stride_x)] = True
            flags.append(valid.flatten())
        return flags

    def _check_levels(self, featmap_sizes: Sequence[tuple[int, int]]) -> None:
        if len(featmap_sizes) != self.num_levels:
            raise ValueError(
                f'{type(self).__name__} has {self.num_levels} levels (strides={self.strides}) '
                f'but was given {len(featmap_sizes)} feature maps'
            )

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_grids': OrderedDict()}

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(strides={self.strides}, ratios={self.ratios.tolist()}, '
            f'scales={self.scales.tolist()}, base_sizes={self.base_sizes}, scale_major={self.scale_major}, '
            f'centers={self.centers}, center_offset={self.center_offset})'
        )


def _scales(scales: Sequence[float] | None, octave_base: float | None, per_octave: int | None) -> list[float]:
    octave = octave_base is not None and per_octave is not None
    if octave == (scales is not None):
        raise ValueError(
            'give either scales, or octave_base_scale and scales_per_octave: '
            f'got scales={scales}, octave_base_scale={octave_base}, scales_per_octave={per_octave}'
        )
    return [2 ** (i / per_octave) * octave_base for i in range(per_octave)] if octave else list(scales)
