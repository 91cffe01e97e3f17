"""Reading a checkpoint file without running code that it carries.

A ``.pth`` file is a pickle, and a pickle may call any function. Files are read by ``torch.load(weights_only=True)``
with the few more types that the checkpoints of mmcv and mmengine hold; whatever else one asks for is refused by name.
"""

from __future__ import annotations

import collections
import contextlib
import importlib
import io
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmdet_clone.engine.dist import barrier, is_rank_zero

__all__ = ['read_checkpoint']


def read_checkpoint(filename: str | os.PathLike, map_location: Any = 'cpu', trust: bool = False) -> dict:
    """The content of a checkpoint.

    Args:
        filename: a path, a URL (``https://``, ``s3://`` and what else mmengine's file backends read), or a name of
            a model zoo (``torchvision://resnet50``, ``open-mmlab://detectron2/resnet50_caffe``, ``mmcls://...``).
        map_location: of ``torch.load``.
        trust: unpickle everything, running whatever code the file carries.

    Raises:
        FileNotFoundError: no such file or name.
        ConnectionError: it cannot be downloaded.
        ValueError: empty, truncated, not a checkpoint, or it holds a type that is not known to be safe.
    """
    filename = os.fspath(filename)
    source = _fetch(filename) if '://' in filename else Path(filename).expanduser()
    if isinstance(source, Path):
        _check_file(source)
    checkpoint = _unpickle(source, filename, map_location, trust)
    if not isinstance(checkpoint, dict):
        raise ValueError(f'{filename} holds a {type(checkpoint).__name__}, not a dict of weights')
    return _as_mmcls_backbone(checkpoint) if filename.startswith('mmcls://') else checkpoint


def _unpickle(source: Path | io.BytesIO, name: str, map_location: Any, trust: bool) -> Any:
    allowed = contextlib.nullcontext() if trust else torch.serialization.safe_globals(_safe_globals())
    try:
        with allowed:
            return torch.load(source, map_location=map_location, weights_only=not trust)
    except Exception as error:
        refused = [] if trust else _refused_globals(source, error)
        if refused:
            raise ValueError(
                f'checkpoint {name} asks for {", ".join(refused)}, not among the types known to be safe to load. '
                'Loading it would run code from the file: only if you trust where it comes from, pass trust=True '
                '(--trust-checkpoint on the command line)'
            ) from error
        raise ValueError(
            f'checkpoint {name} cannot be read: it is truncated or not a PyTorch checkpoint ({_first_line(error)}). '
            'Download or copy it again'
        ) from error


def _refused_globals(source: Path | io.BytesIO, error: Exception) -> list[str]:
    """The names that the safe unpickler turned down, if that is why it failed."""
    if 'GLOBAL' not in str(error) and 'global' not in str(error):
        return []
    if isinstance(source, io.BytesIO):
        source.seek(0)
    try:
        with torch.serialization.safe_globals(_safe_globals()):
            names = torch.serialization.get_unsafe_globals_in_checkpoint(source)
    except Exception:  # files in the format before torch 1.6
        names = []
    return sorted(names) or re.findall(r'GLOBAL ([\w.]+)', str(error))[:1] or [_first_line(error)]


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if 'GLOBAL' in line), lines[0] if lines else type(error).__name__)


def _safe_globals() -> list:
    """Types beside torch's own that checkpoints of mmcv 1.x, mmengine and ours hold, all without side effects.

    Pickles name numpy's helpers by the module of the numpy that wrote them: ``numpy.core`` before 2.0.
    """
    from mmengine.logging import HistoryBuffer

    core = 'numpy._core' if int(np.__version__.partition('.')[0]) >= 2 else 'numpy.core'
    multiarray = importlib.import_module(f'{core}.multiarray')
    helpers = [(getattr(multiarray, name), name) for name in ('_reconstruct', 'scalar')]
    by_module = [
        (helper, f'{module}.multiarray.{name}') for helper, name in helpers for module in ('numpy.core', 'numpy._core')
    ]
    dtypes = [type(np.dtype(code)) for code in '?bBhHiIlLqQefdgFDSUMm']
    statistics = [HistoryBuffer.min, HistoryBuffer.max, HistoryBuffer.current, HistoryBuffer.mean]
    plain = [np.ndarray, np.dtype, collections.OrderedDict, collections.defaultdict, collections.Counter]
    # mmengine pickles the methods above as getattr(HistoryBuffer, 'min'): those four and nothing else
    methods = [(_history_method, f'{builtins}.getattr') for builtins in ('builtins', '__builtin__')]
    return [*by_module, *plain, *set(dtypes), HistoryBuffer, *statistics, *methods]


