"""Samples of a data set as a training pipeline makes them, with what each step did."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmdet_clone.registry import type_name
from mmdet_clone.visualization.html_report import SampleView, StepTrace

_LENGTH = 160  # characters of a value that are shown
_FACTS = ('ori_shape', 'img_shape', 'pad_shape', 'scale', 'scale_factor', 'keep_ratio', 'flip',
          'flip_direction', 'crop_size')  # fmt: skip
_BOOKKEEPING = {
    'filename',
    'img_info',
    'ann_info',
    'mix_results',
    'data_root',
    'img_prefix',
    'seg_prefix',
    'proposal_file',
}


def without_steps(dataset: Any, types: set[str]) -> Any:
    """A copy of a data set's config (wrappers too) whose pipelines lack the steps of these types."""
    if isinstance(dataset, list | tuple):
        return [without_steps(child, types) for child in dataset]
    if not isinstance(dataset, dict):
        return dataset
    kept = {
        key: without_steps(value, types) if key in ('dataset', 'datasets') else value for key, value in dataset.items()
    }
    if isinstance(kept.get('pipeline'), list | tuple):
        kept['pipeline'] = [step for step in kept['pipeline'] if type_name(step) not in types]
    return kept


# ---------------------------------------------------------------------- tracing


class TracedStep:
    """A step of a pipeline that also writes down what it does, in ``log``."""

    def __init__(self, step: Callable, log: list[StepTrace]) -> None:
        self.step, self.log = step, log
        self.drawn: Any = None
        if hasattr(step, 'draw'):
            draw = step.draw
            step.draw = lambda results: self._note(draw(results))

    def _note(self, params: Any) -> Any:
        self.drawn = params
        return params

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__['step'], name)

    def __call__(self, results: dict) -> dict | None:
        before, self.drawn, entries = _snapshot(results), None, len(self.log)
        changed = self.step(results)
        if len(self.log) == entries:  # else it is a list of steps, which have spoken for themselves
            changes = ['drops the sample'] if changed is None else _changes(before, _snapshot(changed))
            name = Path(str(results.get('ori_filename') or '')).name
            title = f'{type(self.step).__name__} ({name})' if name and 'mix_results' not in results else None
            self.log.append(
                StepTrace(
                    title or type(self.step).__name__,
                    shown_params(self.drawn) if self.drawn is not None else '',
                    changes,
                )
            )
        return changed


def trace(dataset: Any, log: list[StepTrace]) -> None:
    """Put a :class:`TracedStep` around each step of a data set, of those it wraps, and of steps made of steps."""
    for child in getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]:
        if child is not None:
            trace(child, log)
    pipeline = getattr(dataset, 'pipeline', None)
    if isinstance(pipeline, list):
        pipeline[:] = [_traced(step, log) for step in pipeline]
    elif pipeline is not None:
        _traced(pipeline, log)


def _traced(step: Callable, log: list[StepTrace]) -> Callable:
    inner = getattr(step, 'transforms', None)
    if isinstance(inner, list):
        inner[:] = [_traced(child, log) if callable(child) else child for child in inner]
        return step
    return TracedStep(step, log)


def _snapshot(results: dict) -> dict[str, tuple[str, Any]]:
    """key -> (how it is shown, what tells whether it changed)."""
    keys = (key for key in results if key not in _BOOKKEEPING and not str(key).endswith('_fields'))
    return {key: (_described(key, results[key]), _fingerprint(results[key])) for key in keys}


def _changes(before: dict, after: dict) -> list[str]:
    found = []
    for key, (text, mark) in after.items():
        old = before.get(key)
        if old is None:
            found.append(f'{key}: {text}')
        elif old[0] != text:
            found.append(f'{key}: {old[0]} → {text}')
        elif old[1] != mark:
            found.append(f'{key}: {text}, other values')
    return found + [f'{key}: removed' for key in before if key not in after]


def _described(key: str, value: Any) -> str:
    if key.endswith('shape') and isinstance(value, tuple):
        return ' x '.join(map(str, value))
    if isinstance(value, np.ndarray) and value.ndim and (value.size > 6 or key.startswith('gt_')):
        return f'{len(value)}' if key.startswith('gt_') and value.ndim < 3 else f'{value.dtype} {_times(value.shape)}'
    if hasattr(value, 'height') and hasattr(value, 'width') and hasattr(value, '__len__'):  # instance masks
        return f'{len(value)} on {value.height} x {value.width}'
    return shown_params(value)


def _times(shape: Sequence[int]) -> str:
    return ' x '.join(map(str, shape))


def _fingerprint(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.shape, hash(value[:: max(len(value) // 64, 1)].tobytes() if value.ndim else value.tobytes())
    return getattr(value, 'areas', np.zeros(0)).tobytes() if hasattr(value, 'areas') else None


def shown_params(value: Any) -> str:
    """A short text for what a step drew; arrays are rounded, long values cut."""
    text = _text(value)
    return text if len(text) <= _LENGTH else text[: _LENGTH - 3] + '...'


def _text(value: Any) -> str:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((item.name, getattr(value, item.name)) for item in dataclasses.fields(value))
        return f'{type(value).__name__}({", ".join(f"{name}={_text(item)}" for name, item in pairs)})'
    if isinstance(value, dict):
        return ', '.join(f'{key}={_text(item)}' for key, item in value.items())
    if isinstance(value, np.ndarray):
        return _text(value.tolist()) if value.size <= 16 else f'{value.dtype} {_times(value.shape)}'
    if isinstance(value, float | np.floating):
        return f'{value:.4g}'
    if isinstance(value, list | tuple):
        ends = '()' if isinstance(value, tuple) else '[]'
        return f'{ends[0]}{", ".join(map(_text, value))}{ends[1]}'
    return str(value) if isinstance(value, str | int | bool | np.integer | np.bool_ | None) else type(value).__name__


# ---------------------------------------------------------------------- samples


def sample_views(dataset: Any, indices: Sequence[int]) -> Iterator[SampleView]:
    """The samples of ``indices``, traced; the pipeline of ``dataset`` ends before formatting and normalising."""
    log: list[StepTrace] = []
    trace(dataset, log)
    for index in indices:
        log.clear()
        sample = dataset[index]
        yield view_of(sample, list(log))


def view_of(sample: dict, steps: Sequence[StepTrace] = ()) -> SampleView:
    """What is to be seen of a sample (a dict with ``img`` as an array)."""
    boxes = np.asarray(sample.get('gt_bboxes', np.zeros((0, 4))), dtype=float).reshape(-1, 4)
    masks = sample.get('gt_masks')
    keypoints = sample.get('gt_keypoints')
    return SampleView(
        name=str(sample.get('ori_filename') or sample.get('filename') or ''),
        img=_as_bgr(np.asarray(sample['img'])),
        boxes=boxes,
        labels=np.asarray(sample.get('gt_labels', np.zeros(len(boxes), dtype=int))),
        masks=None if masks is None or len(masks) != len(boxes) else masks.to_ndarray(),
        keypoints=None if keypoints is None else np.asarray(keypoints, dtype=float),
        ignored=np.asarray(sample.get('gt_bboxes_ignore', np.zeros((0, 4))), dtype=float).reshape(-1, 4),
        facts=[(key, _described(key, sample[key])) for key in _FACTS if sample.get(key) is not None],
        steps=steps,
    )


def _as_bgr(img: np.ndarray) -> np.ndarray:
    img = img[..., None] if img.ndim == 2 else img
    return np.repeat(img, 3, axis=2) if img.shape[2] == 1 else np.ascontiguousarray(img[..., :3])
