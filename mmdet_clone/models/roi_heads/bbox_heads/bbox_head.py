"""A classifier and a box regressor on the features of a region, with their targets, losses and decoding.

Legend:
    R: regions of the batch    C: classes; label C is the background
    D: 4 if the regressor is class agnostic, else 4C
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdet_clone.boxes import build_bbox_coder
from mmdet_clone.ops.nms import multiclass_nms
from mmdet_clone.ops.precision import upcast

from ...builder import HEADS, build_loss
from ...losses.accuracy import accuracy
from ..predictors import build_linear
from ..settings import RCNNTestSettings, RCNNTrainSettings

__all__ = ['BBoxHead']


@HEADS.register_module()
class BBoxHead(BaseModule):
    """Two linear layers on the flattened, or averaged, features of a region ("Fast R-CNN", arXiv 1504.08083).

    Args:
        with_avg_pool: average the features over the region first.
        with_cls, with_reg: which of the two layers there are.
        roi_feat_size: side, or (h, w), of the features.
        in_channels: channels of the features.
        num_classes: without the background.
        reg_class_agnostic: predict one box a region instead of one a class.
        reg_decoded_bbox: compare decoded boxes in the loss (needed by IoU losses) instead of deltas.
        reg_predictor_cfg, cls_predictor_cfg: types of the two layers.
    """

    def __init__(
        self,
        with_avg_pool: bool = False,
        with_cls: bool = True,
        with_reg: bool = True,
        roi_feat_size: int | tuple[int, int] = 7,
        in_channels: int = 256,
        num_classes: int = 80,
        bbox_coder: dict | None = None,
        reg_class_agnostic: bool = False,
        reg_decoded_bbox: bool = False,
        reg_predictor_cfg: dict | None = None,
        cls_predictor_cfg: dict | None = None,
        loss_cls: dict | None = None,
        loss_bbox: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if not (with_cls or with_reg):
            raise ValueError(f'{type(self).__name__} needs with_cls=True or with_reg=True')
        self.with_avg_pool, self.with_cls, self.with_reg = with_avg_pool, with_cls, with_reg
        size = (roi_feat_size, roi_feat_size) if isinstance(roi_feat_size, int) else tuple(roi_feat_size)
        self.roi_feat_size, self.roi_feat_area = size, size[0] * size[1]
        self.in_channels, self.num_classes = in_channels, num_classes
        self.reg_class_agnostic, self.reg_decoded_bbox = reg_class_agnostic, reg_decoded_bbox
        self.reg_predictor_cfg, self.cls_predictor_cfg = reg_predictor_cfg, cls_predictor_cfg
        default_coder = dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[0.1, 0.1, 0.2, 0.2])
        self.bbox_coder = build_bbox_coder(bbox_coder or default_coder)
        self.loss_cls = build_loss(loss_cls or dict(type='CrossEntropyLoss'))
        self.loss_bbox = build_loss(loss_bbox or dict(type='SmoothL1Loss', beta=1.0))
        # a loss may bring its own classification channels and activation, as Seesaw loss does
        self.custom_cls_channels = getattr(self.loss_cls, 'custom_cls_channels', False)

        if with_avg_pool:
            self.avg_pool = nn.AvgPool2d(size)
        self.init_layers()
        if init_cfg is None:
            stds = {'fc_cls': 0.01} if with_cls else {}
            stds.update({'fc_reg': 0.001} if with_reg else {})
            self.init_cfg = [dict(type='Normal', std=std, override=dict(name=name)) for name, std in stds.items()]

    def init_layers(self) -> None:
        """Build the layers, the predictors first: optimizers number weights in this order, which checkpoints know."""
        width = self.in_channels * self.area_of(in_map=True)
        self.build_predictors(width, width)

    def area_of(self, in_map: bool) -> int:
        """By how much flattening widens features that are a map still; averaging leaves one value a channel."""
        return self.roi_feat_area if in_map and not self.with_avg_pool else 1

    def build_predictors(self, cls_channels: int, reg_channels: int) -> None:
        """Build ``fc_cls`` and ``fc_reg`` on features of so many channels."""
        if self.with_cls:
            own = self.custom_cls_channels
            num_outputs = self.loss_cls.get_cls_channels(self.num_classes) if own else self.num_classes + 1
            self.fc_cls = build_linear(self.cls_predictor_cfg, cls_channels, num_outputs)
        if self.with_reg:
            num_outputs = 4 if self.reg_class_agnostic else 4 * self.num_classes
            self.fc_reg = build_linear(self.reg_predictor_cfg, reg_channels, num_outputs)

    def forward(self, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Class scores (R, C + 1) before softmax, and box deltas (R, D), of features (R, channels, h, w)."""
        x = self.flatten(x)
        return self.fc_cls(x) if self.with_cls else None, self.fc_reg(x) if self.with_reg else None

    def flatten(self, x: Tensor) -> Tensor:
        """(R, channels, h, w) -> (R, features); averaged first ``with_avg_pool``."""
        return (self.avg_pool(x) if self.with_avg_pool else x).flatten(1)

    # ---- training

    def get_targets(
        self,
        sampling_results: list,
        gt_bboxes: list[Tensor],
        gt_labels: list[Tensor],
        rcnn_train_cfg: dict,
        concat: bool = True,
    ) -> tuple[Tensor, ...] | tuple[list[Tensor], ...]:
        """What each sampled region should be classified as and regressed to; positives first in each image.

        Args:
            sampling_results: of each image.
            gt_bboxes, gt_labels: unused, as sampling results hold what was matched; heads derived from this one may.
            concat: join the images, else give lists over them.

        Returns:
            Labels in [0, C] and their weights, (R,); box targets and their weights, (R, 4): deltas, or corners with
            ``reg_decoded_bbox``.
        """
        pos_weight = RCNNTrainSettings.read(rcnn_train_cfg).pos_weight
        pos_weight = 1.0 if pos_weight <= 0 else pos_weight
        targets = zip(*(self._targets_of_image(sample, pos_weight) for sample in sampling_results))
        return tuple(torch.cat(t) if concat else list(t) for t in targets)

    def _targets_of_image(self, sample: object, pos_weight: float) -> tuple[Tensor, ...]:
        pos, neg = sample.pos_bboxes, sample.neg_bboxes
        num_pos, num = len(pos), len(pos) + len(neg)
        labels = pos.new_full((num,), self.num_classes, dtype=torch.long)
        label_weights = pos.new_ones(num)
        bbox_targets, bbox_weights = pos.new_zeros(num, 4), pos.new_zeros(num, 4)
        if num_pos:
            labels[:num_pos] = sample.pos_gt_labels
            label_weights[:num_pos] = pos_weight
            gt = sample.pos_gt_bboxes
            bbox_targets[:num_pos] = gt if self.reg_decoded_bbox else self.bbox_coder.encode(pos, gt)
            bbox_weights[:num_pos] = 1.0
        return labels, label_weights, bbox_targets, bbox_weights

    def loss(
        self,
        cls_score: Tensor | None,
        bbox_pred: Tensor | None,
        rois: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        bbox_targets: Tensor,
        bbox_weights: Tensor,
        reduction_override: str | None = None,
    ) -> dict[str, Tensor]:
        """``loss_cls`` and ``acc`` (percent) over all regions, ``loss_bbox`` over positives, divided by all.

        Every entry is there, and has a gradient, for batches without regions or without positives too.

        Args:
            cls_score: (R, C + 1).
            bbox_pred: (R, D).
            rois: (R, 5).
            labels, label_weights, bbox_targets, bbox_weights: what ``get_targets`` gives.
            reduction_override: in place of the losses' own reduction.
        """
        losses: dict[str, Tensor] = {}
        if cls_score is not None:
            losses.update(self._classification_loss(cls_score, labels, label_weights, reduction_override))
        if bbox_pred is not None:
            positive = ((labels >= 0) & (labels < self.num_classes)).nonzero().squeeze(1)
            deltas = self._deltas_of(bbox_pred[positive], labels[positive])  # (positives, 4)
            if len(deltas) == 0:
                losses['loss_bbox'] = deltas.sum()
                return losses
            if self.reg_decoded_bbox:
                deltas = self.bbox_coder.decode(rois[positive, 1:], deltas)
            losses['loss_bbox'] = self.loss_bbox(
                deltas,
                bbox_targets[positive],
                bbox_weights[positive],
                avg_factor=len(bbox_targets),
                reduction_override=reduction_override,
            )
        return losses

    def _classification_loss(
        self, cls_score: Tensor, labels: Tensor, label_weights: Tensor, reduction_override: str | None
    ) -> dict[str, Tensor]:
        if len(cls_score) == 0:
            return dict(loss_cls=cls_score.sum(), acc=cls_score.new_zeros(1))
        loss = self.loss_cls(
            cls_score,
            labels,
            label_weights,
            avg_factor=(label_weights > 0).sum().clamp(min=1),
            reduction_override=reduction_override,
        )
        losses = dict(loss) if isinstance(loss, dict) else dict(loss_cls=loss)
        if getattr(self.loss_cls, 'custom_accuracy', False):
            losses.update(self.loss_cls.get_accuracy(cls_score, labels))
        else:
            losses['acc'] = accuracy(cls_score, labels)
        return losses

    def _deltas_of(self, bbox_pred: Tensor, labels: Tensor) -> Tensor:
        """The deltas (n, 4) of one class for each of n regions, from (n, D)."""
        if self.reg_class_agnostic:
            return bbox_pred.reshape(-1, 4)
        rows = torch.arange(len(labels), device=labels.device)
        return bbox_pred.reshape(len(bbox_pred), self.num_classes, 4)[rows, labels]

    # ---- testing

    def get_bboxes(
        self,
        rois: Tensor,
        cls_score: Tensor | None,
        bbox_pred: Tensor | None,
        img_shape: Sequence[int],
        scale_factor: float | Sequence[float],
        rescale: bool = False,
        cfg: dict | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The detections of one image.

        Args:
            rois: (R, 5).
            cls_score: (R, C + 1).
            bbox_pred: (R, D); ``None`` keeps the rois' boxes.
            img_shape: (height, width) that boxes are clipped to.
            scale_factor: of the image, for ``rescale``.
            rescale: divide by ``scale_factor``.
            cfg: ``test_cfg.rcnn``.

        Returns:
            Boxes (k, 5) and labels (k,) after NMS; without ``cfg``, boxes (R, 4 or D) and scores (R, C + 1).
        """
        if bbox_pred is not None:
            bboxes = self.bbox_coder.decode(rois[:, 1:], bbox_pred, max_shape=img_shape)
        else:
            height, width = img_shape[:2]
            bboxes = torch.minimum(rois[:, 1:].clamp(min=0), rois.new_tensor([width, height, width, height]))
        if rescale:
            scale = torch.as_tensor(scale_factor, dtype=bboxes.dtype, device=bboxes.device)
            bboxes = (bboxes.reshape(-1, 4) / scale).reshape(bboxes.shape)
        scores = self._activate(cls_score)
        if cfg is None:
            return bboxes, scores
        settings = RCNNTestSettings.read(cfg)
        return multiclass_nms(bboxes, scores, settings.score_thr, settings.nms, settings.max_per_img)

    def _activate(self, cls_score: Tensor | None) -> Tensor | None:
        if cls_score is None:
            return None
        if self.custom_cls_channels:
            return self.loss_cls.get_activation(cls_score)
        return F.softmax(upcast(cls_score), dim=-1)

    @torch.no_grad()
    def refine_bboxes(
        self,
        rois: Tensor,
        labels: Tensor,
        bbox_preds: Tensor,
        pos_is_gts: list[Tensor],
        img_metas: list[dict],
    ) -> list[Tensor]:
        """The boxes of each image after regression, without the ground truth that was among the regions.

        Args:
            rois: (R, 5), positives first in each image.
            labels: (R,) the class whose deltas apply.
            bbox_preds: (R, D).
            pos_is_gts: of each image, 1 where a positive is a ground-truth box, 0 elsewhere.

        Returns:
            (n, 4) boxes of each image.
        """
        refined = []
        for i, meta in enumerate(img_metas):
            here = torch.nonzero(rois[:, 0] == i).squeeze(1)
            bboxes = self.regress_by_class(rois[here, 1:], labels[here], bbox_preds[here], meta)
            keep = torch.ones(len(here), dtype=torch.bool, device=rois.device)
            keep[: len(pos_is_gts[i])] = pos_is_gts[i] == 0
            refined.append(bboxes[keep])
        return refined

    def regress_by_class(self, rois: Tensor, label: Tensor, bbox_pred: Tensor, img_meta: dict) -> Tensor:
        """Apply to each region the deltas of its class.

        Args:
            rois: (n, 4), or (n, 5) with the image's index first, which is kept.
            label: (n,).
            bbox_pred: (n, D).
        """
        deltas = self._deltas_of(bbox_pred, label)
        bboxes = self.bbox_coder.decode(rois[:, -4:], deltas, max_shape=img_meta['img_shape'])
        return torch.cat([rois[:, :-4], bboxes], dim=1)
