"""Images that a loading step leaves out: each named once, and counted."""

from __future__ import annotations

import logging
import os
from multiprocessing.util import Finalize

from mmengine.logging import print_log
from torch.utils.data import get_worker_info


class SkippedImages:
    """The images that were skipped in this process, which is a loader's worker or the main one.

    A line names each file when it is met first; another gives the count when the process ends: for workers after every
    epoch, or after the last one where they are persistent.
    """

    def __init__(self) -> None:
        self._process: int | None = None
        self._where = ''
        self._times_by_problem: dict[str, int] = {}

    def add(self, problem: str) -> None:
        """Count an image; ``problem`` names its file and says what is wrong."""
        if self._process != os.getpid():  # the first one in this process: a fork has copied its parent's counts
            self._process, self._where = os.getpid(), _where()
            self._times_by_problem = {}
            Finalize(None, self.report, exitpriority=100)
        times = self._times_by_problem.get(problem, 0) + 1
        self._times_by_problem[problem] = times
        if times == 1:
            _log(f'skipped (no. {len(self._times_by_problem)} of {self._where}): {problem}')

    def report(self) -> None:
        """Log the count, if there is any, and start anew."""
        if self._times_by_problem:
            _log(
                f"LoadImageFromFile(on_error='skip'): {self._where} skipped {len(self._times_by_problem)} images, "
                f'{sum(self._times_by_problem.values())} times in all, and another image came in place of each'
            )
        self._times_by_problem = {}

    def __getstate__(self) -> dict:
        return dict(_process=None, _where='', _times_by_problem={})


def _where() -> str:
    worker = get_worker_info()
    return 'the main process' if worker is None else f'loader worker {worker.id}'


def _log(text: str) -> None:
    print_log(text, logger='current', level=logging.ERROR)  # the level that is shown on every rank
