"""Reading and decoding the files that a sample names; what is wrong with one is said with its path."""

from __future__ import annotations

import io
import os.path as osp
import warnings
from pathlib import Path
from typing import Any

import mmcv
import numpy as np

from mmdet_clone.datasets.files import storage_backend
from mmdet_clone.datasets.image_files import remark_on

_PNG_END = b'IEND\xaeB`\x82'  # the last chunk's name and checksum
_GIF, _WEBP = b'GIF8', b'RIFF'  # which OpenCV reads, or animations of which, only since 4.11
_remarks: set[str] = set()  # what has been said of a file in this process


class FileReader:
    """Reads bytes through any file backend of ``mmengine``.

    Args:
        file_client_args: ``backend`` and its arguments; ``disk`` is the file system, where a path with a scheme
            (``s3://``, ``http://``) chooses the backend by itself.
    """

    def __init__(self, file_client_args: dict | None = None) -> None:
        self.args = {'backend': 'disk', **(file_client_args or {})}
        self._client: Any = None  # made at the first read, in the worker that reads

    def __call__(self, path: str) -> bytes:
        if self.args['backend'] in ('disk', 'local') and '://' in str(path):
            return storage_backend(self.args, str(path)).get(path)
        if self._client is None:
            self._client = storage_backend(self.args)
        data = self._client.get(path)
        return bytes(data) if isinstance(data, memoryview) else data

    def __repr__(self) -> str:
        return repr(self.args)

    def __getstate__(self) -> dict:
        return {'args': self.args, '_client': None}


def read_member(reader: FileReader, results: dict, name: str, prefix_key: str, what: str) -> tuple[str, bytes]:
    """Read file ``name`` below the folder ``results[prefix_key]``: its path and content.

    Raises:
        FileNotFoundError: with the parts that make the path, and the first of its folders that is missing.
    """
    prefix = results.get(prefix_key)
    path = osp.join(prefix, name) if prefix is not None else name
    try:
        return path, reader(path)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise FileNotFoundError(_missing(path, name, prefix, prefix_key, results.get('data_root'), what)) from error


def decode_image(data: bytes, path: str, flag: str, channel_order: str = 'bgr') -> np.ndarray:
    """Decode an image file's content.

    Raises:
        ValueError: the content is empty, cut off or not an image.
    """
    problem = _cut_off(data)
    img = None
    if not problem:
        try:
            img = mmcv.imfrombytes(data, flag=flag, channel_order=channel_order)
            if img is None and data[:4] in (_GIF, _WEBP):
                img = mmcv.imfrombytes(data, flag=flag, channel_order=channel_order, backend='pillow')
        except Exception as error:  # the decoders of mmcv raise all kinds of types
            problem = str(error).strip() or type(error).__name__
    if img is None:
        raise ValueError(
            f'cannot read the image {path} ({len(data)} bytes): {problem or "not an image, or damaged"}. '
            'Copy or download it again, or take it out of the annotation file'
        )
    _warn_once(remark_on(data, flag), path)
    return img


def _warn_once(remark: str, path: str) -> None:
    if remark and remark not in _remarks:
        _remarks.add(remark)
        warnings.warn(f'the image {path} is {remark}. Said once, of the first such image', stacklevel=3)


def check_size(img: np.ndarray, img_info: dict, path: str) -> None:
    """Compare the decoded image with the size that its annotation gives, if it gives one.

    Raises:
        ValueError: they differ, so boxes and masks would lie elsewhere than on the objects.
    """
    said = img_info.get('height'), img_info.get('width')
    found = img.shape[:2]
    if not all(said) or tuple(int(edge) for edge in said) == found:
        return
    if tuple(said) == found[::-1]:
        advice = (
            'The two are swapped, as for a photograph that its EXIF tag turns: where the boxes were drawn on the '
            "unturned image, load it with LoadImageFromFile(color_type='color_ignore_orientation')"
        )
    else:
        advice = (
            'The boxes and masks belong to the size in the annotation file: restore the original image, or '
            "correct the entry's width and height if the boxes fit the image as it is"
        )
    raise ValueError(
        f'the image {path} is {found[1]} x {found[0]} pixels (width x height), but its annotation says '
        f'{said[1]} x {said[0]}. {advice}'
    )


def _missing(path: str, name: str, prefix: str | None, key: str, data_root: str | None, what: str) -> str:
    missing = next((p for p in reversed([Path(path), *Path(path).parents]) if not p.exists()), Path(path))
    if prefix is None:
        made_of = f'the path is the file name that the annotation gives; {key} is not set'
    else:
        made_of = f'the path is {key} {prefix!r} + the file name {name!r} of the annotation file'
        if data_root:
            made_of += f"; the config's data_root {data_root!r} was put before a relative {key}"
        else:
            made_of += f" ({key} is the config's data_root + {key}, where data_root is set)"
    if missing == Path(path):
        found = f'the folder {str(missing.parent)!r} exists, the file does not'
    else:
        found = f'{str(missing)!r} is the first part of it that does not exist'
    return f'{what} not found: {path}: {made_of}. Of the path {found}. Correct data.<train|val|test>.{key} or data_root'


def _cut_off(data: bytes) -> str:
    """What is missing at the file's end, '' for a whole one.

    A decoder may fill what is missing with grey and say nothing. A JPEG without its mark near the end is decoded
    a second time, by a library that tells: bytes that follow the mark do no harm.
    """
    if not data:
        return 'the file is empty'
    if data[:8] == b'\x89PNG\r\n\x1a\n':
        return '' if _PNG_END in data[-64:] or _PNG_END in data else 'truncated'
    if data[:2] != b'\xff\xd8' or b'\xff\xd9' in data[-64:]:
        return ''
    from PIL import Image

    try:
        Image.open(io.BytesIO(data)).load()
    except Exception as error:  # damaged headers raise SyntaxError, struct.error and others
        return f'truncated ({error})'
    return ''
