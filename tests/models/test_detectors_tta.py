"""Merging the detections of a dense head over views, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mmdet_clone.boxes.merge import to_original, to_version
from mmdet_clone.models.detectors.tta import aug_test_dense


class OneBoxHead(nn.Module):
    """Finds in each view the boxes that are handed to it as features."""

    test_cfg = dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=2)

    def forward(self, boxes):
        return (boxes,)

    def get_bboxes(self, boxes, img_metas, cfg, rescale, with_nms):
        assert cfg is self.test_cfg and not rescale and not with_nms
        return [(boxes[:, :4], boxes[:, 4], boxes[:, 5].long())]


def meta(scale, **flip):
    size = int(100 * scale)
    factor = np.full(4, scale, np.float32)
    return dict(img_shape=(size, size, 3), scale_factor=factor, **{'flip': False, 'flip_direction': None, **flip})


def rows(*values):
    return torch.tensor(values, dtype=torch.float32).reshape(-1, 6)


def test_boxes_of_all_views_meet_in_the_original_image():
    views = [
        rows([10, 10, 30, 30, 0.6, 1]),
        rows([20, 20, 60, 60, 0.9, 1], [0, 0, 20, 20, 0.5, 1]),  # at double scale: the same box, and another
        rows([70, 10, 90, 30, 0.7, 1], [70, 10, 90, 30, 0.8, 0]),  # mirrored: the same box, and one of class 0
    ]
    metas = [[meta(1)], [meta(2)], [meta(1, flip=True, flip_direction='horizontal')]]
    ((dets, labels),) = aug_test_dense(OneBoxHead(), views, metas, rescale=True)
    expected = [[10, 10, 30, 30, 0.9], [10, 10, 30, 30, 0.8]]  # max_per_img leaves the third out
    torch.testing.assert_close(dets, torch.tensor(expected))
    assert labels.tolist() == [1, 0]


def test_without_rescaling_boxes_are_those_of_the_first_view():
    ((dets, _),) = aug_test_dense(OneBoxHead(), [rows([20, 20, 60, 60, 0.9, 1])], [[meta(2)]])
    assert dets[0, :4].tolist() == [20, 20, 60, 60]


def test_nothing_found_in_any_view():
    ((dets, labels),) = aug_test_dense(OneBoxHead(), [rows(), rows()], [[meta(1)], [meta(2)]], rescale=True)
    assert dets.shape == (0, 5) and labels.shape == (0,)


@pytest.mark.parametrize(
    ('direction', 'expected'),
    [('horizontal', [70, 5, 90, 15]), ('vertical', [10, 85, 30, 95]), ('diagonal', [70, 85, 90, 95])],
)
def test_flips_are_undone(direction, expected):
    box = torch.tensor([[20.0, 10, 60, 30]])
    flipped = meta(2, flip=True, flip_direction=direction)
    assert to_original(box, flipped).tolist() == [expected]
    assert to_version(to_original(box, flipped), flipped).tolist() == box.tolist()
