"""One pipeline out of several, drawn anew for each sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmdet_clone.datasets.pipelines.compose import Compose
from mmdet_clone.registry import PIPELINES


@PIPELINES.register_module()
class AutoAugment:
    """Run one of several policies, each with the same probability.

    The form of "Learning Data Augmentation Strategies for Object Detection" (arXiv 1906.11172); DETR's choice between a
    plain resize and a crop is written with it too.

    Args:
        policies: a list of pipelines, each a list of steps.
    """

    def __init__(self, policies: Sequence[Sequence[dict]]) -> None:
        if not policies or any(not isinstance(policy, list | tuple) or not policy for policy in policies):
            raise ValueError(f'AutoAugment: policies is a list of lists of steps, none of them empty, got {policies!r}')
        self.transforms = [Compose(policy) for policy in policies]

    def __call__(self, results: dict) -> dict | None:
        return self.transforms[np.random.randint(len(self.transforms))](results)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(policies={self.transforms})'
