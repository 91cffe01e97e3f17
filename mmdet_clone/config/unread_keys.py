"""Keys of ``train_cfg`` and ``test_cfg`` that nothing reads are told of, once each."""

from __future__ import annotations

import warnings
from collections.abc import Collection

__all__ = ['warn_of_unread_keys']

_OURS = f'{__package__.partition(".")[0]}.'
_told: set[tuple[str, str, str]] = set()


def warn_of_unread_keys(owner: object, name: str, cfg: dict | None, read: Collection[str]) -> None:
    """Warn of each key of ``cfg``, the ``name`` (``'train_cfg'``) of ``owner``, that is not in ``read``.

    It is a warning because published configs carry keys that no longer mean anything. Classes from outside this
    package may read what they like and are not checked.

    Args:
        owner: an object, or what a function that reads ``cfg`` is called.
    """
    if cfg is None or not (isinstance(owner, str) or type(owner).__module__.startswith(_OURS)):
        return
    reader = owner if isinstance(owner, str) else type(owner).__name__
    unread = [key for key in cfg if key not in read and (reader, name, key) not in _told]
    _told.update((reader, name, key) for key in unread)
    if unread:
        reads = ', '.join(sorted(read)) or 'nothing'
        warnings.warn(f'{reader} ignores {", ".join(map(repr, unread))} in its {name}; it reads {reads}', stacklevel=3)
