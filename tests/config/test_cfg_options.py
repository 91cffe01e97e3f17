"""``--cfg-options``: what the text means, and where it goes."""

from __future__ import annotations

import argparse

import pytest
from mmengine.config import Config

from mmdet_clone.config import DictAction, merge_options


def parse(*pairs: str) -> dict:
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    return parser.parse_args(['--cfg-options', *pairs]).cfg_options


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('1', 1),
        ('-1', -1),
        ('1e-3', 1e-3),
        ('True', True),
        ('false', False),
        ('None', None),
        ('r50', 'r50'),
        ('', ''),
        ('a=b', 'a=b'),
        ('1,2', [1, 2]),
        ('a,', ['a']),
        ('[1,2]', [1, 2]),
        ('[]', []),
        ('(640,480)', (640, 480)),
        ('(1)', (1,)),
        ('[(1333,640),(1333,800)]', [(1333, 640), (1333, 800)]),
        ('[a, b]', ['a', 'b']),
        ('[(a,1),[b,True]]', [('a', 1), ['b', True]]),
        ("['traffic light','car']", ['traffic light', 'car']),
        ("'12'", '12'),
        ('my run', 'my run'),
        ("{'type': 'SGD', 'lr': 0.1}", dict(type='SGD', lr=0.1)),
        ('https://x.org/a.pth', 'https://x.org/a.pth'),
    ],
)
def test_values(text, value):
    got = parse(f'key={text}')['key']
    assert got == value
    assert type(got) is type(value)


def test_several_options_and_a_repeated_flag_add_up():
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    args = parser.parse_args(['--cfg-options', 'a=1', 'b.c=2', '--cfg-options', 'a=3'])
    assert args.cfg_options == {'a': 3, 'b.c': 2}


def test_an_option_without_a_value_is_a_usage_error(capsys):
    with pytest.raises(SystemExit):
        parse('optimizer.lr')
    assert "takes KEY=VALUE (for instance data.samples_per_gpu=4), got 'optimizer.lr'" in capsys.readouterr().err


def test_numbers_in_a_key_are_list_indices():
    cfg = Config(dict(data=dict(train=dict(pipeline=[dict(type='A'), dict(type='B', p=1)]))))
    merge_options(cfg, {'data.train.pipeline.1.p': 0.5, 'data.train.pipeline.0.q': 2})
    assert cfg.data.train.pipeline == [dict(type='A', q=2), dict(type='B', p=0.5)]


def test_a_none_on_the_way_becomes_a_dict():
    cfg = Config(dict(optimizer_config=dict(grad_clip=None)))
    merge_options(cfg, {'optimizer_config.grad_clip.max_norm': 35, 'optimizer_config.grad_clip.norm_type': 2})
    assert cfg.optimizer_config.grad_clip == dict(max_norm=35, norm_type=2)


def test_options_that_lead_nowhere_say_where_they_stop():
    cfg = Config(dict(pipeline=[dict(type='A')], lr=0.1))
    with pytest.raises(
        ValueError, match=r'--cfg-options pipeline.3.p=1: pipeline is a list of 1, so its keys are 0 to 0'
    ):
        merge_options(cfg, {'pipeline.3.p': 1})
    with pytest.raises(ValueError, match=r"lr.x=1: lr is 0.1, so it has no 'x'"):
        merge_options(cfg, {'lr.x': 1})


def test_the_options_of_the_caller_are_left_alone():
    cfg, options = Config(dict(a=dict(b=1))), {'a': dict(_delete_=True, c=2)}
    merge_options(cfg, options)
    assert cfg.a == dict(c=2)
    assert options == {'a': dict(_delete_=True, c=2)}
