"""Results of many images in bounded memory."""

from __future__ import annotations

import os
import pickle
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from mmdet_clone.structures.panoptic import pack_map
from mmdet_clone.structures.results import encode_mask_results

__all__ = ['LIMIT_VARIABLE', 'ResultStore', 'compact_result', 'encode_result']

LIMIT_VARIABLE = 'MMDET_CLONE_RESULT_MEMORY'  # MiB that a process keeps before results go to a temporary file
_DEFAULT_LIMIT = 4096
_PER_OBJECT = 100  # bytes, about, that Python adds to an array, a list or a string
_NO_BOX = np.zeros((0, 5), dtype=np.float32)


class ResultStore(Sequence):
    """A list of results that moves to an unnamed temporary file where it outgrows the memory given to it.

    It reads like a list; slices are lists. A pickle of it is that of a list.

    Args:
        limit: bytes, about, to keep in memory; by default ``MMDET_CLONE_RESULT_MEMORY`` (MiB), else 4 GiB.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = _limit_from_environment() if limit is None else limit
        self._held: list | None = []
        self._bytes = 0
        self._file: Any = None
        self._ends = array('Q')

    @property
    def on_disk(self) -> bool:
        return self._file is not None

    def append(self, result: Any) -> None:
        if self._held is None:
            self._write(result)
            return
        self._held.append(result)
        self._bytes += _weight(result)
        if self._bytes > self.limit:
            self._move_to_disk()

    def extend(self, results: Iterable) -> None:
        for result in results:
            self.append(result)

    def finished(self) -> Sequence:
        """The results: a plain list where they fit into the memory, else this."""
        return self if self._held is None else self._held

    def drain(self) -> Iterator[Any]:
        """The results in order; each leaves the memory as it is handed out. Nothing is left afterwards."""
        if self._held is None:
            yield from self
            self._file.close()
        else:
            held, self._held = self._held, []
            held.reverse()
            while held:
                yield held.pop()

    def __len__(self) -> int:
        return len(self._ends) if self._held is None else len(self._held)

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f'result {index} of {len(self)}')
        return self._held[index] if self._held is not None else self._read(index % len(self))

    def __reduce__(self) -> tuple:
        return list, (), None, iter(self)

    def _move_to_disk(self) -> None:
        held, self._held = self._held, None
        # no other process can open it, so that what is unpickled is what was pickled here
        self._file = tempfile.TemporaryFile(prefix='mmdet_clone_results_')  # noqa: SIM115 (open as long as the store)
        for result in held:
            self._write(result)

    def _write(self, result: Any) -> None:
        self._file.seek(0, os.SEEK_END)
        self._file.write(pickle.dumps(result, protocol=pickle.HIGHEST_PROTOCOL))
        self._ends.append(self._file.tell())

    def _read(self, index: int) -> Any:
        start = self._ends[index - 1] if index else 0
        self._file.seek(start)
        return pickle.loads(self._file.read(self._ends[index] - start))


def _limit_from_environment() -> int:
    text = os.environ.get(LIMIT_VARIABLE, str(_DEFAULT_LIMIT))
    try:
        mebibytes = float(text)
    except ValueError:
        mebibytes = -1.0
    if mebibytes < 0:
        raise ValueError(f'{LIMIT_VARIABLE}={text!r}: expected a number of MiB')
    return int(mebibytes * 2**20)


def _weight(value: Any) -> int:
    """The bytes, about, that a result takes."""
    if value is _NO_BOX:
        return 8
    if isinstance(value, np.ndarray):
        return value.nbytes + _PER_OBJECT
    if isinstance(value, dict):
        return _PER_OBJECT + sum(_PER_OBJECT + _weight(item) for item in value.values())
    if isinstance(value, list | tuple):
        return _PER_OBJECT + sum(map(_weight, value))
    if isinstance(value, bytes | str):
        return len(value) + _PER_OBJECT
    return 32


def compact_result(result: Any) -> Any:
    """``result`` in little memory: boxes float32, masks RLE, a panoptic map packed (``structures.panoptic``).

    Classes without a box share one array: of 1,200 classes most are empty.
    """
    result = encode_result(result)
    if isinstance(result, dict):
        changed = {key: pack_map(result[key]) for key in ('pan_results',) if result.get(key) is not None}
        if isinstance(result.get('ins_results'), list | tuple):
            changed['ins_results'] = compact_result(result['ins_results'])
        return {**result, **changed}
    if isinstance(result, tuple):
        return _compact_boxes(result[0]), *result[1:]
    return _compact_boxes(result)


def encode_result(result: Any) -> Any:
    """``result`` with its masks as RLE.

    That of ``(boxes, masks)``, ``(boxes, masks or None, keypoints)`` or a panoptic ``dict(ins_results=...)``.
    """
    if isinstance(result, tuple):
        boxes, masks, *others = result
        return boxes, _encode(masks), *others
    if isinstance(result, dict) and isinstance(result.get('ins_results'), tuple):
        return {**result, 'ins_results': encode_result(result['ins_results'])}
    return result


def _encode(masks: Any) -> Any:
    if masks is None:
        return None
    if isinstance(masks, tuple):  # with the scores of mask scoring
        return encode_mask_results(masks[0]), masks[1]
    return encode_mask_results(masks)


def _compact_boxes(boxes: Any) -> Any:
    if isinstance(boxes, np.ndarray):
        return _owned(boxes)
    if not isinstance(boxes, list) or not all(isinstance(of_class, np.ndarray) for of_class in boxes):
        return boxes
    return [_owned(of_class) if of_class.size or of_class.shape != (0, 5) else _NO_BOX for of_class in boxes]


def _owned(boxes: np.ndarray) -> np.ndarray:
    """As float32, where it is a float, and not as a view that keeps a larger array alive."""
    if boxes.dtype == np.float64:
        return boxes.astype(np.float32)
    return boxes if boxes.base is None else boxes.copy()
