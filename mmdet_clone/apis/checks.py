"""What can be known to be wrong before the first iteration, told at once, with the config key to change."""

from __future__ import annotations

import difflib
import inspect
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from mmdet_clone.apis.data_checks import check_images, check_mask_sizes, warn_of_differences
from mmdet_clone.apis.figure_names import figure_names
from mmdet_clone.engine.hooks.checks import check_num_classes
from mmdet_clone.engine.hooks.evaluation import EvalHook
from mmdet_clone.registry import type_name


def check_before_training(
    cfg: dict, model: nn.Module, datasets: Sequence[Any], val_dataset: Any = None, logger: logging.Logger | None = None
) -> None:
    """Everything that this module checks of a model and its data; raises at the first kind of mistake found."""
    train = datasets[0]
    check_not_empty(train, 'data.train')
    if val_dataset is not None:
        check_not_empty(val_dataset, 'data.val')
        check_evaluation(val_dataset, evaluate_arguments(cfg.get('evaluation') or {}))
        check_save_best(val_dataset, cfg.get('evaluation') or {})
    check_same_classes(class_names(train), class_names(val_dataset))
    check_num_classes(model, train, logger)
    check_masks_are_loaded(cfg, model)
    check_mask_sizes(train, 'data.train')
    check_images(train, 'data.train')
    if val_dataset is not None:
        check_images(val_dataset, 'data.val')
        warn_of_differences(train, val_dataset)


def check_files(cfg: dict) -> None:
    """Raise ``FileNotFoundError`` for a local checkpoint that the config names and that is not there."""
    for key, value in _checkpoint_entries(cfg):
        if isinstance(value, str) and '://' not in value and not Path(value).expanduser().is_file():
            raise FileNotFoundError(
                f'{key} names a checkpoint that does not exist: {value} (looked in {Path(value).absolute().parent}). '
                f'Correct it, or set {key}=None'
            )


# entries of ``evaluation`` in a config that speak to the hook, not to the data set
HOOK_ARGUMENTS = {'type', 'priority', *inspect.signature(EvalHook).parameters} - {'eval_kwargs'}


def evaluate_arguments(evaluation: dict) -> dict:
    """The entries of a config's ``evaluation`` that ``dataset.evaluate`` takes."""
    return {key: value for key, value in evaluation.items() if key not in HOOK_ARGUMENTS}


def check_evaluation(dataset: Any, arguments: dict, source: str = 'evaluation') -> None:
    """Raise ``ValueError`` for arguments that the data set's ``evaluate`` would refuse, hours later.

    Args:
        arguments: what ``evaluate`` will be called with, beside the results.
        source: where they come from, for the message.
    """
    parts = dataset.datasets if hasattr(dataset, 'datasets') else [dataset]
    for part in parts:
        evaluate = getattr(type(part), 'evaluate', None)
        if evaluate is None:
            raise ValueError(f'{type(part).__name__} has no method evaluate: it cannot be evaluated')
        accepted = inspect.signature(evaluate).parameters
        takes_any = any(p.kind is p.VAR_KEYWORD for p in accepted.values())
        unknown = sorted(set(arguments) - set(accepted)) if not takes_any else []
        if unknown:
            names = [name for name in accepted if name not in ('self', 'results', 'logger')]
            near = difflib.get_close_matches(unknown[0], names, n=1)
            raise ValueError(
                f'{source}: {type(part).__name__}.evaluate does not take {", ".join(map(repr, unknown))}'
                + (f' (did you mean {near[0]!r}?)' if near else '')
                + f'. It takes {", ".join(names)}'
            )
        _check_metric(part, arguments.get('metric'), source)


def _check_metric(dataset: Any, metric: str | Sequence[str] | None, source: str) -> None:
    # of the class that defines ``evaluate``: a subclass with its own has measures of its own
    owner = next(cls for cls in type(dataset).__mro__ if 'evaluate' in vars(cls))
    known = vars(owner).get('METRICS')
    asked = [metric] if isinstance(metric, str) else list(metric or ())
    wrong = [name for name in asked if known and name not in known]
    if wrong:
        raise ValueError(
            f'{source}: {type(dataset).__name__} has no metric {", ".join(map(repr, wrong))}; it has {", ".join(known)}'
        )


