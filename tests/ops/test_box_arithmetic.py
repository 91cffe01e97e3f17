from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision

from mmdet_clone.ops import (
    bbox2distance,
    bbox2roi,
    bbox_cxcywh_to_xyxy,
    bbox_flip,
    bbox_mapping,
    bbox_mapping_back,
    bbox_overlaps,
    bbox_rescale,
    bbox_xyxy_to_cxcywh,
    clip_boxes,
    distance2bbox,
    find_inside_bboxes,
    flatten_levels,
    roi2bbox,
)


def random_boxes(*shape: int, size: float = 100) -> torch.Tensor:
    corner = torch.rand(*shape, 2) * size
    return torch.cat((corner, corner + torch.rand(*shape, 2) * size + 1), -1)


def test_overlaps_by_hand():
    a = torch.tensor([[0.0, 0, 10, 10]])
    b = torch.tensor([[5.0, 5, 15, 15], [0, 0, 10, 10], [20, 20, 30, 30]])
    assert bbox_overlaps(a, b).tolist()[0] == pytest.approx([25 / 175, 1, 0])
    assert bbox_overlaps(a, b, 'iof').tolist()[0] == pytest.approx([0.25, 1, 0])
    # hulls: 15 x 15, 10 x 10, 30 x 30
    assert bbox_overlaps(a, b, 'giou').tolist()[0] == pytest.approx([25 / 175 - 50 / 225, 1, -700 / 900])


@pytest.mark.parametrize('mode, peer', [('iou', 'box_iou'), ('giou', 'generalized_box_iou')])
def test_overlaps_agree_with_torchvision(mode, peer):
    a, b = random_boxes(7), random_boxes(5)
    torch.testing.assert_close(bbox_overlaps(a, b, mode), getattr(torchvision.ops, peer)(a, b))


@pytest.mark.parametrize('mode', ['iou', 'iof', 'giou'])
def test_aligned_overlaps_are_the_diagonal_of_all_pairs(mode):
    a, b = random_boxes(2, 6), random_boxes(2, 6)
    pairs = bbox_overlaps(a, b, mode)
    assert pairs.shape == (2, 6, 6)
    torch.testing.assert_close(bbox_overlaps(a, b, mode, is_aligned=True), pairs.diagonal(dim1=1, dim2=2))


def test_overlaps_of_no_boxes_have_the_right_shape():
    a, none = random_boxes(3), torch.zeros(0, 4)
    assert bbox_overlaps(a, none).shape == (3, 0)
    assert bbox_overlaps(none, a).shape == (0, 3)
    assert bbox_overlaps(none, none, is_aligned=True).shape == (0,)


def test_overlaps_of_a_point_with_itself_are_finite():
    point = torch.tensor([[3.0, 3, 3, 3]])
    assert bbox_overlaps(point, point).item() == 0
    assert bbox_overlaps(point, point, 'giou').isfinite().all()


def test_overlaps_of_half_precision_boxes_are_made_in_single_precision():
    a, b = random_boxes(4).bfloat16(), random_boxes(4).bfloat16()
    out = bbox_overlaps(a, b)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, bbox_overlaps(a.float(), b.float()), rtol=0, atol=0)


def test_overlaps_carry_gradients():
    a = random_boxes(3).double().requires_grad_()
    b = random_boxes(3).double()
    assert torch.autograd.gradcheck(lambda x: bbox_overlaps(x, b, 'giou', is_aligned=True), (a,))


@pytest.mark.parametrize(
    'args, kwargs, words',
    [
        ((torch.zeros(2, 5), torch.zeros(2, 4)), {}, 'bboxes1 of shape'),
        ((torch.zeros(2, 4), torch.zeros(3, 4)), dict(is_aligned=True), '2 and 3'),
        ((torch.zeros(2, 4), torch.zeros(3, 4)), dict(mode='diou'), "got 'diou'"),
    ],
)
def test_overlaps_refuse_what_they_cannot_mean(args, kwargs, words):
    with pytest.raises(ValueError, match=words):
        bbox_overlaps(*args, **kwargs)


def test_centre_form_round_trip():
    boxes = random_boxes(9)
    torch.testing.assert_close(bbox_cxcywh_to_xyxy(bbox_xyxy_to_cxcywh(boxes)), boxes)
    assert bbox_xyxy_to_cxcywh(torch.tensor([2.0, 4, 8, 6])).tolist() == [5, 5, 6, 2]


