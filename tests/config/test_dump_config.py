"""Written configs read back equal."""

from __future__ import annotations

import math

import pytest
from mmengine.config import Config

from mmdet_clone.config import config_text, dump_config, load_config

AWKWARD = dict(
    model=dict(type='RPN', scales=(1,), empty=(), none=None, nested=[(1, 2), [dict(a=1)], dict()]),
    paramwise=dict(custom_keys={'backbone.layer1': dict(lr_mult=0.1), 'class': dict(decay_mult=0.0)}),
    by_number={1: 'a', 2: 'b'},
    ranges=((-1, 64), (512, float('inf')), (float('-inf'), 0)),
    words='it\'s "quoted"\nand {{ fileDirname }} stays',
    path='C:\\data',
    long=[f'class number {i}' for i in range(50)],
    small=1e-08,
)


@pytest.mark.parametrize('suffix', ['py', 'json', 'yaml'])
def test_plain_values_read_back_equal_from_each_format(tmp_path, suffix):
    cfg = Config(dict(model=dict(type='RPN', depths=[1, 2], x=None, flag=True, lr=1e-3)))
    path = dump_config(cfg, tmp_path / 'work' / f'out.{suffix}')
    assert load_config(path).to_dict() == cfg.to_dict()


def test_awkward_values_read_back_equal(tmp_path):
    path = dump_config(Config(AWKWARD), tmp_path / 'out.py')
    back = load_config(path).to_dict()
    assert back == AWKWARD
    assert type(back['model']['scales']) is tuple
    assert config_text(back) == path.read_text()


def test_nan_is_written_as_a_float():
    assert math.isnan(eval(config_text(dict(a=math.nan)).partition(' = ')[2]))


def test_long_values_are_broken_over_lines_and_short_ones_are_not():
    text = config_text(AWKWARD)
    assert "paramwise = dict(custom_keys={'backbone.layer1': dict(lr_mult=0.1), 'class': dict(decay_mult=0.0)})" in text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_classes_and_functions_inside_values_are_written_by_name():
    assert config_text(dict(model=dict(type=Config))) == "model = dict(type='mmengine.config.config.Config')\n"
