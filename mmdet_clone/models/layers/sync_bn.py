"""Batch normalisation over the processes of a distributed run, on any device.

C: channels   n: values of a channel on one process   W: processes
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from mmengine.registry import MODELS as LAYERS
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ['MMSyncBN']


class MMSyncBN(_BatchNorm):
    """``BatchNorm`` whose statistics in training are those of the images of all processes.

    What mmcv 1.x gives that name, over ``torch.distributed`` alone: CPU and gloo will do, and with one process, or in
    eval mode, it is a ``BatchNorm``. It takes inputs (N, C, ...) and has the parameters and buffers of ``BatchNorm``.

    Args:
        group: the processes; all by default.
        stats_mode: ``'default'``: every process counts the same; ``'N'``: by the number of its images.
        num_features, eps, momentum, affine, track_running_stats: as of ``torch.nn.BatchNorm2d``.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        group: dist.ProcessGroup | None = None,
        stats_mode: str = 'default',
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats)
        if stats_mode not in ('default', 'N'):
            raise ValueError(f"stats_mode of MMSyncBN is 'default' or 'N', got {stats_mode!r}")
        self.group, self.stats_mode = group, stats_mode

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f'MMSyncBN normalises (N, C, ...), got an input of shape {tuple(input.shape)}')

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, ...) -> the same shape."""
        if not self.training or not _distributed(self.group):
            return super().forward(input)
        self._check_input_dim(input)
        images = 1 if self.stats_mode == 'default' else len(input)
        out, mean, var, count = _Normalize.apply(input, self.weight, self.bias, self.eps, images, self.group)
        if self.track_running_stats:
            self._track(mean, var, count)
        return out

    @torch.no_grad()
    def _track(self, mean: Tensor, var: Tensor, count: Tensor) -> None:
        """Move the running statistics towards those of this batch, of ``count`` values a channel."""
        self.num_batches_tracked.add_(1)
        momentum = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
        unbiased = var * (count / (count - 1).clamp(min=1))
        self.running_mean.lerp_(mean.to(self.running_mean), momentum)
        self.running_var.lerp_(unbiased.to(self.running_var), momentum)

    def extra_repr(self) -> str:
        return f'{super().extra_repr()}, stats_mode={self.stats_mode!r}'


if LAYERS.get('MMSyncBN') is None:
    LAYERS.register_module('MMSyncBN', module=MMSyncBN)


class _Normalize(torch.autograd.Function):
    """The normalised input, and mean (C,), variance (C,) and number of values of a channel over all processes."""

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
        images: int,
        group: dist.ProcessGroup | None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = input.float()
        axes, count = _all_but_channels(x), x.numel() // x.shape[1]
        own_mean = x.mean(axes) if count else x.new_zeros(x.shape[1])
        own_var = x.var(axes, correction=0) if count else torch.zeros_like(own_mean)
        means, variances, images_of, counts = _gather(own_mean, own_var, images, count, group)  # (W, C) or (W, 1)
        share = images_of / images_of.sum().clamp(min=1)  # (W, 1)
        mean = (share * means).sum(0)
        var = (share * (variances + (means - mean) ** 2)).sum(0)
        inv_std = torch.rsqrt(var + eps)
        scale = inv_std if weight is None else inv_std * weight.float()
        out = (x - _spread(mean, x)) * _spread(scale, x)
        if bias is not None:
            out = out + _spread(bias.float(), x)
        ctx.save_for_backward(input, mean, inv_std, weight)
        ctx.group = group
        ctx.value_share = images / images_of.sum().clamp(min=1) / max(count, 1)  # of each value here in the mean
        total = counts.sum()
        ctx.mark_non_differentiable(mean, var, total)
        return out.to(input.dtype), mean, var, total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        input, mean, inv_std, weight = ctx.saved_tensors
        grad, axes = grad_out.float(), _all_but_channels(input)
        normal = (input.float() - _spread(mean, input)) * _spread(inv_std, input)
        own = torch.stack((grad.sum(axes), (grad * normal).sum(axes)))  # (2, C): gradients of bias and weight
        grad_bias, grad_weight = own.clone()
        dist.all_reduce(own, group=ctx.group)
        of_mean, of_std = (_spread(row * ctx.value_share, input) for row in own)
        scale = inv_std if weight is None else inv_std * weight.float()
        grad_input = (grad - of_mean - normal * of_std) * _spread(scale, input)
        if weight is None:
            return grad_input.to(input.dtype), None, None, None, None, None
        return grad_input.to(input.dtype), grad_weight.to(weight), grad_bias.to(weight), None, None, None


def _gather(
    mean: Tensor, var: Tensor, images: int, count: int, group: dist.ProcessGroup | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Means (W, C), variances (W, C), numbers of images (W, 1) and of values of a channel (W, 1) of all processes."""
    own = torch.cat((mean, var, mean.new_tensor([images, count])))
    rows = [torch.empty_like(own) for _ in range(dist.get_world_size(group))]
    dist.all_gather(rows, own, group=group)
    channels = len(mean)
    return torch.stack(rows).split([channels, channels, 1, 1], 1)


def _distributed(group: dist.ProcessGroup | None) -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size(group) > 1


def _all_but_channels(x: Tensor) -> list[int]:
    return [0, *range(2, x.dim())]


def _spread(values: Tensor, like: Tensor) -> Tensor:
    """(C,) -> (1, C, 1, ...) for an input (N, C, ...)."""
    return values.view(1, -1, *[1] * (like.dim() - 2))
