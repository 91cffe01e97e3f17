"""Values that stand for other values: ``${model.backbone.depth}`` and the ``MMDET_DATASETS`` variable."""

from __future__ import annotations

import os
import re
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

_REFERENCE = re.compile(r'\$\{([^{}]+)\}')


def replace_cfg_vals(cfg: Config) -> Config:
    """A copy of ``cfg`` in which ``'${a.b}'`` is replaced by the value at ``a.b``.

    A string that is one reference takes the value as it is, of any type; inside a longer string the value must be a
    string or a number. References may point to strings that hold references themselves. As in MMDetection 2.x, a
    ``model_wrapper`` then takes the place of ``model``.
    """
    values = {key: _resolve(value, cfg, ()) for key, value in cfg._cfg_dict.items()}
    if values.get('model_wrapper') is not None:
        values['model'] = values.pop('model_wrapper')
    return Config(values, cfg_text=cfg.text, filename=cfg.filename, env_variables=cfg.env_variables)


def _resolve(value: Any, cfg: Config, open_keys: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        return type(value)({key: _resolve(item, cfg, open_keys) for key, item in value.items()})
    if type(value) in (list, tuple):
        return type(value)(_resolve(item, cfg, open_keys) for item in value)
    if not isinstance(value, str) or '${' not in value:
        return value
    whole = _REFERENCE.fullmatch(value)
    if whole:
        return _look_up(whole[1], cfg, open_keys)
    return _REFERENCE.sub(lambda match: _as_text(match[1], _look_up(match[1], cfg, open_keys), value), value)


def _look_up(key: str, cfg: Config, open_keys: tuple[str, ...]) -> Any:
    if key in open_keys:
        raise ValueError(f'{cfg.filename}: ${{{key}}} refers to itself, through {" -> ".join((*open_keys, key))}')
    node: Any = cfg._cfg_dict
    for part in key.split('.'):
        try:
            node = node[int(part)] if isinstance(node, list | tuple) else node[part]
        except (KeyError, IndexError, TypeError, ValueError):
            known = f'; the keys there are {", ".join(map(str, node))}' if isinstance(node, dict) else ''
            raise ValueError(f'{cfg.filename}: ${{{key}}} names no value of the config: no {part!r}{known}') from None
    return _resolve(node, cfg, (*open_keys, key))


def _as_text(key: str, value: Any, inside: str) -> str:
    if not isinstance(value, str | int | float):
        raise ValueError(f'${{{key}}} in {inside!r} is a {type(value).__name__}; only text and numbers go into text')
    return str(value)


def update_data_root(cfg: Config) -> None:
    """Where the environment sets ``MMDET_DATASETS``, put it in the place of ``data_root`` throughout ``cfg.data``."""
    new = os.environ.get('MMDET_DATASETS')
    old = cfg.get('data_root')
    if not new or not old or 'data' not in cfg:
        return

    def moved(value: Any) -> Any:
        if isinstance(value, dict):
            return type(value)({key: moved(item) for key, item in value.items()})
        if type(value) in (list, tuple):
            return type(value)(map(moved, value))
        return value.replace(old, new) if isinstance(value, str) else value

    cfg.data = moved(cfg.data)
    cfg.data_root = new
    print_log(f'data_root is {new}, from the environment variable MMDET_DATASETS, instead of {old}', 'current')
