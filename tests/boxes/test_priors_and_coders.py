from __future__ import annotations

import copy
import math

import pytest
import torch

from mmdet_clone.boxes import (
    DeltaXYWHBBoxCoder,
    anchor_inside_flags,
    build_anchor_generator,
    build_bbox_coder,
    unmap,
)
from mmdet_clone.boxes.priors import anchor_generator


def generator(**kwargs):
    defaults = dict(type='AnchorGenerator', strides=[4, 8], ratios=[1.0], scales=[2])
    return build_anchor_generator({**defaults, **kwargs})


# ---------------------------------------------------------------- anchors
def test_base_anchors_keep_their_area_over_ratios():
    anchors = generator(strides=[16], ratios=[0.5, 1, 2], scales=[8]).base_anchors[0]
    wide = 128 * math.sqrt(2)
    expected = [
        [-wide / 2, -wide / 4, wide / 2, wide / 4],
        [-64, -64, 64, 64],
        [-wide / 4, -wide / 2, wide / 4, wide / 2],
    ]
    torch.testing.assert_close(anchors, torch.tensor(expected))


@pytest.mark.parametrize('scale_major, sizes', [(True, [8, 16, 4, 8]), (False, [8, 4, 16, 8])])
def test_order_of_a_cells_anchors(scale_major, sizes):
    anchors = generator(strides=[4], ratios=[0.25, 1.0], scales=[1, 2], scale_major=scale_major).base_anchors[0]
    assert (anchors[:, 2] - anchors[:, 0]).tolist() == sizes


def test_octave_scales_are_powers_of_two_between_octaves():
    gen = generator(strides=[8], ratios=[0.5, 1.0, 2.0], scales=None, octave_base_scale=4, scales_per_octave=3)
    torch.testing.assert_close(gen.scales, torch.tensor([4, 4 * 2 ** (1 / 3), 4 * 2 ** (2 / 3)]))
    assert gen.num_base_priors == gen.num_base_anchors == [9]


def test_centres_from_an_offset_or_given():
    assert generator(center_offset=0.5).base_anchors[0].tolist() == [[-2, -2, 6, 6]]
    assert generator(centers=[(1, 3), (4, 4)]).base_anchors[0].tolist() == [[-3, -1, 5, 7]]
    assert generator(base_sizes=[10, 20]).base_anchors[1].tolist() == [[-20, -20, 20, 20]]


def test_grid_runs_over_rows_columns_anchors():
    gen = generator(strides=[(4, 6), 8], ratios=[1.0, 4.0])
    first, second = gen.grid_priors([(2, 3), (1, 1)])
    assert (first.shape, second.shape) == ((12, 4), (2, 4))
    y, x = 1, 2
    expected = gen.base_anchors[0] + torch.tensor([x * 4, y * 6, x * 4, y * 6])
    torch.testing.assert_close(first[(y * 3 + x) * 2 :][:2], expected)
    inds = torch.tensor([11, 0, 7])
    torch.testing.assert_close(gen.sparse_priors(inds, (2, 3), 0), first[inds])
    torch.testing.assert_close(gen.single_level_grid_priors((1, 1), 1), second)


def test_equal_sizes_share_one_grid_and_few_are_kept():
    gen = generator()
    first = gen.grid_priors([(4, 4), (2, 2)])
    again = gen.grid_priors([torch.Size((4, 4)), torch.Size((2, 2))])
    assert first is not again
    assert all(a is b for a, b in zip(first, again))
    assert gen.grid_priors([(4, 4), (2, 2)], torch.float64)[0].dtype == torch.float64
    for side in range(30):
        gen.grid_priors([(side, 1), (1, 1)])
    assert len(gen._grids) == anchor_generator.CACHED_GRIDS
    assert not copy.deepcopy(gen)._grids


def test_a_grid_made_at_inference_serves_training():
    gen = generator()
    with torch.inference_mode():
        gen.grid_priors([(2, 2), (1, 1)])
    deltas = torch.zeros(4, 4, requires_grad=True)
    DeltaXYWHBBoxCoder().decode(gen.grid_priors([(2, 2), (1, 1)])[0], deltas).sum().backward()
    assert deltas.grad is not None


def test_cells_beyond_an_images_own_padding_are_not_valid():
    flags = generator(ratios=[1.0, 2.0]).valid_flags([(3, 4), (2, 2)], (5, 9, 3))
    # stride 4: 2 rows and 3 columns; stride 8: 1 row and 2 columns
    assert flags[0].reshape(3, 4, 2)[..., 0].tolist() == [[True] * 3 + [False]] * 2 + [[False] * 4]
    assert flags[1].reshape(2, 2, 2)[..., 1].tolist() == [[True, True], [False, False]]


def test_bad_anchor_settings_say_what_to_give():
    with pytest.raises(ValueError, match='either scales'):
        generator(octave_base_scale=4, scales_per_octave=3)
    with pytest.raises(ValueError, match='either scales'):
        generator(scales=None)
    with pytest.raises(ValueError, match='2 strides but 1 base_sizes'):
        generator(base_sizes=[4])
    with pytest.raises(ValueError, match='not both'):
        generator(centers=[(0, 0), (1, 1)], center_offset=0.5)
    with pytest.raises(ValueError, match='2 levels'):
        generator().grid_priors([(1, 1)])


