"""Heads whose priors are anchors: targets by assignment, a classification and a box loss.

Legend:
    N: images in the batch    L: feature levels    A: anchors per position    C: classification channels    K: classes
    P: anchors over all levels, in the order (level, y, x, anchor)
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmdet_clone.boxes import (
    AnchorGenerator,
    anchor_inside_flags,
    build_assigner,
    build_bbox_coder,
    build_prior_generator,
    build_sampler,
)
from mmdet_clone.config.unread_keys import warn_of_unread_keys
from mmdet_clone.ops.levels import flatten_levels
from mmdet_clone.registry import HEADS, type_name

from ..builder import build_loss
from .base import BaseDenseHead
from .older_steps import OlderSteps

__all__ = ['AnchorHead', 'AnchorTargets']

# These losses weigh every anchor themselves, so none is left out by sampling.
LOSSES_OVER_ALL_ANCHORS = ('FocalLoss', 'GHMC', 'QualityFocalLoss')


@dataclass
class AnchorTargets:
    """What each anchor of each image should predict."""

    labels: Tensor  # (N, P) in 0..K, K is background
    label_weights: Tensor  # (N, P), 0 where the anchor is ignored or was not sampled
    boxes: Tensor  # (N, P, 4): deltas, or x1y1x2y2 where the loss compares decoded boxes; 0 where not positive
    positive: Tensor  # (N, P) bool
    num_pos: int  # over the batch; an image without any counts as 1
    num_neg: int  # likewise


@HEADS.register_module()
class AnchorHead(OlderSteps, BaseDenseHead):
    """Classification and box regression from anchors, as in RPN, SSD and RetinaNet; here by one convolution each.

    Args:
        num_classes: the number of classes K, without background.
        in_channels: channels of the features.
        feat_channels: channels of the hidden layers, where a head has any.
        anchor_generator, bbox_coder: how anchors are laid out, and boxes written relative to them.
        reg_decoded_bbox: compare decoded boxes instead of deltas: for losses on IoU.
        loss_cls, loss_bbox: the losses.
        train_cfg: ``assigner``, ``sampler`` (all anchors without one), ``allowed_border``, ``pos_weight``.
        test_cfg: see :class:`mmdet_clone.boxes.PostprocessConfig`.
    """

    train_keys = ('allowed_border', 'assigner', 'debug', 'pos_weight', 'sampler')

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        feat_channels: int = 256,
        anchor_generator: dict | None = None,
        bbox_coder: dict | None = None,
        reg_decoded_bbox: bool = False,
        loss_cls: dict | None = None,
        loss_bbox: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Normal', layer='Conv2d', std=0.01))
        anchor_generator = anchor_generator or dict(
            type='AnchorGenerator', scales=[8, 16, 32], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64]
        )
        loss_cls = loss_cls or dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0)
        self.num_classes, self.in_channels, self.feat_channels = num_classes, in_channels, feat_channels
        self.use_sigmoid_cls = loss_cls.get('use_sigmoid', False)
        self.cls_out_channels = num_classes if self.use_sigmoid_cls else num_classes + 1
        if num_classes < 1:
            raise ValueError(f'{type(self).__name__} needs num_classes of at least 1, got {num_classes}')
        self.reg_decoded_bbox = reg_decoded_bbox
        self.bbox_coder = build_bbox_coder(bbox_coder or dict(type='DeltaXYWHBBoxCoder', clip_border=True))
        self.loss_cls = build_loss(loss_cls)
        self.loss_bbox = build_loss(loss_bbox or dict(type='SmoothL1Loss', beta=1.0 / 9.0, loss_weight=1.0))
        self.prior_generator = build_prior_generator(anchor_generator)
        self.num_base_priors = self.prior_generator.num_base_priors[0]
        self._read_train_cfg(train_cfg, type_name(loss_cls))
        self.test_cfg = test_cfg
        self._init_layers()

    @property
    def num_anchors(self) -> int:
        """Anchors per position, by the name that heads written for MMDetection 2.0 read."""
        return self.num_base_priors

    @property
    def anchor_generator(self) -> AnchorGenerator:
        """The prior generator, likewise."""
        return self.prior_generator

    def _read_train_cfg(self, train_cfg: dict | None, loss_type: str) -> None:
        self.train_cfg = train_cfg
        if not train_cfg:
            return
        warn_of_unread_keys(self, 'train_cfg', train_cfg, self.train_keys)
        self.allowed_border = train_cfg.get('allowed_border', -1)
        self.pos_weight = train_cfg.get('pos_weight', -1)
        sampler = train_cfg.get('sampler') or dict(type='PseudoSampler')
        self.sampling = type_name(sampler) != 'PseudoSampler'
        if self.sampling and loss_type in LOSSES_OVER_ALL_ANCHORS:
            warnings.warn(
                f'{loss_type} weighs all anchors, so the {type_name(sampler)} of train_cfg.sampler is not used: '
                'delete it from the config',
                stacklevel=4,
            )
            self.sampling, sampler = False, dict(type='PseudoSampler')
        self.assigner = build_assigner(train_cfg['assigner'])
        self.sampler = build_sampler(sampler, context=self)

    def _init_layers(self) -> None:
        self.conv_cls = nn.Conv2d(self.in_channels, self.num_base_priors * self.cls_out_channels, 1)
        self.conv_reg = nn.Conv2d(self.in_channels, self.num_base_priors * 4, 1)

    def forward_single(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """One level's features (N, in_channels, H, W) -> scores (N, A * C, H, W) and deltas (N, A * 4, H, W)."""
        return self.conv_cls(x), self.conv_reg(x)

    def forward(self, feats: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Features of L levels -> scores and deltas of each level."""
        outs = [self.forward_single(x) for x in feats]
        return [scores for scores, _ in outs], [deltas for _, deltas in outs]

    def loss(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        gt_bboxes: list[Tensor],
        gt_labels: list[Tensor] | None,
        img_metas: list[dict],
        gt_bboxes_ignore: list[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """The classification and the box loss of a batch."""
        if self.overrides_loss_single():
            return self.loss_by_level(cls_scores, bbox_preds, gt_bboxes, gt_labels, img_metas, gt_bboxes_ignore)
        anchors, valid = self.get_priors(cls_scores, img_metas)  # (P, 4), (N, P)
        scores = flatten_levels(cls_scores, self.cls_out_channels).float()  # (N, P, C)
        deltas = flatten_levels(bbox_preds, 4).float()  # (N, P, 4)
        targets = self.get_targets(anchors, valid, gt_bboxes, gt_labels, gt_bboxes_ignore)
        return dict(
            loss_cls=self.classification_loss(scores, targets), loss_bbox=self.box_loss(deltas, anchors, targets)
        )

    def get_priors(self, cls_scores: list[Tensor], img_metas: list[dict]) -> tuple[Tensor, Tensor]:
        """The anchors of all levels (P, 4), and which of them each image may train on (N, P).

        An anchor counts where its position is not in the padding of the batch and it stays inside the image.
        """
        sizes, device = [scores.shape[-2:] for scores in cls_scores], cls_scores[0].device
        anchors = torch.cat(self.prior_generator.grid_priors(sizes, device=device))
        valid = []
        for meta in img_metas:
            in_image = torch.cat(self.prior_generator.valid_flags(sizes, meta['pad_shape'], device=device))
            valid.append(anchor_inside_flags(anchors, in_image, meta['img_shape'], self.allowed_border))
        return anchors, torch.stack(valid)

    def get_targets(
        self,
        anchors: Tensor,
        valid: Tensor,
        gt_bboxes: list[Tensor],
        gt_labels: list[Tensor] | None = None,
        gt_bboxes_ignore: list[Tensor] | None = None,
        **of_2x: Any,
    ) -> AnchorTargets | tuple:
        """Match anchors (P, 4) with the ground truth of each image; without ``gt_labels`` all objects are class 0.

        Called with lists over images and levels, as heads written for MMDetection 2.x do, it takes the arguments and
        returns the tuple of :meth:`get_targets_by_level`.
        """
        if isinstance(anchors, list):
            return self.get_targets_by_level(anchors, valid, gt_bboxes, gt_labels, **of_2x)
        if of_2x:
            raise TypeError(f'get_targets takes {", ".join(of_2x)} with lists of anchors alone')
        shape = valid.shape
        targets = AnchorTargets(
            labels=anchors.new_full(shape, self.num_classes, dtype=torch.long),
            label_weights=anchors.new_zeros(shape),
            boxes=anchors.new_zeros(*shape, 4),
            positive=torch.zeros_like(valid),
            num_pos=0,
            num_neg=0,
        )
        for i in range(len(valid)):
            labels = None if gt_labels is None else gt_labels[i]
            ignored = None if gt_bboxes_ignore is None else gt_bboxes_ignore[i]
            self._set_image_targets(targets, i, anchors, valid[i], gt_bboxes[i], labels, ignored)
        return targets

    def _set_image_targets(
        self,
        targets: AnchorTargets,
        i: int,
        anchors: Tensor,
        valid: Tensor,
        gt_bboxes: Tensor,
        gt_labels: Tensor | None,
        gt_bboxes_ignore: Tensor | None,
    ) -> None:
        """Fill in row ``i`` of ``targets``."""
        candidates = valid.nonzero().squeeze(1)  # (P',)
        sampled = self._assign_and_sample(anchors[candidates], gt_bboxes, gt_labels, gt_bboxes_ignore)
        positive, negative = candidates[sampled.pos_inds], candidates[sampled.neg_inds]
        targets.num_pos += max(len(positive), 1)
        targets.num_neg += max(len(negative), 1)
        targets.label_weights[i, negative] = 1.0
        if len(positive) == 0:
            return
        boxes = sampled.pos_gt_bboxes
        if not self.reg_decoded_bbox:
            boxes = self.bbox_coder.encode(sampled.pos_bboxes, boxes)
        targets.boxes[i, positive] = boxes.to(targets.boxes.dtype)
        targets.positive[i, positive] = True
        targets.labels[i, positive] = 0 if gt_labels is None else gt_labels[sampled.pos_assigned_gt_inds]
        targets.label_weights[i, positive] = self.pos_weight if self.pos_weight > 0 else 1.0

    def _assign_and_sample(
        self, anchors: Tensor, gt_bboxes: Tensor, gt_labels: Tensor | None, gt_bboxes_ignore: Tensor | None
    ) -> object:
        labels = None if self.sampling else gt_labels
        assigned = self.assigner.assign(anchors, gt_bboxes, gt_bboxes_ignore, labels)
        return self.sampler.sample(assigned, anchors, gt_bboxes)

    def num_samples(self, targets: AnchorTargets) -> int:
        """By how many samples both losses are divided."""
        return targets.num_pos + targets.num_neg if self.sampling else targets.num_pos

    def classification_loss(self, scores: Tensor, targets: AnchorTargets) -> Tensor:
        """Scores (N, P, C) -> the loss."""
        scores, labels, weights = scores.flatten(0, 1), targets.labels.flatten(), targets.label_weights.flatten()
        if self.sampling:  # most anchors were not sampled and weigh nothing
            used = (weights > 0).nonzero().squeeze(1)
            scores, labels, weights = scores[used], labels[used], weights[used]
        return self.loss_cls(scores, labels, weights, avg_factor=self.num_samples(targets))

    def box_loss(self, deltas: Tensor, anchors: Tensor, targets: AnchorTargets) -> Tensor:
        """Deltas (N, P, 4) -> the loss over the positive anchors; a zero that has a gradient if there are none."""
        positive = targets.positive.nonzero(as_tuple=True)  # once: each look-up by a mask makes a GPU wait
        boxes, wanted = deltas[positive], targets.boxes[positive]  # (num positive, 4)
        if self.reg_decoded_bbox:
            boxes = self.bbox_coder.decode(anchors[positive[1]], boxes)
        return self.loss_bbox(boxes, wanted, torch.ones_like(boxes), avg_factor=self.num_samples(targets))
