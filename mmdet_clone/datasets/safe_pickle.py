"""Reading pickles of plain data without running what is inside them."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np

_CORE = '_core' if int(np.__version__.split('.')[0]) >= 2 else 'core'  # numpy 2 renamed the module
_BUILTINS = ('list', 'set', 'frozenset', 'bytes', 'bytearray', 'complex', 'slice', 'range')

# What a pickle of containers, numbers, strings and numpy arrays refers to, as numpy 1.x and 2.x write it.
_PLAIN = {
    *((module, name) for module in ('builtins', '__builtin__') for name in _BUILTINS),
    ('collections', 'OrderedDict'),
    ('_codecs', 'encode'),
    ('numpy', 'ndarray'),
    ('numpy', 'dtype'),
    *((f'numpy.{core}.multiarray', name) for core in ('core', '_core') for name in ('_reconstruct', 'scalar')),
    *((f'numpy.{core}.numeric', '_frombuffer') for core in ('core', '_core')),
}


class RefusedPickleError(pickle.UnpicklingError):
    """A pickle refers to something that is not plain data."""


class _PlainUnpickler(pickle.Unpickler):
    def __init__(self, data: bytes, source: str) -> None:
        super().__init__(io.BytesIO(data), encoding='latin1')  # arrays written by Python 2
        self.source = source

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _PLAIN:
            raise RefusedPickleError(
                f'{self.source!r} refers to {module}.{name}. A data file may hold lists, dicts, numbers, strings and '
                'numpy arrays only, because unpickling anything else can run code. Convert it to plain data, e.g. '
                'tensors with .numpy(), or save it as .json'
            )
        if module.startswith('numpy.'):
            module = f'numpy.{_CORE}.{module.rpartition(".")[2]}'
        return super().find_class(module, name)


def loads_plain(data: bytes, source: str = 'the pickle') -> Any:
    """Unpickle ``data`` that holds only containers, numbers, strings and numpy arrays.

    Args:
        data: the pickle.
        source: its file name, for the error message.

    Raises:
        pickle.UnpicklingError: it refers to any other class or function (named in the message), or is damaged.
    """
    try:
        return _PlainUnpickler(data, source).load()
    except RefusedPickleError:
        raise
    except (pickle.UnpicklingError, EOFError, IndexError, KeyError, AttributeError, ValueError) as error:
        raise pickle.UnpicklingError(f'{source!r} is damaged or no pickle: {error}') from error
