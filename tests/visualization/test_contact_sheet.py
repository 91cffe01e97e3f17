"""The sheet of small pictures and the parts of the html page."""

from __future__ import annotations

import base64

import cv2
import numpy as np
import pytest

from mmdet_clone.visualization.contact_sheet import Cell, contact_sheet
from mmdet_clone.visualization.html_report import SampleView, jpeg_uri, write_html

GREEN = np.full((100, 200, 3), (0, 160, 0), np.uint8)


def red_pixels(sheet):
    """Pixels of the colour that boxes are drawn in."""
    return int((np.abs(sheet.astype(int) - (40, 40, 235)).max(axis=2) < 20).sum())


@pytest.mark.parametrize(
    'box', [None, (20, 20, 60, 60), (50, 50, 50, 50), (-30, 10, 400, 60), (500, 500, 600, 600), (9, float('nan'), 1, 2)]
)
def test_a_box_is_marked_wherever_it_lies_and_whatever_its_size(box):
    sheet = contact_sheet([Cell('title', 'text', GREEN, box)])
    assert (red_pixels(sheet) > 20) is (box is not None)
    assert (np.abs(sheet.astype(int) - (0, 160, 0)).max(axis=2) < 6).sum() > 1000


def test_cells_stand_in_rows_and_those_without_a_picture_stay_grey():
    one = contact_sheet([Cell('a')], side=100)
    seven = contact_sheet([Cell('a', 'b' * 300), Cell('c', img=GREEN[..., 0])] * 4, columns=3, side=100)
    assert seven.shape[0] == 3 * (one.shape[0] - 8) + 8 and seven.shape[1] == 3 * 108 + 8
    with pytest.raises(ValueError, match='at least one'):
        contact_sheet([])


def test_pictures_in_the_page_are_shrunk_jpegs():
    data = base64.b64decode(jpeg_uri(GREEN, 50).removeprefix('data:image/jpeg;base64,'))
    img = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert img.shape == (25, 50, 3) and np.abs(img.astype(int) - (0, 160, 0)).max() < 8


def test_the_page_holds_boxes_masks_keypoints_and_ignored_boxes(tmp_path):
    mask = np.zeros((1, 100, 200), np.uint8)
    mask[0, 20:60, 20:60] = 1
    mask[0, 30:50, 30:50] = 0
    view = SampleView(
        'a<b>.jpg',
        GREEN,
        np.array([[20, 20, 60, 60.0]]),
        np.array([7]),
        mask,
        np.array([[[25, 25, 2], [0, 0, 0]]]),
        np.array([[1, 1, 9, 9.0]]),
    )
    html = write_html(tmp_path / 'x' / 'p.html', [view], ['cat']).read_text(encoding='utf-8')
    assert '<option value="7">class 7 (1)</option>' in html and 'a&lt;b&gt;.jpg' in html and '<b>.jpg' not in html
    assert html.count('<circle ') == 1 and '<g class="ignored"' in html and 'viewBox="0 0 200 100"' in html
    path = html.split('class="mask" fill-rule="evenodd" d="')[1].split('"')[0]
    assert path.count('M') == 2  # the ring and its hole


def test_a_page_without_objects_can_be_written(tmp_path):
    view = SampleView('a.jpg', GREEN.astype(np.float32), np.zeros((0, 4)), np.zeros(0, int))
    assert '<article data-labels=""' in write_html(tmp_path / 'p.html', [view], None).read_text(encoding='utf-8')


def test_names_of_any_characters_leave_the_page_whole(tmp_path):
    view = SampleView('\udcff</script>.jpg', np.zeros((9, 9, 3), np.uint8), np.float32([[1, 1, 5, 5]]), np.array([0]))
    html = write_html(tmp_path / 'p.html', [view], ['{{SAMPLES}}</script>"']).read_text(encoding='utf-8')
    assert html.count('</script>') == 1 and html.count('<article') == 1
    assert html.count('{{SAMPLES}}&lt;/script&gt;&quot;') == 2  # in the list of classes and on the box
    assert [path.name for path in tmp_path.iterdir()] == ['p.html']
