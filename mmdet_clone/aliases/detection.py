"""Functions and mixins of MMDetection 2.x and ``mmcv.ops`` that people's heads call, over what stands for them here."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from mmdet_clone.models.detectors.tta import aug_test_dense
from mmdet_clone.models.roi_heads.mask_heads.fcn_mask_head import mask_targets_of_image
from mmdet_clone.models.roi_heads.predictors import build_linear
from mmdet_clone.models.roi_heads.settings import RCNNTrainSettings
from mmdet_clone.ops import RoIAlign, RoIPool

__all__ = [
    'BBoxTestMixin',
    'build_linear_layer',
    'flip_tensor',
    'mask_target',
    'roi_align',
    'roi_pool',
    'select_single_mlvl',
]


class BBoxTestMixin:
    """The tests of a dense head, from its ``forward`` and ``get_bboxes``."""

    def simple_test_bboxes(
        self, feats: Sequence[Tensor], img_metas: list[dict], rescale: bool = False
    ) -> list[tuple[Tensor, Tensor]]:
        """Detections (k, 5) and labels (k,) of each image."""
        return self.get_bboxes(*self.forward(feats), img_metas=img_metas, rescale=rescale)

    def aug_test_bboxes(
        self, feats: Sequence[Sequence[Tensor]], img_metas: list[list[dict]], rescale: bool = False
    ) -> list[tuple[Tensor, Tensor]]:
        """Likewise, of one image from several views."""
        return aug_test_dense(self, feats, img_metas, rescale)


def build_linear_layer(cfg: dict | None, in_features: int, out_features: int, **others: Any) -> nn.Module:
    """The linear layer that ``cfg`` describes, ``dict(type='Linear')`` by default."""
    return build_linear({**(cfg or dict(type='Linear')), **others}, in_features, out_features)


def select_single_mlvl(mlvl_tensors: Sequence[Tensor], batch_id: int, detach: bool = True) -> list[Tensor]:
    """The tensors (C, H, W) of one image, from those of a batch (N, C, H, W) on each level."""
    return [level[batch_id].detach() if detach else level[batch_id] for level in mlvl_tensors]


def flip_tensor(src_tensor: Tensor, flip_direction: str) -> Tensor:
    """(N, C, H, W) flipped ``'horizontal'``, ``'vertical'`` or ``'diagonal'``, which is both."""
    dims = dict(horizontal=[3], vertical=[2], diagonal=[2, 3])
    if src_tensor.dim() != 4 or flip_direction not in dims:
        raise ValueError(
            f'expected a tensor (N, C, H, W) and one of {", ".join(dims)}, got shape {tuple(src_tensor.shape)} and '
            f'{flip_direction!r}'
        )
    return torch.flip(src_tensor, dims[flip_direction])


def mask_target(
    pos_proposals_list: list[Tensor], pos_assigned_gt_inds_list: list[Tensor], gt_masks_list: list, cfg: dict
) -> Tensor:
    """Mask targets (R, h, w) of the positive boxes of all images.

    Args:
        pos_proposals_list: (r, 4) of each image.
        pos_assigned_gt_inds_list: (r,) which of the image's masks each box is for.
        gt_masks_list: ``BitmapMasks`` or ``PolygonMasks`` of each image.
        cfg: ``train_cfg.rcnn`` with ``mask_size``.
    """
    settings = RCNNTrainSettings.read(cfg)
    samples = (
        SimpleNamespace(pos_bboxes=boxes, pos_assigned_gt_inds=inds)
        for boxes, inds in zip(pos_proposals_list, pos_assigned_gt_inds_list)
    )
    return torch.cat([mask_targets_of_image(s, masks, settings) for s, masks in zip(samples, gt_masks_list)])


def roi_align(
    input: Tensor,
    rois: Tensor,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    pool_mode: str = 'avg',
    aligned: bool = True,
) -> Tensor:
    """:class:`mmdet_clone.ops.RoIAlign` as a function."""
    return RoIAlign(output_size, spatial_scale, sampling_ratio, pool_mode, aligned)(input, rois)


def roi_pool(input: Tensor, rois: Tensor, output_size: int | tuple[int, int], spatial_scale: float = 1.0) -> Tensor:
    """:class:`mmdet_clone.ops.RoIPool` as a function."""
    return RoIPool(output_size, spatial_scale)(input, rois)
