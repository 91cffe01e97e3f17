"""Samples drawn evenly, as "Faster R-CNN" does (arXiv:1506.01497)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmdet_clone.boxes.assigners.assign_result import AssignResult
from mmdet_clone.boxes.samplers.base import BaseSampler
from mmdet_clone.registry import BBOX_SAMPLERS


@BBOX_SAMPLERS.register_module()
class RandomSampler(BaseSampler):
    """Draws without replacement from torch's generator; takes all where there are no more than asked for."""

    def random_choice(self, gallery: Tensor | np.ndarray | Sequence[int], num: int) -> Tensor | np.ndarray:
        """``num`` elements of ``gallery``, in random order; an array for a list or an array."""
        if len(gallery) < num:
            raise ValueError(f'cannot draw {num} of {len(gallery)} elements')
        is_tensor = isinstance(gallery, Tensor)
        elements = gallery if is_tensor else torch.as_tensor(gallery)
        # drawn on the CPU, so that a seed gives the same samples on every device
        chosen = elements[torch.randperm(elements.numel())[:num].to(elements.device)]
        return chosen if is_tensor else chosen.numpy()

    def _sample_pos(self, assign_result: AssignResult, num_expected: int, **kwargs: Any) -> Tensor:
        return self._draw(assign_result.gt_inds > 0, num_expected)

    def _sample_neg(self, assign_result: AssignResult, num_expected: int, **kwargs: Any) -> Tensor:
        return self._draw(assign_result.gt_inds == 0, num_expected)

    def _draw(self, eligible: Tensor, num_expected: int) -> Tensor:
        inds = eligible.nonzero().squeeze(1)
        return inds if inds.numel() <= num_expected else self.random_choice(inds, num_expected)
