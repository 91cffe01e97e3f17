"""Which errors end a tool by their message alone."""

from __future__ import annotations

import json

import pytest

from mmdet_clone.apis.errors import clear_errors, told_on_purpose
from mmdet_clone.datasets import PIPELINES, build_dataloader, build_dataset
from mmdet_clone.registry import BACKBONES


def caught(function):
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError('no error')


@pytest.fixture
def loader(tmp_path):
    """``loader(step)``: a loader with a worker, over an image whose file is missing."""
    info = dict(filename='gone.png', width=64, height=64, ann=dict(bboxes=[[1, 2, 30, 40]], labels=[0]))
    (tmp_path / 'a.json').write_text(json.dumps([info]))

    def make(step):
        cfg = dict(type='CustomDataset', classes=('a',), ann_file=str(tmp_path / 'a.json'), img_prefix=str(tmp_path))
        dataset = build_dataset({**cfg, 'pipeline': [dict(type=step)]})
        return build_dataloader(dataset, 1, 1, dist=False)

    return make


def test_an_error_that_this_package_raised_on_purpose():
    error = caught(lambda: BACKBONES.build(dict(type='ResNett')))
    assert told_on_purpose(error).startswith("'ResNett' is not in the backbone registry")


def test_errors_of_libraries_and_users_are_not_told_by_their_message_alone():
    def of_a_user():
        raise ValueError('mine')

    assert told_on_purpose(caught(of_a_user)) is None
    assert told_on_purpose(caught(lambda: json.loads('{'))) is None


def test_the_message_is_taken_out_of_what_a_worker_reports(loader):
    error = caught(lambda: next(iter(loader('LoadImageFromFile'))))
    assert 'Traceback' in str(error)
    assert told_on_purpose(error).startswith('image not found: ')


def test_an_error_of_the_users_in_a_worker_keeps_its_traceback(loader, monkeypatch):
    class Failing:
        def __call__(self, results):
            raise ValueError('mine')

    monkeypatch.setitem(PIPELINES.module_dict, 'Failing', Failing)
    assert told_on_purpose(caught(lambda: next(iter(loader('Failing'))))) is None


def test_the_program_ends_with_the_message_and_status_1(monkeypatch):
    def fail():
        with clear_errors():
            BACKBONES.build(dict(type='ResNett'))

    monkeypatch.delenv('MMDET_CLONE_TRACEBACK', raising=False)
    with pytest.raises(SystemExit, match="error: 'ResNett' is not") as ended:
        fail()
    assert isinstance(ended.value.code, str)  # which Python prints to stderr, with status 1
    monkeypatch.setenv('MMDET_CLONE_TRACEBACK', '1')
    with pytest.raises(KeyError):
        fail()
