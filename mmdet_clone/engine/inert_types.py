"""What a checkpoint may hold beside tensors and plain containers, rebuilt from checked pieces.

A pickle names the classes and functions that make its objects. For those of numpy and mmengine that checkpoints are
known to hold, the names lead here: to stand-ins that only keep what they are given. :func:`plain` makes the real
values of them afterwards. So a file decides about values, and never about which code handles them: numpy's own
``dtype.__setstate__``, for one, believes flags and sizes that corrupt memory.
"""

from __future__ import annotations

import collections
import math
import re
from typing import Any

import numpy as np

__all__ = ['plain', 'stand_ins']


class Dtype:
    """``numpy.dtype`` of plain numbers and strings: no objects, no structures."""

    def __init__(self, code: str = '', align: bool = False, copy: bool = False) -> None:
        if not isinstance(code, str) or not re.fullmatch(r'\?|[biufcSU]\d{1,6}', code):
            raise ValueError(f'numpy data of type {code!r} is not among the types known to be safe to load')
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        """Only the byte order is taken."""
        if state[1] in ('<', '>', b'<', b'>'):
            order = state[1] if isinstance(state[1], str) else state[1].decode()
            self.dtype = self.dtype.newbyteorder(order)


class Array:
    """``numpy.ndarray``."""

    def __setstate__(self, state: tuple) -> None:
        shape, dtype, is_fortran, content = state[-4:]
        if not isinstance(dtype, Dtype) or not isinstance(content, bytes | bytearray):
            raise ValueError('a numpy array of objects is not among the types known to be safe to load')
        self.array = _array(content, dtype.dtype, shape, 'F' if is_fortran else 'C')


class History:
    """``mmengine.logging.HistoryBuffer``, of rows of numbers: lists could name each other to any size."""

    def __setstate__(self, state: dict) -> None:
        self.log, self.counts = (self._numbers(state[key]) for key in ('_log_history', '_count_history'))
        self.max_length = state.get('max_length', 1000000)

    @staticmethod
    def _numbers(value: Any) -> np.ndarray:
        row = getattr(value, 'array', None) if isinstance(value, Array) else value
        if isinstance(row, list) and all(isinstance(item, int | float | np.number) for item in row):
            row = np.array(row, dtype=np.float64)
        if not isinstance(row, np.ndarray) or row.ndim != 1 or row.dtype.kind not in 'biuf':
            raise ValueError('a HistoryBuffer of anything but numbers is not among the types known to be safe to load')
        return row


class Record:
    """An object that becomes a dict of its attributes."""

    def __setstate__(self, state: dict) -> None:
        self.attributes = state


def stand_ins() -> dict[str, Any]:
    """The names that pickles may use, and what each leads to.

    numpy's helpers lie in ``numpy.core`` before 2.0, in ``numpy._core`` since.
    """
    table = {
        'numpy.dtype': Dtype,
        'numpy.ndarray': Array,
        'mmengine.logging.history_buffer.HistoryBuffer': History,
        'mmengine.logging.message_hub.MessageHub': Record,
        'argparse.Namespace': Record,
        'mmengine.config.config.ConfigDict': collections.OrderedDict,
        'mmcv.utils.config.ConfigDict': collections.OrderedDict,
        # mmengine pickles the methods of a history as getattr(HistoryBuffer, 'min')
        'builtins.getattr': _history_method,
        'builtins.bytes': _no_bytes,
    }
    for core in ('numpy.core', 'numpy._core'):
        table[f'{core}.multiarray._reconstruct'] = _reconstruct
        table[f'{core}.multiarray.scalar'] = _scalar
    return table


def _reconstruct(cls: type, shape: tuple, code: bytes) -> Array:
    """numpy's start of an array, whose content comes with its state."""
    if cls is not Array:
        raise ValueError(f'a numpy array of class {cls!r} is not among the types known to be safe to load')
    return Array()


def _scalar(dtype: Dtype, content: bytes = b'') -> np.generic:
    if not isinstance(dtype, Dtype) or not isinstance(content, bytes):
        raise ValueError('a numpy scalar of an object is not among the types known to be safe to load')
    return _array(content, dtype.dtype, (), 'C')[()]


def _array(content: bytes, dtype: np.dtype, shape: tuple, order: str) -> np.ndarray:
    needed = dtype.itemsize
    for extent in shape:
        if not isinstance(extent, int) or extent < 0:
            raise ValueError(f'a numpy array cannot have the shape {shape!r}')
        needed *= extent
    if dtype.itemsize == 0 and math.prod(shape) > 1:  # numpy makes items of a byte of them
        raise ValueError(f'a numpy array of empty items cannot have the shape {shape}')
    if needed != len(content):
        raise ValueError(f'a numpy array of shape {shape} and type {dtype} has {needed} bytes, not {len(content)}')
    return np.ndarray(shape, dtype, content or b'\0', order=order).copy(order)


def _no_bytes() -> bytes:
    """Pickles of protocol 2 write b'' as ``bytes()``; empty arrays have it as their content."""
    return b''


def _history_method(owner: type, name: str) -> str:
    """A history's methods are its class's own; their names in the file change nothing."""
    if owner is not History or name not in ('min', 'max', 'current', 'mean'):
        raise ValueError(f'GLOBAL getattr({owner!r}, {name!r}) is not among the names known to be safe to load')
    return name


def plain(value: Any, done: dict[int, Any] | None = None) -> Any:
    """``value`` with real objects for stand-ins and with fresh containers, which have no attributes from the file.

    Args:
        done: what was made of containers met before, by ``id``, with the containers themselves: they keep those ids.
    """
    done = {} if done is None else done
    if id(value) in done:
        return done[id(value)][0]
    if isinstance(value, dict):
        made: Any = type(value)() if type(value) in (dict, collections.Counter) else collections.OrderedDict()
        done[id(value)] = (made, value)
        for key, item in dict.items(value):
            made[plain(key, done)] = plain(item, done)
        metadata = getattr(value, '__dict__', {}).get('_metadata')  # module versions, which torch keeps beside weights
        if isinstance(metadata, dict):
            made._metadata = plain(metadata, done)
        return made
    if type(value) is list:
        made = []
        done[id(value)] = (made, value)
        made.extend(plain(item, done) for item in value)
        return made
    if type(value) in (tuple, set):
        made = type(value)(plain(item, done) for item in value)
        done[id(value)] = (made, value)
        return made
    return _real(value, done)


def _real(value: Any, done: dict[int, Any]) -> Any:
    if isinstance(value, Dtype):
        return value.dtype
    if isinstance(value, Array):
        return value.array
    if isinstance(value, Record):
        return plain(value.attributes, done)
    if isinstance(value, History):
        from mmengine.logging import HistoryBuffer

        return HistoryBuffer(value.log, value.counts, value.max_length)
    return value
