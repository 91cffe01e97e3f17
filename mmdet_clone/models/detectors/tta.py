"""Test-time augmentation: the results for several resized and flipped views of one image, merged.

A view is the image as the test pipeline's ``MultiScaleFlipAug`` gives it; its meta tells how it was made.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmdet_clone.boxes import finish_detections
from mmdet_clone.boxes.merge import to_original

__all__ = ['aug_test_dense']


def aug_test_dense(
    head: nn.Module, feats: Sequence[Sequence[Tensor]], img_metas: list[list[dict]], rescale: bool = False
) -> list[tuple[Tensor, Tensor]]:
    """The detections of a dense head: candidates of all views go through one NMS.

    Args:
        head: with ``forward``, ``get_bboxes`` (``with_nms=False``) and ``test_cfg``.
        feats: the features of each view.
        img_metas: over views, over the one image.
        rescale: give boxes in pixels of the original image, else of the first view, unflipped.

    Returns:
        One pair: boxes (k, 5) and labels (k,).
    """
    candidates = []
    for x, metas in zip(feats, img_metas):
        outs = head(x)
        bboxes, scores, labels = head.get_bboxes(
            *outs, img_metas=metas, cfg=head.test_cfg, rescale=False, with_nms=False
        )[0]
        candidates.append((to_original(bboxes, metas[0]), scores, labels))
    bboxes, scores, labels = (torch.cat(columns) for columns in zip(*candidates))
    dets, labels = finish_detections(bboxes, scores, labels, head.test_cfg)
    if not rescale:
        scale = dets.new_tensor(img_metas[0][0]['scale_factor'])
        dets = torch.cat([dets[:, :4] * scale, dets[:, 4:]], dim=1)
    return [(dets, labels)]
