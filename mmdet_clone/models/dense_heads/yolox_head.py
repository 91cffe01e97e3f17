"""The head of "YOLOX: Exceeding YOLO Series in 2021" (arXiv 2107.08430).

Legend:
    N: images in the batch    L: feature levels    K: classes    P: cells over all levels, in the order (level, y, x)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from mmengine.model import bias_init_with_prob
from torch import Tensor, nn

from mmdet_clone.boxes import MlvlPointGenerator, build_assigner, finish_detections
from mmdet_clone.config.unread_keys import warn_of_unread_keys
from mmdet_clone.ops.boxes import bbox_cxcywh_to_xyxy, bbox_xyxy_to_cxcywh
from mmdet_clone.ops.levels import flatten_levels
from mmdet_clone.ops.reduce import reduce_mean
from mmdet_clone.registry import HEADS

from ..builder import build_loss
from ..layers.csp_layer import CSP_ACT, CSP_INIT, CSP_NORM, conv_module_of, one_kernel_act
from .base import BaseDenseHead

__all__ = ['YOLOXHead', 'YOLOXTargets']

EPS = 1e-8  # keeps the logarithm of a size finite


@dataclass
class FlatOutputs:
    """The outputs of all levels in one tensor each, float32."""

    scores: Tensor  # (N, P, K) logits
    deltas: Tensor  # (N, P, 4): centre from the cell's corner in strides, logarithm of the size in strides
    objectness: Tensor  # (N, P) logits
    priors: Tensor  # (P, 4): the cell's corner x, y and its strides


@dataclass
class YOLOXTargets:
    """What the cells of a batch should predict; n is the number of positive ones, in the order of ``positive``."""

    positive: Tensor  # (N, P) bool
    classes: Tensor  # (n, K): the overlap with the ground truth at its class, 0 elsewhere
    boxes: Tensor  # (n, 4) x1y1x2y2


@HEADS.register_module()
class YOLOXHead(BaseDenseHead):
    """For each level two towers of convolutions; one predicts classes, one boxes and whether there is an object.

    Args:
        num_classes: the number of classes K, without background.
        in_channels: channels of the features.
        feat_channels: channels of the towers.
        stacked_convs: the convolutions of a tower.
        strides: of the levels, in pixels.
        use_depthwise: depthwise separable convolutions in the towers.
        dcn_on_last_conv: make the last convolution of each tower deformable.
        conv_bias: whether the towers' convolutions have a bias; ``'auto'``: those without ``norm_cfg``.
        conv_cfg, norm_cfg, act_cfg: layer types.
        loss_cls, loss_bbox, loss_obj, loss_l1: the losses, with ``reduction='sum'``.
        train_cfg: ``assigner``.
        test_cfg: ``score_thr`` and ``nms``; each cell gives at most one detection, of its best class.

    Attributes:
        use_l1: add the L1 loss of the deltas; ``YOLOXModeSwitchHook`` sets it for the last epochs.
    """

    train_keys = ('assigner', 'debug', 'sampler')

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        feat_channels: int = 256,
        stacked_convs: int = 2,
        strides: Sequence[int] = (8, 16, 32),
        use_depthwise: bool = False,
        dcn_on_last_conv: bool = False,
        conv_bias: bool | str = 'auto',
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = CSP_NORM,
        act_cfg: dict | None = CSP_ACT,
        loss_cls: dict | None = None,
        loss_bbox: dict | None = None,
        loss_obj: dict | None = None,
        loss_l1: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list | None = CSP_INIT,
    ) -> None:
        super().__init__(init_cfg)
        if conv_bias not in ('auto', True, False):
            raise ValueError(f"conv_bias of YOLOXHead is 'auto', True or False, got {conv_bias!r}")
        self.num_classes = self.cls_out_channels = num_classes
        self.in_channels, self.feat_channels, self.stacked_convs = in_channels, feat_channels, stacked_convs
        self.strides = list(strides)
        self.use_depthwise, self.dcn_on_last_conv, self.conv_bias = use_depthwise, dcn_on_last_conv, conv_bias
        self.conv_cfg, self.norm_cfg, self.act_cfg = conv_cfg, norm_cfg, act_cfg
        self.use_sigmoid_cls = True
        self.use_l1 = False
        self.prior_generator = MlvlPointGenerator(strides, offset=0)

        entropy = dict(type='CrossEntropyLoss', use_sigmoid=True, reduction='sum', loss_weight=1.0)
        square_iou = dict(type='IoULoss', mode='square', eps=1e-16, reduction='sum', loss_weight=5.0)
        self.loss_cls = build_loss(loss_cls or entropy)
        self.loss_bbox = build_loss(loss_bbox or square_iou)
        self.loss_obj = build_loss(loss_obj or entropy)
        self.loss_l1 = build_loss(loss_l1 or dict(type='L1Loss', reduction='sum', loss_weight=1.0))
        self.train_cfg, self.test_cfg = train_cfg, test_cfg
        if train_cfg:
            warn_of_unread_keys(self, 'train_cfg', train_cfg, self.train_keys)
            self.assigner = build_assigner(train_cfg['assigner'])
        self._init_layers()

    def _init_layers(self) -> None:
        levels = range(len(self.strides))
        self.multi_level_cls_convs = nn.ModuleList(self._tower() for _ in levels)
        self.multi_level_reg_convs = nn.ModuleList(self._tower() for _ in levels)
        self.multi_level_conv_cls = nn.ModuleList(self._predictor(self.cls_out_channels) for _ in levels)
        self.multi_level_conv_reg = nn.ModuleList(self._predictor(4) for _ in levels)
        self.multi_level_conv_obj = nn.ModuleList(self._predictor(1) for _ in levels)

    def _tower(self) -> nn.Sequential:
        layers = dict(norm_cfg=self.norm_cfg, act_cfg=one_kernel_act(self.act_cfg), bias=self.conv_bias)
        conv = conv_module_of(self.use_depthwise)
        tower = []
        for i in range(self.stacked_convs):
            deformable = self.dcn_on_last_conv and i == self.stacked_convs - 1
            channels = self.in_channels if i == 0 else self.feat_channels
            conv_cfg = dict(type='DCNv2') if deformable else self.conv_cfg
            tower.append(conv(channels, self.feat_channels, 3, padding=1, conv_cfg=conv_cfg, **layers))
        return nn.Sequential(*tower)

    def _predictor(self, out_channels: int) -> nn.Conv2d:
        return nn.Conv2d(self.feat_channels, out_channels, 1)

    def init_weights(self) -> None:
        """Initialise as ``init_cfg`` says, and so that each class and object is found in one cell of a hundred."""
        super().init_weights()
        for predictor in (*self.multi_level_conv_cls, *self.multi_level_conv_obj):
            nn.init.constant_(predictor.bias, bias_init_with_prob(0.01))

    def forward(self, feats: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Features of L levels -> (N, K, H, W) scores, (N, 4, H, W) deltas, (N, 1, H, W) objectness of each level."""
        if len(feats) != len(self.strides):
            raise ValueError(f'YOLOXHead has strides for {len(self.strides)} levels, got {len(feats)} features')
        scores, deltas, objectness = [], [], []
        for i, x in enumerate(feats):
            scores.append(self.multi_level_conv_cls[i](self.multi_level_cls_convs[i](x)))
            box_features = self.multi_level_reg_convs[i](x)
            deltas.append(self.multi_level_conv_reg[i](box_features))
            objectness.append(self.multi_level_conv_obj[i](box_features))
        return scores, deltas, objectness

    def loss(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        objectnesses: list[Tensor],
        gt_bboxes: list[Tensor],
        gt_labels: list[Tensor],
        img_metas: list[dict],
        gt_bboxes_ignore: list[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """The losses of a batch, divided by the number of positive cells, which is averaged over the processes."""
        preds = self._flatten(cls_scores, bbox_preds, objectnesses)
        targets = self.get_targets(preds, gt_bboxes, gt_labels)
        positive = targets.positive
        deltas, priors = preds.deltas[positive], preds.priors.expand_as(preds.deltas)[positive]  # (n, 4) each
        num_pos = reduce_mean(positive.sum().float()).clamp(min=1)
        losses = dict(
            loss_cls=self.loss_cls(preds.scores[positive], targets.classes) / num_pos,
            loss_bbox=self.loss_bbox(decode(priors, deltas), targets.boxes) / num_pos,
            loss_obj=self.loss_obj(preds.objectness.reshape(-1, 1), positive.reshape(-1, 1).float()) / num_pos,
        )
        if self.use_l1:
            losses['loss_l1'] = self.loss_l1(deltas, encode(priors, targets.boxes)) / num_pos
        return losses

    def _flatten(self, cls_scores: list[Tensor], bbox_preds: list[Tensor], objectnesses: list[Tensor]) -> FlatOutputs:
        sizes, device = [scores.shape[-2:] for scores in cls_scores], cls_scores[0].device
        return FlatOutputs(
            scores=flatten_levels(cls_scores, self.cls_out_channels).float(),
            deltas=flatten_levels(bbox_preds, 4).float(),
            objectness=flatten_levels(objectnesses, 1).squeeze(-1).float(),
            priors=torch.cat(self.prior_generator.grid_priors(sizes, device=device, with_stride=True)),
        )

    @torch.no_grad()
    def get_targets(self, preds: FlatOutputs, gt_bboxes: list[Tensor], gt_labels: list[Tensor]) -> YOLOXTargets:
        """Match the predictions of each image with its ground truth."""
        probabilities = preds.scores.sigmoid() * preds.objectness.sigmoid()[..., None]
        predicted = decode(preds.priors, preds.deltas)
        strides = preds.priors[:, 2:]
        middles = torch.cat((preds.priors[:, :2] + 0.5 * strides, strides), 1)  # assignment looks at the cells' middles
        positive = torch.zeros_like(preds.objectness, dtype=torch.bool)
        classes, boxes = [preds.scores.new_zeros(0, self.num_classes)], [predicted.new_zeros(0, 4)]
        for i, (gt, labels) in enumerate(zip(gt_bboxes, gt_labels, strict=True)):
            if len(gt) == 0:
                continue
            gt = gt.to(predicted)
            assigned = self.assigner.assign(probabilities[i], middles, predicted[i], gt, labels)
            found = (assigned.gt_inds > 0).nonzero().squeeze(1)
            own = assigned.gt_inds[found] - 1
            positive[i, found] = True
            classes.append(F.one_hot(labels[own], self.num_classes) * assigned.max_overlaps[found, None])
            boxes.append(gt[own])
        return YOLOXTargets(positive, torch.cat(classes), torch.cat(boxes))

    def get_bboxes(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        objectnesses: list[Tensor],
        img_metas: list[dict] | None = None,
        cfg: dict | None = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> list:
        """Predictions -> the boxes of each image: one a cell, of its best class, scored by class times objectness.

        Args:
            cls_scores, bbox_preds, objectnesses: as ``forward`` gives them.
            cfg: in place of ``test_cfg``.
            rescale: give boxes in pixels of the original image.
            with_nms: whether to suppress duplicates.

        Returns:
            as :meth:`BaseDenseHead.get_bboxes`.
        """
        cfg = self._postprocess_config(cfg)
        preds = self._flatten(*([level.detach() for level in out] for out in (cls_scores, bbox_preds, objectnesses)))
        scores, labels = preds.scores.sigmoid().max(-1)  # (N, P)
        scores = scores * preds.objectness.sigmoid()
        results = []
        for i, meta in enumerate(img_metas):
            kept = (scores[i] >= cfg.score_thr).nonzero().squeeze(1)
            boxes = decode(preds.priors[kept], preds.deltas[i, kept])
            scale_factor = meta['scale_factor'] if rescale else None
            results.append(
                finish_detections(boxes, scores[i, kept], labels[i, kept], cfg, scale_factor, with_nms=with_nms)
            )
        return results


def decode(priors: Tensor, deltas: Tensor) -> Tensor:
    """Boxes (..., 4) x1y1x2y2 from cells' corners and strides (..., 4) and deltas (..., 4)."""
    strides = priors[..., 2:]
    centers, sizes = deltas[..., :2] * strides + priors[..., :2], deltas[..., 2:].exp() * strides
    return bbox_cxcywh_to_xyxy(torch.cat((centers, sizes), -1))


def encode(priors: Tensor, boxes: Tensor) -> Tensor:
    """The deltas (..., 4) by which :func:`decode` gives the boxes."""
    corners, strides = priors[..., :2], priors[..., 2:]
    centers, sizes = bbox_xyxy_to_cxcywh(boxes).split(2, -1)
    return torch.cat(((centers - corners) / strides, (sizes / strides + EPS).log()), -1)
