"""Reading a checkpoint file without running code that it carries.

A ``.pth`` file is a pickle, and a pickle may call any function. Files are read by ``torch.load(weights_only=True)``
with the few more types that the checkpoints of mmcv and mmengine hold; whatever else one asks for is refused by name.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import re
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch

from mmdet_clone.engine.checkpoint_format import check_content, check_path, check_safetensors
from mmdet_clone.engine.checkpoint_sources import fetch
from mmdet_clone.engine.inert_types import plain, stand_ins
from mmdet_clone.engine.key_layouts import class_names_of_mmengine

__all__ = ['read_checkpoint', 'trusted']

_trusted: ContextVar[bool] = ContextVar('read checkpoints with the code that they carry', default=False)
_allow_list_in_use = threading.RLock()  # torch's is one for the process


@contextlib.contextmanager
def trusted(yes: bool = True) -> Iterator[None]:
    """Within this context ``read_checkpoint`` takes ``trust=True`` for granted, also where a model loads its parts."""
    token = _trusted.set(yes)
    try:
        yield
    finally:
        _trusted.reset(token)


def read_checkpoint(filename: str | os.PathLike, map_location: Any = 'cpu', trust: bool = False) -> dict:
    """The content of a checkpoint, with MMDetection 2.x's names of the classes in ``meta``.

    Args:
        filename: a path; an address (``https://``, ``file://``, ``s3://`` and what else mmengine's file backends
            read); or an entry of a model zoo: ``torchvision://resnet50``, ``open-mmlab://detectron2/resnet50_caffe``,
            ``mmcls://resnet50``, ``timm://resnet50.a1_in1k``.
        map_location: of ``torch.load``.
        trust: unpickle everything, running whatever code the file carries.

    Raises:
        FileNotFoundError: no such file or name.
        ConnectionError: it cannot be downloaded.
        ValueError: empty, truncated, not a checkpoint, or it holds a type that is not known to be safe.
    """
    filename = os.fspath(filename)
    source = fetch(filename)
    name = filename
    if isinstance(source, Path):
        check_path(source)
        is_download = '://' in filename and not filename.startswith('file://')
        name = f'{filename} (at {source}; delete it to fetch it again)' if is_download else filename
    if isinstance(source, Path) and source.suffix == '.safetensors':
        checkpoint = _read_safetensors(source, map_location)
    else:
        checkpoint = _read(source, name, map_location, trust or _trusted.get())
    if not isinstance(checkpoint, dict):
        raise ValueError(f'{name} holds a {type(checkpoint).__name__}, not a dict of weights')
    if filename.startswith('mmcls://'):
        return _as_mmcls_backbone(checkpoint)
    if isinstance(checkpoint.get('meta'), dict):
        checkpoint['meta'].update(class_names_of_mmengine(checkpoint['meta']))
    return checkpoint


def _read(source: Path | io.BytesIO, name: str, map_location: Any, trust: bool) -> Any:
    with source.open('rb') if isinstance(source, Path) else source as file:
        check_content(file, name, trust)
        try:
            if trust:
                return torch.load(file, map_location=map_location, weights_only=False)
            with _allowing(stand_ins()):
                return plain(torch.load(file, map_location=map_location, weights_only=True))
        except Exception as error:
            file.seek(0)
            raise _explained(error, file, name, trust) from error


@contextlib.contextmanager
def _allowing(table: dict[str, Any]) -> Iterator[None]:
    """Let torch's reader take these names, beside its own and those that the program has added for itself."""
    api = torch.serialization
    with _allow_list_in_use:
        added = api.get_safe_globals()
        api.clear_safe_globals()
        api.add_safe_globals([g for g in added if _name(g) not in table])
        api.add_safe_globals([(value, name) for name, value in table.items()])
        try:
            yield
        finally:
            api.clear_safe_globals()
            api.add_safe_globals(added)


def _name(entry: Any) -> str:
    return entry[1] if isinstance(entry, tuple) else f'{entry.__module__}.{entry.__qualname__}'


def _explained(error: Exception, file: io.BufferedIOBase, name: str, trust: bool) -> ValueError:
    """What to tell of an error of ``torch.load``."""
    reason = _first_line(error)
    if not trust and (refused := _refused_globals(file, error)):
        return ValueError(
            f'checkpoint {name} asks for {", ".join(refused)}, not among the types known to be safe to load. '
            'Loading it would run code from the file: only if you trust where it comes from, pass trust=True '
            '(--trust-checkpoint on the command line)'
        )
    if not trust and (isinstance(error, pickle.UnpicklingError) or 'known to be safe' in reason):
        return ValueError(
            f'checkpoint {name} is not plain data ({reason}), so it was not loaded. Only if you trust where it comes '
            'from, pass trust=True (--trust-checkpoint on the command line)'
        )
    if 'deserialize object on' in reason:
        return ValueError(
            f"checkpoint {name} was saved on a device that is not here: give map_location='cpu' ({reason})"
        )
    return ValueError(
        f'checkpoint {name} cannot be read: it is truncated or not a PyTorch checkpoint ({reason}). '
        'Download or copy it again'
    )


def _refused_globals(file: io.BufferedIOBase, error: Exception) -> list[str]:
    """The names that the safe reader turned down, if that is why it failed."""
    if 'GLOBAL' not in str(error) and 'global' not in str(error):
        return []
    try:
        with _allowing(stand_ins()):
            names = torch.serialization.get_unsafe_globals_in_checkpoint(file)
    except Exception:  # files in the format before torch 1.6
        names = []
    return sorted(names) or re.findall(r'GLOBAL ([\w.]+)', str(error))[:1] or [_first_line(error)]


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = [line for line in lines if 'weights_only' not in line]  # torch's advice to unpickle everything
    return next((line for line in lines if 'GLOBAL' in line), lines[0] if lines else type(error).__name__)


def _read_safetensors(path: Path, map_location: Any) -> dict:
    """Weights alone, in Hugging Face's format, which has no place for code."""
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise ModuleNotFoundError(f'{path} needs safetensors: pip install safetensors') from error
    with path.open('rb') as file:
        check_safetensors(file, str(path))
    try:
        return load_file(path, device=str(map_location or 'cpu'))
    except Exception as error:
        raise ValueError(f'checkpoint {path} cannot be read: {error}. Download or copy it again') from error


def _as_mmcls_backbone(checkpoint: dict) -> dict:
    """mmcls saves whole classifiers: keep the backbone's weights, under its own names."""
    weights = checkpoint.get('state_dict', checkpoint)
    prefix = 'backbone.'
    return {'state_dict': {key[len(prefix) :]: value for key, value in weights.items() if key.startswith(prefix)}}
