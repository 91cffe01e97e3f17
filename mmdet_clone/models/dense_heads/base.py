"""What heads that predict at every position have in common.

Legend:
    N: images in the batch    L: feature levels    A: priors per position    C: classification channels
    P: priors over all levels, in the order (level, y, x, prior)
"""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor

from mmdet_clone.boxes import PostprocessConfig, finish_detections, select_per_level
from mmdet_clone.ops.levels import flatten_levels

from .older_steps import refuse_uncalled_steps

__all__ = ['BaseDenseHead']


class BaseDenseHead(BaseModule):
    """The recipe of a dense head.

    A head defines ``forward(feats)``, whose outputs are lists over levels, and ``loss(*outs, gt_bboxes, gt_labels,
    img_metas, gt_bboxes_ignore)``. A head that sets ``prior_generator``, ``bbox_coder``, ``cls_out_channels``,
    ``use_sigmoid_cls`` and ``test_cfg`` can use ``get_bboxes`` as it is.
    """

    test_cfg: dict | None = None

    def __init__(self, init_cfg: dict | list | None = None) -> None:
        super().__init__(init_cfg)
        refuse_uncalled_steps(self)

    def loss(self, *outs_and_targets: object) -> dict[str, Tensor]:
        """Losses by name from the outputs of ``forward`` and the ground truth."""
        raise NotImplementedError(f'{type(self).__name__} defines no loss()')

    def forward_train(
        self,
        x: Sequence[Tensor],
        img_metas: list[dict],
        gt_bboxes: list[Tensor],
        gt_labels: list[Tensor] | None = None,
        gt_bboxes_ignore: list[Tensor] | None = None,
        proposal_cfg: dict | None = None,
    ) -> dict[str, Tensor] | tuple[dict[str, Tensor], list]:
        """The losses of a batch, and with ``proposal_cfg`` the boxes that ``get_bboxes`` finds by it.

        Args:
            x: the features of each level.
            gt_bboxes: (n, 4) x1y1x2y2 in pixels of the batch, for each image.
            gt_labels: (n,) in 0..K-1, for each image; without them ``loss`` is called without.
            gt_bboxes_ignore: (m, 4), boxes that are neither objects nor background.
        """
        outs = self(x)
        ground_truth = (gt_bboxes, img_metas) if gt_labels is None else (gt_bboxes, gt_labels, img_metas)
        losses = self.loss(*outs, *ground_truth, gt_bboxes_ignore=gt_bboxes_ignore)
        if proposal_cfg is None:
            return losses
        return losses, self.get_bboxes(*outs, img_metas=img_metas, cfg=proposal_cfg)

    def simple_test(self, feats: Sequence[Tensor], img_metas: list[dict], rescale: bool = False) -> list:
        """``get_bboxes`` of what ``forward`` makes of the features."""
        return self.get_bboxes(*self(feats), img_metas=img_metas, rescale=rescale)

    def get_bboxes(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        score_factors: list[Tensor] | None = None,
        img_metas: list[dict] | None = None,
        cfg: dict | None = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> list:
        """Predictions -> the boxes of each image.

        Args:
            cls_scores: (N, A * C, H, W) of each level, before sigmoid or softmax.
            bbox_preds: (N, A * 4, H, W) of each level.
            score_factors: (N, A, H, W) of each level, before the sigmoid: centerness and its like.
            cfg: in place of ``test_cfg``; see :class:`mmdet_clone.boxes.PostprocessConfig`.
            rescale: give boxes in pixels of the original image.
            with_nms: whether to suppress duplicates.

        Returns:
            For each image detections (k, 5) ``x1, y1, x2, y2, score``, best first, and labels (k,);
            without NMS boxes (M, 4), scores (M,) and labels (M,).
        """
        cfg = self._postprocess_config(cfg)
        sizes, device = [scores.shape[-2:] for scores in cls_scores], cls_scores[0].device
        priors = self.prior_generator.grid_priors(sizes, device=device)
        scores = [self._probabilities(_rows(level, self.cls_out_channels)) for level in cls_scores]  # L x (N, P, C)
        fields = [[_rows(level, 4) for level in bbox_preds]]
        if score_factors is not None:
            fields.append([_rows(level, 1).squeeze(-1).sigmoid() for level in score_factors])
        results = []
        for i, meta in enumerate(img_metas):
            fields_of_image = [priors, *([level[i] for level in field] for field in fields)]
            scores_of_image = [level[i] for level in scores]
            results.append(self._image_boxes(scores_of_image, fields_of_image, meta, cfg, rescale, with_nms))
        return results

    def _postprocess_config(self, cfg: dict | None) -> PostprocessConfig:
        cfg = self.test_cfg if cfg is None else cfg
        if cfg is None:
            raise ValueError(
                f'{type(self).__name__} was built without a test_cfg, so it does not know which boxes to keep: '
                'give one in the config of the model, or pass cfg'
            )
        return PostprocessConfig.from_cfg(cfg)

    def _probabilities(self, scores: Tensor) -> Tensor:
        """Scores (..., C) -> probabilities (..., K), without the background's."""
        return scores.sigmoid() if self.use_sigmoid_cls else scores.softmax(-1)[..., :-1]

    def _image_boxes(
        self,
        scores: list[Tensor],
        fields: list[list[Tensor]],
        img_meta: dict,
        cfg: PostprocessConfig,
        rescale: bool,
        with_nms: bool,
    ) -> tuple[Tensor, ...]:
        """The boxes of one image.

        Args:
            scores: probabilities (P, K) of each level.
            fields: priors (P, 4), deltas (P, 4) and maybe score factors (P,) of each level.
        """
        picked = select_per_level(scores, cfg, *fields)
        priors, deltas, *factors = picked.fields
        boxes = self.bbox_coder.decode(priors, deltas, max_shape=img_meta['img_shape'])
        scale_factor = img_meta['scale_factor'] if rescale else None
        return finish_detections(boxes, picked.scores, picked.labels, cfg, scale_factor, *factors, with_nms=with_nms)


def _rows(level: Tensor, channels: int) -> Tensor:
    """(N, A * channels, H, W) -> (N, P, channels) in float32, for results: nothing flows back from them."""
    return flatten_levels([level.detach()], channels).float()
