"""Checks that need no data set."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from mmdet_clone.config import check_classes, check_trainable, load_config, loader_args


@pytest.mark.parametrize('classes', ['person', {'person', 'car'}, dict(person=1)])
def test_classes_that_are_no_sequence_are_refused(classes):
    with pytest.raises(TypeError, match=r'data.train.dataset.classes is the .*tuple'):
        check_classes(dict(data=dict(train=dict(dataset=dict(classes=classes)))))


def test_classes_may_be_a_file_of_names():
    check_classes(dict(data=dict(train=dict(classes='data/classes.txt'))))


def test_a_class_named_twice_and_lists_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"data.val.classes names 'a' more than once"):
        check_classes(dict(data=dict(val=dict(classes=['a', 'b', 'a']))))
    with pytest.raises(ValueError, match=r'data.train.0.classes = .*\n.*data.test.classes = '):
        check_classes(dict(data=dict(train=[dict(classes=('a', 'b'))], test=dict(classes=('b', 'a')))))
    check_classes(dict(data=dict(train=dict(classes=('a', 'b')), test=dict(classes=['a', 'b']))))


def test_load_config_checks_classes(tmp_path):
    path = tmp_path / 'c.py'
    path.write_text("data = dict(train=dict(type='CocoDataset', classes='person'))")
    with pytest.raises(TypeError, match=r"data.train.classes is the text 'person'"):
        load_config(path)


def test_a_config_that_cannot_train_names_what_it_lacks():
    with pytest.raises(ValueError, match=r'has no model, runner, data.train: is it a file of _base_/'):
        check_trainable(Config(dict(data=dict(val=dict()), optimizer=dict(type='SGD'))))
    check_trainable(Config(dict(model=dict(a=1), data=dict(train=dict(a=1)), optimizer=dict(a=1), runner=dict(a=1))))


def test_arguments_of_the_loaders():
    data = dict(
        samples_per_gpu=4,
        workers_per_gpu=3,
        persistent_workers=True,
        train_dataloader=dict(samples_per_gpu=8),
        test_dataloader=dict(workers_per_gpu=0),
    )
    assert loader_args(data, 'train') == dict(samples_per_gpu=8, workers_per_gpu=3, persistent_workers=True)
    assert loader_args(data, 'val') == dict(samples_per_gpu=1, workers_per_gpu=3)
    assert loader_args(data, 'test') == dict(samples_per_gpu=1, workers_per_gpu=0)
