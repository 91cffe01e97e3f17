"""``custom_imports``: the user's own modules, imported so that their classes register."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
import traceback
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import print_log

# Zoo configs import these packages for a backbone of theirs; the config itself reads well without.
_OPTIONAL_PACKAGES = ('mmcls', 'mmpretrain')


def import_custom_modules(cfg: Config) -> list[str]:
    """Import what ``cfg.custom_imports`` names and return the names that were imported.

    Modules are found where Python finds modules, then in the folder the command is run from and in the config file's
    own folder. Modules written for MMDetection 2.x and mmcv 1.x import as they are (see ``mmdet_clone.aliases``).

    Raises:
        ImportError: a module is missing or raises an error, and ``allow_failed_imports`` is not set.
    """
    names, allow_failed = _read(cfg)
    if not names:
        return []
    from mmdet_clone.aliases import aliases

    _extend_path(cfg.filename)
    imported = []
    with aliases():
        for name in names:
            try:
                importlib.import_module(name)
                imported.append(name)
            except Exception as error:
                if not (allow_failed and isinstance(error, ImportError)) and not _is_optional(name):
                    raise ImportError(_message(name, error, cfg.filename)) from error
                print_log(
                    f'custom_imports: {name!r} is left out: {_first_line(error)}. Types that it registers are unknown',
                    'current',
                    logging.WARNING,
                )
    return imported


def _read(cfg: Config) -> tuple[list[str], bool]:
    entry = cfg.get('custom_imports') or {}
    if not isinstance(entry, dict):  # a bare module name or a list of them is clear enough
        entry = dict(imports=entry)
    unknown = sorted(set(entry) - {'imports', 'allow_failed_imports'})
    names = entry.get('imports') or []
    names = [names] if isinstance(names, str) else list(names)
    if unknown or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f'{cfg.filename}: custom_imports is written '
            "dict(imports=['your_package.your_module'], allow_failed_imports=False), got " + repr(dict(entry))
        )
    return names, bool(entry.get('allow_failed_imports', False))


def _extend_path(filename: str | None) -> None:
    """Append the working folder and the config's to ``sys.path``, for good: workers and late imports need them."""
    folders = [os.getcwd(), *([str(Path(filename).absolute().parent)] if filename else [])]
    sys.path.extend(folder for folder in dict.fromkeys(folders) if folder not in sys.path)
    importlib.invalidate_caches()


def _is_optional(name: str) -> bool:
    return name.partition('.')[0] in _OPTIONAL_PACKAGES


def _first_line(error: Exception) -> str:
    return f'{type(error).__name__}: {error}'.splitlines()[0]


def _message(name: str, error: Exception, filename: str | None) -> str:
    where = f'custom_imports of {filename or "the config"}: '
    if '/' in name or name.endswith('.py'):
        dotted = name.removesuffix('.py').strip('./').replace('/', '.')
        return f'{where}{name!r} is a file path; write the module name, {dotted!r}'
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing is not None and (name == missing or name.startswith(missing + '.')):
        file = name.replace('.', '/')
        return (
            f'{where}no module named {missing!r}, so {name!r} cannot be imported. Looked for {file}.py or '
            f'{file}/__init__.py in the folders of sys.path:\n  '
            + '\n  '.join(dict.fromkeys(entry or os.getcwd() for entry in sys.path))
            + f'\nRun from the folder that holds {name.partition(".")[0]!r}, or add that folder: '
            'PYTHONPATH=/that/folder:$PYTHONPATH'
        )
    text = f'{where}{name!r}{_place(name, error)} could not be imported: {type(error).__name__}: {error}'
    if isinstance(error, ImportError) and (error.name or '').partition('.')[0] in ('mmdet', 'mmcv'):
        text += f'. mmdet_clone has no counterpart of that name of {error.name}: copy it into a module of your own'
    return text


def _place(name: str, error: Exception) -> str:
    """The module's file, and the line that failed: of the user's code, the last one on the way to the error."""
    try:
        spec = importlib.util.find_spec(name)
    except Exception:
        return ''
    if not spec or not spec.origin:
        return ''
    folder = str(Path(spec.origin).parent)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(folder)]
    if isinstance(error, SyntaxError) and error.filename:
        return f' ({error.filename}, line {error.lineno})'
    return f' ({frames[-1].filename}, line {frames[-1].lineno})' if frames else f' ({spec.origin})'
