"""The assignment of "YOLOX" (arXiv 2107.08430), Sec. 2.1: a simplified "OTA" (arXiv 2103.14259).

P: priors   G: ground truths   M: candidates, the priors that lie in or near a ground truth   C: classes
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdet_clone.boxes.assigners.assign_result import AssignResult
from mmdet_clone.boxes.assigners.base import BaseAssigner
from mmdet_clone.ops.boxes import bbox_overlaps
from mmdet_clone.registry import BBOX_ASSIGNERS

FAR = 100000.0  # what it costs to be outside of the box or of its middle; also the overlap of what is not positive


@BBOX_ASSIGNERS.register_module()
class SimOTAAssigner(BaseAssigner):
    """Each ground truth takes the few predictions that fit it best; how many depends on how well they overlap it.

    Args:
        center_radius: the middle of a ground truth reaches so many strides from its centre.
        candidate_topk: the best overlaps whose sum is the number of predictions to take.
        iou_weight, cls_weight: of the two parts of the cost.
    """

    def __init__(
        self,
        center_radius: float = 2.5,
        candidate_topk: int = 10,
        iou_weight: float = 3.0,
        cls_weight: float = 1.0,
    ) -> None:
        self.center_radius = center_radius
        self.candidate_topk = candidate_topk
        self.iou_weight = iou_weight
        self.cls_weight = cls_weight

    @torch.no_grad()
    def assign(
        self,
        pred_scores: Tensor,
        priors: Tensor,
        decoded_bboxes: Tensor,
        gt_bboxes: Tensor,
        gt_labels: Tensor,
        gt_bboxes_ignore: Tensor | None = None,
        eps: float = 1e-7,
    ) -> AssignResult:
        """Assign the predictions of one image.

        Args:
            pred_scores: (P, C) probabilities.
            priors: (P, 4) x, y of the cell's middle and its strides.
            decoded_bboxes: (P, 4) predicted boxes.
            gt_bboxes, gt_labels: (G, 4) and (G,).
            gt_bboxes_ignore: not looked at.
            eps: keeps the logarithm of an overlap finite.

        Returns:
            ``max_overlaps`` is the overlap of a positive prior with its own ground truth, -100000 for the others.
        """
        num_gts, num_priors = len(gt_bboxes), len(decoded_bboxes)
        gt_inds = torch.zeros(num_priors, dtype=torch.long, device=decoded_bboxes.device)
        labels = torch.full_like(gt_inds, -1)
        in_boxes, in_centers = inside_boxes(priors, gt_bboxes), near_centers(priors, gt_bboxes, self.center_radius)
        candidates = (in_boxes | in_centers).any(1).nonzero().squeeze(1)  # (M,)
        if len(candidates) == 0:
            return AssignResult(num_gts, gt_inds, decoded_bboxes.new_zeros(num_priors), labels)

        overlaps = bbox_overlaps(decoded_bboxes[candidates], gt_bboxes)  # (M, G)
        cost = (
            classification_cost(pred_scores[candidates], gt_labels) * self.cls_weight
            - torch.log(overlaps + eps) * self.iou_weight
            + ~(in_boxes & in_centers)[candidates] * FAR
        )
        matching = dynamic_k_matching(cost, overlaps, self.candidate_topk)
        positive = matching.any(1)
        matched = matching[positive].int().argmax(1)
        max_overlaps = torch.full((num_priors,), -FAR, device=decoded_bboxes.device)
        max_overlaps[candidates[positive]] = overlaps[positive].gather(1, matched[:, None]).squeeze(1).float()
        gt_inds[candidates[positive]] = matched + 1
        labels[candidates[positive]] = gt_labels[matched].long()
        return AssignResult(num_gts, gt_inds, max_overlaps, labels)


def inside_boxes(points: Tensor, boxes: Tensor) -> Tensor:
    """(P, G) bool: which points (P, >=2) lie in which boxes (G, 4)."""
    x, y = points[:, 0, None], points[:, 1, None]
    return (x > boxes[:, 0]) & (y > boxes[:, 1]) & (x < boxes[:, 2]) & (y < boxes[:, 3])


def near_centers(priors: Tensor, boxes: Tensor, radius: float) -> Tensor:
    """(P, G) bool: which priors (P, 4) lie less than ``radius`` of their strides from the centre of which boxes."""
    reach = radius * priors[:, None, 2:]  # (P, 1, 2)
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2.0
    return ((priors[:, None, :2] > centers - reach) & (priors[:, None, :2] < centers + reach)).all(-1)


def classification_cost(scores: Tensor, labels: Tensor) -> Tensor:
    """(M, G) binary cross entropy, summed over classes, of ``sqrt(scores)`` (M, C) with each ground truth's class.

    The classes that are not the ground truth's cost the same for all of them, so they are summed once.
    """
    scores = scores.float().sqrt()
    absent = F.binary_cross_entropy(scores, torch.zeros_like(scores), reduction='none')
    own = scores[:, labels]
    present = F.binary_cross_entropy(own, torch.ones_like(own), reduction='none')
    return absent.sum(1, keepdim=True) - absent[:, labels] + present


def dynamic_k_matching(cost: Tensor, overlaps: Tensor, candidate_topk: int) -> Tensor:
    """(M, G) bool, at most one a row: for each ground truth the k cheapest candidates.

    k is the sum of the ``candidate_topk`` best overlaps, rounded down, at least 1. A candidate that several ground
    truths take goes to the one that it costs least.

    Args:
        cost, overlaps: (M, G).
    """
    most = min(candidate_topk, len(cost))
    ks = overlaps.topk(most, dim=0).values.sum(0).int().clamp(min=1)  # (G,), at most ``most``
    cheapest = cost.topk(most, dim=0, largest=False).indices  # (most, G)
    taken = torch.arange(most, device=cost.device)[:, None] < ks
    matching = torch.zeros_like(cost, dtype=torch.bool).scatter_(0, cheapest, taken)
    contested = matching.sum(1, keepdim=True) > 1
    least = F.one_hot(cost.argmin(1), cost.shape[1]).bool()
    return torch.where(contested, least, matching)
