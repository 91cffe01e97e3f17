"""Which classes a model tells apart, and their colours: from its checkpoint, else from its config."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from mmdet_clone.registry import DATASETS
from mmdet_clone.visualization import palette_for


def class_names_of(checkpoint_meta: dict | None, cfg: dict, model: nn.Module) -> tuple[str, ...]:
    """The class names, by index.

    They come from the checkpoint; else from ``data.test`` of the config (``classes``, else the data set's own), if as
    many as the model predicts; else they are ``class 0``, ``class 1``... The last two are told in a warning.
    """
    names = (checkpoint_meta or {}).get('CLASSES')
    if names:
        return as_names(names)
    number = num_classes_of(model)
    source = 'no checkpoint was given' if checkpoint_meta is None else 'the checkpoint holds no class names'
    names, origin = names_in_config(cfg)
    if names and number in (None, len(names)):
        warnings.warn(f'{source}: taking the {len(names)} names of {origin}', stacklevel=3)
        return names
    found = f'{origin} has {len(names)} names, the model {number} classes' if names else 'nor does the config'
    warnings.warn(
        f'{source}, {found}: classes are called "class 0", "class 1"... Set data.test.classes in the config, or '
        'model.CLASSES after loading',
        stacklevel=3,
    )
    return tuple(f'class {i}' for i in range(number or 0))


def palette_of(checkpoint_meta: dict | None, cfg: dict, num_classes: int) -> list[tuple[int, int, int]]:
    """One RGB colour a class: the checkpoint's, else those of the config's data set, else of our choice."""
    palette = (checkpoint_meta or {}).get('PALETTE')
    if not isinstance(palette, list | tuple) or len(palette) < num_classes:
        palette = getattr(_dataset_class(test_dataset_config(cfg)), 'PALETTE', None)
    if not isinstance(palette, list | tuple) or len(palette) != num_classes:
        return palette_for(num_classes)
    return [tuple(int(c) for c in color) for color in palette]


def names_in_config(cfg: dict) -> tuple[tuple[str, ...], str]:
    """The class names that the config's test data have, and where they stand; empty if nowhere."""
    dataset = test_dataset_config(cfg)
    classes = dataset.get('classes')
    if isinstance(classes, str) and Path(classes).is_file():
        return tuple(line.strip() for line in Path(classes).read_text().splitlines() if line.strip()), classes
    if isinstance(classes, list | tuple) and classes:
        return as_names(classes), 'data.test.classes'
    own = getattr(_dataset_class(dataset), 'CLASSES', None)
    return (as_names(own), f'the data set type {dataset.get("type")}') if own else ((), '')


def test_dataset_config(cfg: dict) -> dict:
    """``data.test`` (else ``val``, ``train``) of a config, without the wrappers around it; empty if there is none."""
    data = cfg.get('data') or {}
    dataset = data.get('test') or data.get('val') or data.get('train') or {}
    return innermost_dataset(dataset)


def innermost_dataset(dataset: Any) -> dict:
    """The config of the data set that wrappers (``RepeatDataset`` and kin) hold; of several, the first."""
    while True:
        if isinstance(dataset, list | tuple):
            dataset = dataset[0] if dataset else {}
        elif 'dataset' in dataset:
            dataset = dataset['dataset']
        elif dataset.get('datasets'):
            dataset = dataset['datasets']
        else:
            return dataset


def num_classes_of(model: nn.Module) -> int | None:
    """How many classes the model's results have, None if that cannot be told."""
    for head in (getattr(getattr(model, 'roi_head', None), 'bbox_head', None), getattr(model, 'bbox_head', None)):
        if isinstance(head, nn.ModuleList | list | tuple):
            head = head[-1]
        if isinstance(getattr(head, 'num_classes', None), int):
            return head.num_classes
    return 1 if hasattr(model, 'rpn_head') and not hasattr(model, 'roi_head') else None


def as_names(names: str | Sequence[str]) -> tuple[str, ...]:
    """Class names as a tuple; a single name may stand alone."""
    return (names,) if isinstance(names, str) else tuple(str(name) for name in copy.copy(names))


def _dataset_class(dataset: dict) -> type | None:
    kind = dataset.get('type')
    return DATASETS.get(kind) if isinstance(kind, str) else kind
