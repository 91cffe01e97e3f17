from __future__ import annotations

import pickle

import cv2
import numpy as np
import pytest
from PIL import Image

from mmdet_clone.datasets.pipelines import (
    LoadImageFromFile,
    LoadImageFromWebcam,
    LoadMultiChannelImageFromFiles,
    MissingKeyError,
)


@pytest.fixture
def photo(tmp_path):
    """A 20 x 12 image with a red left half, as PNG and JPEG."""
    img = np.zeros((12, 20, 3), np.uint8)
    img[:, :10] = (0, 0, 255)
    for name in ('a.png', 'a.jpg'):
        cv2.imwrite(str(tmp_path / name), img)
    return tmp_path


def entry(folder, name='a.png', **info) -> dict:
    return dict(img_info=dict(filename=name, **info), img_prefix=str(folder))


def test_an_image_arrives_as_bgr_with_its_names_and_shapes(photo):
    results = LoadImageFromFile()(entry(photo))
    assert results['img'].shape == results['img_shape'] == results['ori_shape'] == (12, 20, 3)
    assert results['img'].dtype == np.uint8 and results['img'][0, 0].tolist() == [0, 0, 255]
    assert results['filename'] == str(photo / 'a.png') and results['ori_filename'] == 'a.png'
    assert results['img_fields'] == ['img']


def test_without_prefix_the_file_name_is_the_path(photo):
    results = LoadImageFromFile()(dict(img_info=dict(filename=str(photo / 'a.png')), img_prefix=None))
    assert results['filename'] == str(photo / 'a.png')


def test_rgb_float_and_grey_are_options(photo):
    assert LoadImageFromFile(channel_order='rgb')(entry(photo))['img'][0, 0].tolist() == [255, 0, 0]
    assert LoadImageFromFile(to_float32=True)(entry(photo))['img'].dtype == np.float32
    assert LoadImageFromFile(color_type='grayscale')(entry(photo))['img'].shape == (12, 20)


@pytest.mark.parametrize(
    'args', [None, dict(backend='disk'), dict(backend='local'), dict(backend='lmdb', db_path='images.lmdb')]
)
def test_file_backends_give_the_same_image(photo, args):
    if args and args['backend'] == 'lmdb':
        lmdb = pytest.importorskip('lmdb')
        args = dict(args, db_path=str(photo / 'images.lmdb'))
        with lmdb.open(args['db_path']) as env, env.begin(write=True) as txn:
            txn.put(b'a.png', (photo / 'a.png').read_bytes())
        results = LoadImageFromFile(file_client_args=args)(dict(img_info=dict(filename='a.png'), img_prefix=None))
    else:
        results = LoadImageFromFile(file_client_args=args)(entry(photo))
    assert results['img'].shape == (12, 20, 3)


def test_a_backend_that_a_user_registers_is_found(photo):
    from mmengine.fileio import BaseStorageBackend, FileClient, register_backend

    class Vault(BaseStorageBackend):
        def __init__(self, root):
            self.root = root

        def get(self, filepath):
            return memoryview((self.root / filepath).read_bytes())

        def get_text(self, filepath):
            return ''

    register_backend('vault', Vault, force=True)
    FileClient.register_backend('old_vault', Vault, force=True)
    for name in ('vault', 'old_vault'):
        step = LoadImageFromFile(file_client_args=dict(backend=name, root=photo))
        assert step(dict(img_info=dict(filename='a.png'), img_prefix=None))['img'].shape == (12, 20, 3)


def test_an_unknown_backend_is_named(photo):
    with pytest.raises(ValueError, match="no file backend 'tape'; there are disk"):
        LoadImageFromFile(file_client_args=dict(backend='tape'))(entry(photo))


def test_a_used_loader_can_be_sent_to_a_worker(photo):
    step = LoadImageFromFile()
    step(entry(photo))
    assert pickle.loads(pickle.dumps(step))(entry(photo))['img'].shape == (12, 20, 3)


def test_a_real_grey_image_loads_in_colour_and_as_it_is(shared):
    folder = shared / 'data/formats'
    assert LoadImageFromFile()(entry(folder, 'gray.jpg'))['img'].shape[2] == 3
    assert LoadImageFromFile(color_type='unchanged')(entry(folder, 'gray.jpg'))['img'].ndim == 2


def test_webcam_takes_the_array_as_the_image():
    frame = np.ones((4, 5, 3), np.uint8)
    results = LoadImageFromWebcam(to_float32=True)(dict(img=frame))
    assert results['img'].dtype == np.float32 and results['filename'] is None
    assert results['img_shape'] == results['ori_shape'] == (4, 5, 3)
    with pytest.raises(MissingKeyError, match="LoadImageFromWebcam needs 'img'"):
        LoadImageFromWebcam()({})


