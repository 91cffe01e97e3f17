"""Checkpoints: loaded into a model with a count of what fitted, written so that a kill leaves no half file."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import tempfile
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.model.weight_init import PretrainedInit as _MMEnginePretrainedInit
from mmengine.model.weight_init import update_init_info
from mmengine.registry import WEIGHT_INITIALIZERS
from torch import nn

from mmdet_clone.engine.dist import is_rank_zero
from mmdet_clone.engine.key_layouts import STRIP_DDP, adapt_names, weights_below, weights_of
from mmdet_clone.engine.load_report import LoadReport, class_count_changes
from mmdet_clone.engine.safe_load import read_checkpoint

__all__ = [
    'find_latest_checkpoint',
    'load_checkpoint',
    'load_state_dict',
    'read_checkpoint',
    'save_checkpoint',
    'unwrap_model',
    'weights_below',
    'weights_of',
    'weights_to_cpu',
    'write_checkpoint',
]


def load_checkpoint(
    model: nn.Module,
    filename: str | os.PathLike,
    map_location: Any = 'cpu',
    strict: bool = False,
    logger: logging.Logger | str | None = None,
    revise_keys: Sequence[tuple[str, str]] = STRIP_DDP,
    trust: bool = False,
) -> dict:
    """Load the weights of a checkpoint into ``model``; on an error the model stays as it was.

    One line of counts is printed (on rank 0), and a table of what did not fit. Checkpoints of MMDetection 2 and 3 and
    bare state dicts are taken, see :mod:`mmdet_clone.engine.key_layouts`.

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
    meta = checkpoint.get('meta')
    classes = meta.get('CLASSES') if isinstance(meta, dict) else None
    num_classes = len(classes) if isinstance(classes, list | tuple) else None
    load_state_dict(model, state_dict, strict, logger, os.fspath(filename), num_classes)
    return checkpoint


def load_state_dict(
    model: nn.Module,
    state_dict: dict[str, torch.Tensor],
    strict: bool = False,
    logger: logging.Logger | str | None = None,
    source: str = 'the state dict',
    num_classes: int | None = None,
) -> LoadReport:
    """Copy what fits of ``state_dict`` into ``model``, or on an error nothing.

    Args:
        source: names it in messages.
        num_classes: of the model that it comes from, if that is known.
    """
    model = unwrap_model(model)
    own = model.state_dict()
    names = adapt_names(state_dict, own)
    mismatched = {key: _shapes(value, own[key]) for key, value in names.weights.items() if key in own}
    mismatched = {key: shapes for key, shapes in mismatched.items() if shapes is not None}
    fitting = OrderedDict((k, v) for k, v in names.weights.items() if k not in mismatched)
    fitting._metadata = getattr(names.weights, '_metadata', None)
    with _all_or_nothing(own):
        missing, unexpected = model.load_state_dict(fitting, strict=False)
        report = LoadReport(
            source,
            list(own),
            loaded=len(fitting) - len(unexpected),
            missing=[k for k in missing if k not in mismatched and not k.endswith('num_batches_tracked')],
            unexpected=unexpected,
            mismatched=mismatched,
            renamed=names.renamed,
            ignored=names.ignored,
            changes=class_count_changes(model, mismatched, num_classes),
        )
        if own and not report.loaded:
            raise ValueError(report.nothing_fits())
        if strict and not report.is_complete:
            raise RuntimeError(f'{report.counts()}\n{report.details()}')
    if is_rank_zero():
        print_log(report.counts(), logger=logger)
        if report.details():
            print_log(report.details(), logger=logger, level=logging.WARNING)
    return report


def _shapes(value: Any, own: Any) -> tuple[Any, Any] | None:
    """What a file has for an entry and what the model has, if the one does not fit the other."""
    if not isinstance(own, torch.Tensor) or isinstance(own, nn.parameter.UninitializedTensorMixin):
        return None
    if not isinstance(value, torch.Tensor):
        return f'a {type(value).__name__}', tuple(own.shape)
    is_old_number = not own.shape and value.shape == (1,)  # as PyTorch before 0.4 saved single numbers
    return None if value.shape == own.shape or is_old_number else (tuple(value.shape), tuple(own.shape))


@contextlib.contextmanager
def _all_or_nothing(own: dict[str, torch.Tensor]) -> Iterator[None]:
    """Give the model's entries their values back if an error comes up inside."""
    tensors = [v for v in own.values() if isinstance(v, torch.Tensor) and not nn.parameter.is_lazy(v)]
    before = [v.clone() for v in tensors]
    try:
        yield
    except BaseException:
        for value, old in zip(tensors, before):
            value.copy_(old)
        raise


def unwrap_model(model: nn.Module) -> nn.Module:
    """The model inside a data-parallel wrapper."""
    return model.module if is_model_wrapper(model) else model


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
        checkpoint, source = read_checkpoint(self.checkpoint, self.map_location), str(self.checkpoint)
        if self.prefix is None:
            state_dict = weights_of(checkpoint)
        else:
            state_dict = weights_below(self.prefix, checkpoint, source)
            source += f' ({self.prefix.rstrip(".")}.*)'
        load_state_dict(module, state_dict, logger='current', source=source)
        if hasattr(module, '_params_init_info'):
            update_init_info(module, init_info=self._get_init_info())
