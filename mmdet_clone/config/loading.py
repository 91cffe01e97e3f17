"""From a config file to the ``Config`` that everything else reads."""

from __future__ import annotations

import os
import pathlib
import traceback
from typing import Any

import numpy as np
from mmengine.config import Config

from mmdet_clone.config.checks import check_classes
from mmdet_clone.config.custom_imports import import_custom_modules
from mmdet_clone.config.dialect import refuse_mmengine_keys
from mmdet_clone.config.files import ConfigError, check_files
from mmdet_clone.config.legacy import rename_legacy_keys, rename_legacy_options, translate_legacy
from mmdet_clone.config.options import merge_options
from mmdet_clone.config.variables import replace_cfg_vals, update_data_root

__all__ = ['ConfigError', 'load_config']


def load_config(path: str | os.PathLike, cfg_options: dict[str, Any] | None = None) -> Config:
    """Read an MMDetection 2.x config file, resolved and checked, and import the modules it names.

    In this order: ``_base_`` inheritance and ``{{ ... }}``, ``${key}``, the ``MMDET_DATASETS`` environment variable,
    ``cfg_options``, the translation of 1.x spellings, checks, ``custom_imports``. The values are plain Python: arrays
    and numpy scalars that a file computed become lists and numbers, so that the config can be written and read back.

    Args:
        path: a ``.py``, ``.json`` or ``.yaml`` file.
        cfg_options: values by dotted key, as ``--cfg-options`` gives them: ``{'runner.max_epochs': 24}``.

    Raises:
        FileNotFoundError: the config or one of its bases is missing.
        ConfigError: a file cannot be evaluated, or is written for another major version.
        ImportError: a module of ``custom_imports`` is missing or broken.
    """
    path = pathlib.Path(os.path.expanduser(path))
    cfg = _evaluate(path, check_files(path))
    refuse_mmengine_keys(cfg, str(path))
    rename_legacy_keys(cfg)
    cfg = replace_cfg_vals(cfg)
    update_data_root(cfg)
    if cfg_options:
        refuse_mmengine_keys(cfg_options, '--cfg-options')
        merge_options(cfg, rename_legacy_options(cfg_options))
    translate_legacy(cfg)
    check_classes(cfg)
    import_custom_modules(cfg)
    return cfg


def _evaluate(path: pathlib.Path, files: list[pathlib.Path]) -> Config:
    try:
        raw = Config.fromfile(str(path), lazy_import=False, import_custom_modules=False)
    except Exception as error:
        line = _line_in(files, error)
        bases = '' if line or len(files) < 2 else f' (its bases: {", ".join(map(str, files[:-1]))})'
        message = error.args[0] if isinstance(error, KeyError) and error.args else error
        raise ConfigError(f'{line or path}: {type(error).__name__}: {message}{bases}') from error
    values = {key: value for key, value in raw._cfg_dict.items() if not _is_code(value)}
    return Config(plain(values), cfg_text=raw.text, filename=raw.filename, env_variables=raw.env_variables)


def _line_in(files: list[pathlib.Path], error: Exception) -> str:
    """``'file, line n'`` of the innermost frame of ``error`` that is a line of one of the config files."""
    ours = {str(f.absolute()) for f in files}
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename in ours]
    return f'{frames[-1].filename}, line {frames[-1].lineno}' if frames else ''


def _is_code(value: Any) -> bool:
    """Whether a top-level name is what an ``import`` or ``def`` line of the file left behind, not a value."""
    return callable(value) and not isinstance(value, dict)


def plain(value: Any) -> Any:
    """``value`` with numpy values and paths turned into Python's own, at any depth."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(plain(item) for item in value)
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return str(value) if isinstance(value, pathlib.PurePath) else value