def _history_method(owner: type, name: str) -> Any:
    from mmengine.logging import HistoryBuffer

    if owner is not HistoryBuffer or name not in ('min', 'max', 'current', 'mean'):
        raise ValueError(f'GLOBAL getattr({owner}, {name!r}) is not allowed')
    return getattr(owner, name)


def _check_file(path: Path) -> None:
    if not path.exists():
        folder = path.parent
        near = sorted(p.name for p in folder.glob('*.pth'))[:5]
        hint = (
            f'; {folder} holds {", ".join(near)}' if near else f'; there is no folder {folder}' * (not folder.is_dir())
        )
        raise FileNotFoundError(f'checkpoint {path} does not exist{hint}')
    if path.is_dir():
        raise FileNotFoundError(f'checkpoint {path} is a folder: name a .pth file in it, such as {path / "latest.pth"}')
    if path.stat().st_size == 0:
        raise ValueError(f'checkpoint {path} is empty (0 bytes): download or copy it again')
    with path.open('rb') as file:
        head = file.read(512).lstrip()
    if head[:1] == b'<' and b'html' in head.lower():
        raise ValueError(
            f'checkpoint {path} is a web page, not a checkpoint: the download was answered by HTML. '
            'Open the address in a browser to see what it says'
        )
    if head.startswith(b'version https://git-lfs'):
        raise ValueError(f'checkpoint {path} is a Git LFS pointer: fetch the file itself by `git lfs pull`')


def _fetch(name: str) -> Path | io.BytesIO:
    """What ``name``, which has a scheme, stands for: a file downloaded once, or bytes from another file backend."""
    url = _zoo_url(name)
    if url.startswith(('http://', 'https://')):
        return _download(url, name)
    if '://' not in url:  # mmengine's list of models may point into $MMENGINE_HOME
        return Path(url)
    from mmengine.fileio import get

    return io.BytesIO(get(url))


def _zoo_url(name: str) -> str:
    from mmengine.runner import checkpoint as zoo

    scheme, _, key = name.partition('://')
    tables = {
        'torchvision': zoo.get_torchvision_models,
        'modelzoo': zoo.get_torchvision_models,
        'open-mmlab': zoo.get_external_models,
        'openmmlab': zoo.get_external_models,
        'mmcls': zoo.get_mmcls_models,
    }
    if scheme not in tables:
        return name
    urls = tables[scheme]()
    key = zoo.get_deprecated_model_names().get(key, key)
    if key not in urls:
        import difflib

        near = difflib.get_close_matches(key, urls, n=3)
        raise FileNotFoundError(
            f'{name}: no such model in the list of {scheme}://' + (f'; near names: {", ".join(near)}' if near else '')
        )
    url = urls[key]
    return url if '://' in url else os.path.join(zoo._get_mmengine_home(), url)


def _download(url: str, name: str) -> Path:
    """Download to torch.hub's folder unless it is there; rank 0 does, the others wait for it."""
    folder = Path(torch.hub.get_dir()) / 'checkpoints'
    path = folder / os.path.basename(url.partition('?')[0])
    failure = None
    if is_rank_zero() and not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), progress=os.isatty(2))
        except OSError as error:
            failure = error
    barrier()
    if failure is not None or not path.exists():
        raise ConnectionError(
            f'cannot download {name}: {failure or "rank 0 failed to"}. Without a network, fetch {url} elsewhere and '
            f'put it at {path}, or set the checkpoint (or init_cfg / pretrained) to a local path'
        ) from failure
    return path


def _as_mmcls_backbone(checkpoint: dict) -> dict:
    """mmcls saves whole classifiers: keep the backbone's weights, under its own names."""
    weights = checkpoint.get('state_dict', checkpoint)
    prefix = 'backbone.'
    return {'state_dict': {key[len(prefix) :]: value for key, value in weights.items() if key.startswith(prefix)}}
