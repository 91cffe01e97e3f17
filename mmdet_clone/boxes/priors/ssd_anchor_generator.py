"""Anchors of "SSD: Single Shot MultiBox Detector" (arXiv:1512.02325), which that paper calls default boxes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.modules.utils import _pair

from mmdet_clone.boxes.priors.anchor_generator import AnchorGenerator
from mmdet_clone.registry import PRIOR_GENERATORS

# (input_size, least ratio in percent) -> size and next size of the first level in percent, where the even spacing of
# the others does not reach: Sec. 3.1 (VOC), 3.4 (COCO) and the authors' code for 512 pixels
_FIRST_LEVELS = {(300, 15): (7, 15), (300, 20): (10, 20), (512, 10): (4, 10), (512, 15): (7, 15)}


@PRIOR_GENERATORS.register_module()
class SSDAnchorGenerator(AnchorGenerator):
    """A square of each level's own size, one between it and the next level's, and oblongs of its own size.

    Args:
        strides: of each level in pixels, one number or (x, y); anchors lie around the cells' middles.
        ratios: for each level the ratios of its oblongs; each stands for itself and its inverse.
        min_sizes, max_sizes: of each level in pixels: its own size, and the next level's.
        basesize_ratio_range: the least and the largest size relative to the input, from which the sizes follow where
            they are not given.
        input_size: of the square image, 300 or 512 where no sizes are given.
        scale_major: anchors of a cell run over ratios, then over scales. SSD's configs say False; the anchors are
            those described above only then.
    """

    def __init__(
        self,
        strides: Sequence,
        ratios: Sequence[Sequence[float]],
        min_sizes: Sequence[float] | None = None,
        max_sizes: Sequence[float] | None = None,
        basesize_ratio_range: Sequence[float] = (0.15, 0.9),
        input_size: int = 300,
        scale_major: bool = True,
    ) -> None:
        if (min_sizes is None) != (max_sizes is None):
            raise ValueError('give min_sizes and max_sizes, or neither of them')
        self.strides = [tuple(_pair(stride)) for stride in strides]
        self.centers = [(x / 2, y / 2) for x, y in self.strides]
        self.center_offset = 0
        self.input_size, self.basesize_ratio_range = input_size, tuple(basesize_ratio_range)
        if min_sizes is None:
            min_sizes, max_sizes = _even_sizes(input_size, self.basesize_ratio_range, self.num_levels)
        for name, values in (('ratios', ratios), ('min_sizes', min_sizes), ('max_sizes', max_sizes)):
            if len(values) != self.num_levels:
                raise ValueError(f'{self.num_levels} strides but {len(values)} {name}: give one for each level')
        self.min_sizes, self.max_sizes = list(min_sizes), list(max_sizes)
        self.base_sizes = self.min_sizes
        self.scales = [torch.tensor([1.0, (big / small) ** 0.5]) for small, big in zip(min_sizes, max_sizes)]
        self.ratios = [torch.tensor([1.0, *(x for r in level for x in (1 / r, r))]) for level in ratios]
        self.scale_major = scale_major
        self.base_anchors = self.gen_base_anchors()
        self._grids: OrderedDict[tuple, list[Tensor]] = OrderedDict()

    def gen_base_anchors(self) -> list[Tensor]:
        """The anchors (A, 4) of each level's first cell: small square, large square, oblongs."""
        levels = []
        for size, scales, ratios, center in zip(self.base_sizes, self.scales, self.ratios, self.centers):
            anchors = self.gen_single_level_base_anchors(size, scales, ratios, center)
            levels.append(anchors[[0, len(ratios), *range(1, len(ratios))]])
        return levels

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(strides={self.strides}, ratios={[r.tolist() for r in self.ratios]}, '
            f'min_sizes={self.min_sizes}, max_sizes={self.max_sizes}, input_size={self.input_size}, '
            f'scale_major={self.scale_major})'
        )


def _even_sizes(
    input_size: int, basesize_ratio_range: tuple[float, float], num_levels: int
) -> tuple[list[int], list[int]]:
    """Sizes and next sizes in pixels: all but the first level's are spaced evenly, in whole percents."""
    least, largest = (int(ratio * 100) for ratio in basesize_ratio_range)
    if (input_size, least) not in _FIRST_LEVELS or num_levels < 3:
        known = ', '.join(f'{size}: {percent / 100}' for size, percent in _FIRST_LEVELS)
        raise ValueError(
            'without min_sizes and max_sizes, SSDAnchorGenerator knows the sizes for these input_size: least ratio '
            f'pairs, with three levels or more: {known}; got input_size={input_size}, '
            f'basesize_ratio_range={basesize_ratio_range}, {num_levels} levels'
        )
    step = (largest - least) // (num_levels - 2)
    percents = [_FIRST_LEVELS[input_size, least], *((p, p + step) for p in range(least, largest + 1, step))]
    return tuple([int(input_size * pair[k] / 100) for pair in percents] for k in range(2))
