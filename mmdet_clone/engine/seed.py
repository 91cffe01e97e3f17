"""Random states: set from a seed, saved and restored."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from mmdet_clone.engine.dist import broadcast_object

__all__ = ['get_rng_state', 'init_random_seed', 'preserved_rng', 'set_random_seed', 'set_rng_state']


def set_random_seed(seed: int, deterministic: bool = False) -> None:
    """Seed python, numpy and torch on every device.

    Args:
        seed: any number in [0, 2**32).
        deterministic: also make cuDNN choose deterministic algorithms, which is slower.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    if deterministic:
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False


def init_random_seed(seed: int | None = None, device: str = 'cuda') -> int:
    """``seed``, or one drawn by rank 0 and the same on every rank.

    ``device`` is accepted for callers that know MMDetection 2.x; the number needs none.
    """
    if seed is not None:
        return seed
    return broadcast_object(int(np.random.default_rng().integers(2**31)))


def get_rng_state() -> dict[str, Any]:
    """The states of python's, numpy's and torch's generators, in types that a checkpoint may hold."""
    name, keys, position, has_gauss, gauss = np.random.get_state()
    state = {
        'python': random.getstate(),
        'numpy': (name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, float(gauss)),
        'torch': torch.get_rng_state(),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def set_rng_state(state: dict[str, Any]) -> None:
    """Go back to a state of :func:`get_rng_state`."""
    random.setstate(state['python'])
    name, keys, position, has_gauss, gauss = state['numpy']
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(state['torch'].cpu())
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())


@contextlib.contextmanager
def preserved_rng() -> Iterator[None]:
    """Whatever is drawn inside leaves the random states outside as they were."""
    state = get_rng_state()
    try:
        yield
    finally:
        set_rng_state(state)
