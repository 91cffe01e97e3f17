"""Numbers as csv files."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def write_csv(path: str | os.PathLike, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table, making its folder. Numbers that are undefined (None, NaN) are empty cells."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'.{path.name}.part')  # a run that is broken off leaves no half of a table
    with part.open('w', newline='', encoding='utf-8', errors='backslashreplace') as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([_cell(value) for value in row] for row in rows)
    part.replace(path)


def _cell(value: Any) -> Any:
    """The shortest text of a number that reads back as the same number in its own precision."""
    if value is None or (not isinstance(value, str) and math.isnan(value)):
        return ''
    return str(value)
