"""The tools as functions, so that a test need not start a process for each."""

from __future__ import annotations

import importlib.util

import pytest


@pytest.fixture(scope='session')
def load_tool(root):
    """``load_tool('analysis_tools/analyze_logs')``: the module of a file in tools."""
    import sys

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
