from __future__ import annotations

import mmcv
import numpy as np
import pytest
import torch
from torchvision.ops import masks_to_boxes
from torchvision.transforms.v2 import functional as F

from mmdet_clone.structures import BitmapMasks, PolygonMasks, polygon_to_bitmap

SQUARE = np.array([2.0, 1, 6, 1, 6, 4, 2, 4])  # x 2..6, y 1..4 on a canvas of 10 x 8
TRIANGLE = np.array([0.0, 0, 4, 0, 0, 4])
KINDS = pytest.mark.parametrize('kind', ['bitmap', 'polygon'])


def square_masks(kind: str) -> BitmapMasks | PolygonMasks:
    polygons = PolygonMasks([[SQUARE]], height=8, width=10)
    return polygons.to_bitmap() if kind == 'bitmap' else polygons


def no_masks(kind: str) -> BitmapMasks | PolygonMasks:
    return (BitmapMasks if kind == 'bitmap' else PolygonMasks)([], 8, 10)


@KINDS
def test_a_square_keeps_its_box_and_area_in_every_form(kind):
    masks = square_masks(kind)
    assert masks.get_bboxes().tolist() == [[2, 1, 6, 4]]
    assert masks.areas.tolist() == [12]
    assert masks.to_ndarray().shape == (1, 8, 10)
    assert masks.to_ndarray()[0, 1:4, 2:6].all() and masks.to_ndarray().sum() == 12


@KINDS
@pytest.mark.parametrize(
    ('move', 'box', 'canvas'),
    [
        (lambda m: m.flip(), [4, 1, 8, 4], (8, 10)),
        (lambda m: m.flip('vertical'), [2, 4, 6, 7], (8, 10)),
        (lambda m: m.flip('diagonal'), [4, 4, 8, 7], (8, 10)),
        (lambda m: m.resize((16, 30)), [6, 2, 18, 8], (16, 30)),
        (lambda m: m.rescale((20, 20)), [4, 2, 12, 8], (16, 20)),
        (lambda m: m.rescale(2.0), [4, 2, 12, 8], (16, 20)),
        (lambda m: m.pad((9, 16)), [2, 1, 6, 4], (9, 16)),
        (lambda m: m.crop(np.array([1, 1, 9, 8])), [1, 0, 5, 3], (7, 8)),
        (lambda m: m.crop(np.array([3, 2, 20, 20])), [0, 0, 3, 2], (6, 7)),
        (lambda m: m.expand(20, 22, 5, 7), [9, 6, 13, 9], (20, 22)),
        (lambda m: m.translate((8, 10), 3), [5, 1, 9, 4], (8, 10)),
        (lambda m: m.translate((8, 10), -1, 'vertical'), [2, 0, 6, 3], (8, 10)),
        (lambda m: m.translate((8, 10), 6), [8, 1, 10, 4], (8, 10)),
    ],
)
def test_a_square_moves_as_calculated_by_hand(kind, move, box, canvas):
    masks = square_masks(kind)
    moved = move(masks)
    assert type(moved) is type(masks)
    assert (moved.height, moved.width) == canvas == moved.to_ndarray().shape[1:]
    assert moved.get_bboxes().tolist() == [box]
    assert moved.areas.tolist() == [(box[2] - box[0]) * (box[3] - box[1])]
    assert masks.get_bboxes().tolist() == [[2, 1, 6, 4]]  # the original stays


@KINDS
def test_a_quarter_turn_clockwise_takes_the_top_edge_to_the_right(kind):
    masks = PolygonMasks([[np.array([2.0, 0, 7, 0, 7, 3, 2, 3])]], 9, 9)
    masks = masks.to_bitmap() if kind == 'bitmap' else masks
    turned = masks.rotate((9, 9), 90).to_ndarray()[0]
    expected = np.rot90(masks.to_ndarray()[0], k=-1)
    assert (turned != expected).sum() <= (0 if kind == 'bitmap' else 16)  # the centre of pixels is (w - 1) / 2


@KINDS
def test_shear_moves_each_row_by_its_height(kind):
    masks = PolygonMasks([[np.array([0.0, 0, 4, 0, 4, 10, 0, 10])]], 10, 20)
    masks = masks.to_bitmap() if kind == 'bitmap' else masks
    sheared = masks.shear((10, 20), 0.5).to_ndarray()[0]
    starts = [int(np.flatnonzero(row)[0]) for row in sheared]
    assert np.abs(np.array(starts) - 0.5 * np.arange(10)).max() <= 1


