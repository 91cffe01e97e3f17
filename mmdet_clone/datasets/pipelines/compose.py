"""A pipeline: steps, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mmdet_clone.datasets.pipelines.color import Normalize
from mmdet_clone.registry import PIPELINES


@PIPELINES.register_module()
class Compose:
    """Run steps in order; a step that returns ``None`` drops the sample.

    Args:
        transforms: config dicts of registered steps, or callables that take and return the sample.
    """

    def __init__(self, transforms: Sequence[dict | Callable]) -> None:
        if not isinstance(transforms, list | tuple):
            raise TypeError(f'a pipeline is a list of steps, got {type(transforms).__name__}: {transforms!r}')
        self.transforms = [_step(transform, i) for i, transform in enumerate(transforms)]
        for i, step in enumerate(self.transforms):
            if isinstance(step, Normalize):
                step.precede(self.transforms[i + 1 :])

    def __call__(self, data: dict) -> dict | None:
        for transform in self.transforms:
            data = transform(data)
            if data is None:
                return None
        return data

    def __repr__(self) -> str:
        return f'{type(self).__name__}(\n' + ''.join(f'    {t!r}\n' for t in self.transforms) + ')'


def _step(transform: dict | Callable, index: int) -> Callable:
    if isinstance(transform, dict):
        return PIPELINES.build(transform, path=f'pipeline.{index}')
    if callable(transform):
        return transform
    raise TypeError(f'step {index} of the pipeline is neither a config dict nor callable: {transform!r}')
