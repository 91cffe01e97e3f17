"""Writing a resolved config as a ``.py`` file that reads back to the same values."""

from __future__ import annotations

import keyword
import math
import os
from pathlib import Path
from typing import Any

from mmengine.config import Config

WIDTH = 100


def dump_config(cfg: Config, path: str | os.PathLike) -> Path:
    """Write the resolved values of ``cfg`` to ``path`` (``.py``, ``.json``, ``.yaml``), making its folder.

    Raises:
        OSError: the folder cannot be written to.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == '.py':
        path.write_text(config_text(cfg), encoding='utf-8')
    else:
        import mmengine

        mmengine.dump(cfg.to_dict(), str(path))
    return path


def config_text(cfg: Config | dict) -> str:
    """The resolved values of ``cfg`` as Python source, one assignment a key, in the config's order."""
    values = cfg.to_dict() if isinstance(cfg, Config) else cfg
    return ''.join(f'{key} = {_format(value, "", len(key) + 3)}\n' for key, value in values.items())


def _format(value: Any, indent: str, used: int) -> str:
    """``value`` as source: on one line if it fits behind ``used`` columns, else one item a line."""
    flat = _flat(value)
    if len(indent) + used + len(flat) <= WIDTH or not value or not isinstance(value, dict | list | tuple):
        return flat
    inner = indent + '    '
    if isinstance(value, dict):
        opening, closing, items = _dict_parts(value)
    else:
        opening, closing = '[]' if isinstance(value, list) else '()'
        items = [('', item) for item in value]
    lines = [f'{inner}{label}{_format(item, inner, len(label) + 1)},\n' for label, item in items]
    return f'{opening}\n{"".join(lines)}{indent}{closing}'


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        opening, closing, items = _dict_parts(value)
        return opening + ', '.join(label + _flat(item) for label, item in items) + closing
    if isinstance(value, list):
        return '[' + ', '.join(map(_flat, value)) + ']'
    if isinstance(value, tuple):
        return '(' + ', '.join(map(_flat, value)) + (',)' if len(value) == 1 else ')')
    return _scalar(value)


def _dict_parts(value: dict) -> tuple[str, str, list[tuple[str, Any]]]:
    if all(isinstance(key, str) and key.isidentifier() and not keyword.iskeyword(key) for key in value):
        return 'dict(', ')', [(f'{key}=', item) for key, item in value.items()]
    return '{', '}', [(f'{_scalar(key)}: ', item) for key, item in value.items()]


def _scalar(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    if isinstance(value, str):
        text = repr(value)  # two braces in a row would be read as a template: cut the literal between them
        return text.replace('{{', '{' + text[0] + ' ' + text[0] + '{')
    if isinstance(value, type) or callable(value):
        name = getattr(value, '__qualname__', type(value).__qualname__)
        return repr(f'{getattr(value, "__module__", type(value).__module__)}.{name}')
    return repr(value)
