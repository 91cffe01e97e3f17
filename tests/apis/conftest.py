"""A config beside a package of a user's own, and a training of it."""

from __future__ import annotations

import sys
import textwrap

import pytest
import tiny_detector
import torch

from mmdet_clone.aliases import turn_off
from mmdet_clone.registry import DATASETS, HOOKS, MODELS, PIPELINES

ONE_ITERATION = """
runner = dict(type='IterBasedRunner', max_iters=1)
checkpoint_config = dict(interval=1)
evaluation = dict(interval=10)
custom_imports = dict(imports=['own_parts.part'], allow_failed_imports=False)
"""


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return tiny_detector.make_data(tmp_path_factory.mktemp('data'), 2, 2)


@pytest.fixture
def package(data, tmp_path, monkeypatch):
    """``package(module, config)``: a config beside a package that holds ``module``; nothing of it stays registered."""
    monkeypatch.setattr(sys, 'path', [*sys.path])
    before = set(sys.modules)

    def write(module: str, config: str):
        folder = tmp_path / 'own_parts'
        folder.mkdir()
        (folder / '__init__.py').touch()
        (folder / 'part.py').write_text(textwrap.dedent(module))
        return tiny_detector.write_config(tmp_path / 'config.py', data, config)

    yield write
    turn_off()
    for name in set(sys.modules) - before:
        if name.partition('.')[0] in ('own_parts', 'mmdet'):
            del sys.modules[name]
    for registry in (MODELS, DATASETS, PIPELINES, HOOKS):
        for name in [n for n, cls in registry.module_dict.items() if cls.__module__ == 'own_parts.part']:
            del registry.module_dict[name]


@pytest.fixture(params=['mmdet_clone', 'mmdet'])
def project(request, package):
    """``package``, with either import path."""
    return lambda module, config: package(module.replace('mmdet_clone', request.param), config)


@pytest.fixture
def train(project, run_tool, tmp_path):
    """``train(module, config)``: the runner after an iteration."""

    def run(module: str, config: str = '', iterations: int = 1):
        path = project(module, ONE_ITERATION.replace('max_iters=1', f'max_iters={iterations}') + config)
        runner = run_tool('train', path, '--work-dir', tmp_path / 'run', '--no-validate')
        assert runner.iter == iterations
        assert torch.isfinite(runner.outputs['loss'])
        return runner

    return run
