"""The inner steps of MMDetection 2.x's anchor heads, level by level, for heads that people derived from those.

Our own heads flatten the levels once. A head of a user's that overrides ``loss`` and calls ``get_anchors`` and
``get_targets``, or that overrides ``loss_single``, finds these here under 2.x's names; one that overrides a step which
nothing calls here is refused rather than trained without it.

N: images in the batch    L: feature levels    P: anchors of a level
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import torch
from torch import Tensor

from mmdet_clone.boxes import anchor_inside_flags

__all__ = ['OlderSteps', 'refuse_uncalled_steps']

# a step of 2.x -> the public method that calls it there, and what to override here
UNCALLED = {
    '_get_bboxes_single': ('get_bboxes', '_image_boxes'),
    '_bbox_post_process': ('get_bboxes', '_image_boxes'),
    '_get_targets_single': ('get_targets', 'get_targets'),
    'get_targets': ('loss', 'classification_loss or box_loss'),
}


class OlderSteps:
    """What ``AnchorHead`` of MMDetection 2.x offers to the heads derived from it."""

    def get_anchors(
        self, featmap_sizes: Sequence[tuple[int, int]], img_metas: list[dict], device: str | torch.device = 'cuda'
    ) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
        """For each image and level the anchors (P, 4), and which of them lie in the image's part of the batch (P,)."""
        anchors = self.prior_generator.grid_priors(featmap_sizes, device=device)
        flags = [self.prior_generator.valid_flags(featmap_sizes, meta['pad_shape'], device) for meta in img_metas]
        return [list(anchors) for _ in img_metas], flags

    def get_targets_by_level(
        self,
        anchor_list: list[list[Tensor]],
        valid_flag_list: list[list[Tensor]],
        gt_bboxes_list: list[Tensor],
        img_metas: list[dict],
        gt_bboxes_ignore_list: list[Tensor] | None = None,
        gt_labels_list: list[Tensor] | None = None,
        label_channels: int = 1,
        unmap_outputs: bool = True,
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor], int, int]:
        """The targets as lists over levels: labels and their weights (N, P), boxes and their weights (N, P, 4);
        then how many anchors of the batch are positive and how many negative.

        Args:
            label_channels: as many as ``cls_out_channels``; the labels are class numbers in any case.
            unmap_outputs: must be true: anchors outside of the images are in the lists, with weights of 0.
        """
        if not unmap_outputs:
            raise ValueError(f'{type(self).__name__}.get_targets gives targets for all anchors: unmap_outputs is True')
        anchors, counts = torch.cat(anchor_list[0]), [len(level) for level in anchor_list[0]]
        inside = [
            anchor_inside_flags(anchors, torch.cat(flags), meta['img_shape'], self.allowed_border)
            for flags, meta in zip(valid_flag_list, img_metas)
        ]
        targets = self.get_targets(anchors, torch.stack(inside), gt_bboxes_list, gt_labels_list, gt_bboxes_ignore_list)
        box_weights = targets.positive[..., None].expand_as(targets.boxes).to(targets.boxes)
        by_anchor = (targets.labels, targets.label_weights, targets.boxes, box_weights)
        return *(list(value.split(counts, dim=1)) for value in by_anchor), targets.num_pos, targets.num_neg

    def loss_single(
        self,
        cls_score: Tensor,
        bbox_pred: Tensor,
        anchors: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        bbox_targets: Tensor,
        bbox_weights: Tensor,
        num_total_samples: int,
    ) -> tuple[Tensor, Tensor]:
        """Both losses of one level.

        Args:
            cls_score, bbox_pred: (N, A * C, H, W) and (N, A * 4, H, W).
            anchors: (N, P, 4).
            labels, label_weights, bbox_targets, bbox_weights: as :meth:`get_targets_by_level` gives them.
            num_total_samples: what both are divided by.
        """
        scores = cls_score.permute(0, 2, 3, 1).reshape(-1, self.cls_out_channels)
        loss_cls = self.loss_cls(scores, labels.flatten(), label_weights.flatten(), avg_factor=num_total_samples)
        boxes = bbox_pred.permute(0, 2, 3, 1).reshape(-1, 4)
        if self.reg_decoded_bbox:
            boxes = self.bbox_coder.decode(anchors.reshape(-1, 4), boxes)
        weights = bbox_weights.reshape(-1, 4)
        return loss_cls, self.loss_bbox(boxes, bbox_targets.reshape(-1, 4), weights, avg_factor=num_total_samples)

    def overrides_loss_single(self) -> bool:
        return type(self).loss_single is not OlderSteps.loss_single

    def loss_by_level(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        gt_bboxes: list[Tensor],
        gt_labels: list[Tensor] | None,
        img_metas: list[dict],
        gt_bboxes_ignore: list[Tensor] | None = None,
    ) -> dict[str, list[Tensor]]:
        """Both losses of each level, by ``loss_single``."""
        sizes, device = [scores.shape[-2:] for scores in cls_scores], cls_scores[0].device
        anchor_list, valid_flag_list = self.get_anchors(sizes, img_metas, device)
        *by_level, num_pos, num_neg = self.get_targets_by_level(
            anchor_list, valid_flag_list, gt_bboxes, img_metas, gt_bboxes_ignore, gt_labels, self.cls_out_channels
        )
        anchors = [torch.stack(level) for level in zip(*anchor_list)]  # L x (N, P, 4)
        num_samples = num_pos + num_neg if self.sampling else num_pos
        losses = [
            self.loss_single(*level, num_total_samples=num_samples)
            for level in zip(cls_scores, bbox_preds, anchors, *by_level)
        ]
        return dict(loss_cls=[loss for loss, _ in losses], loss_bbox=[loss for _, loss in losses])


def refuse_uncalled_steps(head: object) -> None:
    """Raise ``TypeError`` if a class from outside overrides a step of 2.x's that nothing calls here."""
    cls = type(head)
    for step, (caller, instead) in UNCALLED.items():
        own = _method_from_outside(cls, step)
        if own is None or _method_from_outside(cls, caller) is not None:
            continue
        if step == 'get_targets' and 'anchor_list' not in inspect.signature(own).parameters:
            continue
        raise TypeError(
            f'{cls.__name__} overrides {step} as in MMDetection 2.x, where {caller} calls it. Here {caller} does not: '
            f'override {instead} of {_nearest_of_ours(cls).__name__}, or {caller} as a whole'
        )


def _method_from_outside(cls: type, name: str) -> object | None:
    """The method ``name`` of ``cls``, if a class that is not of this package defines it."""
    definer = next((c for c in cls.__mro__ if name in vars(c)), None)
    return None if definer is None or _is_ours(definer) else vars(definer)[name]


def _nearest_of_ours(cls: type) -> type:
    return next(c for c in cls.__mro__ if _is_ours(c))


def _is_ours(cls: type) -> bool:
    return cls.__module__.startswith(f'{__package__.partition(".")[0]}.')
