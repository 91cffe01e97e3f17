"""Annotation tables in files, which all processes of a machine map: parsed once, and held once.

A file is found by the content of the annotation file, whatever its name or date, and is used only if its own checksum
is right. It begins with magic bytes, the checksum of the header and the arrays, the length of the header, and the
header: JSON that says where each array lies.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import mmap
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from mmengine.logging import print_log

from .coco_parse import LARGE, table_from_json
from .coco_table import CocoTable

try:
    import fcntl
except ImportError:  # Windows, which does not let a mapped file be removed
    fcntl = None

FOLDER_VARIABLE = 'MMDET_CLONE_CACHE'
LEAST_BYTES = LARGE  # parsing a smaller annotation file takes no longer than looking for its table
_FORMAT = 1  # counts the layouts of these files and of CocoTable
_SUFFIX = '.cocotable'
_MAGIC = b'MMDETCLONE\0\0'
_START = struct.Struct(f'<{len(_MAGIC)}sIQ')  # magic, checksum, length of the header
_ALIGN = 64
_BLOCK = 8 << 20
_PATIENCE = 900  # seconds to wait for a process that is making the table


class UnusableCacheError(ValueError):
    """A file of the cache that must not be used."""


def cache_folder() -> Path | None:
    """``$MMDET_CLONE_CACHE`` (``off`` for none), ``$XDG_CACHE_HOME/mmdet_clone`` or ``~/.cache/mmdet_clone``."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen:
        return None if chosen.lower() == 'off' else Path(chosen).expanduser()
    base = os.environ.get('XDG_CACHE_HOME')
    try:
        return (Path(base) if base else Path.home() / '.cache') / 'mmdet_clone'
    except RuntimeError:  # a user without a home
        return None


def load_table(path: str) -> CocoTable | None:
    """The table of an annotation file, mapped from the cache if the file is large.

    ``None`` where ``table_from_json`` gives ``None``.
    """
    folder = cache_folder()
    if folder is None or os.path.getsize(path) < LEAST_BYTES:
        return table_from_json(path)
    before = _stamp(path)
    key = content_key(path)
    cached = folder / f'{key}{_SUFFIX}'
    table = _usable(cached, key)
    if table is not None:
        return table
    return _made(path, key, cached, before)


