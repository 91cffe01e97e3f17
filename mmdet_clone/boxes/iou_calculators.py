"""How alike two boxes are, as assigners see it."""

from __future__ import annotations

from torch import Tensor

from mmdet_clone.ops.boxes import bbox_overlaps
from mmdet_clone.registry import IOU_CALCULATORS


@IOU_CALCULATORS.register_module()
class BboxOverlaps2D:
    """Overlaps of boxes in the plane.

    Args:
        scale: divides the coordinates before they are rounded to ``dtype``.
        dtype: ``'fp16'`` rounds coordinates and overlaps to half precision, to save memory; None does not.
    """

    def __init__(self, scale: float = 1.0, dtype: str | None = None) -> None:
        if dtype not in (None, 'fp16'):
            raise ValueError(f"dtype must be None or 'fp16', got {dtype!r}")
        self.scale = scale
        self.dtype = dtype

    def __call__(self, bboxes1: Tensor, bboxes2: Tensor, mode: str = 'iou', is_aligned: bool = False) -> Tensor:
        """Overlaps of (m, 4) and (n, 4) boxes, a fifth column (the score) being ignored.

        Args:
            mode: ``'iou'``, ``'iof'`` or ``'giou'``.

        Returns:
            (m, n), or (m,) if ``is_aligned``.
        """
        bboxes1, bboxes2 = bboxes1[..., :4], bboxes2[..., :4]
        if self.dtype == 'fp16':
            bboxes1, bboxes2 = ((boxes / self.scale).half() for boxes in (bboxes1, bboxes2))
        overlaps = bbox_overlaps(bboxes1, bboxes2, mode, is_aligned)
        return overlaps.half() if self.dtype == 'fp16' else overlaps

    def __repr__(self) -> str:
        return f'{type(self).__name__}(scale={self.scale}, dtype={self.dtype})'
