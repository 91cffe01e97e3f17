"""Image files of every kind: what the checker says of them, and that loading them gives three channels of 8 bits."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mmdet_clone.datasets.inspection_images import look_at_image, look_at_images, missing_files, same_content, spread
from mmdet_clone.datasets.pipelines import LoadImageFromFile

HEIGHT, WIDTH = 20, 30


def pillow(mode='RGB', form='PNG', **options):
    colors = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(colors).convert(mode).save(file, form, **options)
    return file.getvalue()


def sixteen_bit(suffix, channels):
    values = np.random.default_rng(0).integers(0, 65535, (HEIGHT, WIDTH, channels), dtype=np.uint16)
    return cv2.imencode(suffix, values)[1].tobytes()


def animated(form):
    return pillow('RGB', form, save_all=True, append_images=[Image.new('RGB', (WIDTH, HEIGHT))])


def turned():
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down, the size stays
    return pillow('RGB', 'JPEG', exif=exif)


IMAGES = {
    'plain.jpg': (pillow('RGB', 'JPEG'), []),
    'plain.png': (pillow(), []),
    'palette.png': (pillow('P'), []),
    'rgb16.png': (sixteen_bit('.png', 3), ['sixteen_bit_image']),
    'grey16.png': (sixteen_bit('.png', 1), ['sixteen_bit_image', 'grey_image']),
    'rgb16.tif': (sixteen_bit('.tiff', 3), ['sixteen_bit_image']),
    'grey.png': (pillow('L'), ['grey_image']),
    'black_and_white.png': (pillow('1'), ['grey_image']),
    'rgba.png': (pillow('RGBA'), ['alpha_image']),
    'cmyk.jpg': (pillow('CMYK', 'JPEG'), ['cmyk_image']),
    'animated.gif': (animated('GIF'), ['animated_image']),
    'animated.webp': (animated('WEBP'), ['animated_image']),
    'animated.png': (animated('PNG'), ['animated_image']),
    'turned.jpg': (turned(), ['rotated_image']),
}


@pytest.mark.parametrize('name', IMAGES)
def test_the_kind_of_an_image_is_told_and_it_loads_as_three_channels(tmp_path, name):
    data, kinds = IMAGES[name]
    (tmp_path / name).write_bytes(data)
    info = dict(filename=name, width=WIDTH, height=HEIGHT)
    found = look_at_image(str(tmp_path / name), info, lambda path: data)
    if found and found[0][0] == 'unreadable_image' and name.endswith('.gif'):
        pytest.skip('this OpenCV reads no GIF, and the checker says so')
    assert [kind for kind, _ in found] == kinds
    img = LoadImageFromFile()(dict(img_info=info, img_prefix=str(tmp_path)))['img']
    assert img.shape == (HEIGHT, WIDTH, 3) and img.dtype == np.uint8


@pytest.mark.parametrize(
    ('data', 'info', 'kind', 'fragment'),
    [
        (b'', {}, 'unreadable_image', 'the file is empty'),
        (b'<html>no', {}, 'unreadable_image', 'not an image'),
        (pillow('RGB', 'JPEG')[:-90], {}, 'unreadable_image', 'truncated'),
        (pillow(), dict(width=31, height=20), 'wrong_size_image', 'is 30 x 20 pixels'),
        (pillow(), dict(width=20, height=30), 'wrong_size_image', 'The two are swapped'),
    ],
)
def test_images_that_cannot_be_used_are_told(data, info, kind, fragment):
    (first, *_) = look_at_image('some.img', info, lambda path: data)
    assert first[0] == kind and fragment in first[1] and 'some.img' in first[1]


def test_an_image_that_exif_turns_by_a_quarter_is_of_another_size_unless_loaded_as_it_is():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = pillow('RGB', 'JPEG', exif=exif)
    info = dict(width=WIDTH, height=HEIGHT)
    kinds = [kind for kind, _ in look_at_image('a.jpg', info, lambda path: data)]
    assert kinds == ['wrong_size_image', 'rotated_image']
    as_it_is = look_at_image('a.jpg', info, lambda path: data, 'color_ignore_orientation')
    assert [kind for kind, _ in as_it_is] == ['rotated_image']


def test_images_are_looked_at_in_order_by_several_threads(tmp_path):
    paths = [str(tmp_path / f'{i}.png') for i in range(70)]
    for path in paths[::2]:
        cv2.imwrite(path, np.zeros((4, 4, 3), np.uint8))
    found = list(look_at_images(paths, [{}] * 70, lambda path: Path(path).read_bytes(), 'color', 3))
    assert [bool(kinds) for kinds in found] == [False, True] * 35
    assert missing_files(paths) == list(range(1, 70, 2))


def test_the_same_bytes_under_two_names_are_found(tmp_path):
    for name, data in dict(a=b'x' * 50, b=b'y' * 50, c=b'x' * 50, d=b'x' * 51, e=b'z' * 50).items():
        (tmp_path / name).write_bytes(data)
    at = {name: str(tmp_path / name) for name in 'abcde'}
    assert same_content([at['a'], at['b']], [at['c'], at['d'], at['e']]) == [(at['a'], at['c'])]
    assert same_content([at['a']], [at['a'], str(tmp_path / 'gone')]) == []
    folders = [str(tmp_path / name) for name in 'mn']  # where an entry has no file name
    for folder in folders:
        Path(folder).mkdir()
    assert same_content([at['a'], folders[0]], [folders[1], at['c']]) == [(at['a'], at['c'])]


def test_a_limit_spreads_over_the_whole():
    assert spread(9, 3) == [0, 4, 8] and spread(3, 9) == [0, 1, 2] and spread(3, None) == [0, 1, 2]
