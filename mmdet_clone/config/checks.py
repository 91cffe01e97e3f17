"""Checks of a config that need no data set, and small readings of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

_SPLITS = ('train', 'val', 'test')


def check_trainable(cfg: dict) -> None:
    """Raise ``ValueError`` naming each top-level key that training needs and ``cfg`` lacks."""
    missing = [key for key in ('model', 'data', 'optimizer', 'runner') if not cfg.get(key)]
    if 'data' not in missing and not cfg['data'].get('train'):
        missing.append('data.train')
    if missing:
        raise ValueError(
            f'{getattr(cfg, "filename", None) or "the config"} has no {", ".join(missing)}: is it a file of _base_/? '
            "A training config inherits a model, a data set, a schedule and '_base_/default_runtime.py'"
        )


def check_classes(cfg: dict) -> None:
    """Raise ``TypeError``/``ValueError`` for ``classes`` entries under ``cfg.data`` that cannot be meant.

    ``classes`` is an ordered list or tuple of names, or the name of a text file with one class a line.
    """
    data = cfg.get('data')
    if data is None:
        return
    if not isinstance(data, dict):
        raise TypeError(
            f'data is a dict (samples_per_gpu, workers_per_gpu, train, val, test), got {type(data).__name__}'
        )
    given: dict[str, tuple] = {}
    for split in _SPLITS:
        for place, classes in _classes(data.get(split), f'data.{split}'):
            _check_one(place, classes)
            if not isinstance(classes, str):
                given[place] = tuple(classes)
    if len(set(given.values())) > 1:
        raise ValueError(
            'the data sets of one config have different classes, and a class is known by its place in the list:\n'
            + '\n'.join(f'  {place} = {classes}' for place, classes in given.items())
        )


def _classes(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, list | tuple):
        for i, item in enumerate(node):
            yield from _classes(item, f'{path}.{i}')
    elif isinstance(node, dict):
        if node.get('classes') is not None:
            yield f'{path}.classes', node['classes']
        for key in ('dataset', 'datasets'):
            yield from _classes(node.get(key), f'{path}.{key}')


def _check_one(place: str, classes: Any) -> None:
    if isinstance(classes, str):
        if not os.path.splitext(classes)[1] and '://' not in classes and not os.path.isfile(classes):
            raise TypeError(f'{place} is the text {classes!r}: a single class is a tuple of one, ({classes!r},)')
    elif not isinstance(classes, list | tuple):
        raise TypeError(
            f'{place} is the {type(classes).__name__} {classes!r}: give a tuple or list, in the order of the labels'
        )
    elif len(set(classes)) < len(classes):
        twice = sorted({name for name in classes if list(classes).count(name) > 1})
        raise ValueError(f'{place} names {", ".join(map(repr, twice))} more than once')


def loader_args(data: dict, split: str) -> dict[str, Any]:
    """The loader's arguments for ``split`` ('train', 'val', 'test') in a ``data`` dict, as MMDetection 2.28 reads it.

    ``data.samples_per_gpu`` and ``data.persistent_workers`` are the train loader's, ``data.workers_per_gpu`` is every
    loader's; ``data.<split>_dataloader`` holds what is for one loader only and wins. Val and test take one image a
    batch unless told.
    """
    own = dict(data.get(f'{split}_dataloader') or {})
    shared = ('samples_per_gpu', 'workers_per_gpu', 'persistent_workers') if split == 'train' else ('workers_per_gpu',)
    common = {key: data[key] for key in shared if key in data}
    return {'samples_per_gpu': 1, 'workers_per_gpu': 2, **common, **own}