def check_formatting(dataset: Any, options: dict) -> str | None:
    """The option of the data set's ``format_results`` that says where to write, if there is one.

    Raises:
        ValueError: it writes nothing, or does not take one of ``options``.
    """
    from mmdet_clone.datasets import CustomDataset

    method, kind = getattr(type(dataset), 'format_results', None), type(dataset).__name__
    if method in (None, CustomDataset.format_results):
        raise ValueError(f'--format-only: {kind} has no format to write results in; --out FILE.pkl keeps them')
    parameters = list(inspect.signature(method).parameters.values())[2:]  # after self and results
    accepted = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
    takes_any = len(accepted) < len(parameters) and method.__module__.partition('.')[0] != 'mmdet_clone'
    unknown = sorted(set(options) - set(accepted)) if not takes_any else []
    if unknown:
        raise ValueError(
            f'--eval-options: {kind}.format_results does not take {", ".join(map(repr, unknown))}. '
            f'It takes {", ".join(accepted)}'
        )
    return next((name for name in accepted if name.endswith('_prefix')), None)


def check_save_best(dataset: Any, evaluation: dict) -> None:
    """Raise ``ValueError`` where ``evaluation.save_best`` names a figure that the evaluation will not give."""
    wanted = evaluation.get('save_best')
    if wanted in (None, 'auto'):
        return
    names = figure_names(dataset, evaluate_arguments(evaluation))
    if names is not None and wanted not in names:
        near = difflib.get_close_matches(wanted, names, n=1)
        raise ValueError(
            f'evaluation.save_best={wanted!r} is not among what the evaluation gives: {", ".join(names)}'
            + (f'. Did you mean {near[0]!r}?' if near else '')
        )


def check_not_empty(dataset: Any, key: str) -> None:
    """Raise ``ValueError`` where a data set has no image."""
    if len(dataset) == 0:
        raise ValueError(f'{key} has no image to use: check its ann_file, img_prefix, classes and filters')


def check_same_classes(train: Sequence[str] | None, val: Sequence[str] | None, other: str = 'data.val') -> None:
    """Raise ``ValueError`` where the class lists of training and ``other`` differ, also in their order alone."""
    if train is None or val is None or list(train) == list(val):
        return
    only_train = [name for name in train if name not in val]
    only_val = [name for name in val if name not in train]
    if not only_train and not only_val:
        at = next(i for i, (a, b) in enumerate(zip(train, val)) if a != b)
        what = f'hold the same names in another order: class {at} is {train[at]!r} in one and {val[at]!r} in the other'
    else:
        near = [f'{v!r} for {t!r}' for t in only_train for v in difflib.get_close_matches(t, only_val, n=1)]
        what = f'differ: only data.train has {only_train[:10]}, only {other} has {only_val[:10]}'
        what += f' (misspelt? {", ".join(near[:5])})' if near else ''
    raise ValueError(
        f'the classes of data.train and {other} {what}. Set the same classes=(...) in data.train, val and test'
    )


def check_masks_are_loaded(cfg: dict, model: nn.Module) -> None:
    """Raise ``ValueError`` where a model with a mask head gets no masks from its training pipeline."""
    roi_head = getattr(model, 'roi_head', None)
    if not getattr(roi_head, 'with_mask', False):
        return
    for pipeline in _pipelines((cfg.get('data') or {}).get('train')):
        keys = [key for step in pipeline if type_name(step) == 'Collect' for key in step.get('keys', ())]
        loads = [step for step in pipeline if type_name(step) == 'LoadAnnotations']
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
            yield from _pretrained_entries(child, f'{path}.{i}')
    elif isinstance(node, dict):
        if type_name(node) == 'Pretrained':
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
