"""What can be known to be wrong before the first iteration, told at once, with the config key to change."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from mmdet_clone.engine.hooks.checks import check_num_classes


def check_before_training(
    cfg: dict, model: nn.Module, datasets: Sequence[Any], val_dataset: Any = None, logger: logging.Logger | None = None
) -> None:
    """Everything that this module checks of a model and its data; raises at the first kind of mistake found."""
    train = datasets[0]
    check_not_empty(train, 'data.train')
    if val_dataset is not None:
        check_not_empty(val_dataset, 'data.val')
    check_same_classes(class_names(train), class_names(val_dataset))
    check_num_classes(model, train, logger)
    check_masks_are_loaded(cfg, model)


def check_files(cfg: dict) -> None:
    """Raise ``FileNotFoundError`` for a local checkpoint that the config names and that is not there."""
    for key, value in _checkpoint_entries(cfg):
        if isinstance(value, str) and '://' not in value and not Path(value).expanduser().is_file():
            raise FileNotFoundError(
                f'{key} names a checkpoint that does not exist: {value} (looked in {Path(value).absolute().parent}). '
                f'Correct it, or set {key}=None'
            )


def check_not_empty(dataset: Any, key: str) -> None:
    """Raise ``ValueError`` where a data set has no image."""
    if len(dataset) == 0:
        raise ValueError(f'{key} has no image to use: check its ann_file, img_prefix, classes and filters')


def check_same_classes(train: Sequence[str] | None, val: Sequence[str] | None) -> None:
    """Raise ``ValueError`` where the class lists of training and validation differ, also in their order alone."""
    if train is None or val is None or list(train) == list(val):
        return
    only_train = [name for name in train if name not in val]
    only_val = [name for name in val if name not in train]
    if not only_train and not only_val:
        at = next(i for i, (a, b) in enumerate(zip(train, val)) if a != b)
        what = f'hold the same names in another order: class {at} is {train[at]!r} in one and {val[at]!r} in the other'
    else:
        near = [f'{v!r} for {t!r}' for t in only_train for v in difflib.get_close_matches(t, only_val, n=1)]
        what = f'differ: only data.train has {only_train[:10]}, only data.val has {only_val[:10]}'
        what += f' (misspelt? {", ".join(near[:5])})' if near else ''
    raise ValueError(
        f'the classes of data.train and data.val {what}. Set the same classes=(...) in both, and in data.test'
    )


def check_masks_are_loaded(cfg: dict, model: nn.Module) -> None:
    """Raise ``ValueError`` where a model with a mask head gets no masks from its training pipeline."""
    roi_head = getattr(model, 'roi_head', None)
    if not getattr(roi_head, 'with_mask', False):
        return
    for pipeline in _pipelines((cfg.get('data') or {}).get('train')):
        keys = [key for step in pipeline if step.get('type') == 'Collect' for key in step.get('keys', ())]
        loads = [step for step in pipeline if step.get('type') == 'LoadAnnotations']
        if keys and 'gt_masks' not in keys:
            raise ValueError(
                "the model has a mask head, but the training pipeline's Collect does not hand on masks: add 'gt_masks' "
                f'to its keys {list(keys)} and with_mask=True to LoadAnnotations, or use a model without mask_head'
            )
        if loads and not any(step.get('with_mask') for step in loads):
            raise ValueError(
                'the model has a mask head, but the training pipeline loads no masks: '
                "set dict(type='LoadAnnotations', with_bbox=True, with_mask=True)"
            )


def class_names(dataset: Any) -> tuple[str, ...] | None:
    """``dataset.CLASSES`` as a tuple, None where it has none; a string or a set is an error."""
    names = getattr(dataset, 'CLASSES', None)
    if names is None:
        return None
    if isinstance(names, str | set):
        raise TypeError(
            f'CLASSES of {type(dataset).__name__} is {names!r}, a {type(names).__name__}: write a tuple, whose order '
            f'gives the labels; for one class ({"person" if isinstance(names, set) else names!r},) with its comma'
        )
    return tuple(names)


def _checkpoint_entries(cfg: dict) -> Iterator[tuple[str, Any]]:
    yield 'load_from', cfg.get('load_from')
    yield 'resume_from', cfg.get('resume_from')
    yield from _pretrained_entries(cfg.get('model') or {}, 'model')


def _pretrained_entries(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, list | tuple):
        for i, child in enumerate(node):
            yield from _pretrained_entries(child, f'{path}[{i}]')
    elif isinstance(node, dict):
        if node.get('type') == 'Pretrained':
            yield f'{path}.checkpoint', node.get('checkpoint')
        elif isinstance(node.get('pretrained'), str):
            yield f'{path}.pretrained', node['pretrained']
        for key, child in node.items():
            yield from _pretrained_entries(child, f'{path}.{key}')


def _pipelines(dataset: Any) -> Iterator[list[dict]]:
    """The pipelines of a data set's config and of those it wraps."""
    if isinstance(dataset, list | tuple):
        for child in dataset:
            yield from _pipelines(child)
    elif isinstance(dataset, dict):
        pipeline = dataset.get('pipeline')
        if isinstance(pipeline, list | tuple) and pipeline and 'dataset' not in dataset:
            yield [step for step in pipeline if isinstance(step, dict)]
        yield from _pipelines(dataset.get('dataset'))
        yield from _pipelines(dataset.get('datasets'))
