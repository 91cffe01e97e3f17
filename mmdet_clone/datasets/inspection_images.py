"""What image files are like: readable, of the annotated size, of what kind; and which are the same."""

from __future__ import annotations

import hashlib
import io
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

import numpy as np

from .pipelines.files import check_size, decode_image

_ORIENTATION = 0x0112  # the EXIF tag; 1 is upright
_TIFF_BITS = 258
_SAMPLE = 1 << 14  # bytes at head and end that files of equal size are first compared by


def kinds_of_image(file: str | IO[bytes]) -> list[tuple[str, str]]:
    """What is unusual about an image file, from its header: kinds of ``inspection_findings.KINDS``, with a sentence.

    Raises:
        OSError: it is absent, or no image.
    """
    from PIL import Image

    with Image.open(file) as image:
        found = []
        if getattr(image, 'n_frames', 1) > 1 and image.format not in ('MPO', 'TIFF'):
            found.append(('animated_image', f'{image.format} of {image.n_frames} frames'))
        if _bits(image) > 8:
            found.append(('sixteen_bit_image', f'{image.format} of {_bits(image)} bits a channel'))
        if image.mode == 'CMYK':
            found.append(('cmyk_image', f'{image.format} in CMYK'))
        elif image.mode in ('RGBA', 'LA', 'PA') or 'transparency' in image.info:
            found.append(('alpha_image', f'{image.format} of mode {image.mode} with an alpha channel'))
        elif image.mode in ('1', 'L') or image.mode.startswith('I;16'):
            found.append(('grey_image', f'{image.format} of mode {image.mode}'))
        orientation = image.getexif().get(_ORIENTATION, 1)
        if orientation != 1:
            found.append(('rotated_image', f'EXIF orientation {orientation}'))
    return found


def _bits(image: Any) -> int:
    """Bits a channel. Pillow shows a PNG of 16-bit RGB as one of 8 bits, and hides the depth in its raw mode."""
    if image.mode.startswith(('I', 'F')):
        return 32 if image.mode == 'F' else 16
    depths = np.atleast_1d(getattr(image, 'tag_v2', {}).get(_TIFF_BITS, 8))
    raw = [str(tile[3]) for tile in getattr(image, 'tile', ()) if len(tile) > 3]
    return max(int(depths.max()), *(16 if ';16' in mode else 8 for mode in raw), 8)


def look_at_image(
    path: str, info: dict, read: Callable[[str], bytes], color_type: str = 'color'
) -> list[tuple[str, str]]:
    """(kind, sentence) for what is wrong with or unusual about an image; empty for a plain one.

    Args:
        path: of the file.
        info: ``width`` and ``height`` as annotated, where they are known.
        read: gives the content of a path.
        color_type: how the pipeline decodes it.
    """
    try:
        data = read(path)
    except (OSError, ValueError):  # the latter for a name that no file can have
        return [('missing_image', f'there is no {path}')]
    try:
        img = decode_image(data, path, color_type)
    except ValueError as error:
        return [('unreadable_image', str(error)), *_kinds(data)]
    kinds = _kinds(data)
    try:
        check_size(img, info, path)
    except ValueError as error:
        return [('wrong_size_image', str(error)), *kinds]
    return kinds


def _kinds(data: bytes) -> list[tuple[str, str]]:
    try:
        return kinds_of_image(io.BytesIO(data))
    except Exception:  # not for Pillow; damaged headers raise SyntaxError, struct.error and others
        return []


def look_at_images(
    paths: Sequence[str], infos: Sequence[dict], read: Callable, color_type: str, workers: int
) -> Iterator[list[tuple[str, str]]]:
    """:func:`look_at_image` of each path, in order; ``workers`` threads (decoding lets go of the interpreter)."""
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        step = max(16 * workers, 64)  # a batch at a time, so that what is read does not pile up
        for start in range(0, len(paths), step):
            some = slice(start, start + step)
            yield from pool.map(lambda p, i: look_at_image(p, i, read, color_type), paths[some], infos[some])


def missing_files(paths: Iterable[str]) -> list[int]:
    """The indices of the paths that do not exist; each folder is listed once."""
    listings: dict[str, set[str]] = {}
    missing = []
    for i, path in enumerate(paths):
        folder, name = os.path.split(path)
        if folder not in listings:
            listings[folder] = set(os.listdir(folder or '.')) if os.path.isdir(folder or '.') else set()
        if name not in listings[folder]:
            missing.append(i)
    return missing


def spread(count: int, limit: int | None) -> list[int]:
    """``limit`` indices, evenly over ``range(count)``; all of them without a limit."""
    if limit is None or limit >= count:
        return list(range(count))
    return np.linspace(0, count - 1, limit).round().astype(int).tolist() if limit > 0 else []


def same_content(first: Sequence[str], second: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs (of ``first``, of ``second``) of files at different paths with the same bytes.

    Only files whose size, then head and end agree with one of the other list are read.
    """
    groups: dict[Any, tuple[list[str], list[str]]] = {0: (list(first), list(second))}
    for key in (_size, _ends, _digest):
        split: dict[Any, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
        for old, (ours, theirs) in groups.items():
            for side, paths in enumerate((ours, theirs)):
                for path in paths:
                    split[old, key(path)][side].append(path)
        groups = {value: pair for value, pair in split.items() if all(pair) and value[1] is not None}
    return [(ours[0], path) for ours, theirs in groups.values() for path in theirs if path != ours[0]]


def _size(path: str) -> int | None:
    try:
        return os.path.getsize(path)
    except (OSError, ValueError):
        return None


def _ends(path: str) -> bytes | None:
    try:
        with open(path, 'rb') as file:
            head = file.read(_SAMPLE)
            file.seek(-min(os.path.getsize(path), _SAMPLE), os.SEEK_END)
            return hashlib.blake2b(head + file.read()).digest()
    except OSError:  # a folder, or not ours to read
        return None


def _digest(path: str) -> bytes | None:
    try:
        with open(path, 'rb') as file:
            return hashlib.blake2b(file.read()).digest()
    except OSError:
        return None