@KINDS
@pytest.mark.parametrize(
    ('move', 'canvas'),
    [
        (lambda m: m.flip(), (8, 10)),
        (lambda m: m.resize((16, 30)), (16, 30)),
        (lambda m: m.rescale((20, 20)), (16, 20)),
        (lambda m: m.pad((9, 16)), (9, 16)),
        (lambda m: m.crop(np.array([1, 1, 9, 8])), (7, 8)),
        (lambda m: m.expand(20, 22, 5, 7), (20, 22)),
        (lambda m: m.translate((8, 10), 3), (8, 10)),
        (lambda m: m.shear((8, 10), 0.1), (8, 10)),
        (lambda m: m.rotate((8, 10), 30), (8, 10)),
        (lambda m: m.crop_and_resize(np.zeros((0, 4)), (28, 28), np.zeros(0, int)), (28, 28)),
        (lambda m: m[[]], (8, 10)),
    ],
)
def test_an_image_without_instances_passes_every_method(kind, move, canvas):
    moved = move(no_masks(kind))
    assert len(moved) == 0
    assert moved.to_ndarray().shape == (0, *canvas)
    assert moved.to_tensor(torch.uint8, 'cpu').shape == (0, *canvas)
    assert moved.get_bboxes().shape == (0, 4) and moved.areas.shape == (0,)


@KINDS
def test_an_empty_mask_has_no_area_and_a_zero_box(kind):
    masks = PolygonMasks([[], [SQUARE]], 8, 10)
    masks = masks.to_bitmap() if kind == 'bitmap' else masks
    assert masks.areas.tolist() == [0, 12]
    assert masks.get_bboxes().tolist() == [[0, 0, 0, 0], [2, 1, 6, 4]]
    assert masks.flip().resize((4, 5)).to_ndarray()[0].sum() == 0


@KINDS
def test_crop_leaves_nothing_of_an_instance_outside(kind):
    cropped = square_masks(kind).crop(np.array([7, 5, 10, 8]))
    assert len(cropped) == 1 and cropped.areas.tolist() == [0]
    assert cropped.get_bboxes().tolist() == [[0, 0, 0, 0]]


@KINDS
def test_a_crop_of_no_size_keeps_one_pixel(kind):
    assert square_masks(kind).crop(np.array([3, 2, 3, 2])).to_ndarray().shape == (1, 1, 1)
    assert square_masks(kind).crop(np.array([10, 8, 12, 9])).to_ndarray().shape == (1, 1, 1)


def test_what_is_cropped_away_from_a_polygon_does_not_come_back_with_padding():
    padded = PolygonMasks([[SQUARE]], 8, 10).crop(np.array([0, 0, 4, 3])).pad((8, 10))
    assert padded.get_bboxes().tolist() == [[2, 1, 4, 3]]
    assert padded.to_ndarray().sum() == 4


def test_crop_cuts_a_concave_polygon_in_two_with_the_right_area():
    # a U of arms 2 wide: cutting its bottom (y > 6) off leaves both arms, 2 x 6 each
    u = np.array([0.0, 0, 2, 0, 2, 8, 6, 8, 6, 0, 8, 0, 8, 10, 0, 10])
    cropped = PolygonMasks([[u]], 12, 12).crop(np.array([0, 0, 12, 6]))
    assert cropped.areas.tolist() == [24]
    assert cropped.to_ndarray()[0, :, 2:6].sum() == 0


@pytest.mark.parametrize('seed', range(5))
def test_cropping_polygons_and_their_bitmaps_agrees_but_for_pixels_on_the_outline(seed):
    polygons = PolygonMasks.random(3, 48, 64, rng=np.random.RandomState(seed))
    box = np.array([13, 9, 40, 33])
    as_polygon, as_bitmap = polygons.crop(box).to_ndarray(), polygons.to_bitmap().crop(box).to_ndarray()
    assert as_polygon.shape == as_bitmap.shape
    assert (as_polygon != as_bitmap).mean() < 0.01


