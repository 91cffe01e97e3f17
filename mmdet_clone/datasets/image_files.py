"""What an image file's header says, without decoding the image."""

from __future__ import annotations

import io
import os
import os.path as osp
from collections.abc import Callable, Sequence
from typing import IO

_MOST_LOADED = 50
_END_MARKS = ((b'\x89PNG', b'IEND'), (b'\xff\xd8', b'\xff\xd9'))  # how png and jpeg files begin and end
_PNG = b'\x89PNG\r\n\x1a\n'
_ORIENTATION = 0x0112  # the EXIF tag; 5 to 8 turn the image by a quarter


def image_size(file: str | IO[bytes]) -> tuple[int, int]:
    """Width and height of an image as it is loaded: turned where its EXIF orientation says so.

    Raises:
        OSError: the file is absent, or no image.
    """
    from PIL import Image

    with Image.open(file) as image:
        width, height = image.size
        turned = image.getexif().get(_ORIENTATION, 1) >= 5
    return (height, width) if turned else (width, height)


def remark_on(data: bytes, color_type: str = 'color') -> str:
    """What is lost when an image is decoded, which a user may not expect; '' for nothing.

    Args:
        data: the file's content, of which the header is looked at.
        color_type: as of ``LoadImageFromFile``.
    """
    if is_animated(data):
        return 'an animation: its first frame is used'
    if data[:8] == _PNG and data[24:25] == b'\x10' and color_type != 'unchanged':
        return (
            'a png of 16 bits a channel, of which the upper 8 are used. If its values do not fill the 16 bits, it is '
            "all but black: load it with color_type='unchanged' and scale it in a step of your own"
        )
    return ''


def is_animated(data: bytes) -> bool:
    """Whether a gif, png or webp file holds several frames."""
    if data[:8] == _PNG:
        return b'acTL' in data[: max(data.find(b'IDAT'), 0)]
    if data[:4] == b'RIFF' and data[8:16] == b'WEBPVP8X':
        return bool(data[20] & 0b10)
    if data[:4] != b'GIF8':
        return False
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        return image.is_animated


def check_files(
    infos: Sequence[dict], prefix: str, load: Callable[[dict], None], source: str, limit: int | None = None
) -> None:
    """Raise for images that cannot be used: those that look odd at first are loaded, up to fifty of them.

    Args:
        infos, prefix, limit: as of :func:`suspicious_files`.
        load: loads the image of an entry, or raises ``FileNotFoundError`` or ``ValueError``.
        source: the annotation file, for the message.
    """
    odd = suspicious_files(infos, prefix, limit)
    problems = [problem for info in odd[:_MOST_LOADED] if (problem := _error_of(load, info))]
    if len(problems) == 1 and len(odd) <= _MOST_LOADED:
        raise problems[0]
    if problems:
        at_least, more = ('at least ' if len(odd) > _MOST_LOADED else ''), ('\n  ...' if len(problems) > 10 else '')
        shown = '\n  '.join(map(str, problems[:10]))
        raise type(problems[0])(f'{at_least}{len(problems)} images of {source} cannot be used:\n  {shown}{more}')


def _error_of(load: Callable[[dict], None], info: dict) -> Exception | None:
    try:
        load(info)
    except (OSError, ValueError) as error:
        return error
    return None


def suspicious_files(infos: Sequence[dict], prefix: str, limit: int | None = None) -> list[dict]:
    """The entries whose image is missing, cut off, no image, or of another size than annotated: at a first look.

    Every folder is listed once; of ``limit`` files, evenly spread over the entries, head and end are read. Whether a
    file that looks odd can be used only loading it tells.

    Args:
        infos: dicts with ``filename`` and, where known, ``width`` and ``height``.
        prefix: the folder of the images.
        limit: ``None`` reads of every file.
    """
    listings = {folder: _names_in(folder) for folder in {osp.dirname(osp.join(prefix, i['filename'])) for i in infos}}
    step = max(len(infos) / limit, 1) if limit else 1
    chosen = {int(i * step) for i in range(int(len(infos) / step))}
    odd = []
    for i, info in enumerate(infos):
        folder, name = osp.split(osp.join(prefix, info['filename']))
        if name not in listings[folder] or (i in chosen and _looks_odd(osp.join(folder, name), info)):
            odd.append(info)
    return odd


def _names_in(folder: str) -> set[str]:
    try:
        return set(os.listdir(folder or '.'))
    except OSError:
        return set()


def _looks_odd(path: str, info: dict) -> bool:
    try:
        size = image_size(path)
        with open(path, 'rb') as file:
            head = file.read(4)
            file.seek(-min(osp.getsize(path), 64), os.SEEK_END)
            end = file.read()
    except Exception:  # damaged headers raise SyntaxError, struct.error and others
        return True
    if any(head.startswith(start) and mark not in end for start, mark in _END_MARKS):
        return True
    annotated = info.get('width'), info.get('height')
    return all(annotated) and size != annotated
