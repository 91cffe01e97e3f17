"""The parts of a RoI head, and which of them there are."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor

from ..builder import build_shared_head

__all__ = ['BaseRoIHead']


class BaseRoIHead(BaseModule):
    """Holds the RoI extractors and heads of a second stage.

    A new one defines how its heads are built (``init_bbox_head``, ``init_mask_head``), how ground truth is assigned
    (``init_assigner_sampler``), ``forward_train``, ``simple_test`` and ``aug_test``.

    Args:
        bbox_roi_extractor, bbox_head: the box branch.
        mask_roi_extractor, mask_head: the mask branch; it shares the box branch's features without an extractor.
        shared_head: layers between the RoI extractor and both heads.
        train_cfg, test_cfg: ``train_cfg.rcnn`` and ``test_cfg.rcnn`` of the detector.
        pretrained: weights of ``shared_head``; ``init_cfg`` there is the newer form.
    """

    def __init__(
        self,
        bbox_roi_extractor: dict | None = None,
        bbox_head: dict | None = None,
        mask_roi_extractor: dict | None = None,
        mask_head: dict | None = None,
        shared_head: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        pretrained: str | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.train_cfg, self.test_cfg = train_cfg, test_cfg
        if shared_head is not None:
            self.shared_head = build_shared_head(shared_head, dict(pretrained=pretrained) if pretrained else None)
        if bbox_head is not None:
            self.init_bbox_head(bbox_roi_extractor, bbox_head)
        if mask_head is not None:
            self.init_mask_head(mask_roi_extractor, mask_head)
        self.init_assigner_sampler()

    @property
    def with_bbox(self) -> bool:
        return getattr(self, 'bbox_head', None) is not None

    @property
    def with_mask(self) -> bool:
        return getattr(self, 'mask_head', None) is not None

    @property
    def with_shared_head(self) -> bool:
        return getattr(self, 'shared_head', None) is not None

    @abstractmethod
    def init_bbox_head(self, bbox_roi_extractor: dict, bbox_head: dict) -> None:
        """Build the box branch."""

    @abstractmethod
    def init_mask_head(self, mask_roi_extractor: dict | None, mask_head: dict) -> None:
        """Build the mask branch."""

    @abstractmethod
    def init_assigner_sampler(self) -> None:
        """Build what matches proposals with ground truth; there is nothing to build without ``train_cfg``."""

    @abstractmethod
    def forward_train(
        self,
        x: Sequence[Tensor],
        img_metas: list[dict],
        proposal_list: list[Tensor],
        gt_bboxes: list[Tensor],
        gt_labels: list[Tensor],
        gt_bboxes_ignore: list[Tensor] | None = None,
        gt_masks: list | None = None,
    ) -> dict[str, Tensor]:
        """The losses of a batch.

        Args:
            x: the features (N, C, H, W), finest level first.
            img_metas: one dict an image.
            proposal_list: (k, 4) or (k, 5) boxes of each image.
            gt_bboxes: (n, 4) boxes of each image.
            gt_labels: (n,) labels in [0, num_classes).
            gt_bboxes_ignore: (m, 4) regions in which a proposal is neither object nor background.
            gt_masks: the masks of ``gt_bboxes``, ``BitmapMasks`` or ``PolygonMasks`` of each image.
        """

    @abstractmethod
    def simple_test(
        self, x: Sequence[Tensor], proposal_list: list[Tensor], img_metas: list[dict], rescale: bool = False
    ) -> list[Any]:
        """The result of each image: arrays (n, 5) by class, or a pair of them and of masks by class."""

    @abstractmethod
    def aug_test(
        self, x: list[Sequence[Tensor]], proposal_list: list[Tensor], img_metas: list[list[dict]], rescale: bool = False
    ) -> list[Any]:
        """The result of one image from several views of it.

        Args:
            x: the features of each view.
            proposal_list: one tensor of proposals, in pixels of the original image.
            img_metas: over views, over the one image.
        """
