"""How annotation files are reached: paths joined, read through mmengine's file backends, missing ones explained."""

from __future__ import annotations

import json
import os
import os.path as osp
from typing import Any

from mmengine.fileio import FileClient, get_file_backend
from mmengine.fileio.backends import BaseStorageBackend
from mmengine.fileio.backends.registry_utils import backends

from .safe_pickle import loads_plain


def storage_backend(file_client_args: dict | None, uri: str | None = None) -> BaseStorageBackend:
    """The mmengine backend that ``file_client_args`` describes; ``backend='disk'`` is the older name of ``'local'``.

    A ``uri`` with a scheme (``s3://``) selects its own backend where the arguments say no more than "disk".

    Raises:
        ValueError: no backend of that name is registered.
    """
    args = dict(file_client_args or {})
    name = args.get('backend', 'disk')
    if name in ('disk', 'local'):
        remote = uri if uri and '://' in uri else ''
        return get_file_backend(remote, enable_singleton=bool(remote))
    if name in backends:
        return get_file_backend(backend_args=args)
    if name in FileClient._backends:  # registered in the older way
        return FileClient(**args)
    raise ValueError(f'file_client_args: no file backend {name!r}; there are disk, {", ".join(sorted(backends))}')


def join_root(data_root: str | None, path: str | os.PathLike | None) -> str | None:
    """``path`` under ``data_root``, unless it is absolute, has a scheme, or either is missing."""
    path = os.fspath(path) if isinstance(path, os.PathLike) else path
    if path is None or not data_root or osp.isabs(path) or '://' in path:
        return path
    return osp.join(data_root, path)


def read_records(path: str) -> Any:
    """The content of a ``.json``, ``.pkl`` or ``.pickle`` file; a pickle may hold plain data only."""
    suffix = osp.splitext(path)[1].lower()
    if suffix == '.json':
        return read_json(path)
    if suffix in ('.pkl', '.pickle'):
        with open(path, 'rb') as file:
            return loads_plain(file.read(), path)
    raise ValueError(f'cannot read {path!r}: expected a .json or .pkl file, got the suffix {suffix!r}')


def read_json(path: str) -> Any:
    try:
        with open(path, 'rb') as file:
            return json.loads(file.read())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f'{path!r} is not valid JSON: {error}. Was its download or copy cut short?') from error


def read_lines(path: str) -> list[str]:
    """The stripped, non-empty lines of a text file."""
    with open(path, encoding='utf-8') as file:
        return [line.strip() for line in file if line.strip()]


def missing_path(name: str, path: str, data_root: str | None, kind: str = 'file') -> str:
    """The message for an absent ``ann_file`` or ``img_prefix``: the path, its parts, where it breaks off."""
    parts = f'{name}={_part_after(data_root, path)!r}' + (f', data_root={os.fspath(data_root)!r}' if data_root else '')
    return (
        f'{name}: no such {kind}: {path!r} (from {parts}; working directory {osp.abspath(".")!r}). '
        f'The part that exists is {_existing_part(path)!r}: correct {name}' + (' or data_root' if data_root else '')
    )


def _part_after(data_root: str | None, path: str) -> str:
    return osp.relpath(path, data_root) if data_root and path.startswith(os.fspath(data_root)) else path


def _existing_part(path: str) -> str:
    path = osp.abspath(path)
    while not osp.exists(path) and osp.dirname(path) != path:
        path = osp.dirname(path)
    return path