def test_files_become_channels(tmp_path):
    for i in range(4):
        cv2.imwrite(str(tmp_path / f'{i}.png'), np.full((6, 8), i, np.uint8))
    names = [f'{i}.png' for i in range(4)]
    results = LoadMultiChannelImageFromFiles()(entry(tmp_path, names))
    assert results['img'].shape == (6, 8, 4) and results['img'][0, 0].tolist() == [0, 1, 2, 3]
    assert results['filename'] == [str(tmp_path / n) for n in names] and results['ori_filename'] == names
    assert results['img_norm_cfg']['mean'].shape == (4,) and results['scale_factor'] == 1.0


def test_channels_of_different_size_are_refused(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((6, 8), np.uint8))
    cv2.imwrite(str(tmp_path / 'b.png'), np.zeros((6, 9), np.uint8))
    with pytest.raises(ValueError, match=r'one shape, got .*a.png: \(6, 8\), .*b.png: \(6, 9\)'):
        LoadMultiChannelImageFromFiles()(entry(tmp_path, ['a.png', 'b.png']))
    with pytest.raises(TypeError, match='list of files'):
        LoadMultiChannelImageFromFiles()(entry(tmp_path, 'a.png'))


def test_a_missing_image_shows_its_path_and_what_makes_it(photo):
    with pytest.raises(FileNotFoundError) as error:
        LoadImageFromFile()(entry(photo, 'b.png'))
    message = str(error.value)
    assert str(photo / 'b.png') in message
    assert f'img_prefix {str(photo)!r} + the file name' in message and "'b.png'" in message
    assert 'data_root' in message and 'the file does not' in message


def test_a_missing_folder_is_the_part_that_is_named(photo):
    with pytest.raises(FileNotFoundError) as error:
        LoadImageFromFile()(dict(entry(photo / 'train' / 'x'), data_root=str(photo)))
    assert f'{str(photo / "train")!r} is the first part of it that does not exist' in str(error.value)
    assert f'data_root {str(photo)!r}' in str(error.value)


@pytest.mark.parametrize('name', ['a.png', 'a.jpg'])
@pytest.mark.parametrize('share', [0.5, 0.97])
def test_a_truncated_image_is_an_error_with_its_path(photo, name, share):
    data = (photo / name).read_bytes()
    (photo / name).write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ValueError, match=f'cannot read the image .*{name}.*truncated'):
        LoadImageFromFile()(entry(photo, name))


def test_a_real_photograph_cut_in_half_is_not_filled_with_grey(shared, tmp_path):
    data = next((shared / 'data/coco_mini/val2017').glob('*.jpg')).read_bytes()
    (tmp_path / 'half.jpg').write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r'half\.jpg .*truncated'):
        LoadImageFromFile()(entry(tmp_path, 'half.jpg'))


def test_bytes_after_the_end_of_an_image_do_no_harm(photo):
    for name in ('a.png', 'a.jpg'):
        with (photo / name).open('ab') as file:
            file.write(b'\0' * 500)
        assert LoadImageFromFile()(entry(photo, name))['img'].shape == (12, 20, 3)


@pytest.mark.parametrize(('content', 'reason'), [(b'', 'empty'), (b'<html>404</html>', 'not an image, or damaged')])
def test_a_file_that_is_no_image_is_an_error_with_its_path(photo, content, reason):
    (photo / 'a.jpg').write_bytes(content)
    with pytest.raises(ValueError, match=f'cannot read the image .*a.jpg .*{reason}'):
        LoadImageFromFile()(entry(photo, 'a.jpg'))


def test_another_size_than_the_annotation_says_is_an_error_with_both(photo):
    with pytest.raises(ValueError) as error:
        LoadImageFromFile()(entry(photo, width=40, height=24))
    message = str(error.value)
    assert str(photo / 'a.png') in message and '20 x 12' in message and '40 x 24' in message
    assert 'restore the original image, or correct' in message


def test_swapped_width_and_height_point_to_exif(photo):
    with pytest.raises(ValueError, match='color_ignore_orientation'):
        LoadImageFromFile()(entry(photo, width=12, height=20))


def test_an_image_turned_by_exif_loads_as_annotated_when_orientation_is_ignored(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise
    Image.new('RGB', (20, 12)).save(tmp_path / 'turned.jpg', exif=exif)
    sample = entry(tmp_path, 'turned.jpg', width=20, height=12)
    with pytest.raises(ValueError, match='swapped'):
        LoadImageFromFile()(dict(sample))
    assert LoadImageFromFile(color_type='color_ignore_orientation')(sample)['img'].shape == (12, 20, 3)


def test_a_size_that_is_not_known_is_not_compared(photo):
    assert LoadImageFromFile()(entry(photo, width=0, height=0))['img'].shape == (12, 20, 3)
    assert LoadImageFromFile()(entry(photo, width=20, height=12))['img'].shape == (12, 20, 3)
