"""Where a checkpoint's name leads: a file, an address, or an entry of a model zoo, as a file on this machine."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import io
import logging
import os
import re
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import torch
from mmengine.logging import print_log

from mmdet_clone.engine.checkpoint_format import check_content, check_safetensors
from mmdet_clone.engine.dist import barrier, get_dist_info

__all__ = ['cache_path', 'fetch', 'find_url']

TIMEOUT = 30  # seconds without an answer

# mmcv 1.x's older names of the ResNets with weights of Detectron and Detectron2
OLDER_NAMES = {
    'resnet50_caffe': 'detectron/resnet50_caffe',
    'resnet101_caffe': 'detectron/resnet101_caffe',
    'resnet50_caffe_bgr': 'detectron2/resnet50_caffe',
    'resnet101_caffe_bgr': 'detectron2/resnet101_caffe',
    'detectron2/resnet50_caffe_bgr': 'detectron2/resnet50_caffe',
    'detectron2/resnet101_caffe_bgr': 'detectron2/resnet101_caffe',
}


def fetch(name: str) -> Path | io.BytesIO:
    """The file that ``name`` stands for, downloaded if need be; its bytes, from another file backend of mmengine.

    Raises:
        FileNotFoundError: a model zoo has no such entry.
        ConnectionError: it cannot be downloaded.
    """
    if '://' not in name:
        return Path(name).expanduser()
    if name.startswith('file://'):
        return Path(urllib.request.url2pathname(urllib.parse.urlsplit(name).path))
    url = find_url(name)
    if url.startswith(('http://', 'https://')):
        return _cached(url, name)
    if '://' not in url:  # mmengine's list of models may point into $MMENGINE_HOME
        return Path(url)
    return _from_backend(url)


def find_url(name: str) -> str:
    """The address of an entry of a model zoo, such as ``torchvision://resnet50``; other addresses as they are."""
    scheme, _, key = name.partition('://')
    zoo = ZOOS.get(scheme)
    return zoo(name, key) if zoo is not None else name


def cache_path(url: str) -> Path:
    """Where the download of ``url`` is kept: in torch.hub's folder.

    A file whose name ends in its hash, as torchvision's and OpenMMLab's do, lies there itself, where torch.hub and mmcv
    put it as well. Others get a folder of their own, because many addresses end in ``model.pth``; so do files that do
    not have the hash of their name, which nobody shall get who asks another address for the same name.
    """
    shared, own = _places(url)
    return shared if _hash_in(shared.name) and (shared.exists() or not own.exists()) else own


def _places(url: str) -> tuple[Path, Path]:
    """In the folder that all addresses share, and in one of the address's own."""
    name = os.path.basename(urllib.parse.unquote(urllib.parse.urlsplit(url).path))
    if name in ('', '.', '..'):
        name = 'checkpoint.pth'
    folder = Path(torch.hub.get_dir()) / 'checkpoints'
    return folder / name, folder / hashlib.sha256(url.encode()).hexdigest()[:16] / name


def _hash_in(name: str) -> str | None:
    found = re.search(r'-([0-9a-f]{8,64})\.[A-Za-z]', name)
    return found[1] if found and not re.fullmatch(r'20\d{6}', found[1]) else None  # a date is no hash


# ---------------------------------------------------------------- downloads


def _cached(url: str, name: str) -> Path:
    """The download of ``url``: by one process of each machine, unless it is there; the others wait for it."""
    path, failure = cache_path(url), None
    is_first_here = get_dist_info()[1] == 1 or os.environ.get('LOCAL_RANK', '0') == '0'
    if is_first_here and not path.exists():
        try:
            _download(url, path)
        except (OSError, ValueError) as error:
            failure = error
    barrier()
    path = cache_path(url)  # which depends on what was downloaded
    if isinstance(failure, ValueError):
        raise failure
    if failure is not None or not path.exists():
        raise ConnectionError(
            f'cannot download {name}: {failure or "the first process of this machine could not"}. Without a network, '
            f'fetch {url} elsewhere and put it at {path}, or name a local file as the checkpoint (or in init_cfg, '
            'pretrained)'
        ) from failure
    return path


