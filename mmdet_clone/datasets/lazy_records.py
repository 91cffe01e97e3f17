"""Lists and mappings of dicts that are made when they are asked for.

A dict that was made so remembers its changes: whoever asks for the entry again gets the changed dict. A change inside
a value of it, ``info['ann']['bboxes'][0] = ...``, goes unnoticed: set the value anew.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableSequence, Sequence
from typing import Any

import numpy as np


class Changed(dict):
    """Row -> the entry that was changed.

    Args:
        keys: those whose values the storage holds beside the entries too; ``None`` for all.
    """

    def __init__(self, keys: Collection[str] | None = None) -> None:
        super().__init__()
        self._keys = keys
        self.contradicts = False  # whether an entry says something else than what is held beside it

    def note(self, record: Record, method: str, args: tuple) -> Record:
        """Keep ``record``, of which a method of ``dict`` is about to be called, or the one kept before."""
        self.contradicts |= self._keys is None or method != '__setitem__' or args[0] in self._keys
        return self.setdefault(record._row, record)

    def __reduce__(self) -> tuple:
        return _changed, (self._keys, self.contradicts, {row: dict(record) for row, record in self.items()})


def _changed(keys: Collection[str] | None, contradicts: bool, entries: dict[int, dict]) -> Changed:
    again = Changed(keys)
    again.contradicts = contradicts
    again.update({row: Record(entry, again, row) for row, entry in entries.items()})
    return again


class Record(dict):
    """A dict made from compact storage. ``store`` learns of its changes."""

    __slots__ = ('_row', '_store')

    def __init__(self, content: dict, store: Changed, row: int) -> None:
        super().__init__(content)
        self._store = store
        self._row = row

    def __reduce__(self) -> tuple:
        return dict, (dict(self),)  # a copy and what travels to another process is a plain dict


def _noting(name: str) -> Callable:
    """``dict``'s method, after which the entry is kept as it is now."""
    change = getattr(dict, name)

    def method(self: Record, *args: Any, **kwargs: Any) -> Any:
        kept = self._store.note(self, name, args)
        if kept is not self:  # the entry was asked for twice before either was changed
            change(kept, *args, **kwargs)
        return change(self, *args, **kwargs)

    method.__name__, method.__doc__ = name, change.__doc__
    return method


for _name in ('__setitem__', '__delitem__', '__ior__', 'clear', 'pop', 'popitem', 'setdefault', 'update'):
    setattr(Record, _name, _noting(_name))


class LazyList(MutableSequence):
    """A list of dicts that are read when they are asked for.

    It is added to, cut, sorted and so on as a list is; then its dicts are made and kept.

    Args:
        read: makes the dict of a row.
        rows: (n,) the rows of the entries.
        keys: those whose values the storage holds in other ways too, so that setting others needs no care; by default
            all.
    """

    def __init__(self, read: Callable[[int], dict], rows: np.ndarray, keys: Collection[str] | None = None) -> None:
        self._read = read
        self._rows = rows
        self._changed = Changed(keys)
        self._own: list | None = None

    @property
    def rows(self) -> np.ndarray | None:
        """(n,) the rows of the entries; ``None`` once an entry says something else than the storage."""
        return self._rows if self._own is None and not self._changed.contradicts else None

    def reads_by(self, read: Callable[[int], dict]) -> bool:
        return self._own is None and self._read == read

    def check(self) -> None:
        """Read every entry once, for the errors that reading may raise."""
        for row in self._rows.tolist():
            self._read(row)

    def at_row(self, row: int) -> Any:
        """The entry of a row of the storage."""
        return self._changed[row] if row in self._changed else self.record(row, self._read(row))

    def record(self, row: int, entry: Any) -> Any:
        """``entry``, which was just read of ``row``, as the list gives it out."""
        if row in self._changed:
            return self._changed[row]
        return Record(entry, self._changed, row) if isinstance(entry, dict) else entry

    def _as_list(self) -> list:
        if self._own is None:
            self._own = list(self)
        return self._own

    def take(self, indices: Sequence[int] | np.ndarray) -> LazyList | list:
        """The entries of some indices, as lazily."""
        if self._own is not None:
            return [self._own[i] for i in indices]
        part = LazyList(self._read, self._rows[np.asarray(indices, dtype=np.int64)])
        part._changed = self._changed
        return part

    def __len__(self) -> int:
        return len(self._rows) if self._own is None else len(self._own)

    def __getitem__(self, index: Any) -> Any:
        if self._own is not None:
            return self._own[index]
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        return self.at_row(int(self._rows[index]))

    def __iter__(self) -> Iterator:
        if self._own is not None:
            return iter(self._own)
        return map(self.at_row, self._rows.tolist())

    def __setitem__(self, index: Any, value: Any) -> None:
        self._as_list()[index] = value

    def __delitem__(self, index: Any) -> None:
        del self._as_list()[index]

    def insert(self, index: int, value: Any) -> None:
        self._as_list().insert(index, value)

    def copy(self) -> list:
        return list(self)

    def sort(self, *, key: Callable | None = None, reverse: bool = False) -> None:
        self._as_list().sort(key=key, reverse=reverse)

    def __add__(self, other: Iterable) -> list:
        return [*self, *other]

    def __radd__(self, other: Iterable) -> list:
        return [*other, *self]

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, list | LazyList) else NotImplemented

    __hash__ = None

    def __repr__(self) -> str:
        return f'<{len(self)} entries, read when asked for>'


