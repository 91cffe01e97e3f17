from __future__ import annotations

import pickle
from collections import OrderedDict

import numpy as np
import pytest

from mmdet_clone.datasets.safe_pickle import loads_plain


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_comes_back(protocol):
    data = [
        OrderedDict(a=1, b=(2.5, None, True, 'text', b'bytes')),
        {'s': {1, 2}, 'f': np.float32(0.5), 'i': np.int64(3)},
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.zeros((0, 4), dtype=np.float64, order='F'),
        np.array(['a', 'bc']),
    ]
    loaded = loads_plain(pickle.dumps(data, protocol=protocol))
    assert loaded[:2] == data[:2] and loaded[1]['i'].dtype == np.int64
    for got, expected in zip(loaded[2:], data[2:], strict=True):
        np.testing.assert_array_equal(got, expected)
        assert got.dtype == expected.dtype


@pytest.mark.parametrize('old, new', [(b'numpy._core.', b'numpy.core.'), (b'numpy.core.', b'numpy._core.')])
def test_arrays_pickled_by_the_other_numpy_come_back(old, new):
    pickled = pickle.dumps(np.arange(3), protocol=0).replace(old, new)
    np.testing.assert_array_equal(loads_plain(pickled), np.arange(3))


class _RunsCode:
    def __reduce__(self):
        return print, ('this ran',)


@pytest.mark.parametrize(
    'content, name',
    [(_RunsCode(), r'builtins\.print'), (np.random.default_rng(0), r'numpy\.random'), (pytest.fixture, 'pytest')],
)
def test_anything_else_is_refused_by_name_and_not_run(content, name, capsys):
    with pytest.raises(pickle.UnpicklingError, match=rf"'boxes.pkl' refers to \w*{name}"):
        loads_plain(pickle.dumps([content]), 'boxes.pkl')
    assert 'this ran' not in capsys.readouterr().out


def test_a_damaged_file_is_named():
    with pytest.raises(pickle.UnpicklingError, match=r'boxes\.pkl'):
        loads_plain(pickle.dumps([1, 2, 3])[:-4], 'boxes.pkl')
