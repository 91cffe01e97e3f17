"""The mask head of Mask R-CNN.

Legend:
    R: regions    C: classes, 1 if class agnostic    h, w: size of a mask
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdet_clone.ops.masks import paste_masks
from mmdet_clone.ops.precision import upcast
from mmdet_clone.registry import UnknownTypeError

from ...builder import HEADS, build_loss
from ..predictors import build_conv
from ..settings import RCNNTestSettings, RCNNTrainSettings

__all__ = ['FCNMaskHead', 'mask_targets_of_image']

UPSAMPLE_METHODS = (None, 'deconv', 'nearest', 'bilinear')


@HEADS.register_module()
class FCNMaskHead(BaseModule):
    """Convolutions, an upsampling and a mask for each class: Figure 4 of "Mask R-CNN" (arXiv 1703.06870).

    Args:
        num_convs: convolutions before the upsampling.
        roi_feat_size: side, or (h, w), of the input.
        in_channels, conv_kernel_size, conv_out_channels: of these convolutions.
        class_agnostic: predict one mask a region instead of one a class.
        upsample_cfg: ``dict(type='deconv' | 'nearest' | 'bilinear' | None, scale_factor=2)``.
        conv_cfg, norm_cfg: types of the convolutions and of the normalisation after each.
        predictor_cfg: type of the last, 1x1 convolution.
    """

    def __init__(
        self,
        num_convs: int = 4,
        roi_feat_size: int | tuple[int, int] = 14,
        in_channels: int = 256,
        conv_kernel_size: int = 3,
        conv_out_channels: int = 256,
        num_classes: int = 80,
        class_agnostic: bool = False,
        upsample_cfg: dict | None = None,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        predictor_cfg: dict | None = None,
        loss_mask: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        upsample_cfg = dict(upsample_cfg or dict(type='deconv', scale_factor=2))
        self.upsample_method = upsample_cfg.pop('type')
        if self.upsample_method not in UPSAMPLE_METHODS:
            raise UnknownTypeError(
                f'{self.upsample_method!r} is not a registered upsampling of {type(self).__name__}: '
                f'upsample_cfg type must be one of {", ".join(map(repr, UPSAMPLE_METHODS))}'
            )
        self.num_convs, self.in_channels, self.conv_out_channels = num_convs, in_channels, conv_out_channels
        self.roi_feat_size = (roi_feat_size, roi_feat_size) if isinstance(roi_feat_size, int) else tuple(roi_feat_size)
        self.num_classes, self.class_agnostic = num_classes, class_agnostic
        self.conv_cfg, self.norm_cfg, self.predictor_cfg = conv_cfg, norm_cfg, predictor_cfg
        self.loss_mask = build_loss(loss_mask or dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0))

        self.convs = nn.ModuleList()
        channels, padding = in_channels, (conv_kernel_size - 1) // 2
        for _ in range(num_convs):
            self.convs.append(
                ConvModule(
                    channels, conv_out_channels, conv_kernel_size, padding=padding, conv_cfg=conv_cfg, norm_cfg=norm_cfg
                )
            )
            channels = conv_out_channels
        self.upsample = self._build_upsample(channels, **upsample_cfg)
        channels = conv_out_channels if self.upsample_method == 'deconv' else channels
        self.conv_logits = build_conv(predictor_cfg, channels, 1 if class_agnostic else num_classes)
        self.relu = nn.ReLU(inplace=True)

    def _build_upsample(self, channels: int, scale_factor: int = 2) -> nn.Module | None:
        self.scale_factor = scale_factor
        if self.upsample_method is None:
            return None
        if self.upsample_method == 'deconv':
            return nn.ConvTranspose2d(channels, self.conv_out_channels, scale_factor, stride=scale_factor)
        align_corners = None if self.upsample_method == 'nearest' else False
        return nn.Upsample(scale_factor=scale_factor, mode=self.upsample_method, align_corners=align_corners)

    def init_weights(self) -> None:
        """Initialise the last two layers as "Delving Deep into Rectifiers" (arXiv 1502.01852); biases are 0."""
        super().init_weights()
        for layer in (self.upsample, self.conv_logits):
            if isinstance(getattr(layer, 'weight', None), nn.Parameter) and getattr(layer, 'bias', None) is not None:
                nn.init.kaiming_normal_(layer.weight, mode='fan_out', nonlinearity='relu')
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Mask logits (R, C, h, w) of features (R, channels, h / 2, w / 2)."""
        for conv in self.convs:
            x = conv(x)
        if self.upsample is not None:
            x = self.upsample(x)
        if self.upsample_method == 'deconv':
            x = self.relu(x)
        return self.conv_logits(x)

    def get_targets(self, sampling_results: list, gt_masks: list, rcnn_train_cfg: dict) -> Tensor:
        """The part of its object's mask inside each positive region, (R, h, w) of ``mask_size``.

        Args:
            sampling_results: of each image.
            gt_masks: ``BitmapMasks`` or ``PolygonMasks`` of each image.
        """
        settings = RCNNTrainSettings.read(rcnn_train_cfg)
        return torch.cat([mask_targets_of_image(s, masks, settings) for s, masks in zip(sampling_results, gt_masks)])

    def loss(self, mask_pred: Tensor, mask_targets: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """``loss_mask``, on the mask of each region's class.

        Args:
            mask_pred: (R, C, h, w) logits.
            mask_targets: (R, h, w) in [0, 1].
            labels: (R,) in [0, num_classes).
        """
        if len(mask_pred) == 0:
            return dict(loss_mask=mask_pred.sum())
        channels = torch.zeros_like(labels) if self.class_agnostic else labels
        return dict(loss_mask=self.loss_mask(mask_pred, mask_targets, channels))

    def get_seg_masks(
        self,
        mask_pred: Tensor | np.ndarray,
        det_bboxes: Tensor,
        det_labels: Tensor,
        rcnn_test_cfg: dict,
        ori_shape: Sequence[int],
        scale_factor: float | Sequence[float],
        rescale: bool,
    ) -> list[list[np.ndarray]]:
        """The masks of one image's detections, in the whole image.

        Args:
            mask_pred: (k, C, h, w), logits as a tensor or probabilities as an array.
            det_bboxes: (k, 4 or 5) boxes in pixels of the network's input.
            det_labels: (k,).
            ori_shape: (height, width) of the original image.
            scale_factor: from the original image to the network's input.
            rescale: give masks of the original image, else of the network's input.

        Returns:
            A list over classes of lists of (H, W) arrays: bool, or uint8 probabilities from 0 to 255 where
            ``mask_thr_binary`` is negative. The order within a class is that of ``det_bboxes``.
        """
        settings = RCNNTestSettings.read(rcnn_test_cfg)
        by_class: list[list[np.ndarray]] = [[] for _ in range(self.num_classes)]
        if len(det_bboxes) == 0:
            return by_class
        bboxes = det_bboxes[:, :4]
        masks = upcast(mask_pred).sigmoid() if torch.is_tensor(mask_pred) else bboxes.new_tensor(mask_pred)
        scale = [float(s) for s in np.broadcast_to(np.asarray(scale_factor, np.float32), 4)]
        height, width = ori_shape[:2]
        if rescale:
            bboxes = bboxes / bboxes.new_tensor(scale)
        else:
            height, width = round(height * scale[1]), round(width * scale[0])
        if not self.class_agnostic:
            masks = masks[torch.arange(len(masks), device=masks.device), det_labels][:, None]
        pasted = paste_masks(masks, bboxes, height, width, settings.mask_thr_binary).cpu().numpy()
        for mask, label in zip(pasted, det_labels.tolist()):
            by_class[label].append(mask)
        return by_class


def mask_targets_of_image(sample: object, gt_masks: object, settings: RCNNTrainSettings) -> Tensor:
    """(positives, h, w) float targets of one image."""
    pos = sample.pos_bboxes
    if len(pos) == 0:
        return pos.new_zeros(0, *settings.mask_shape)
    limits = np.array([gt_masks.width, gt_masks.height] * 2, np.float32)
    bboxes = np.clip(pos.detach().cpu().numpy(), 0, limits)
    cropped = gt_masks.crop_and_resize(
        bboxes,
        settings.mask_shape,
        device=pos.device,
        inds=sample.pos_assigned_gt_inds.cpu().numpy(),
        binarize=not settings.soft_mask_target,
    )
    return cropped.to_tensor(torch.float32, pos.device)
