"""What a training asks of the process and of the file system before it begins."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import torch
from mmengine.utils.dl_utils import set_multi_processing

__all__ = ['ensure_writable', 'prepare_process']


def prepare_process(cfg: dict, distributed: bool) -> None:
    """Set what ``cudnn_benchmark, deterministic, mp_start_method, opencv_num_threads`` of a config say."""
    torch.backends.cudnn.benchmark = bool(cfg.get('cudnn_benchmark', False)) and not cfg.get('deterministic', False)
    set_multi_processing(
        mp_start_method=cfg.get('mp_start_method', 'fork'),
        opencv_num_threads=cfg.get('opencv_num_threads', 0),
        distributed=distributed,
    )
    _allow_open_files(4096)


def ensure_writable(folder: str | os.PathLike, option: str = '--work-dir') -> None:
    """Make ``folder``, and raise ``OSError`` if nothing can be written there; ``option`` chooses another."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise type(error)(f'cannot write to {folder} ({error.strerror}); choose another folder by {option}') from error


def _allow_open_files(count: int) -> None:
    """Loaders with many workers open many files (pytorch/pytorch issue 973)."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(count, soft), hard), hard))