def test_an_instance_of_several_parts_is_their_union():
    masks = PolygonMasks([[SQUARE, TRIANGLE + 3, SQUARE]], 8, 10)
    alone = polygon_to_bitmap([TRIANGLE + 3], 8, 10) | polygon_to_bitmap([SQUARE], 8, 10)
    assert (masks.to_ndarray()[0].astype(bool) == alone).all()
    assert masks.areas.tolist() == [12 + 8 + 12]  # of the parts, overlap counted twice as in COCO's area
    assert masks.flip().to_ndarray().sum() == alone.sum()


@pytest.mark.parametrize('direction', ['horizontal', 'vertical', 'diagonal'])
def test_bitmap_flips_equal_mmcv(direction):
    masks = BitmapMasks.random(3, 7, 9, rng=np.random.RandomState(0))
    expected = np.stack([mmcv.imflip(m, direction) for m in masks.masks])
    assert (masks.flip(direction).masks == expected).all()


@pytest.mark.parametrize('shape', [(14, 30), (3, 4), (21, 9)])
def test_bitmap_resize_equals_mmcv_nearest(shape):
    masks = BitmapMasks.random(3, 7, 9, rng=np.random.RandomState(0))
    expected = np.stack([mmcv.imresize(m, shape[::-1], interpolation='nearest') for m in masks.masks])
    assert (masks.resize(shape).masks == expected).all()


def test_bitmap_boxes_equal_torchvision():
    masks = BitmapMasks((np.random.RandomState(0).rand(4, 20, 30) > 0.99).astype(np.uint8), 20, 30)
    expected = masks_to_boxes(torch.from_numpy(masks.masks)) + torch.tensor([0, 0, 1, 1])  # theirs end on the pixel
    assert masks.get_bboxes().tolist() == expected.tolist()


def test_bitmap_pad_and_crop_equal_torchvision():
    masks = BitmapMasks.random(3, 20, 30, rng=np.random.RandomState(0))
    images = torch.from_numpy(masks.masks)
    assert (masks.pad((25, 33)).masks == F.pad_image(images, [0, 0, 3, 5]).numpy()).all()
    assert (masks.crop(np.array([4, 6, 20, 17])).masks == F.crop_image(images, 6, 4, 11, 16).numpy()).all()


def test_mask_targets_of_a_whole_box_are_full():
    masks = square_masks('bitmap')
    boxes = torch.tensor([[2.0, 1, 6, 4], [2, 1, 10, 4], [0, 5, 4, 8]])
    targets = masks.crop_and_resize(boxes, (8, 8), torch.tensor([0, 0, 0])).to_ndarray()
    assert targets[0].all()  # the box is the square
    assert targets[1, :, :4].all() and not targets[1, :, 4:].any()  # its left half is
    assert not targets[2].any()


def test_mask_targets_of_bitmaps_and_polygons_agree():
    polygons = PolygonMasks.random(3, 60, 80, rng=np.random.RandomState(1))
    boxes, inds = polygons.get_bboxes()[[0, 1, 2, 0]], np.array([0, 1, 2, 0])
    bitmap = polygons.to_bitmap().crop_and_resize(boxes, (28, 28), inds).to_ndarray()
    polygon = polygons.crop_and_resize(boxes, (28, 28), inds).to_ndarray()
    assert bitmap.shape == polygon.shape == (4, 28, 28)
    assert (bitmap.astype(bool) != polygon.astype(bool)).mean() < 0.05


def test_mask_targets_can_stay_shares():
    covered = square_masks('bitmap').crop_and_resize(np.array([[1.0, 1, 3, 4]]), (1, 1), [0], binarize=False)
    assert covered.masks.tolist() == [[[0.5]]]
    with pytest.raises(ValueError, match='polygons are always binary'):
        square_masks('polygon').crop_and_resize(np.array([[1.0, 1, 3, 4]]), (1, 1), [0], binarize=False)


@KINDS
@pytest.mark.parametrize(
    ('index', 'widths'),
    [
        (1, [3]),
        (-1, [4]),
        ([0, 2], [2, 4]),
        (np.array([2, 0]), [4, 2]),
        (np.array([False, True, True]), [3, 4]),
        (slice(1, None), [3, 4]),
        (np.zeros(0, int), []),
        ([True, False, True], [2, 4]),
    ],
)
def test_indexing_gives_masks_again(kind, index, widths):
    masks = PolygonMasks([[np.array([0.0, 0, w, 0, w, 5, 0, 5])] for w in (2, 3, 4)], 8, 10)
    masks = masks.to_bitmap() if kind == 'bitmap' else masks
    picked = masks[index]
    assert type(picked) is type(masks) and (picked.height, picked.width) == (8, 10)
    assert picked.get_bboxes()[:, 2].tolist() == widths


