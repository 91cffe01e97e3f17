"""Keys of ``train_cfg`` and ``test_cfg`` that nothing reads are told of, once each."""

from __future__ import annotations

import warnings
from collections.abc import Collection

__all__ = ['warn_of_unread_keys']

_told: set[tuple[str, str, str]] = set()


def warn_of_unread_keys(owner: object, name: str, cfg: dict | None, read: Collection[str]) -> None:
    """Warn of each key of ``cfg``, the ``name`` (``'train_cfg'``) of ``owner``, that is not in ``read``.

    It is a warning because published configs carry keys that no longer mean anything. Classes from outside this
    package may read what they like and are not checked.
    """
    cls = type(owner)
    if cfg is None or not cls.__module__.startswith(f'{__package__.partition(".")[0]}.'):
        return
    unread = [key for key in cfg if key not in read and (cls.__name__, name, key) not in _told]
    _told.update((cls.__name__, name, key) for key in unread)
    if unread:
        warnings.warn(
            f'{cls.__name__} ignores {", ".join(map(repr, unread))} in its {name}; it reads {", ".join(sorted(read))}',
            stacklevel=3,
        )
