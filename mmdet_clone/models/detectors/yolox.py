"""YOLOX: Exceeding YOLO Series in 2021, arXiv 2107.08430."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.dist import broadcast
from torch import Tensor

from mmdet_clone.registry import DETECTORS

from .single_stage import SingleStageDetector

__all__ = ['YOLOX']


@DETECTORS.register_module()
class YOLOX(SingleStageDetector):
    """A single stage whose training images are resized, all of a batch alike and on every process, now and then.

    Args:
        backbone, neck, bbox_head, train_cfg, test_cfg, pretrained: as of :class:`SingleStageDetector`.
        input_size: (height, width) of the images that the training pipeline makes.
        size_multiplier: sizes are multiples of this.
        random_size_range: the smallest and largest height in multiples of ``size_multiplier``; both may be drawn.
        random_size_interval: iterations between two draws.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict,
        bbox_head: dict,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        pretrained: str | None = None,
        input_size: Sequence[int] = (640, 640),
        size_multiplier: int = 32,
        random_size_range: Sequence[int] = (15, 25),
        random_size_interval: int = 10,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(backbone, neck, bbox_head, train_cfg, test_cfg, pretrained, init_cfg)
        if len(input_size) != 2 or len(random_size_range) != 2 or random_size_range[0] > random_size_range[1]:
            raise ValueError(
                'YOLOX takes input_size=(height, width) and random_size_range=(smallest, largest), '
                f'got {tuple(input_size)} and {tuple(random_size_range)}'
            )
        self._default_input_size = self._input_size = tuple(input_size)
        self._size_multiplier = size_multiplier
        self._random_size_range = tuple(random_size_range)
        self._random_size_interval = random_size_interval
        self._progress_in_iter = 0

    def forward_train(
        self,
        img: Tensor,
        img_metas: list[dict],
        gt_bboxes: list[Tensor],
        gt_labels: list[Tensor],
        gt_bboxes_ignore: list[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """The head's losses for the batch in the current size; see :class:`SingleStageDetector`."""
        if not self.training:  # losses of validation data
            return super().forward_train(img, img_metas, gt_bboxes, gt_labels, gt_bboxes_ignore)
        img, gt_bboxes = self._in_current_size(img, gt_bboxes)
        losses = super().forward_train(img, img_metas, gt_bboxes, gt_labels, gt_bboxes_ignore)
        self._progress_in_iter += 1
        if self._progress_in_iter % self._random_size_interval == 0:
            self._input_size = self._draw_input_size(img.device)
        return losses

    def _in_current_size(self, img: Tensor, gt_bboxes: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The images (N, 3, H, W) and boxes in the size that was drawn last; at first they are left alone."""
        if self._input_size == self._default_input_size:
            return img, gt_bboxes
        scale_y, scale_x = (now / default for now, default in zip(self._input_size, self._default_input_size))
        img = F.interpolate(img, size=self._input_size, mode='bilinear', align_corners=False)
        scale = img.new_tensor([scale_x, scale_y, scale_x, scale_y])
        return img, [boxes * scale for boxes in gt_bboxes]

    def _draw_input_size(self, device: torch.device) -> tuple[int, int]:
        """A (height, width) in the default's aspect ratio, drawn by rank 0 for all."""
        rows = random.randint(*self._random_size_range)
        height, width = self._default_input_size
        size = torch.tensor([rows, int(width / height * rows)], device=device) * self._size_multiplier
        broadcast(size, src=0)
        return tuple(size.tolist())

    def training_state(self) -> dict:
        """What a resumed training must know beside the weights; a hook puts it into checkpoints."""
        return dict(input_size=list(self._input_size), progress_in_iter=self._progress_in_iter)

    def load_training_state(self, state: dict) -> None:
        """Go on from ``training_state``."""
        self._input_size, self._progress_in_iter = tuple(state['input_size']), state['progress_in_iter']