@KINDS
def test_objects_of_one_pixel_survive_a_flip_and_a_doubling(kind):
    masks = PolygonMasks([[np.array([3.0, 2, 4, 2, 4, 3, 3, 3])]], 8, 10)
    masks = masks.to_bitmap() if kind == 'bitmap' else masks
    assert masks.areas.tolist() == [1]
    assert masks.flip().get_bboxes().tolist() == [[6, 2, 7, 3]]
    assert masks.resize((16, 20)).to_ndarray().sum() == 4


@pytest.mark.parametrize('cls', [BitmapMasks, PolygonMasks])
def test_cat_joins_instances_of_one_canvas_only(cls):
    a, b = cls.random(2, 8, 10), cls.random(1, 8, 10)
    joined = cls.cat([a, b])
    assert len(joined) == 3 and (joined.to_ndarray()[2] == b.to_ndarray()[0]).all()
    with pytest.raises(ValueError, match='one canvas'):
        cls.cat([a, cls.random(1, 8, 11)])
    with pytest.raises(TypeError, match='a list of at least one'):
        cls.cat([])


def test_masks_iterate_and_describe_themselves():
    masks = square_masks('bitmap')
    assert [m.shape for m in masks] == [(8, 10)]
    assert repr(masks) == 'BitmapMasks(num_masks=1, height=8, width=10)'
    assert [len(instance) for instance in square_masks('polygon')] == [1]


def test_bool_bitmaps_stay_bool():
    masks = BitmapMasks(square_masks('bitmap').masks.astype(bool), 8, 10)
    assert masks.resize((16, 20)).masks.dtype == bool
    assert masks.pad((9, 11)).flip().areas.tolist() == [12]


def test_integer_polygons_are_not_truncated_when_resized():
    masks = PolygonMasks([[np.array([1, 1, 3, 1, 3, 3])]], 8, 10).resize((4, 5))
    assert masks.masks[0][0].tolist() == [0.5, 0.5, 1.5, 0.5, 1.5, 1.5]


def test_wrong_shapes_are_refused_with_the_right_one():
    with pytest.raises(ValueError, match=r'expected masks of shape \(n, 8, 10\).*got \(1, 10, 8\)'):
        BitmapMasks(np.zeros((1, 10, 8)), 8, 10)
    with pytest.raises(TypeError, match='list of one array'):
        PolygonMasks([SQUARE], 8, 10)
    with pytest.raises(ValueError, match='direction must be one of'):
        square_masks('bitmap').flip('sideways')
    with pytest.raises(ValueError, match='one box'):
        square_masks('bitmap').crop(np.zeros((2, 4)))


# ---------------------------------------------------------------- warp_affine


@KINDS
def test_an_affine_matrix_moves_the_middles_of_pixels(kind):
    # doubled about the image's corner: the middle of pixel 0 (at 0 of the matrix) goes to the middle of pixels 0 and 1
    doubled = square_masks(kind).warp_affine(np.array([[2, 0, 0.5], [0, 2, 0.5]]), (16, 20))
    assert doubled.get_bboxes().tolist() == [[4, 2, 12, 8]] and doubled.areas.tolist() == [48]
    moved = square_masks(kind).warp_affine(np.array([[1, 0, 6], [0, 1, -2], [0, 0, 1]]), (8, 10))
    assert moved.get_bboxes().tolist() == [[8, 0, 10, 2]] and (moved.height, moved.width) == (8, 10)


@KINDS
def test_no_masks_pass_an_affine_matrix(kind):
    moved = no_masks(kind).warp_affine(np.eye(3), (5, 6))
    assert len(moved) == 0 and moved.to_ndarray().shape == (0, 5, 6)


def test_a_mirrored_bitmap_is_its_flip():
    masks = BitmapMasks.random(3, 7, 9, rng=np.random.RandomState(0))
    assert (masks.warp_affine(np.array([[-1, 0, 8], [0, 1, 0]]), (7, 9)).masks == masks.flip().masks).all()
