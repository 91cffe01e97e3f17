"""Pipelines derived from those in a config."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from ..registry import type_name

_LOADING = ('LoadImageFromFile', 'LoadAnnotations', 'LoadPanopticAnnotations')


def replace_ImageToTensor(pipelines: Sequence[dict]) -> list[dict]:
    """A test pipeline with ``DefaultFormatBundle`` for ``ImageToTensor``, which cannot stack a batch of images.

    Nested steps are replaced too; the steps given are left as they were.
    """
    steps = []
    for step in pipelines:
        if type_name(step) == 'ImageToTensor':
            warnings.warn(
                "'ImageToTensor' is replaced by 'DefaultFormatBundle' for batches of several images; do so in the test "
                'pipeline of your config',
                stacklevel=2,
            )
            step = dict(type='DefaultFormatBundle')
        elif isinstance(step, dict) and 'transforms' in step:
            step = {**step, 'transforms': replace_ImageToTensor(step['transforms'])}
        steps.append(step)
    return steps


def get_loading_pipeline(pipeline: Sequence[dict]) -> list[dict]:
    """The steps of a training pipeline that load the image and its annotations, without changing them."""
    steps = [step for step in pipeline if type_name(step) in _LOADING]
    kinds = [type_name(step) for step in steps]
    if len(steps) != 2 or not kinds[1].endswith('Annotations'):
        raise ValueError(f'expected a pipeline with one image and one annotation loading step, found {kinds}')
    return steps
