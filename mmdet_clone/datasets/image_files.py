"""What an image file's header says, without decoding the image."""

from __future__ import annotations

import os.path as osp
from collections.abc import Sequence
from typing import IO

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


def file_problems(infos: Sequence[dict], prefix: str) -> list[str]:
    """One line for each image that is missing, no image, or of another size than annotated.

    Args:
        infos: dicts with ``filename`` and, where known, ``width`` and ``height``.
        prefix: the folder of the images.
    """
    return [line for info in infos if (line := _problem(info, osp.join(prefix, info['filename'])))]


def _problem(info: dict, path: str) -> str:
    try:
        found = image_size(path)
    except FileNotFoundError:
        return f'{path}: missing'
    except (OSError, ValueError) as error:
        return f'{path}: {error}'
    annotated = info.get('width'), info.get('height')
    if not all(annotated) or found == annotated:
        return ''
    return f'{path}: {found[0]}x{found[1]} pixels, annotated as {annotated[0]}x{annotated[1]}'
