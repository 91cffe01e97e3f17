"""Checkpoints made to run code or to fill the memory: none of it happens, and the model stays as it was."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import tarfile
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from engine_toys import ToyDetector, toy_runner
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from torch import nn

from mmdet_clone.engine.checkpoint import load_checkpoint, save_checkpoint
from mmdet_clone.engine.safe_load import read_checkpoint, trusted


class Calls:
    """A value whose unpickling calls a function."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.fixture
def sentinel(tmp_path):
    """A file that hostile code would make; it must not be there in the end."""
    path = tmp_path / 'it_ran'
    yield path
    assert not path.exists()


@pytest.fixture
def attack(sentinel):
    return Calls(os.system, f'touch {sentinel}')


def zip_of(content, path):
    torch.save(content, path)
    return path


def rezipped(path, change, compression=zipfile.ZIP_STORED):
    """The zip file with ``change`` applied to its {name: bytes}."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members = change(members)
    with zipfile.ZipFile(path, 'w', compression) as archive:
        for name, data in members if isinstance(members, list) else members.items():
            archive.writestr(name, data)
    return path


def assert_refused(path, match):
    model = nn.Linear(2, 2)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=match):
        load_checkpoint(model, path)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize('zip_format', [True, False])
def test_a_command_is_refused_by_name(tmp_path, attack, zip_format):
    content = dict(state_dict=nn.Linear(2, 2).state_dict(), meta=dict(config=attack))
    torch.save(content, tmp_path / 'a.pth', _use_new_zipfile_serialization=zip_format)
    assert_refused(tmp_path / 'a.pth', r'asks for (posix|os)\.system.*trust=True \(--trust-checkpoint')


def test_the_environment_cannot_turn_the_safe_reader_off(tmp_path, attack, monkeypatch):
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    assert_refused(zip_of(dict(state_dict=attack), tmp_path / 'a.pth'), r'asks for (posix|os)\.system')


def test_trust_ends_with_its_context(tmp_path):
    class Numbers(list):
        def __reduce__(self):
            return sorted, ([2, 1],)

    path = zip_of(dict(a=Numbers()), tmp_path / 'a.pth')
    with trusted():
        assert read_checkpoint(path)['a'] == [1, 2]
        with trusted(False):
            assert_refused(path, 'asks for builtins.sorted')
    assert_refused(path, 'asks for builtins.sorted')


@pytest.mark.parametrize('zip_format', [True, False])
def test_a_chain_of_calls_is_refused_at_its_first_link(tmp_path, sentinel, zip_format):
    import builtins
    import functools
    import importlib

    module = Calls(importlib.import_module, 'os')
    chains = [
        Calls(Calls(getattr, module, 'system'), f'touch {sentinel}'),
        Calls(Calls(functools.partial, os.system, f'touch {sentinel}')),
        Calls(torch._tensor._rebuild_from_type_v2, os.system, int, (f'touch {sentinel}',), {}),
        Calls(torch._utils._rebuild_parameter, Calls(os.system, f'touch {sentinel}'), True, OrderedDict()),
        Calls(builtins.eval, f'__import__("os").system("touch {sentinel}")'),
        Calls(map, os.system, [f'touch {sentinel}']),
    ]
    for chain in chains:
        torch.save([chain], tmp_path / 'a.pth', _use_new_zipfile_serialization=zip_format, pickle_module=_Chains)
        assert_refused(tmp_path / 'a.pth', 'asks for|is not plain data')


class _Chains:
    """A pickle module that also writes calls of what a call returns."""

    class Pickler(pickle._Pickler):
        def save_reduce(self, func, args, *rest, obj=None):
            if isinstance(func, Calls):
                self.save(func)
                self.save(args)
                self.write(pickle.REDUCE)
            else:
                super().save_reduce(func, args, *rest, obj=obj)

    dump = staticmethod(pickle.dump)


def test_attributes_of_a_state_dict_are_looked_at_too(tmp_path, attack):
    state = OrderedDict(weight=torch.zeros(2, 2))
    state._metadata = attack
    assert_refused(zip_of(dict(state_dict=state), tmp_path / 'a.pth'), r'\.system')


def test_a_file_cannot_replace_the_methods_of_its_containers(tmp_path):
    class Shadowed:
        def __reduce__(self):
            items = dict(weight=torch.ones(2, 2), bias=torch.ones(2)).items()
            return OrderedDict, (), dict(items='shadowed', keys='shadowed', _metadata='shadowed'), None, iter(items)

    model = nn.Linear(2, 2)
    load_checkpoint(model, zip_of(dict(state_dict=Shadowed()), tmp_path / 'a.pth'), strict=True)
    assert torch.equal(model.weight, torch.ones(2, 2))


def test_objects_within_numpy_arrays_are_refused(tmp_path, attack):
    assert_refused(zip_of(dict(a=np.array([attack, 1], dtype=object)), tmp_path / 'a.pth'), "type 'O8' is not among")
    structured = np.zeros(2, [('a', 'f8'), ('b', 'i4')])
    assert_refused(zip_of(dict(a=structured), tmp_path / 'a.pth'), 'is not among the types known to be safe')


def test_a_numpy_type_keeps_its_own_size_whatever_the_file_says(tmp_path):
    class Forged:
        def __reduce__(self):
            return np.dtype, ('f8', False, True), (3, '<', None, None, None, 1, 1, 63)

    assert read_checkpoint(zip_of(dict(a=Forged()), tmp_path / 'a.pth'))['a'] == np.dtype('<f8')


def test_an_array_must_have_as_many_bytes_as_its_shape_asks_for(tmp_path):
    class Forged:
        def __reduce__(self):
            rebuild = np.zeros(1).__reduce__()[0]
            return rebuild, (np.ndarray, (0,), b'b'), (1, (1 << 40,), np.dtype('f8'), False, b'12345678')

    assert_refused(zip_of(dict(a=Forged()), tmp_path / 'a.pth'), 'cannot be read.*bytes, not 8')


def test_an_array_of_empty_items_is_no_larger_than_its_file(tmp_path):
    class Forged:
        def __reduce__(self):
            rebuild = np.zeros(1).__reduce__()[0]
            return rebuild, (np.ndarray, (0,), b'b'), (1, (1 << 40,), np.dtype('S0'), False, b'')

    assert_refused(zip_of(dict(a=Forged()), tmp_path / 'a.pth'), 'cannot be read.*empty items cannot have the shape')


def test_a_history_of_lists_that_name_each_other_is_refused_before_it_unfolds(tmp_path):
    row = [0.0] * 10
    for _ in range(12):  # a hundredfold each two levels: 8 terabytes
        row = [row] * 10
    history = HistoryBuffer()
    history._log_history = history._count_history = row
    path = zip_of(dict(message_hub=dict(loss=history)), tmp_path / 'a.pth')
    assert path.stat().st_size < 10_000
    assert_refused(path, 'HistoryBuffer of anything but numbers')


def test_a_storage_of_the_older_format_larger_than_its_file_is_refused(tmp_path):
    torch.save(dict(w=torch.zeros(4)), tmp_path / 'a.pth', _use_new_zipfile_serialization=False)
    content = (tmp_path / 'a.pth').read_bytes()
    assert content.count(b'K\x04Nt') == 1  # the number of elements in the storage's description
    huge = b'\x8a\x08' + (1 << 40).to_bytes(8, 'little')
    (tmp_path / 'a.pth').write_bytes(content.replace(b'K\x04Nt', huge + b'Nt'))
    assert_refused(tmp_path / 'a.pth', 'cannot be read')


def test_a_plain_pickle_is_not_opened(tmp_path, attack):
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        (tmp_path / 'a.pth').write_bytes(pickle.dumps(attack, protocol))
        assert_refused(tmp_path / 'a.pth', 'is not a checkpoint')


@pytest.mark.filterwarnings('ignore:Detected pickle protocol')
def test_another_pickle_protocol_is_refused(tmp_path, attack):
    torch.save(dict(state_dict=attack), tmp_path / 'a.pth', pickle_protocol=4)
    assert_refused(tmp_path / 'a.pth', 'asks for|is not plain data')


def test_renamed_members_of_the_zip_file_run_nothing(tmp_path, attack):
    path, evil = tmp_path / 'a.pth', pickle.dumps(attack, 2)

    def fresh():
        return zip_of(dict(state_dict=nn.Linear(2, 2).state_dict()), path)

    def put(name):
        return lambda members: {**members, name: evil}

    assert_refused(rezipped(fresh(), put('a/data.pkl')), r'\.system')
    assert_refused(rezipped(fresh(), put('a/constants.pkl')), 'TorchScript')
    assert_refused(rezipped(fresh(), put('a/DATA.PKL')), 'several members of one name')
    with pytest.warns(UserWarning, match='Duplicate name'):
        rezipped(fresh(), lambda members: [*members.items(), ('a/data.pkl', evil)])
    assert_refused(path, 'several members of one name')
    assert_refused(rezipped(fresh(), lambda m: {k.replace('data.pkl', 'data.p'): v for k, v in m.items()}), 'without')
    for extra in ('0/data.pkl', 'z/data.pkl', 'a/code/__torch__.py', 'a/extra/data.pkl'):
        with contextlib.suppress(ValueError):
            read_checkpoint(rezipped(fresh(), put(extra)))


def test_a_member_whose_local_name_differs_from_the_directory_runs_nothing(tmp_path, attack):
    path = zip_of(dict(state_dict=nn.Linear(2, 2).state_dict()), tmp_path / 'a.pth')
    rezipped(path, lambda members: {**members, 'a/datb.pkl': pickle.dumps(attack, 2)})
    content = path.read_bytes()
    at = content.rindex(b'a/datb.pkl')  # in the directory at the end of the file
    swapped = content[:at].replace(b'a/datb.pkl', b'a/data.pkl') + content[at:]
    path.write_bytes(swapped)
    with contextlib.suppress(ValueError):
        read_checkpoint(path)


def test_the_tar_format_of_the_first_pytorch_is_refused(tmp_path, attack):
    with tarfile.open(tmp_path / 'a.pth', 'w') as archive:
        for name in ('sys_info', 'pickle', 'storages', 'tensors', '../escaped'):
            data = pickle.dumps(attack, 2)
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    assert_refused(tmp_path / 'a.pth', 'a tar archive')
    assert not (tmp_path.parent / 'escaped').exists()


def test_a_compressed_zip_file_is_refused_before_it_is_unfolded(tmp_path):
    path = zip_of(dict(state_dict=nn.Linear(2, 2).state_dict()), tmp_path / 'a.pth')
    rezipped(path, lambda members: {**members, 'a/data/9': bytes(1 << 26)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20
    assert_refused(path, r'refused: its \d+ bytes unfold to 67\d+')


def test_a_zip_file_of_overlapping_members_is_refused(tmp_path):
    path = tmp_path / 'a.pth'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('a/data.pkl', pickle.dumps({}, 2))
        archive.writestr('a/data/0', bytes(100_000))
        for number in range(1, 1000):
            twin = zipfile.ZipInfo(f'a/data/{number}')
            for field in ('header_offset', 'file_size', 'compress_size', 'CRC'):
                setattr(twin, field, getattr(archive.filelist[1], field))
            archive.filelist.append(twin)
    assert_refused(path, 'refused: its .* bytes unfold to 100000')


def test_a_tensor_larger_than_its_record_is_refused(tmp_path):
    path = zip_of(dict(a=torch.arange(10.0)), tmp_path / 'a.pth')
    large = b'J' + (10_000_000).to_bytes(4, 'little')
    rezipped(path, lambda m: {k: v.replace(b'K\n', large) if k.endswith('data.pkl') else v for k, v in m.items()})
    assert_refused(path, 'cannot be read')


def test_containers_nested_without_end_are_refused(tmp_path):
    deep = b'\x80\x02' + b')' + b'\x85' * 100_000 + b'.'
    path = zip_of({}, tmp_path / 'a.pth')
    rezipped(path, lambda m: {k: deep if k.endswith('data.pkl') else v for k, v in m.items()})
    assert_refused(path, 'cannot be read')


@pytest.mark.parametrize('part', [0, 1, 10, 100, 0.2, 0.5, 0.9, 0.999])
@pytest.mark.parametrize('zip_format', [True, False])
def test_a_truncated_file_leaves_the_model_as_it_was(tmp_path, part, zip_format):
    path = tmp_path / 'a.pth'
    torch.save(dict(state_dict=nn.Linear(2, 2).state_dict()), path, _use_new_zipfile_serialization=zip_format)
    content = path.read_bytes()
    path.write_bytes(content[: part if isinstance(part, int) else int(part * len(content))])
    assert_refused(path, 'truncated|is empty|is text|is not a checkpoint')


# ---------------------------------------------------------------- the config's text


@pytest.fixture
def unread_config(sentinel, monkeypatch):
    """Python that makes the sentinel; whoever parses it fails."""

    def parse(*_, **__):
        raise AssertionError('the config text of a checkpoint was parsed')

    monkeypatch.setattr(Config, 'fromstring', parse)
    return f'import os\nos.system("touch {sentinel}")\n'


def test_training_goes_on_from_a_checkpoint_with_hostile_config_text(tmp_path, unread_config):
    runner = toy_runner(tmp_path / 'first', runner=dict(type='EpochBasedRunner', max_epochs=1))
    runner.meta.update(config=unread_config, cfg=unread_config)
    runner.train()
    assert read_checkpoint(tmp_path / 'first' / 'latest.pth')['meta']['config'] == unread_config
    resumed = toy_runner(tmp_path / 'second', resume_from=str(tmp_path / 'first' / 'latest.pth'))
    resumed.train()
    assert resumed.epoch == 2
    started = toy_runner(tmp_path / 'third', load_from=str(tmp_path / 'first' / 'latest.pth'))
    started.train()


def test_a_detector_is_built_from_a_checkpoint_with_hostile_config_text(tmp_path, root, unread_config, monkeypatch):
    monkeypatch.syspath_prepend(str(root / 'tests'))
    from tiny_detector import write_config

    from mmdet_clone.apis import inference_detector, init_detector

    config = write_config(tmp_path / 'tiny.py', tmp_path)
    with pytest.warns(UserWarning, match='no checkpoint'):
        model = init_detector(str(config), device='cpu')
    meta = dict(config=unread_config, cfg=unread_config, CLASSES=('disc', 'square'))
    save_checkpoint(model, tmp_path / 'a.pth', meta=meta)
    model = init_detector(str(config), str(tmp_path / 'a.pth'), device='cpu')
    assert model.CLASSES == ('disc', 'square')
    assert len(inference_detector(model, np.zeros((96, 96, 3), np.uint8))) == 2


# ---------------------------------------------------------------- all or nothing


class FailsInTheMiddle(nn.Module):
    """Two layers, of which the second does not load."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)
        self.second._load_from_state_dict = self.fail

    def fail(self, *args):
        raise RuntimeError('this layer does not load')


def test_an_error_within_the_load_gives_the_model_its_weights_back(tmp_path):
    model = FailsInTheMiddle()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = {key: value + 1 for key, value in before.items()}
    with pytest.raises(RuntimeError, match='does not load'):
        load_checkpoint(model, zip_of(state, tmp_path / 'a.pth'))
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_a_strict_load_that_fails_leaves_the_model_as_it_was(tmp_path):
    model = ToyDetector()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = {key: value + 1 for key, value in before.items() if key != 'norm.bias'}
    with pytest.raises(RuntimeError, match='1 missing'):
        load_checkpoint(model, zip_of(state, tmp_path / 'a.pth'), strict=True)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_what_is_no_tensor_is_counted_and_left(tmp_path):
    model = nn.Linear(2, 2)
    bias = model.bias.detach().clone()
    load_checkpoint(model, zip_of(dict(weight=torch.ones(2, 2), bias=[0.0, 0.0], epoch=3), tmp_path / 'a.pth'))
    assert torch.equal(model.weight, torch.ones(2, 2))
    assert torch.equal(model.bias, bias)
