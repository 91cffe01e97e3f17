"""What tools and users call. Each name is imported when it is first used, so that importing this package is cheap."""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    'init_detector': 'inference',
    'inference_detector': 'inference',
    'show_result': 'inference',
    'show_result_pyplot': 'inference',
    'train_detector': 'train',
    'init_random_seed': 'train',
    'set_random_seed': 'train',
    'multi_gpu_test': 'test',
    'single_gpu_test': 'test',
}

__all__ = [
    'inference_detector',
    'init_detector',
    'init_random_seed',
    'multi_gpu_test',
    'set_random_seed',
    'show_result',
    'show_result_pyplot',
    'single_gpu_test',
    'train_detector',
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    value = getattr(importlib.import_module(f'{__name__}.{_HOME[name]}'), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
