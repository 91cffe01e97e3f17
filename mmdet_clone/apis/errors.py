"""How a tool ends that cannot go on: by one message where that says it all, by a traceback where it does not."""

from __future__ import annotations

import contextlib
import os
import re
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

_PACKAGE = str(Path(__file__).resolve().parent.parent) + os.sep
_IN_WORKER = re.compile(r'Caught (\w+) in DataLoader worker process \d+\.\n')
_FRAME = re.compile(r'^ *File "([^"]+)", line \d+, in .*\n( *.*)', re.MULTILINE)


@contextlib.contextmanager
def clear_errors() -> Iterator[None]:
    """End the program with the message alone, and status 1, on an error that this package raised on purpose.

    Such a message names what is wrong, where and what to change; the place in the code where that was noticed only
    hides it. An error of a library, or in a module of the user's own, keeps its traceback, and so does every error
    where the environment variable ``MMDET_CLONE_TRACEBACK`` is set.
    """
    try:
        yield
    except Exception as error:
        message = None if os.environ.get('MMDET_CLONE_TRACEBACK') else told_on_purpose(error)
        if message is None:
            raise
        _let_rank_zero_tell_it()
        raise SystemExit(f'error: {message}') from None


def told_on_purpose(error: Exception) -> str | None:
    """The message of an error that a ``raise`` of this package made, here or in a worker of a loader; else ``None``."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    caught = _IN_WORKER.match(text)
    if caught:
        frames = _FRAME.findall(text)
        message = re.split(rf'\n(?:[\w.]+\.)?{caught[1]}: ', text)[-1].strip()
    else:
        frames = [(frame.filename, frame.line or '') for frame in traceback.extract_tb(error.__traceback__)]
        message = text
    file, line = frames[-1] if frames else ('', '')
    return message if file.startswith(_PACKAGE) and line.lstrip().startswith('raise') else None


def _let_rank_zero_tell_it() -> None:
    """The processes of a job mostly fail alike: the launcher ends the others before they repeat it."""
    if os.environ.get('RANK', os.environ.get('SLURM_PROCID', '0')) != '0':
        time.sleep(10)