def test_anchors_inside_the_image_and_back_to_all():
    anchors = torch.tensor([[0.0, 0, 9, 9], [-1, 0, 5, 5], [0, 0, 10, 5], [2, 2, 4, 4]])
    valid = torch.tensor([True, True, True, False])
    assert anchor_inside_flags(anchors, valid, (20, 10)).tolist() == [True, False, False, False]
    assert anchor_inside_flags(anchors, valid, (20, 10), allowed_border=1).tolist() == [True, True, True, False]
    assert anchor_inside_flags(anchors, valid, (20, 10), -1) is valid
    inside = torch.tensor([True, False, True, False])
    assert unmap(torch.tensor([5, 6]), 4, inside, fill=-1).tolist() == [5, -1, 6, -1]
    assert unmap(torch.ones(2, 3), 4, inside).sum(1).tolist() == [3, 0, 3, 0]


# ---------------------------------------------------------------- coder
def random_boxes(*shape: int) -> torch.Tensor:
    corner = torch.rand(*shape, 2) * 50
    return torch.cat((corner, corner + torch.rand(*shape, 2) * 50 + 5), -1)


def test_deltas_by_hand():
    coder = build_bbox_coder(
        dict(type='DeltaXYWHBBoxCoder', target_means=[0.0, 0.0, 0.0, 0.0], target_stds=[0.1, 0.1, 0.2, 0.2])
    )
    box, gt = torch.tensor([[0.0, 0, 10, 20]]), torch.tensor([[5.0, 0, 25, 10]])  # centre (5,10) -> (15,5)
    expected = [10 / 10 / 0.1, -5 / 20 / 0.1, math.log(2) / 0.2, math.log(0.5) / 0.2]
    deltas = coder.encode(box, gt)
    assert deltas.tolist()[0] == pytest.approx(expected, rel=1e-6)
    torch.testing.assert_close(coder.decode(box, deltas), gt)


@pytest.mark.parametrize('means', [(0.0, 0, 0, 0), (0.1, -0.2, 0.3, 0.0)])
def test_decode_undoes_encode(means):
    coder = DeltaXYWHBBoxCoder(means, (0.1, 0.2, 0.3, 0.4))
    boxes, gt = random_boxes(50), random_boxes(50)
    torch.testing.assert_close(coder.decode(boxes, coder.encode(boxes, gt)), gt, rtol=1e-4, atol=1e-3)


def test_a_box_for_each_class_and_a_batch_decode_like_single_boxes():
    coder, boxes, deltas = DeltaXYWHBBoxCoder(), random_boxes(2, 6), torch.randn(2, 6, 12)
    shapes = [(40, 60, 3), (70, 50, 3)]
    batch = coder.decode(boxes, deltas, max_shape=shapes)
    assert batch.shape == (2, 6, 12)
    for image in range(2):
        rows = coder.decode(boxes[image], deltas[image], max_shape=shapes[image])
        torch.testing.assert_close(batch[image], rows)
        for c in range(3):
            own = deltas[image][:, 4 * c : 4 * c + 4]
            single = coder.decode(boxes[image], own, max_shape=torch.tensor(shapes[image]))
            torch.testing.assert_close(rows[:, 4 * c : 4 * c + 4], single)


def test_growth_is_bounded_and_boxes_are_clipped():
    box, deltas = torch.tensor([[40.0, 40, 50, 50]]), torch.tensor([[0.0, 0, 100, -100]])
    ratio = 1000 / 16
    half_w, half_h = 5 * ratio, 5 / ratio
    free = DeltaXYWHBBoxCoder(clip_border=False).decode(box, deltas, max_shape=(60, 80))
    assert free.tolist()[0] == pytest.approx([45 - half_w, 45 - half_h, 45 + half_w, 45 + half_h], rel=1e-4)
    clipped = DeltaXYWHBBoxCoder().decode(box, deltas, max_shape=(60, 80))
    assert clipped.tolist()[0] == pytest.approx([0, 45 - half_h, 80, 45 + half_h])


def test_clamped_centres_move_little_and_may_shrink_freely():
    coder = DeltaXYWHBBoxCoder(add_ctr_clamp=True, ctr_clamp=32)
    out = coder.decode(torch.tensor([[0.0, 0, 100, 100]]), torch.tensor([[5.0, -0.1, 0, -20]]))
    height = 100 * math.exp(-20)
    assert out.tolist()[0] == pytest.approx([32, 40 - height / 2, 132, 40 + height / 2])


def test_coder_without_boxes_in_half_precision_and_mismatched():
    coder = DeltaXYWHBBoxCoder()
    assert coder.decode(torch.zeros(0, 4), torch.zeros(0, 320), max_shape=(10, 10)).shape == (0, 320)
    assert coder.encode(torch.zeros(0, 4), torch.zeros(0, 4)).shape == (0, 4)
    boxes, deltas = random_boxes(3), torch.randn(3, 4).bfloat16()
    before = deltas.clone()
    assert coder.decode(boxes, deltas, max_shape=(20, 20)).dtype == torch.float32
    assert torch.equal(deltas, before)
    with pytest.raises(ValueError, match='2 boxes to encode 3'):
        coder.encode(boxes[:2], boxes)
    with pytest.raises(ValueError, match='2 boxes but 3'):
        coder.decode(boxes[:2], deltas)
