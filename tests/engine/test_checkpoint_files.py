"""Reading and writing checkpoint files."""

from __future__ import annotations

import os
import pickle
import sys
import types

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.model import initialize
from torch import nn

from mmdet_clone.engine.checkpoint import find_latest_checkpoint, load_checkpoint, save_checkpoint, write_checkpoint
from mmdet_clone.engine.safe_load import read_checkpoint


class RunsCode:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def saved(content, path, **options):
    torch.save(content, path, **options)
    return path


def test_a_checkpoint_round_trips_with_meta(tmp_path):
    model = nn.Linear(3, 2)
    model.CLASSES = ('cat', 'dog')
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    save_checkpoint(model, tmp_path / 'a.pth', optimizer, meta=dict(epoch=3))
    loaded = nn.Linear(3, 2)
    checkpoint = load_checkpoint(loaded, tmp_path / 'a.pth')
    assert torch.equal(loaded.weight, model.weight)
    assert checkpoint['meta']['CLASSES'] == ('cat', 'dog')
    assert checkpoint['meta']['epoch'] == 3
    assert set(checkpoint) == {'meta', 'state_dict', 'optimizer'}
    assert os.listdir(tmp_path) == ['a.pth']


@pytest.mark.parametrize('zip_format', [True, False])
def test_what_mmcv_and_mmengine_put_beside_weights_loads(tmp_path, zip_format):
    content = dict(
        state_dict=nn.Linear(1, 1).state_dict(),
        meta=dict(score=np.float64(0.5), ids=np.arange(3), flag=np.bool_(True)),
        message_hub=dict(loss=HistoryBuffer([1.0, 2.0], [1, 1])),
    )
    path = saved(content, tmp_path / 'a.pth', _use_new_zipfile_serialization=zip_format)
    checkpoint = read_checkpoint(path)
    assert checkpoint['meta']['score'] == 0.5
    assert checkpoint['meta']['ids'].tolist() == [0, 1, 2]
    assert checkpoint['message_hub']['loss'].mean() == 1.5


def test_numpy_scalars_written_by_the_other_major_version_load(tmp_path):
    path = saved(dict(a=np.float64(2.5)), tmp_path / 'a.pth', _use_new_zipfile_serialization=False)
    content, modules = path.read_bytes(), [b'numpy.core.multiarray', b'numpy._core.multiarray']
    here = next(module for module in modules if module in content)
    other = next(module for module in modules if module != here)
    path.write_bytes(content.replace(here, other))  # the text opcode ends at a line break, so lengths may change
    assert read_checkpoint(path)['a'] == 2.5


def test_arrays_and_texts_of_numpy_come_back_as_they_were(tmp_path):
    values = [
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(3, dtype='>i4'),
        np.zeros((0, 4), np.float32),
        np.array(['cat', 'mouse']),
        np.str_('bbox_mAP'),
        np.bool_(True),
        np.complex64(1 + 2j),
    ]
    loaded = read_checkpoint(saved(dict(values=values, types=(np.dtype('<u2'),)), tmp_path / 'a.pth'))
    for value, back in zip(values, loaded['values']):
        assert type(back) is type(value)
        assert back.dtype == value.dtype
        assert np.array_equal(back, value)
    assert loaded['types'] == (np.dtype('<u2'),)
    loaded['values'][0][0, 0] = 7  # it may be written to


def test_what_the_program_allowed_for_itself_stays_allowed_and_nothing_of_ours_is_added(tmp_path):
    api = torch.serialization
    before = set(map(str, api.get_safe_globals()))
    path = saved(dict(path=types.SimpleNamespace(a=1), number=np.float64(2.0)), tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='SimpleNamespace'):
        read_checkpoint(path)
    with api.safe_globals([types.SimpleNamespace, np.dtype]):
        inside = set(map(str, api.get_safe_globals()))
        assert read_checkpoint(path)['path'].a == 1
        assert set(map(str, api.get_safe_globals())) == inside
    assert set(map(str, api.get_safe_globals())) == before


@pytest.mark.parametrize('zip_format', [True, False])
def test_code_in_a_checkpoint_is_refused_by_name_and_not_run(tmp_path, zip_format):
    content = dict(state_dict={}, meta=RunsCode(str(tmp_path / 'made')))
    path = saved(content, tmp_path / 'a.pth', _use_new_zipfile_serialization=zip_format)
    with pytest.raises(ValueError, match=r'posix\.mkdir.*trust=True.*--trust-checkpoint'):
        read_checkpoint(path)
    assert not (tmp_path / 'made').exists()
    read_checkpoint(path, trust=True)
    assert (tmp_path / 'made').exists()


def test_getattr_in_a_checkpoint_reaches_nothing_but_the_history_methods(tmp_path):
    class Sly:
        def __reduce__(self):
            return getattr, (np.ndarray, 'tofile')

    with pytest.raises(ValueError, match='not'):
        read_checkpoint(saved(dict(a=Sly()), tmp_path / 'a.pth'))


