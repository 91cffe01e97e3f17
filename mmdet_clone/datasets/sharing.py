"""Annotations as worker processes share them.

A worker begins as a copy of its parent whose memory is shared until someone writes to it. Reading a python object
counts its references, which is writing: list by list and dict by dict each worker would come to hold a copy of all
annotations. One run of bytes, or an array, is only read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch.utils.data import Dataset

from .custom import CustomDataset
from .lazy_records import packed

_PARTS = ('dataset', 'datasets')  # where wrappers, torch's own too, keep what they wrap


def share_with_workers(dataset: Dataset) -> None:
    """Put the annotations of a data set, and of those that it wraps, into storage that processes share.

    From then on ``data_infos`` is read-only in depth: its entries are made when they are asked for and remember what
    is set in them, but not a change inside a value of theirs.
    """
    for part in data_sets_in(dataset):
        if isinstance(part, CustomDataset):
            for name in ('data_infos', 'proposals'):
                items = getattr(part, name, None)
                if isinstance(items, Sequence):
                    setattr(part, name, packed(items))


def data_sets_in(dataset: Any) -> Iterator[Dataset]:
    """A data set and all that it wraps, each once."""
    found: dict[int, Any] = {}
    waiting = [dataset]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list | tuple):
            waiting += item
        elif isinstance(item, Dataset) and id(item) not in found:
            found[id(item)] = item
            waiting += [getattr(item, name, None) for name in _PARTS]
    yield from found.values()
