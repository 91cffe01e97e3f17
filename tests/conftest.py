"""Fixtures that every test may use."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / 'shared'

os.environ.setdefault('MPLBACKEND', 'Agg')


@pytest.fixture(scope='session')
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope='session')
def shared() -> Path:
    """The folder of reference data beside the repository; tests that need it are skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f'needs the reference data at {SHARED}')
    return SHARED


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Every test starts from the same random state."""
    import random

    import torch

    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


# ---------------------------------------------------------------- the tools as functions


@pytest.fixture(scope='session')
def load_tool(root):
    """``load_tool('analysis_tools/analyze_logs')``: the module of a file in tools."""

    def load(name):
        path = root / 'tools' / f'{name}.py'
        sys.path.insert(0, str(root / 'tools'))
        try:
            spec = importlib.util.spec_from_file_location(f'tool_{path.stem}', path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        finally:
            sys.path.remove(str(root / 'tools'))
        return module

    return load


@pytest.fixture(scope='session')
def parse(load_tool):
    """``parse('train', '--seed', '1')``: the arguments that tools/train.py reads."""
    return lambda name, *argv: load_tool(name).parse_args([str(a) for a in argv])


@pytest.fixture(scope='session')
def run_tool(parse):
    """``run_tool('train', config, '--seed', 1)``: what tools/train.py does, in this process."""
    from mmdet_clone.apis import entry

    return lambda name, *argv: {'train': entry.run_training, 'test': entry.run_testing}[name](parse(name, *argv))
