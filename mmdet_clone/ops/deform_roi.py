"""Deformable RoI pooling, of "Deformable Convolutional Networks" (arXiv:1703.06211, Sec. 2.2) and its second version.

RoIs are (k, 5): image index, x1, y1, x2, y2 in pixels of the input; features (N, C, H, W). A RoI is divided into h x w
bins; each is moved by an offset relative to the RoI's size, and is the mean of samples on a grid in it.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from mmdet_clone.ops.precision import upcast

SAMPLES_AT_ONCE = 2**24  # values of the features that are interpolated at a time: 64 MB


def deform_roi_pool(
    feats: Tensor,
    rois: Tensor,
    offset: Tensor | None,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    gamma: float = 0.1,
) -> Tensor:
    """RoIAlign with moved bins; gradients flow to the features and the offsets.

    Args:
        feats: (N, C, H, W).
        rois: (k, 5).
        offset: (k, 2, h, w) to the right and down; times ``gamma`` relative to the RoI's size. ``None`` moves nothing.
        output_size: (h, w).
        spatial_scale: size of the features relative to the input.
        sampling_ratio: samples along each side of a bin; 0 takes as many as the bin has pixels.

    Returns:
        (k, C, h, w), computed in float32 at least and returned in the type of ``feats``.
    """
    output_size, dense = _pair(output_size), upcast(feats)
    rois = rois.to(dense.dtype)
    if offset is None:
        pooled = torchvision.ops.roi_align(dense, rois, output_size, spatial_scale, sampling_ratio, aligned=True)
        return pooled.to(feats.dtype)
    start, size = rois[:, 1:3] * spatial_scale - 0.5, (rois[:, 3:] - rois[:, 1:3]) * spatial_scale  # (k, 2): x, y
    counts = torch.full_like(size, sampling_ratio).long()
    if sampling_ratio <= 0:
        counts = (size / size.new_tensor(output_size[::-1])).ceil().clamp(min=0).long()
    corners = _bin_corners(start, size, upcast(offset), output_size, gamma)  # (k, h, w, 2)
    bin_sizes = size / size.new_tensor(output_size[::-1])
    rows_done, means = [counts.new_zeros(0)], [dense.new_zeros(0, dense.shape[1], *output_size)]
    for image, grid, rows in _alike(rois[:, 0].long(), counts):
        step = max(SAMPLES_AT_ONCE // (dense.shape[1] * output_size[0] * output_size[1] * grid[0] * grid[1]), 1)
        for some in rows.split(step):
            rows_done.append(some)
            means.append(_bin_means(dense[image : image + 1], corners[some], bin_sizes[some], grid))
    zero = offset.sum() * 0  # so that the offsets have a gradient where there is no RoI
    pooled = zero.to(dense.dtype).expand(len(rois), dense.shape[1], *output_size)
    return pooled.index_copy(0, torch.cat(rows_done), torch.cat(means)).to(feats.dtype)


def _bin_corners(start: Tensor, size: Tensor, offset: Tensor, output_size: tuple[int, int], gamma: float) -> Tensor:
    """Where each bin begins: (k, h, w, 2) x, y in pixels of the features."""
    height, width = output_size
    y, x = torch.meshgrid(
        torch.arange(height, device=size.device), torch.arange(width, device=size.device), indexing='ij'
    )
    relative = torch.stack((x / width, y / height), -1).to(size.dtype)  # (h, w, 2)
    relative = relative + gamma * offset.permute(0, 2, 3, 1)  # (k, h, w, 2)
    return start[:, None, None] + size[:, None, None] * relative


def _alike(images: Tensor, counts: Tensor) -> Iterator[tuple[int, tuple[int, int], Tensor]]:
    """RoIs of one image that have as many samples: image, (samples in x, in y), their indices; none without samples."""
    keys, group = torch.unique(torch.cat((images[:, None], counts), 1), dim=0, return_inverse=True)
    for i, (image, nx, ny) in enumerate(keys.tolist()):
        if nx > 0 and ny > 0:
            yield image, (nx, ny), (group == i).nonzero().squeeze(1)


def _bin_means(feat: Tensor, corners: Tensor, bin_sizes: Tensor, grid: tuple[int, int]) -> Tensor:
    """(1, C, H, W), (k, h, w, 2), (k, 2) -> the mean (k, C, h, w) of nx x ny samples in each bin."""
    (nx, ny), (k, h, w, _) = grid, corners.shape
    x, y = ((torch.arange(n, device=feat.device, dtype=feat.dtype) + 0.5) / n for n in (nx, ny))
    x = corners[..., 0, None] + bin_sizes[:, 0, None, None, None] * x  # (k, h, w, nx)
    y = corners[..., 1, None] + bin_sizes[:, 1, None, None, None] * y  # (k, h, w, ny)
    points = torch.stack((x[..., None, :].expand(k, h, w, ny, nx), y[..., None].expand(k, h, w, ny, nx)), -1)
    points = points.reshape(1, k * h * w, ny * nx, 2)
    limits = points.new_tensor((feat.shape[3], feat.shape[2]))
    inside = ((points >= -1) & (points <= limits)).all(-1)  # (1, khw, samples); up to a pixel beyond, edges continue
    normalized = points * 2 / (limits - 1).clamp(min=1) - 1
    samples = F.grid_sample(feat, normalized, mode='bilinear', padding_mode='border', align_corners=True)
    means = (samples * inside).mean(-1)  # (1, C, khw)
    return means[0].reshape(-1, k, h, w).transpose(0, 1)


class DeformRoIPool(nn.Module):
    """:func:`deform_roi_pool` as a layer, with offsets from outside."""

    def __init__(
        self,
        output_size: int | tuple[int, int],
        spatial_scale: float = 1.0,
        sampling_ratio: int = 0,
        gamma: float = 0.1,
    ) -> None:
        super().__init__()
        self.output_size = _pair(output_size)
        self.spatial_scale, self.sampling_ratio, self.gamma = float(spatial_scale), int(sampling_ratio), float(gamma)

    def forward(self, feats: Tensor, rois: Tensor, offset: Tensor | None = None) -> Tensor:
        """(k, C, h, w)."""
        return deform_roi_pool(
            feats, rois, offset, self.output_size, self.spatial_scale, self.sampling_ratio, self.gamma
        )


class DeformRoIPoolPack(DeformRoIPool):
    """Predicts its offsets, at first zero, from the RoI's undeformed features.

    Args:
        output_channels: channels of the features.
        deform_fc_channels: of the two hidden layers.
    """

    def __init__(
        self,
        output_size: int | tuple[int, int],
        output_channels: int,
        deform_fc_channels: int = 1024,
        spatial_scale: float = 1.0,
        sampling_ratio: int = 0,
        gamma: float = 0.1,
    ) -> None:
        super().__init__(output_size, spatial_scale, sampling_ratio, gamma)
        self.output_channels, self.deform_fc_channels = output_channels, deform_fc_channels
        area = self.output_size[0] * self.output_size[1]
        self.offset_fc = nn.Sequential(
            nn.Linear(area * output_channels, deform_fc_channels),
            nn.ReLU(inplace=True),
            nn.Linear(deform_fc_channels, deform_fc_channels),
            nn.ReLU(inplace=True),
            _zero_linear(deform_fc_channels, area * 2),
        )

    def forward(self, feats: Tensor, rois: Tensor) -> Tensor:
        """(k, C, h, w)."""
        return self._deformed(feats, rois, self._plain(feats, rois))

    def _plain(self, feats: Tensor, rois: Tensor) -> Tensor:
        """The RoIs' undeformed features (k, C * h * w)."""
        if feats.shape[1] != self.output_channels:
            raise ValueError(
                f'{type(self).__name__} was built for output_channels={self.output_channels}, got features of '
                f'{feats.shape[1]} channels'
            )
        return super().forward(feats, rois).flatten(1)

    def _deformed(self, feats: Tensor, rois: Tensor, plain: Tensor) -> Tensor:
        offset = self.offset_fc(plain).reshape(len(rois), 2, *self.output_size)
        return super().forward(feats, rois, offset)


class ModulatedDeformRoIPoolPack(DeformRoIPoolPack):
    """The second version: it also predicts a weight for each bin, at first 1/2."""

    def __init__(
        self,
        output_size: int | tuple[int, int],
        output_channels: int,
        deform_fc_channels: int = 1024,
        spatial_scale: float = 1.0,
        sampling_ratio: int = 0,
        gamma: float = 0.1,
    ) -> None:
        super().__init__(output_size, output_channels, deform_fc_channels, spatial_scale, sampling_ratio, gamma)
        area = self.output_size[0] * self.output_size[1]
        self.mask_fc = nn.Sequential(
            nn.Linear(area * output_channels, deform_fc_channels),
            nn.ReLU(inplace=True),
            _zero_linear(deform_fc_channels, area),
            nn.Sigmoid(),
        )

    def forward(self, feats: Tensor, rois: Tensor) -> Tensor:
        """(k, C, h, w)."""
        plain = self._plain(feats, rois)
        weights = self.mask_fc(plain).reshape(len(rois), 1, *self.output_size)
        return self._deformed(feats, rois, plain) * weights


def _zero_linear(in_features: int, out_features: int) -> nn.Linear:
    linear = nn.Linear(in_features, out_features)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