def _stamp(path: str) -> tuple[int, ...]:
    """Differs once a file was written to or replaced: the time of the last change of its inode cannot be set."""
    stat = os.stat(path)
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def content_key(path: str) -> str:
    """What a table is filed under: a hash of the file's content."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        for block in _blocks(file):
            digest.update(block)
    return digest.hexdigest()[:32]


def open_again(path: str) -> CocoTable:
    """Map a table whose file the process that this one works for has checked, and keeps locked."""
    with open(path, 'rb') as file:
        return _mapped(file, _header(file), path)


def _usable(cached: Path, key: str) -> CocoTable | None:
    try:
        table = read_table(cached, key)
    except OSError:  # most often there is none yet; if the folder cannot be used, writing to it will say so
        return None
    except UnusableCacheError as error:
        _say(f'{cached} is not used, and made anew: {error}')
        return None
    with contextlib.suppress(OSError):
        os.utime(cached)  # when it was last of use, for whoever tidies up
    return table


def _made(path: str, key: str, cached: Path, stamp: tuple[int, ...]) -> CocoTable | None:
    """Parse the file and leave its table in the cache; other processes wait meanwhile and then map the same.

    ``stamp`` is that of the file before ``key`` was taken.
    """
    import filelock

    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(f'{cached}.lock', timeout=_PATIENCE)
        lock.acquire()
    except (OSError, NotImplementedError, filelock.Timeout) as error:
        _say(f'no cache of annotations, each process holds its own copy of {path}: {error}')
        return table_from_json(path)
    try:
        with contextlib.suppress(OSError, UnusableCacheError):
            return read_table(cached, key)  # made while we waited
        table = table_from_json(path)
        if table is None or _stamp(path) != stamp:  # written to meanwhile: the key is of another content
            return table
        return _stored(table, path, key, cached)
    finally:
        lock.release()


def _stored(table: CocoTable, path: str, key: str, cached: Path) -> CocoTable:
    """The same table from the file that it was written to, or itself if that fails."""
    _remove_leftovers(cached, path)
    try:
        write_table(table, cached, key, path)
        stored, size = read_table(cached, key), os.path.getsize(cached)
    except (OSError, UnusableCacheError) as error:
        _say(f'the annotations of {path} could not be cached, each process holds its own copy: {error}')
        return table
    _say(f'cached the annotations of {path} in {cached} ({size >> 20} MB)', logging.INFO)
    return stored


def _remove_leftovers(cached: Path, source: str) -> None:
    """Remove what a process left that was stopped while writing, and the tables of earlier contents of ``source``.

    A table that a process maps stays: on a network file system, mapped pages of a removed file end the process.
    """
    for other in cached.parent.glob(f'{cached.name}.*.part'):  # we hold its lock
        with contextlib.suppress(OSError):
            other.unlink()
    for other in cached.parent.glob(f'*{_SUFFIX}'):
        with contextlib.suppress(OSError, UnusableCacheError), open(other, 'r+b') as file:
            if other != cached and _header(file).get('source') == os.path.abspath(source):
                _lock(file, shared=False)  # fails where ``read_table`` has locked it; NFS asks for 'r+b'
                other.unlink()


def _say(message: str, level: int = logging.WARNING) -> None:
    print_log(message, 'current', level)


# ---------------------------------------------------------------------- the file


def write_table(table: CocoTable, path: Path, key: str, source: str) -> None:
    """Write a table under another name first, so that no one sees half a file."""
    arrays = {name: np.ascontiguousarray(array) for name, array in table.arrays().items()}
    header = json.dumps(dict(
        format=_FORMAT, key=key, source=os.path.abspath(source), arrays=_places(arrays),
        size=sum(_padded(array.nbytes) for array in arrays.values()),
    )).encode()  # fmt: skip
    header += b' ' * (-(_START.size + len(header)) % _ALIGN)
    part = path.with_name(f'{path.name}.{os.getpid()}.part')
    try:
        with open(part, 'xb') as file:  # follows no link that someone else may have put there
            file.write(_START.pack(b'', 0, len(header)))
            checksum = _write(file, header, 0)
            for array in arrays.values():
                checksum = _write(file, array.reshape(-1).view(np.uint8), checksum)
                checksum = _write(file, bytes(_padded(array.nbytes) - array.nbytes), checksum)
            file.seek(0)
            file.write(_START.pack(_MAGIC, checksum, len(header)))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _places(arrays: dict[str, np.ndarray]) -> dict[str, dict]:
    places, position = {}, 0
    for name, array in arrays.items():
        places[name] = dict(dtype=array.dtype.str, shape=array.shape, start=position)
        position += _padded(array.nbytes)
    return places


def _padded(size: int) -> int:
    return size + -size % _ALIGN


def _write(file: BinaryIO, content: Any, checksum: int) -> int:
    view = memoryview(content)
    for start in range(0, len(view), _BLOCK):
        block = view[start : start + _BLOCK]
        file.write(block)
        checksum = zlib.crc32(block, checksum)
    return checksum


def read_table(path: Path, key: str) -> CocoTable:
    """Map a table. Its file is locked against removal as long as the arrays live, for a mapping keeps it open.

    Raises:
        UnusableCacheError: it is cut off, damaged, of another version or of another annotation file.
    """
    with open(path, 'rb') as file:
        with contextlib.suppress(OSError):  # a file system without locks
            _lock(file, shared=True)
        header = _header(file)
        if header.get('format') != _FORMAT:
            raise UnusableCacheError(f'it has format {header.get("format")}, this version reads {_FORMAT}')
        if header.get('key') != key:
            raise UnusableCacheError('it was made from another annotation file')
        _check_sum(file)
        return _mapped(file, header, str(path))


def _header(file: BinaryIO) -> dict:
    start = file.read(_START.size)
    if len(start) < _START.size or not start.startswith(_MAGIC):
        raise UnusableCacheError('it does not begin as such a file does')
    length = _START.unpack(start)[2]
    size = os.fstat(file.fileno()).st_size
    try:
        header = json.loads(file.read(length) if length <= size else b'')
        complete = size == _START.size + length + header['size']
    except (ValueError, KeyError, TypeError) as error:
        raise UnusableCacheError('its header is damaged') from error
    if not complete:
        raise UnusableCacheError(f'it has {size} bytes, {_START.size + length + header["size"]} belong to it')
    return {**header, 'begin': _START.size + length}


def _check_sum(file: BinaryIO) -> None:
    """Read the file rather than its mapping, whose pages would count as this process's memory."""
    file.seek(0)
    expected = _START.unpack(file.read(_START.size))[1]
    checksum = 0
    for block in _blocks(file):
        checksum = zlib.crc32(block, checksum)
    if checksum != expected:
        raise UnusableCacheError('its checksum is wrong, so its content is damaged')


def _blocks(file: BinaryIO) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(_BLOCK))
    while count := file.readinto(buffer):
        yield buffer[:count]


def _mapped(file: BinaryIO, header: dict, path: str) -> CocoTable:
    content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    try:
        arrays = {name: _array(content, header['begin'], place) for name, place in header['arrays'].items()}
        return CocoTable(**arrays, path=path)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise UnusableCacheError('its arrays are not those of a table') from error


def _lock(file: BinaryIO, shared: bool) -> None:
    if fcntl is not None:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def _array(content: mmap.mmap, begin: int, place: dict) -> np.ndarray:
    flat = np.frombuffer(content, place['dtype'], int(np.prod(place['shape'])), begin + place['start'])
    return flat.reshape(place['shape'])
