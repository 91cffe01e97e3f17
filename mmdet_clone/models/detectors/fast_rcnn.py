"""Fast R-CNN."""

from __future__ import annotations

from torch import Tensor

from mmdet_clone.boxes.merge import to_original

from ..builder import DETECTORS
from .two_stage import TwoStageDetector

__all__ = ['FastRCNN']


@DETECTORS.register_module()
class FastRCNN(TwoStageDetector):
    """ "Fast R-CNN" (arXiv 1504.08083): the proposals come with the batch."""

    def __init__(
        self,
        backbone: dict,
        roi_head: dict,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        neck: dict | None = None,
        pretrained: str | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(
            backbone=backbone,
            neck=neck,
            roi_head=roi_head,
            train_cfg=train_cfg,
            test_cfg=test_cfg,
            pretrained=pretrained,
            init_cfg=init_cfg,
        )

    def aug_test(
        self,
        imgs: list[Tensor],
        img_metas: list[list[dict]],
        proposals: list[list[Tensor]],
        rescale: bool = False,
    ) -> list:
        """The result of one image from several views, on the proposals of the first view.

        Args:
            proposals: over views, over the one image: the same boxes (k, 4 or more) in pixels of each view.
        """
        original = to_original(proposals[0][0][:, :4], img_metas[0][0])
        return self.roi_head.aug_test(self.extract_feats(imgs), [original], img_metas, rescale=rescale)
