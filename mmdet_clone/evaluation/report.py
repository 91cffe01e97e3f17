"""How evaluation writes its lines and tables."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any


class UnknownMetricError(KeyError):
    """A measure was asked for that the data set does not have."""

    def __str__(self) -> str:  # KeyError would show the repr
        return str(self.args[0])


def check_metrics(asked: Sequence[str], known: Sequence[str], what: str = 'metric') -> None:
    """Raise ``UnknownMetricError`` if one of ``asked`` is not ``known``."""
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise UnknownMetricError(f'unknown {what} {", ".join(map(repr, unknown))}; known: {", ".join(known)}')


def say(message: str, logger: Any = None) -> None:
    """Write ``message`` to a logger (an object or a name), print it for ``None``, drop it for ``'silent'``."""
    if logger == 'silent':
        return
    if logger is None or logger == 'print':
        print(message)
    elif isinstance(logger, logging.Logger):
        logger.info(message)
    else:
        logging.getLogger(str(logger)).info(message)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], pairs: int = 1) -> str:
    """An ASCII table; with ``pairs`` > 1 several rows are set beside each other."""
    from terminaltables import AsciiTable

    wide = []
    height = -(-len(rows) // pairs)
    for i in range(height):
        parts = [rows[i + k * height] if i + k * height < len(rows) else [''] * len(header) for k in range(pairs)]
        wide.append([cell for part in parts for cell in part])
    return AsciiTable([list(header) * pairs, *wide]).table
