"""Images of every kind that people have, and files that are none in the middle of an epoch."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from mmdet_clone.datasets import CustomDataset, build_dataloader
from mmdet_clone.datasets.image_files import is_animated
from mmdet_clone.datasets.pipelines import Compose, LoadImageFromFile
from mmdet_clone.datasets.pipelines import files as reading

RED_THEN_BLUE = np.zeros((12, 20, 3), np.uint8)  # RGB: the left half red, the right half blue
RED_THEN_BLUE[:, :10, 0] = RED_THEN_BLUE[:, 10:, 2] = 255


@pytest.fixture(autouse=True)
def _nothing_said_yet(monkeypatch):
    monkeypatch.setattr(reading, '_remarks', set())


def load(path, **args) -> np.ndarray:
    return LoadImageFromFile(**args)(dict(img_info=dict(filename=path.name), img_prefix=str(path.parent)))['img']


def is_the_picture(img: np.ndarray) -> bool:
    bgr = RED_THEN_BLUE[..., ::-1].astype(int)
    return img.shape == bgr.shape and img.dtype == np.uint8 and np.abs(img - bgr).max() <= 4


@pytest.mark.parametrize(
    ('name', 'mode', 'args'),
    [
        ('rgba.png', 'RGBA', {}),
        ('palette.png', 'P', {}),
        ('palette.gif', 'P', {}),
        ('cmyk.jpg', 'CMYK', dict(quality=100, subsampling=0)),
        ('lossless.webp', 'RGB', dict(lossless=True)),
        ('scan.tif', 'RGB', {}),
        ('old.bmp', 'RGB', {}),
    ],
)
def test_colour_images_of_every_kind_load_as_bgr(tmp_path, recwarn, name, mode, args):
    Image.fromarray(RED_THEN_BLUE).convert(mode).save(tmp_path / name, **args)
    assert is_the_picture(load(tmp_path / name))
    assert not recwarn.list


@pytest.mark.parametrize('mode', ['L', 'LA', '1'])
def test_grey_images_get_three_equal_channels(tmp_path, mode):
    Image.fromarray(RED_THEN_BLUE).convert('L').convert(mode).save(tmp_path / 'grey.png')
    img = load(tmp_path / 'grey.png')
    assert img.shape == (12, 20, 3) and (img[..., :1] == img).all()


def test_transparency_and_16_bits_stay_where_images_are_loaded_unchanged(tmp_path):
    Image.fromarray(RED_THEN_BLUE).convert('RGBA').save(tmp_path / 'rgba.png')
    cv2.imwrite(str(tmp_path / 'deep.png'), np.full((4, 5), 30000, np.uint16))
    assert load(tmp_path / 'rgba.png', color_type='unchanged').shape == (12, 20, 4)
    deep = load(tmp_path / 'deep.png', color_type='unchanged')
    assert deep.dtype == np.uint16 and (deep == 30000).all()


def test_of_16_bits_the_upper_8_are_kept_and_that_is_said_once(tmp_path, recwarn):
    for i, value in enumerate((30000, 4095)):
        cv2.imwrite(str(tmp_path / f'{i}.png'), np.full((4, 5), value, np.uint16))
    assert (load(tmp_path / '0.png') == 30000 // 256).all()
    assert load(tmp_path / '1.png').max() <= 16
    (said,) = [str(w.message) for w in recwarn.list]
    assert '0.png is a png of 16 bits' in said and "color_type='unchanged'" in said


@pytest.mark.parametrize('suffix', ['gif', 'png', 'webp'])
def test_of_an_animation_the_first_frame_is_taken_and_that_is_said_once(tmp_path, recwarn, suffix):
    frames = [Image.fromarray(RED_THEN_BLUE), Image.fromarray(255 - RED_THEN_BLUE)]
    options = dict(lossless=True) if suffix == 'webp' else {}
    for name in ('a', 'b'):
        frames[0].save(tmp_path / f'{name}.{suffix}', save_all=True, append_images=frames[1:], **options)
    frames[0].save(tmp_path / f'still.{suffix}')
    assert is_animated((tmp_path / f'a.{suffix}').read_bytes())
    assert not is_animated((tmp_path / f'still.{suffix}').read_bytes())
    assert is_the_picture(load(tmp_path / f'a.{suffix}')) and is_the_picture(load(tmp_path / f'b.{suffix}'))
    (said,) = [str(w.message) for w in recwarn.list]
    assert f'a.{suffix} is an animation: its first frame is used' in said


def test_a_gif_that_opencv_cannot_decode_is_decoded_by_pillow(tmp_path, monkeypatch):
    Image.fromarray(RED_THEN_BLUE).save(tmp_path / 'a.gif')
    decode = reading.mmcv.imfrombytes
    monkeypatch.setattr(
        reading.mmcv, 'imfrombytes', lambda *args, **kw: decode(*args, **kw) if kw.get('backend') else None
    )
    assert is_the_picture(load(tmp_path / 'a.gif'))


@pytest.mark.parametrize('orientation', [3, 6, 8])
def test_exif_turns_an_image_unless_it_is_to_be_ignored(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RED_THEN_BLUE).save(tmp_path / 'a.jpg', exif=exif, quality=100, subsampling=0)
    # what the tag asks for: 3 half a turn, 6 a quarter clockwise, 8 a quarter against the clock
    turned = np.rot90(RED_THEN_BLUE, {3: 2, 6: -1, 8: 1}[orientation])[..., ::-1]
    assert np.abs(load(tmp_path / 'a.jpg').astype(int) - turned).max() <= 4
    for color_type in ('color_ignore_orientation', 'unchanged'):
        assert is_the_picture(load(tmp_path / 'a.jpg', color_type=color_type))


# ---------------------------------------------------------------- on_error


def bad_entry(folder, content: bytes | None) -> dict:
    if content is not None:
        (folder / 'bad.jpg').write_bytes(content)
    return dict(img_info=dict(filename='bad.jpg'), ann_info={}, img_prefix=str(folder))


@pytest.mark.parametrize('content', [b'', b'<html>404</html>', b'\xff\xd8\xff\xe0 cut', None])
def test_a_bad_file_is_an_error_or_by_choice_dropped_and_named(tmp_path, monkeypatch, content):
    said = []
    monkeypatch.setattr('mmdet_clone.datasets.pipelines.skipped.print_log', lambda text, **_: said.append(text))
    with pytest.raises((ValueError, FileNotFoundError), match=r'bad\.jpg'):
        LoadImageFromFile()(bad_entry(tmp_path, content))
    step = LoadImageFromFile(on_error='skip')
    pipeline = Compose([step, lambda results: pytest.fail('later steps see the sample')])
    for _ in range(3):
        assert pipeline(bad_entry(tmp_path, content)) is None
    assert len(said) == 1 and 'bad.jpg' in said[0] and 'no. 1 of the main process' in said[0]
    step._skipped.report()
    assert 'skipped 1 images, 3 times in all' in said[1]


def test_in_testing_a_bad_image_is_an_error_in_any_case(tmp_path):
    entry = bad_entry(tmp_path, b'')
    del entry['ann_info']
    with pytest.raises(ValueError, match='file is empty'):
        LoadImageFromFile(on_error='skip')(entry)


def test_an_image_of_another_size_than_annotated_is_never_skipped(tmp_path):
    Image.fromarray(RED_THEN_BLUE).save(tmp_path / 'a.png')
    entry = dict(img_info=dict(filename='a.png', width=30, height=20), ann_info={}, img_prefix=str(tmp_path))
    with pytest.raises(ValueError, match='20 x 12 pixels'):
        LoadImageFromFile(on_error='skip')(entry)


def test_other_choices_than_the_two_are_refused():
    with pytest.raises(ValueError, match="'raise' or 'skip', got 'ignore'"):
        LoadImageFromFile(on_error='ignore')


def test_an_empty_file_in_an_epoch_with_workers_is_replaced_named_and_counted(tmp_path, capfd):
    infos = []
    for i in range(6):
        Image.fromarray(np.full((40, 50, 3), i, np.uint8)).save(tmp_path / f'{i}.png')
        ann = dict(bboxes=[[1.0, 1, 30, 30]], labels=[0])
        infos.append(dict(filename=f'{i}.png', width=50, height=40, ann=ann))
    (tmp_path / 'infos.json').write_text(json.dumps(infos))
    (tmp_path / '3.png').write_bytes(b'')
    steps = [
        dict(type='LoadImageFromFile', on_error='skip'),
        dict(type='LoadAnnotations'),
        dict(type='DefaultFormatBundle'),
        dict(type='Collect', keys=['img'], meta_keys=['ori_filename']),
    ]
    data = CustomDataset(str(tmp_path / 'infos.json'), steps, classes=['a'], img_prefix=str(tmp_path))
    loader = build_dataloader(data, 2, 1, dist=False, seed=0, persistent_workers=False)
    for _ in range(2):
        names = [meta['ori_filename'] for batch in loader for meta in batch['img_metas']]
        assert len(names) == 6 and '3.png' not in names
    printed = ''.join(capfd.readouterr())
    assert printed.count('3.png (0 bytes): the file is empty') == 2  # by each of the two workers
    assert printed.count('loader worker 0 skipped 1 images, 1 times in all') == 2
