"""What every box coder offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor


class BaseBBoxCoder(ABC):
    """Encodes boxes relative to others, and decodes predictions."""

    @abstractmethod
    def encode(self, bboxes: Tensor, gt_bboxes: Tensor) -> Tensor:
        """Regression targets that take ``bboxes`` to ``gt_bboxes``."""

    @abstractmethod
    def decode(self, bboxes: Tensor, pred_bboxes: Tensor, *args: Any) -> Tensor:
        """Boxes that the predictions relative to ``bboxes`` stand for."""
