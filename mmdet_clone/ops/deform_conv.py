"""Deformable convolutions under MMDetection's layer and parameter names, over torchvision's operator.

Version 1 is of "Deformable Convolutional Networks" (arXiv:1703.06211), version 2, which also weighs each sample, of
"Deformable ConvNets v2: More Deformable, Better Results" (arXiv:1811.11168). Configs name the layers that predict
their own offsets ``'DCN'`` and ``'DCNv2'``.

N: images   C: channels   G: groups of channels with offsets of their own (``deform_groups``)
K: points of the kernel, row by row   h, w: size of the output
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torchvision
from mmengine.registry import MODELS as LAYERS
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from mmdet_clone.ops.precision import upcast


def deform_conv2d(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    deform_groups: int = 1,
) -> Tensor:
    """A convolution whose kernel points are moved at each position.

    Args:
        x: (N, C, H, W).
        offset: (N, G * K * 2, h, w): how far down and how far right, in pixels of ``x``, each point moves.
        weight: (C', C / groups, kernel height, kernel width).
        groups, deform_groups: accepted in their old place; the tensors' shapes tell them.

    Returns:
        (N, C', h, w), computed in float32 at least and returned in the type of ``x``.
    """
    return _deformed(x, offset, None, weight, None, stride, padding, dilation)


def modulated_deform_conv2d(
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    deform_groups: int = 1,
) -> Tensor:
    """:func:`deform_conv2d` with samples weighed by ``mask`` (N, G * K, h, w), and a bias (C',)."""
    return _deformed(x, offset, mask, weight, bias, stride, padding, dilation)


def _deformed(
    x: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    stride: int | tuple[int, int],
    padding: int | tuple[int, int],
    dilation: int | tuple[int, int],
) -> Tensor:
    dense, offset, mask, weight, bias = (None if t is None else upcast(t) for t in (x, offset, mask, weight, bias))
    spatial = dict(stride=_pair(stride), padding=_pair(padding), dilation=_pair(dilation))
    return torchvision.ops.deform_conv2d(dense, offset, weight, bias, mask=mask, **spatial).to(x.dtype)


class DeformConv2d(nn.Module):
    """Version 1 with offsets from outside.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups: as of ``nn.Conv2d``.
        deform_groups: into so many groups the input's channels are split, each with offsets of its own.
        bias: False, as the layer has none.
        im2col_step: accepted for old configs; it never changed a result.
        deformable_groups: the older name of ``deform_groups``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        deform_groups: int = 1,
        bias: bool = False,
        im2col_step: int = 32,
        deformable_groups: int | None = None,
    ) -> None:
        super().__init__()
        if bias:
            raise ValueError(f'{type(self).__name__} has no bias: set bias=False, or use version 2 (DCNv2)')
        _set_shape(self, in_channels, out_channels, kernel_size, stride, padding, dilation, groups)
        self.deform_groups = _deform_groups(in_channels, deform_groups, deformable_groups)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *self.kernel_size))
        self.register_parameter('bias', None)
        nn.init.kaiming_uniform_(self.weight, nonlinearity='relu')

    def forward(self, x: Tensor, offset: Tensor) -> Tensor:
        """(N, C, H, W) and offsets (N, G * K * 2, h, w) -> (N, C', h, w)."""
        return deform_conv2d(x, offset, self.weight, self.stride, self.padding, self.dilation)

    extra_repr = nn.Conv2d.extra_repr


class ModulatedDeformConv2d(nn.Module):
    """Version 2 with offsets and weights of the samples from outside; see :class:`DeformConv2d` for the arguments."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        deform_groups: int = 1,
        bias: bool = True,
        deformable_groups: int | None = None,
    ) -> None:
        super().__init__()
        _set_shape(self, in_channels, out_channels, kernel_size, stride, padding, dilation, groups)
        self.deform_groups = _deform_groups(in_channels, deform_groups, deformable_groups)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *self.kernel_size))
        self.register_parameter('bias', nn.Parameter(torch.empty(out_channels)) if bias else None)
        ModulatedDeformConv2d.init_weights(self)

    def init_weights(self) -> None:
        """Uniform weights, no bias."""
        bound = 1 / math.sqrt(self.in_channels * math.prod(self.kernel_size))
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        """(N, C, H, W), offsets (N, G * K * 2, h, w) and weights (N, G * K, h, w) -> (N, C', h, w)."""
        return modulated_deform_conv2d(
            x, offset, mask, self.weight, self.bias, self.stride, self.padding, self.dilation
        )

    extra_repr = nn.Conv2d.extra_repr


class DeformConv2dPack(DeformConv2d):
    """Version 1 that predicts its offsets by a convolution, at first zero; ``'DCN'`` in configs."""

    _version = 2  # of its parameters' names, as mmcv counts; see `adopt_old_offset_names`

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conv_offset = _offset_convolution(self, 2)

    def init_weights(self) -> None:
        """Zero offsets: initialising the convolutions around may have changed them."""
        _zero(self.conv_offset)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', h, w)."""
        return super().forward(x, self.conv_offset(x))


class ModulatedDeformConv2dPack(ModulatedDeformConv2d):
    """Version 2 that predicts its offsets, at first zero, and its weights, at first 1/2; ``'DCNv2'`` in configs."""

    _version = 2

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conv_offset = _offset_convolution(self, 3)

    def init_weights(self) -> None:
        """As :class:`ModulatedDeformConv2d`; zero offsets."""
        super().init_weights()
        _zero(self.conv_offset)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', h, w)."""
        out = self.conv_offset(x)
        num_weights = out.shape[1] // 3
        return super().forward(x, out[:, : 2 * num_weights], out[:, 2 * num_weights :].sigmoid())


def adopt_old_offset_names(module: nn.Module, state_dict: dict[str, Tensor], prefix: str) -> None:
    """Rename in place what checkpoints of MMDetection 1.x call ``conv2_offset.weight`` to ``conv2.conv_offset.weight``.

    Such a name lies beside the layer and not below it, so the module that holds the layer must call this, with the
    arguments of its ``_load_from_state_dict``.
    """
    for name, child in module.named_children():
        if not isinstance(child, DeformConv2dPack | ModulatedDeformConv2dPack):
            continue
        for parameter in ('weight', 'bias'):
            old, new = f'{prefix}{name}_offset.{parameter}', f'{prefix}{name}.conv_offset.{parameter}'
            if old in state_dict and new not in state_dict:
                state_dict[new] = state_dict.pop(old)


def _set_shape(
    module: nn.Module,
    in_channels: int,
    out_channels: int,
    kernel_size: int | tuple[int, int],
    stride: int | tuple[int, int],
    padding: int | tuple[int, int],
    dilation: int | tuple[int, int],
    groups: int,
) -> None:
    """The attributes of ``nn.Conv2d``, which ``ConvModule`` reads."""
    if in_channels % groups or out_channels % groups:
        raise ValueError(
            f'in_channels={in_channels} and out_channels={out_channels} must be multiples of groups={groups}'
        )
    module.in_channels, module.out_channels, module.groups = in_channels, out_channels, groups
    module.kernel_size, module.stride = _pair(kernel_size), _pair(stride)
    module.padding, module.dilation = _pair(padding), _pair(dilation)
    module.transposed, module.output_padding, module.padding_mode = False, (0, 0), 'zeros'


def _deform_groups(in_channels: int, deform_groups: int, deformable_groups: int | None) -> int:
    count = deform_groups if deformable_groups is None else deformable_groups
    if in_channels % count:
        raise ValueError(f'in_channels={in_channels} must be a multiple of deform_groups={count}')
    return count


def _offset_convolution(module: nn.Module, outputs_per_point: int) -> nn.Conv2d:
    outputs = module.deform_groups * outputs_per_point * math.prod(module.kernel_size)
    conv = nn.Conv2d(
        module.in_channels, outputs, module.kernel_size, module.stride, module.padding, module.dilation, bias=True
    )
    _zero(conv)
    return conv


def _zero(conv: nn.Conv2d) -> None:
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(conv.bias)


# in place of mmcv's compiled layers of these names, where there are any
LAYERS.register_module('DCN', force=True, module=DeformConv2dPack)
LAYERS.register_module('DCNv2', force=True, module=ModulatedDeformConv2dPack)
