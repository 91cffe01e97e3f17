"""What is drawn, where, and in which colours."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmdet_clone.visualization import as_palette, draw_detections, flatten_result, palette_for, show_image
from mmdet_clone.visualization.labels import Label, LabelWriter, contrasting, render_text


def grey(height: int = 240, width: int = 320) -> np.ndarray:
    return np.full((height, width, 3), 128, dtype=np.uint8)


def test_the_image_given_is_left_as_it_was():
    img = grey()
    drawn = draw_detections(img, np.array([[10, 60, 200, 200, 0.9]]), [0])
    assert (img == 128).all()
    assert drawn.shape == img.shape and drawn.dtype == np.uint8 and (drawn != 128).any()


def test_box_is_drawn_at_its_corners_in_its_class_colour_given_as_rgb():
    drawn = draw_detections(grey(), np.array([[40, 80, 200, 180, 0.9]]), [1], palette=[(0, 0, 0), (250, 20, 10)])
    for x, y in ((40, 130), (200, 130), (120, 180)):  # left, right and bottom edge
        assert drawn[y, x].tolist() == [10, 20, 250]  # BGR
    assert drawn[130, 120].tolist() == [128, 128, 128]


def test_detections_below_the_threshold_are_left_out():
    boxes = np.array([[10, 60, 100, 200, 0.29], [150, 60, 300, 200, 0.31]])
    drawn = draw_detections(grey(), boxes, [0, 0], score_thr=0.3)
    assert (drawn[:, :140] == 128).all()
    assert (drawn[:, 140:] != 128).any()


def test_mask_tints_its_pixels_and_no_others():
    mask = np.zeros((240, 320), dtype=bool)
    mask[100:180, 100:200] = True
    drawn = draw_detections(grey(), np.array([[100, 100, 200, 180, 1.0]]), [0], segms=[mask], palette='red')
    inside, outside = drawn[140, 150].tolist(), drawn[210, 300].tolist()
    assert outside == [128, 128, 128]
    assert inside[2] > 128 > inside[0]  # redder, yet not opaque
    assert inside[0] > 0


def test_masks_may_be_rle_dicts():
    import pycocotools.mask

    mask = np.zeros((240, 320), dtype=np.uint8)
    mask[100:180, 100:200] = 1
    rle = pycocotools.mask.encode(np.asfortranarray(mask))
    boxes = np.array([[100, 100, 200, 180, 1.0]])
    np.testing.assert_array_equal(
        draw_detections(grey(), boxes, [0], segms=[rle]), draw_detections(grey(), boxes, [0], segms=[mask])
    )


def test_labels_stay_inside_the_image_and_do_not_overlap():
    img = grey()
    writer = LabelWriter(img, 12)
    boxes = [
        (0, 0, 50, 50),
        (0, 2, 60, 40),
        (300, 0, 319, 30),
        (-10, 200, 40, 260),
        (0, 0, 319, 239),
        (150, 100, 170, 110),
    ]
    rects = [writer.write(Label('some label 0.99', box, (0, 0, 255))) for box in boxes]
    for i, (x1, y1, x2, y2) in enumerate(rects):
        assert 0 <= x1 < x2 <= 320 and 0 <= y1 < y2 <= 240
        for a1, b1, a2, b2 in rects[:i]:
            assert min(x2, a2) <= max(x1, a1) or min(y2, b2) <= max(y1, b1)


def test_label_wider_than_the_image_is_cut_at_its_edge():
    img = grey(20, 30)
    assert LabelWriter(img, 12).write(Label('a very long class name', (5, 5, 25, 15), (0, 0, 0)))[2] == 30


@pytest.mark.parametrize(
    'color', [(0, 0, 0), (255, 255, 255), (0, 255, 255), (255, 0, 0), (128, 128, 128), (40, 90, 60)]
)
def test_text_contrasts_with_its_ground_by_at_least_4_5(color):
    def luminance(bgr):  # WCAG 2.1, relative luminance
        parts = [c / 255 for c in bgr]
        b, g, r = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    high, low = sorted((luminance(color), luminance(contrasting(color))), reverse=True)
    assert (high + 0.05) / (low + 0.05) >= 4.5


def test_labels_grow_with_the_image():
    def label_pixels(side):
        img = grey(side, side)
        return int(
            (draw_detections(img, np.array([[0, 0, side - 1, side - 1, 0.5]]), [0], thickness=1) != 128).any(2).sum()
        )

    assert label_pixels(2000) > 8 * label_pixels(500)


def test_text_height_depends_on_the_size_alone():
    assert render_text('aceg', 14).shape[0] == render_text('HIJ', 14).shape[0]
    assert render_text('été 汽车', 14).max() > 0


@pytest.mark.parametrize(
    'img', [np.zeros((40, 50), np.uint8), np.zeros((40, 50, 1), np.uint8), np.zeros((40, 50, 3)) + 300.0]
)
def test_grey_and_float_images_are_taken(img):
    drawn = draw_detections(img, np.zeros((0, 5)), [])
    assert drawn.shape == (40, 50, 3) and drawn.dtype == np.uint8


def test_boxes_outside_the_image_are_clipped_not_an_error():
    draw_detections(grey(), np.array([[-50, -50, 900, 900, 0.5], [np.nan, 0, 5, 5, 0.5]]), [0, 1])


def test_wrong_shapes_are_told():
    with pytest.raises(ValueError, match='wrap a single box in a list'):
        draw_detections(grey(), np.array([1, 2, 3, 4, 0.5]), [0])
    with pytest.raises(ValueError, match='1 boxes but 2 labels'):
        draw_detections(grey(), np.array([[1, 2, 3, 4, 0.5]]), [0, 1])
    with pytest.raises(ValueError, match='does not fit'):
        draw_detections(grey(), np.array([[1, 2, 3, 4, 0.5]]), [0], segms=[np.zeros((5, 5))])


def test_missing_image_file_is_named():
    with pytest.raises(FileNotFoundError, match=r'nowhere\.jpg'):
        draw_detections('nowhere.jpg', np.zeros((0, 5)), [])


def test_picture_is_written_into_a_folder_made_for_it(tmp_path):
    draw_detections(grey(), np.zeros((0, 5)), [], out_file=tmp_path / 'a' / 'b.png')
    assert cv2.imread(str(tmp_path / 'a' / 'b.png')).shape == (240, 320, 3)
    with pytest.raises(ValueError, match=r'end its name in \.jpg'):
        draw_detections(grey(), np.zeros((0, 5)), [], out_file=tmp_path / 'b.unknown')


def test_result_is_flattened_class_by_class():
    boxes = [np.ones((2, 5)), np.zeros((0, 5)), 3 * np.ones((1, 5))]
    masks = [['m0', 'm1'], [], ['m2']]
    flat, labels, segms = flatten_result((boxes, masks))
    assert flat.tolist() == [[1] * 5, [1] * 5, [3] * 5]
    assert labels.tolist() == [0, 0, 2] and segms == ['m0', 'm1', 'm2']
    assert flatten_result(boxes)[2] is None
    with pytest.raises(ValueError, match='3 boxes but 1 masks'):
        flatten_result((boxes, [['m0'], [], []]))


def test_palettes():
    assert len(set(palette_for(80))) == 80
    assert as_palette('green', 3) == [(0, 255, 0)] * 3
    assert as_palette((1, 2, 3), 2) == [(1, 2, 3)] * 2
    assert as_palette([(1, 2, 3), (4, 5, 6)], 2) == [(1, 2, 3), (4, 5, 6)]
    assert len(as_palette([(1, 2, 3)], 4)) == 4
    with pytest.raises(ValueError, match='unknown colour'):
        as_palette('mauve-ish', 1)


def test_window_without_a_screen_names_the_way_out(monkeypatch):
    monkeypatch.setattr('sys.platform', 'linux')
    monkeypatch.delenv('DISPLAY', raising=False)
    monkeypatch.delenv('WAYLAND_DISPLAY', raising=False)
    with pytest.raises(RuntimeError, match='--show-dir'):
        show_image(grey())
