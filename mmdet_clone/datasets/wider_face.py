"""WIDER FACE."""

from __future__ import annotations

import os.path as osp
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..registry import DATASETS
from .xml_style import VOCFile, XMLDataset


@DATASETS.register_module()
class WIDERFaceDataset(XMLDataset):
    """Faces of WIDER FACE (Yang et al., arXiv:1511.06523) as Pascal VOC xml.

    ``img_prefix`` holds ``Annotations/<name>.xml``; an image lies in the folder that its xml names (``0--Parade``),
    which is in ``img_prefix`` or in ``img_prefix/images``, as the data set is unpacked.
    """

    CLASSES = ('face',)
    PALETTE = [(0, 255, 0)]
    METRICS = (*XMLDataset.METRICS, 'wider')

    def _image_file(self, img_id: str, annotation: VOCFile) -> str:
        filename = osp.join(annotation.folder, f'{img_id}.jpg')
        unpacked = osp.join('images', filename)
        is_there = [osp.isfile(osp.join(self.img_prefix, name)) for name in (filename, unpacked)]
        return unpacked if is_there == [False, True] else filename

    def evaluate(
        self,
        results: list,
        metric: str | Sequence[str] = 'mAP',
        logger: Any = None,
        proposal_nums: Sequence[int] = (100, 300, 1000),
        iou_thr: float | Sequence[float] = 0.5,
        scale_ranges: Sequence[tuple[float, float]] | None = None,
        gt_dir: str | None = None,
    ) -> OrderedDict[str, float]:
        """``'mAP'``, ``'recall'`` (see ``CustomDataset.evaluate``) or ``'wider'``.

        ``'wider'`` is the official measure: ``easy_AP``, ``medium_AP`` and ``hard_AP`` over the images that the data
        set holds, as the benchmark's ``eval_tools`` take them.

        Args:
            gt_dir: for ``'wider'``, the folder ``eval_tools/ground_truth`` with ``wider_face_val.mat`` and
                ``wider_{easy,medium,hard}_val.mat``.
        """
        if metric not in ('wider', ['wider'], ('wider',)):
            return super().evaluate(results, metric, logger, proposal_nums, iou_thr, scale_ranges)
        from ..evaluation.wider_face import evaluate_wider, read_ground_truth

        self._check_results(results)
        if np.size(iou_thr) != 1:
            raise ValueError(f"metric='wider' takes one iou_thr, got {iou_thr}")
        truths = read_ground_truth(gt_dir)
        faces = [result[0] if isinstance(result, list | tuple) else result for result in results]
        names = [osp.splitext(osp.basename(info['filename']))[0] for info in self.data_infos]
        return evaluate_wider(dict(zip(names, faces, strict=True)), truths, float(np.ravel(iou_thr)[0]), logger)
