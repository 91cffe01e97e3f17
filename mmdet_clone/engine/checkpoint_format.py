"""Telling a checkpoint from other files before it is opened, each with what to do about it."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import BinaryIO

__all__ = ['check_content', 'check_path', 'check_safetensors']

# What torch.save writes first in the format before PyTorch 1.6: the number 0x1950a86a20f9469cfc6c
TORCH_MAGIC = bytes.fromhex('6cfc9c46f9206aa85019')

SIGNATURES = (
    (b'\x89PNG', 'a PNG image'),
    (b'\xff\xd8\xff', 'a JPEG image'),
    (b'\x1f\x8b', 'compressed by gzip: unpack it first'),
    (b'BZh', 'compressed by bzip2: unpack it first'),
    (b'\xfd7zXZ', 'compressed by xz: unpack it first'),
    (b'7z\xbc\xaf', 'a 7z archive: unpack it first'),
    (b'Rar!', 'a RAR archive: unpack it first'),
    (b'\x89HDF', 'an HDF5 file, as Keras writes'),
    (b'\x93NUMPY', 'a numpy array'),
    (b'\x7fELF', 'a program'),
    (b'%PDF', 'a PDF document'),
    (b'version https://git-lfs', 'a Git LFS pointer: fetch the file itself by `git lfs pull`'),
)


def check_path(path: Path) -> None:
    """Raise ``FileNotFoundError``, naming what is near, if ``path`` is not a file."""
    if path.is_dir():
        raise FileNotFoundError(f'checkpoint {path} is a folder: name a .pth file in it, such as {path / "latest.pth"}')
    if not path.exists():
        near = sorted(p.name for p in path.parent.glob('*.pth'))[:5]
        if near:
            hint = f'; {path.parent} holds {", ".join(near)}'
        else:
            hint = '' if path.parent.is_dir() else f'; there is no folder {path.parent}'
        raise FileNotFoundError(f'checkpoint {path} does not exist{hint}')


def check_content(file: BinaryIO, name: str, trust: bool = False) -> None:
    """Raise ``ValueError``, saying what it is, unless ``file`` may be a checkpoint and is as large as it says.

    Args:
        name: of the file, for messages.
        trust: let the tar archives of the first PyTorch pass too, which can only be read by running their code.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(1024)
    if size == 0:
        raise ValueError(f'checkpoint {name} is empty (0 bytes): download or copy it again')
    if head.startswith(b'PK'):
        _check_zip(file, size, name)
    elif (kind := _kind(head)) and not (trust and kind.startswith('a tar')):
        raise ValueError(f'checkpoint {name} is not a checkpoint: it is {kind}')
    file.seek(0)


def check_safetensors(file: BinaryIO, name: str) -> None:
    """Raise ``ValueError``, saying what it is, unless ``file`` begins as Hugging Face's format does."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(1024)
    if size == 0:
        raise ValueError(f'checkpoint {name} is empty (0 bytes): download or copy it again')
    if head[8:9] != b'{':
        raise ValueError(f'checkpoint {name} is not in the safetensors format: it is {_kind(head) or "a .pth file"}')
    if int.from_bytes(head[:8], 'little') > size - 8:
        raise ValueError(f'checkpoint {name} is truncated: its header says more than its {size} bytes hold')
    file.seek(0)


def _kind(head: bytes) -> str | None:
    """What a file that begins with ``head`` is, ``None`` if a checkpoint may begin so."""
    for signature, kind in SIGNATURES:
        if head.startswith(signature):
            return kind
    if head[257:262] == b'ustar':
        return 'a tar archive, as the first versions of PyTorch wrote; it cannot be read without running its code'
    if head[:1] == b'\x80':
        return None if TORCH_MAGIC in head[:64] else 'a Python pickle that torch.save did not write'
    if head[8:10] == b'{"':
        return 'in the safetensors format: its name must end in .safetensors'
    text = head.lstrip(b'\xef\xbb\xbf \t\r\n')
    if text[:1] == b'<':
        return 'a web page: the download was answered by HTML or XML. Open the address in a browser to see what it says'
    if text[:1] == b'{':
        return 'JSON text'
    if all(32 <= byte < 127 or byte in b'\t\r\n' for byte in text):
        return 'text: are the arguments in the right order?'
    return 'of no kind that torch.save writes'


def _check_zip(file: BinaryIO, size: int, name: str) -> None:
    """The format since PyTorch 1.6: a zip file with ``<name>/data.pkl``, which stores its members uncompressed."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ValueError(
            f'checkpoint {name} cannot be read: it is truncated or not a PyTorch checkpoint ({error}). '
            'Download or copy it again'
        ) from error
    names = [member.filename for member in members]
    if any(member.endswith('/constants.pkl') for member in names):
        raise ValueError(f'checkpoint {name} is a TorchScript program, not a checkpoint: torch.jit.load reads those')
    if not any(member.endswith('/data.pkl') and member.count('/') == 1 for member in names):
        raise ValueError(f'checkpoint {name} is a zip file without data.pkl, not a PyTorch checkpoint')
    declared = sum(member.file_size for member in members)
    if declared > size or any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError(
            f'checkpoint {name} is refused: its {size} bytes unfold to {declared}. torch.save never compresses, '
            'so somebody else packed this file'
        )
    if len({member.lower() for member in names}) < len(names):
        raise ValueError(
            f'checkpoint {name} is refused: it holds several members of one name, which torch.save never writes'
        )
