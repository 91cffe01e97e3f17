"""Checkpoints: loaded into a model with a count of what fitted, written so that a kill leaves no half file."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import tempfile
import time
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.model.weight_init import PretrainedInit as _MMEnginePretrainedInit
from mmengine.model.weight_init import update_init_info
from mmengine.registry import WEIGHT_INITIALIZERS
from torch import nn

from mmdet_clone.engine.safe_load import read_checkpoint

__all__ = [
    'find_latest_checkpoint',
    'load_checkpoint',
    'load_state_dict',
    'read_checkpoint',
    'save_checkpoint',
    'unwrap_model',
    'weights_of',
    'weights_to_cpu',
    'write_checkpoint',
]

STRIP_DDP = ((r'^module\.', ''),)


def load_checkpoint(
    model: nn.Module,
    filename: str | os.PathLike,
    map_location: Any = 'cpu',
    strict: bool = False,
    logger: logging.Logger | str | None = None,
    revise_keys: Sequence[tuple[str, str]] = STRIP_DDP,
    trust: bool = False,
) -> dict:
    """Load the weights of a checkpoint into ``model`` and print one line of counts.

    Args:
        filename: see :func:`read_checkpoint`.
        strict: a missing, unexpected or mismatched key is an error.
        logger: where the counts go; standard output by default.
        revise_keys: (pattern, replacement) pairs applied to each key, in order.
        trust: see :func:`read_checkpoint`.

    Returns:
        The whole checkpoint.

    Raises:
        ValueError: nothing of it fits the model.
        RuntimeError: ``strict`` and not all keys fit.
    """
    checkpoint = read_checkpoint(filename, map_location, trust)
    state_dict = weights_of(checkpoint, revise_keys)
    load_state_dict(model, state_dict, strict=strict, logger=logger, source=os.fspath(filename))
    return checkpoint


def weights_of(checkpoint: dict, revise_keys: Sequence[tuple[str, str]] = STRIP_DDP) -> OrderedDict:
    """The weights of a checkpoint: its ``state_dict`` or ``model`` entry, else the dict itself."""
    weights = next((checkpoint[k] for k in ('state_dict', 'model') if isinstance(checkpoint.get(k), dict)), checkpoint)
    revised = OrderedDict()
    for key, value in weights.items():
        for pattern, replacement in revise_keys:
            key = re.sub(pattern, replacement, key)
        revised[key] = value
    if hasattr(weights, '_metadata'):
        revised._metadata = weights._metadata
    return revised


def load_state_dict(
    model: nn.Module,
    state_dict: dict[str, torch.Tensor],
    strict: bool = False,
    logger: logging.Logger | str | None = None,
    source: str = 'the state dict',
) -> None:
    """Copy what fits of ``state_dict`` into ``model``; ``source`` names it in messages."""
    model = unwrap_model(model)
    own = model.state_dict()
    mismatched = [
        key
        for key, value in state_dict.items()
        if key in own
        and isinstance(value, torch.Tensor)
        and isinstance(own[key], torch.Tensor)
        and not isinstance(own[key], nn.parameter.UninitializedTensorMixin)
        and own[key].shape != value.shape
    ]
    fitting = OrderedDict((k, v) for k, v in state_dict.items() if k not in mismatched)
    if hasattr(state_dict, '_metadata'):
        fitting._metadata = state_dict._metadata  # module versions, which some modules' loading depends on
    incompatible = model.load_state_dict(fitting, strict=False)
    missing = [k for k in incompatible.missing_keys if k not in mismatched and not k.endswith('num_batches_tracked')]
    unexpected = list(incompatible.unexpected_keys)
    num_loaded = len(fitting) - len(unexpected)
    counts = (
        f'loaded {num_loaded} of {len(own)} entries from {source}: '
        f'{len(missing)} missing, {len(unexpected)} unexpected, {len(mismatched)} of another shape'
    )
    if own and not num_loaded:
        raise ValueError(
            f'{counts}. Nothing fits this model: {_examples(missing, "it needs")}, '
            f'{_examples(unexpected or mismatched, "the file has")}'
        )
    details = _describe(
        missing, unexpected, [f'{k} {tuple(state_dict[k].shape)} -> {tuple(own[k].shape)}' for k in mismatched]
    )
    if strict and (missing or unexpected or mismatched):
        raise RuntimeError(f'{counts}\n{details}')
    print_log(counts, logger=logger)
    if details:
        print_log(details, logger=logger, level=logging.WARNING)


def unwrap_model(model: nn.Module) -> nn.Module:
    """The model inside a data-parallel wrapper."""
    return model.module if is_model_wrapper(model) else model


def _examples(keys: list[str], what: str) -> str:
    return f'{what} {", ".join(keys[:3])}' + (', ...' if len(keys) > 3 else '') if keys else f'{what} nothing'


def _describe(missing: list[str], unexpected: list[str], mismatched: list[str], limit: int = 10) -> str:
    """One line for each kind of key that did not fit, ``limit`` names at most."""
    groups = (('missing', missing), ('unexpected', unexpected), ('of another shape', mismatched))
    return '\n'.join(
        f'  {title}: {", ".join(keys[:limit])}' + (f' and {len(keys) - limit} more' if len(keys) > limit else '')
        for title, keys in groups
        if keys
    )


def weights_to_cpu(state_dict: dict[str, torch.Tensor]) -> OrderedDict:
    """``state_dict`` with its tensors on the CPU, its metadata kept."""
    on_cpu = OrderedDict((k, v.cpu() if isinstance(v, torch.Tensor) else v) for k, v in state_dict.items())
    on_cpu._metadata = getattr(state_dict, '_metadata', OrderedDict())
    return on_cpu


def save_checkpoint(
    model: nn.Module,
    filename: str | os.PathLike,
    optimizer: torch.optim.Optimizer | None = None,
    meta: dict | None = None,
) -> None:
    """Write ``dict(meta, state_dict[, optimizer])`` as MMDetection 2.x does.

    ``meta`` is completed with the time, library versions and the model's ``CLASSES`` and ``PALETTE``.
    """
    model = unwrap_model(model)
    checkpoint = {'meta': complete_meta(model, meta or {}), 'state_dict': weights_to_cpu(model.state_dict())}
    if optimizer is not None:
        checkpoint['optimizer'] = optimizer.state_dict()
    write_checkpoint(checkpoint, filename)


def complete_meta(model: nn.Module, meta: dict) -> dict:
    """``meta`` with what every checkpoint tells about itself."""
    import mmcv
    import mmengine
    import torchvision

    from mmdet_clone.version import __version__

    filled = {
        'time': time.asctime(),
        'mmdet_clone_version': __version__,
        'versions': {
            'torch': str(torch.__version__),
            'torchvision': str(torchvision.__version__),
            'mmengine': mmengine.__version__,
            'mmcv': mmcv.__version__,
        },
    }
    for name in ('CLASSES', 'PALETTE'):
        value = getattr(model, name, None)
        if value is not None:
            filled[name] = tuple(value)
    return {**filled, **meta}


def write_checkpoint(checkpoint: dict, filename: str | os.PathLike) -> None:
    """Write the file under another name, then rename it: ``filename`` is whole or is not there."""
    path = Path(filename)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f'.{path.name}.', suffix='.tmp', dir=path.parent)
    try:
        with os.fdopen(handle, 'wb') as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def link_latest(filename: str | os.PathLike, name: str = 'latest.pth') -> None:
    """Point ``latest.pth`` beside ``filename`` to it, by a copy where the file system has no symbolic links."""
    import shutil

    path = Path(filename)
    link, temporary = path.parent / name, path.parent / f'.{name}.tmp'
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    try:
        temporary.symlink_to(path.name)
    except OSError:
        shutil.copy(path, temporary)
    os.replace(temporary, link)


def find_latest_checkpoint(work_dir: str | os.PathLike) -> str | None:
    """``latest.pth`` of a work dir, else its ``epoch_N.pth`` or ``iter_N.pth`` of the largest N, else ``None``."""
    folder = Path(work_dir)
    latest = folder / 'latest.pth'
    if latest.exists():
        return str(latest)
    numbered = [
        (int(m.group(1)), str(p)) for p in folder.glob('*.pth') if (m := re.fullmatch(r'(?:epoch|iter)_(\d+)', p.stem))
    ]
    return max(numbered)[1] if numbered else None


@WEIGHT_INITIALIZERS.register_module(name='Pretrained', force=True)
class PretrainedInit(_MMEnginePretrainedInit):
    """``init_cfg=dict(type='Pretrained', checkpoint=..., prefix=...)`` through :func:`load_checkpoint`'s safe reading.

    With ``prefix='backbone.'`` (the dot is optional) only the entries below it are loaded, without it in their names.
    """

    def __call__(self, module: nn.Module) -> None:
        state_dict = weights_of(read_checkpoint(self.checkpoint, self.map_location))
        source = str(self.checkpoint)
        if self.prefix is not None:
            prefix = self.prefix.rstrip('.') + '.'
            state_dict = OrderedDict((k[len(prefix) :], v) for k, v in state_dict.items() if k.startswith(prefix))
            source += f' ({prefix}*)'
            if not state_dict:
                raise ValueError(f'{self.checkpoint} has no weights whose names start with {prefix!r}')
        load_state_dict(module, state_dict, logger='current', source=source)
        if hasattr(module, '_params_init_info'):
            update_init_info(module, init_info=self._get_init_info())