def test_rois_carry_the_image_index_and_come_apart_again():
    first, second = random_boxes(2), random_boxes(3)
    rois = bbox2roi([first, torch.zeros(0, 4), torch.cat((second, torch.ones(3, 1)), 1)])
    assert rois[:, 0].tolist() == [0, 0, 2, 2, 2]
    back = roi2bbox(rois)
    assert len(back) == 2
    assert torch.equal(back[0], first)
    assert torch.equal(back[1], second)
    assert bbox2roi([torch.zeros(0, 4)]).shape == bbox2roi([torch.zeros(0)]).shape == (0, 5)


@pytest.mark.parametrize(
    'direction, expected',
    [('horizontal', [70, 5, 90, 25]), ('vertical', [10, 25, 30, 45]), ('diagonal', [70, 25, 90, 45])],
)
def test_flip_by_hand_and_back(direction, expected):
    box = torch.tensor([[10.0, 5, 30, 25]])
    flipped = bbox_flip(box, (50, 100, 3), direction)
    assert flipped.tolist() == [expected]
    assert torch.equal(bbox_flip(flipped, (50, 100), direction), box)
    assert box.tolist() == [[10, 5, 30, 25]]


def test_flip_treats_each_box_of_a_row():
    row = torch.tensor([[10.0, 5, 30, 25, 0, 0, 1, 2]])
    assert bbox_flip(row, (50, 100)).tolist() == [[70, 5, 90, 25, 99, 0, 100, 2]]
    with pytest.raises(ValueError, match='direction'):
        bbox_flip(row, (50, 100), 'sideways')


@pytest.mark.parametrize('flip', [False, True])
def test_mapping_to_a_version_of_the_image_and_back(flip):
    boxes, scale = random_boxes(4), np.array([2.0, 3.0, 2.0, 3.0], np.float32)
    there = bbox_mapping(boxes, (600, 400), scale, flip)
    if not flip:
        torch.testing.assert_close(there, boxes * torch.tensor(scale))
    torch.testing.assert_close(bbox_mapping_back(there, (600, 400), scale, flip), boxes)


def test_distances_round_trip_and_clip():
    points, boxes = torch.tensor([[20.0, 30.0]]), torch.tensor([[10.0, 5, 60, 45]])
    distance = bbox2distance(points, boxes)
    assert distance.tolist() == [[10, 25, 40, 15]]
    assert distance2bbox(points, distance).tolist() == boxes.tolist()
    assert distance2bbox(points, distance, max_shape=(40, 50)).tolist() == [[10, 5, 50, 40]]
    assert bbox2distance(points, boxes, max_dis=20, eps=0.5).tolist() == [[10, 19.5, 19.5, 15]]


def test_clip_takes_one_shape_or_one_for_each_image():
    boxes = torch.tensor([[[-5.0, -5, 50, 60, 1, 2, 3, 400]], [[-5, -5, 50, 60, 1, 2, 3, 400]]])
    assert clip_boxes(boxes, (20, 30, 3))[0, 0].tolist() == [0, 0, 30, 20, 1, 2, 3, 20]
    expected = [[0, 0, 30, 20, 1, 2, 3, 20], [0, 0, 40, 55, 1, 2, 3, 55]]
    for shapes in ([(20, 30, 3), (55, 40, 3)], torch.tensor([[20, 30], [55, 40]])):
        assert clip_boxes(boxes, shapes)[:, 0].tolist() == expected
    assert clip_boxes(boxes[0], torch.tensor([20, 30]))[0].tolist() == expected[0]
    assert clip_boxes(boxes, None) is boxes
    assert clip_boxes(torch.zeros(0, 8), (20, 30)).shape == (0, 8)
    with pytest.raises(ValueError, match='3 image shapes'):
        clip_boxes(boxes, torch.ones(3, 2))


def test_rescale_grows_boxes_about_their_centres():
    assert bbox_rescale(torch.tensor([[10.0, 10, 20, 30]]), 2).tolist() == [[5, 0, 25, 40]]
    assert bbox_rescale(torch.tensor([[3.0, 10, 10, 20, 30]]), 0.5).tolist() == [[3, 12.5, 15, 17.5, 25]]


def test_inside_means_touching_the_image():
    boxes = torch.tensor([[-5.0, -5, 1, 1], [-5, -5, 0, 5], [50, 0, 60, 5], [49, 39, 60, 50]])
    assert find_inside_bboxes(boxes, 40, 50).tolist() == [True, False, False, True]


def test_flattened_maps_run_over_level_y_x_prior():
    maps = [torch.arange(2 * 6 * 2 * 3.0).reshape(2, 6, 2, 3), torch.zeros(2, 6, 1, 1)]
    flat = flatten_levels(maps, 3)  # two priors of three channels
    assert flat.shape == (2, 2 * 3 * 2 + 2, 3)
    y, x, prior = 1, 2, 1
    assert torch.equal(flat[1, (y * 3 + x) * 2 + prior], maps[0][1, 3:6, y, x])