def _download(url: str, path: Path) -> None:
    """Write the answer of ``url`` under another name, check it, then rename it: the file is whole or is not there."""
    print_log(f'downloading {url} to {path}')
    path.parent.mkdir(parents=True, exist_ok=True)
    request = urllib.request.Request(url, headers={'User-Agent': 'mmdet_clone'})
    handle, temporary = tempfile.mkstemp(prefix=f'.{path.name[:60]}.', suffix='.part', dir=path.parent)
    try:
        with os.fdopen(handle, 'w+b') as file:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
                expected = int(response.headers.get('Content-Length') or 0)
                digest = _copy(response, file, expected)
            size = file.tell()
            if expected and size != expected:
                raise OSError(f'the connection ended after {size} of {expected} bytes')
            check = check_safetensors if path.suffix == '.safetensors' else check_content
            check(file, url)
        if not _has_hash_of_name(path.name, digest):
            path = _places(url)[1]
            path.parent.mkdir(exist_ok=True)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _copy(response: BinaryIO, file: BinaryIO, expected: int) -> str:
    """Copy all of it, showing how far it is where somebody watches; returns the SHA-256."""
    digest, watched, shown = hashlib.sha256(), sys.stderr.isatty() and expected, -1
    while chunk := response.read(1 << 20):
        digest.update(chunk)
        file.write(chunk)
        if watched and (percent := 100 * file.tell() // expected) != shown:
            shown = percent
            sys.stderr.write(f'\r{percent:3d}% of {expected / 1e6:.1f} MB' + '\n' * (percent == 100))
    return digest.hexdigest()


def _has_hash_of_name(name: str, digest: str) -> bool:
    """Whether a file has the hash in its name; told if not. No error: some published files were written anew."""
    named = _hash_in(name)
    if named is None or digest.startswith(named):
        return True
    print_log(
        f'{name}: its name says that its SHA-256 begins with {named}, but it is {digest[:16]}...', level=logging.WARNING
    )
    return False


def _from_backend(url: str) -> io.BytesIO:
    from mmengine.fileio import get

    try:
        return io.BytesIO(get(url))
    except Exception as error:
        known = ', '.join(f'{scheme}://' for scheme in ('file', 'http', 'https', *ZOOS))
        raise ConnectionError(
            f'cannot read {url}: {type(error).__name__}: {error}. Known are {known}, and what the file backends of '
            'mmengine read once they are set up (s3://, petrel://)'
        ) from error


# ---------------------------------------------------------------- model zoos


def _torchvision(name: str, key: str) -> str:
    """``resnet50``: the weights that torchvision published first, as MMDetection 2.x; ``resnet50.imagenet1k_v2``;
    ``ResNet50_Weights.IMAGENET1K_V2``; ``resnet50.default``: torchvision's best."""
    from torchvision import models

    architecture, _, weights = key.lower().replace('_weights', '').partition('.')
    try:
        entries = {n.lower(): w for n, w in models.get_model_weights(architecture).__members__.items()}
    except ValueError:
        raise _no_such_model(name, architecture, models.list_models()) from None
    if not weights:
        weights = 'imagenet1k_v1' if 'imagenet1k_v1' in entries else 'default'
    if weights not in entries:
        raise _no_such_model(name, f'{architecture}.{weights}', [f'{architecture}.{n}' for n in entries])
    return entries[weights].url


def _open_mmlab(name: str, key: str) -> str:
    """mmcv 1.x's list of backbones, which mmengine carries on."""
    from mmengine.runner import checkpoint as zoo

    return _look_up(name, OLDER_NAMES.get(key, key), zoo.get_external_models())


def _mmcls(name: str, key: str) -> str:
    from mmengine.runner import checkpoint as zoo

    return _look_up(name, key, zoo.get_mmcls_models())


def _look_up(name: str, key: str, urls: dict[str, str]) -> str:
    if key not in urls:
        raise _no_such_model(name, key, list(urls))
    url = urls[key]
    if '://' in url:
        return url
    from mmengine.runner.checkpoint import _get_mmengine_home

    return str(Path(_get_mmengine_home(), url))  # mmengine's rule for a list of the user's own


def _timm(name: str, key: str) -> str:
    """``resnet50`` or, with the name of a training, ``resnet50.a1_in1k``, from where timm would take it."""
    try:
        import timm
    except ImportError as error:
        raise ModuleNotFoundError(f'{name} needs timm: pip install timm') from error
    try:
        entry = timm.get_pretrained_cfg(key)
    except RuntimeError:
        entry = None
    if entry is None or not entry.has_weights:
        raise _no_such_model(name, key, timm.list_pretrained())
    if entry.file:
        return str(entry.file)
    if not entry.hf_hub_id:
        return entry.url if isinstance(entry.url, str) else entry.url[0]
    repository, _, revision = entry.hf_hub_id.partition('@')
    host = os.environ.get('HF_ENDPOINT', 'https://huggingface.co').rstrip('/')
    return f'{host}/{repository}/resolve/{revision or "main"}/{entry.hf_hub_filename or "model.safetensors"}'


def _no_such_model(name: str, key: str, known: list[str]) -> FileNotFoundError:
    near = difflib.get_close_matches(key, known, n=3)
    scheme = name.partition('://')[0]
    return FileNotFoundError(
        f'{name}: no such model in the list of {scheme}://' + (f'; near names: {", ".join(near)}' if near else '')
    )


ZOOS: dict[str, Callable[[str, str], str]] = {
    'torchvision': _torchvision,
    'modelzoo': _torchvision,
    'open-mmlab': _open_mmlab,
    'openmmlab': _open_mmlab,
    'mmcls': _mmcls,
    'timm': _timm,
}
