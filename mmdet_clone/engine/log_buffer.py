"""The values that are logged, kept from one log line to the next."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

__all__ = ['LogBuffer']


class LogBuffer:
    """A history of values by name, and their averages ready to be logged.

    Tensors are kept as they are and read when an average is taken, so that a training step on a GPU does not wait.

    Attributes:
        output: what the next log line shows.
        ready: whether ``output`` is to be logged.
    """

    def __init__(self) -> None:
        self.val_history: OrderedDict[str, list] = OrderedDict()
        self.n_history: OrderedDict[str, list[int]] = OrderedDict()
        self.output: OrderedDict[str, Any] = OrderedDict()
        self.ready = False

    def clear(self) -> None:
        self.val_history.clear()
        self.n_history.clear()
        self.clear_output()

    def clear_output(self) -> None:
        self.output.clear()
        self.ready = False

    def update(self, variables: dict[str, Any], count: int = 1) -> None:
        """Add one value to each history; it weighs ``count`` in the average."""
        for name, value in variables.items():
            self.val_history.setdefault(name, []).append(value)
            self.n_history.setdefault(name, []).append(count)

    def average(self, n: int = 0) -> None:
        """Put the weighted average of each name's last ``n`` values, of all for 0, into ``output``."""
        for name, history in self.val_history.items():
            values = [float(value) for value in history[-n:]]
            counts = self.n_history[name][-n:]
            history[-n:] = values
            self.output[name] = sum(v * c for v, c in zip(values, counts)) / sum(counts)
        self.ready = True