def test_config_text_of_a_checkpoint_is_never_run(tmp_path):
    meta = dict(config=f'import os\nos.mkdir({str(tmp_path / "made")!r})\n', epoch=1, iter=4)
    model = nn.Linear(1, 1)
    load_checkpoint(model, saved(dict(state_dict=model.state_dict(), meta=meta), tmp_path / 'a.pth'))
    assert not (tmp_path / 'made').exists()


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'is empty'),
        (b'<!DOCTYPE html><html><body>404', 'is a web page'),
        (b'version https://git-lfs.github.com/spec/v1\noid', 'git lfs pull'),
        (b'PK\x03\x04 not all of it', 'truncated or not a PyTorch checkpoint'),
        (b'\x89PNG\r\n', 'is a PNG image'),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', 'is a web page'),
        (b'{"message": "Not Found"}', 'is JSON text'),
        (b"_base_ = './faster_rcnn_r50_fpn_1x_coco.py'\n", 'is text: are the arguments in the right order'),
        (b'\x1f\x8b\x08\x00', 'gzip: unpack it first'),
        (b'\x80\x04\x95\x0c\x00\x00\x00\x00\x00\x00\x00}.', 'a Python pickle that torch.save did not write'),
        (b'\x40\0\0\0\0\0\0\0{"weight":{"dtype":"F32"}}', r'name must end in \.safetensors'),
        (bytes(range(256)) * 4, 'of no kind that torch.save writes'),
    ],
)
def test_what_is_no_checkpoint_is_said_so(tmp_path, content, message):
    path = tmp_path / 'a.pth'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_checkpoint(path)


def test_a_truncated_checkpoint_is_said_so(tmp_path):
    path = saved(dict(state_dict=nn.Linear(100, 100).state_dict()), tmp_path / 'a.pth')
    path.write_bytes(path.read_bytes()[:20000])
    with pytest.raises(ValueError, match='truncated'):
        read_checkpoint(path)


@pytest.mark.skipif(torch.cuda.is_available(), reason='needs a machine without CUDA')
def test_a_device_that_is_not_here_is_said_so(tmp_path):
    path = saved(dict(state_dict=nn.Linear(1, 1).state_dict()), tmp_path / 'a.pth')
    with pytest.raises(ValueError, match="give map_location='cpu'"):
        read_checkpoint(path, map_location='cuda:0')


def test_a_missing_file_names_those_beside_it(tmp_path):
    saved({}, tmp_path / 'epoch_12.pth')
    with pytest.raises(FileNotFoundError, match=r'epoch_21\.pth does not exist.*holds epoch_12\.pth'):
        read_checkpoint(tmp_path / 'epoch_21.pth')
    with pytest.raises(FileNotFoundError, match='is a folder'):
        read_checkpoint(tmp_path)
    with pytest.raises(FileNotFoundError, match='there is no folder'):
        read_checkpoint(tmp_path / 'nowhere' / 'a.pth')


def test_counts_of_what_fits_are_printed(tmp_path, capsys):
    state = {**nn.Linear(3, 2).state_dict(), 'extra': torch.zeros(1), 'bias': torch.zeros(5)}
    load_checkpoint(nn.Linear(3, 2), saved(dict(state_dict=state), tmp_path / 'a.pth'))
    printed = capsys.readouterr().out
    assert 'loaded 1 of 2 entries' in printed
    assert '0 missing, 1 unexpected, 1 of another shape' in printed
    assert 'bias (5,) -> (2,)' in printed


def test_strict_loading_raises_and_nothing_loaded_raises(tmp_path):
    path = saved(dict(state_dict={'weight': torch.zeros(2, 3)}), tmp_path / 'a.pth')
    with pytest.raises(RuntimeError, match=r'1 missing, 0 unexpected, 0 of another shape[\s\S]*bias'):
        load_checkpoint(nn.Linear(3, 2), path, strict=True)
    with pytest.raises(ValueError, match=r'Nothing fits this model: it needs 0.weight, 0.bias, the file has weight'):
        load_checkpoint(nn.Sequential(nn.Linear(3, 2)), path)


def test_keys_saved_from_a_parallel_wrapper_load(tmp_path):
    model = nn.Linear(3, 2)
    state = {f'module.{key}': value for key, value in model.state_dict().items()}
    loaded = nn.Linear(3, 2)
    load_checkpoint(loaded, saved(state, tmp_path / 'a.pth'))
    assert torch.equal(loaded.weight, model.weight)


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / 'a.pth'
    write_checkpoint(dict(a=1), path)
    with pytest.raises((AttributeError, pickle.PicklingError)):
        write_checkpoint(dict(a=lambda: 0), path)
    assert read_checkpoint(path) == dict(a=1)
    assert os.listdir(tmp_path) == ['a.pth']


def test_the_latest_checkpoint_is_found_by_number(tmp_path):
    assert find_latest_checkpoint(tmp_path) is None
    for name in ('epoch_2', 'epoch_10', 'best_bbox_mAP_epoch_11'):
        saved({}, tmp_path / f'{name}.pth')
    assert find_latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_10.pth')


@pytest.mark.parametrize('prefix', ['backbone.', 'backbone', None])
def test_pretrained_init_loads_what_is_below_the_prefix(tmp_path, prefix):
    source = nn.Linear(3, 2)
    before = '' if prefix is None else 'backbone.'
    state = {f'{before}{key}': value for key, value in source.state_dict().items()}
    path = saved(dict(state_dict={**state, 'head.weight': torch.zeros(1)}), tmp_path / 'a.pth')
    model = nn.Linear(3, 2)
    initialize(model, dict(type='Pretrained', checkpoint=str(path), **({'prefix': prefix} if prefix else {})))
    assert torch.equal(model.weight, source.weight)


def test_a_class_of_an_absent_package_is_refused_by_name(tmp_path):
    module = types.ModuleType('people_own_package')
    module.Thing = type('Thing', (), {'__module__': 'people_own_package'})
    sys.modules['people_own_package'] = module
    try:
        saved(dict(a=module.Thing()), tmp_path / 'a.pth')
    finally:
        del sys.modules['people_own_package']
    with pytest.raises(ValueError, match=r'people_own_package\.Thing'):
        read_checkpoint(tmp_path / 'a.pth')