class LazyMapping(Mapping):
    """Values by id, made when they are asked for.

    Args:
        keys: all ids, in order.
        find: the row of an id, ``None`` for an unknown one.
        read: makes the value of a row.
        missing: makes what ``mapping[unknown id]`` gives; without it that is a ``KeyError``.
    """

    def __init__(
        self,
        keys: Callable[[], list],
        find: Callable[[Any], int | None],
        read: Callable[[int], Any],
        missing: Callable[[], Any] | None = None,
    ) -> None:
        self._keys = keys
        self._find = find
        self._read = read
        self._missing = missing

    def __getitem__(self, key: Any) -> Any:
        row = self._find(key)
        if row is not None:
            return self._read(row)
        if self._missing is None:
            raise KeyError(key)
        return self._missing()

    def get(self, key: Any, default: Any = None) -> Any:
        row = self._find(key)
        return default if row is None else self._read(row)

    def __contains__(self, key: object) -> bool:
        return self._find(key) is not None

    def __iter__(self) -> Iterator:
        return iter(self._keys())

    def __len__(self) -> int:
        return len(self._keys())

    def _refuse(self, *_: Any) -> None:
        raise TypeError(
            'this look-up is read from compact storage and takes no entries: change coco.dataset, then call '
            'coco.createIndex()'
        )

    __setitem__ = __delitem__ = _refuse


# ---------------------------------------------------------------------- lists that were given as such


def chosen(items: Sequence, indices: Sequence[int] | np.ndarray) -> Sequence:
    """The items of some indices."""
    return items.take(indices) if isinstance(items, LazyList) else [items[i] for i in indices]


def plain(entry: Any) -> Any:
    """A dict for someone who may write into it without anything remembering; other dicts are handed on."""
    return dict(entry) if isinstance(entry, Record) else entry


class _Packed:
    """Objects as one run of bytes, which worker processes read without writing to it as python objects would be."""

    def __init__(self, items: Iterable) -> None:
        buffer, ends = io.BytesIO(), [0]
        for item in items:
            buffer.write(pickle.dumps(item, protocol=pickle.HIGHEST_PROTOCOL))
            ends.append(buffer.tell())
        self.content = np.frombuffer(buffer.getvalue(), np.uint8)
        self.ends = np.array(ends, dtype=np.int64)

    def __call__(self, row: int) -> Any:
        return pickle.loads(self.content[self.ends[row] : self.ends[row + 1]].data)  # made by this very object


def packed(items: Sequence) -> LazyList | Sequence:
    """``items`` in compact storage; as they are if one of them cannot be pickled."""
    if isinstance(items, LazyList) and items.rows is not None:
        return items
    try:
        return LazyList(_Packed(items), np.arange(len(items)))
    except (pickle.PicklingError, TypeError, AttributeError):
        return items
