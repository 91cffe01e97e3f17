"""What became of each weight of a file that was loaded into a model: counts, a table by module, what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

__all__ = ['LoadReport', 'class_count_changes']

MAX_ROWS = 12


@dataclass
class LoadReport:
    """Names of the model's entries and of the file's.

    Args:
        source: names the file.
        own: the model's entries.
        loaded: how many of them the file filled.
        missing: those that it lacks.
        unexpected: the file's that the model lacks.
        mismatched: those of another shape: what the file has, what the model has.
        renamed, ignored: how many of the file's, by what they were.
        changes: a sentence for each head of another class count.
    """

    source: str
    own: Sequence[str]
    loaded: int
    missing: list[str]
    unexpected: list[str]
    mismatched: dict[str, tuple[Any, Any]]
    renamed: Counter = field(default_factory=Counter)
    ignored: Counter = field(default_factory=Counter)
    changes: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        return not (self.missing or self.unexpected or self.mismatched)

    def counts(self) -> str:
        """One line."""
        extra = [f'{n} ignored ({kind})' for kind, n in self.ignored.items()]
        extra += [f'{n} renamed ({kind})' for kind, n in self.renamed.items()]
        return (
            f'loaded {self.loaded} of {len(self.own)} entries from {self.source}: {len(self.missing)} missing, '
            f'{len(self.unexpected)} unexpected, {len(self.mismatched)} of another shape'
            + ''.join(f', {part}' for part in extra)
        )

    def details(self) -> str:
        """The heads of another class count, then a table of what was not loaded; nothing if all was."""
        lines = list(self.changes)
        if not self.is_complete:
            lines += self._table()
        if any(key.startswith(('bbox_head.fc_cls', 'bbox_head.0.fc_cls')) for key in self.unexpected):
            lines.append(
                'the file has the layout of MMDetection 1.x: convert it by tools/model_converters/'
                'upgrade_model_version.py'
            )
        return '\n'.join(lines)

    def nothing_fits(self) -> str:
        """The error where nothing was loaded."""
        text = (
            f'{self.counts()}. Nothing fits this model: {_examples(self.missing, "it needs")}, '
            f'{_examples(self.unexpected or list(self.mismatched), "the file has")}'
        )
        below, above = _common_prefix(self.missing, self.unexpected), _common_prefix(self.unexpected, self.missing)
        if below:
            text += f". The file has them below {below!r}: init_cfg=dict(type='Pretrained', prefix={below!r}, ...)"
        elif above:
            text += (
                f'. The model has them below {above!r}: load the file there, by '
                f"model.{above}init_cfg=dict(type='Pretrained', checkpoint=...)"
            )
        return text

    def _table(self) -> list[str]:
        columns = (('missing', self.missing), ('unexpected', self.unexpected), ('other shape', list(self.mismatched)))
        grouped = _grouped([key for _, keys in columns for key in keys])
        rows = [('not loaded, by module', *(title for title, _ in columns), 'for example')]
        for group, keys in list(grouped.items())[:MAX_ROWS]:
            rows.append((group, *(str(len(keys & set(column))) for _, column in columns), self._example(keys, group)))
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = [
            '  '.join(['', row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:4], widths[1:])), row[4]])
            for row in rows
        ]
        return lines + [f'  ... and {len(grouped) - MAX_ROWS} more modules'] * (len(grouped) > MAX_ROWS)

    def _example(self, keys: set[str], group: str) -> str:
        key = min(keys, key=lambda k: (k not in self.mismatched, k))
        name = key.removeprefix(f'{group}.')
        if key not in self.mismatched:
            return name
        of_file, of_model = self.mismatched[key]
        return f'{name} {of_file} -> {of_model}'


def _grouped(keys: Iterable[str]) -> dict[str, set[str]]:
    """Names by module, two levels deep, or one where two would be too many."""
    keys = list(dict.fromkeys(keys))
    for depth in (2, 1):
        groups: dict[str, set[str]] = {}
        for key in keys:
            groups.setdefault('.'.join(key.split('.')[:-1][:depth]) or '(the model itself)', set()).add(key)
        if len(groups) <= MAX_ROWS:
            break
    return groups


def _examples(keys: Sequence[str], what: str) -> str:
    return f'{what} {", ".join(keys[:3])}' + (', ...' if len(keys) > 3 else '') if keys else f'{what} nothing'


def _common_prefix(short: Sequence[str], long: Iterable[str]) -> str:
    """The prefix below which ``long`` has nine tenths of the names in ``short``, if there is one."""
    names = set(long)
    prefixes = Counter(key[: -len(short[0])] for key in names if short and key.endswith('.' + short[0]))
    for prefix in prefixes:
        if sum(prefix + key in names for key in short) >= 0.9 * len(short):
            return prefix
    return ''


# ---------------------------------------------------------------- class counts


def class_count_changes(
    model: nn.Module, mismatched: dict[str, tuple[Any, Any]], num_classes_in_file: int | None = None
) -> list[str]:
    """A sentence for each head of ``model`` whose weights of another shape are due to another class count.

    Args:
        mismatched: shapes in the file and in the model, by name.
        num_classes_in_file: as many class names as the file holds, if it does.
    """
    heads: dict[str, list[str]] = {}
    for key in mismatched:
        if head := _head_of(model, key):
            heads.setdefault(head, []).append(key)
    sentences = []
    for head, keys in heads.items():
        num_classes = model.get_submodule(head).num_classes
        counts = set.intersection(*(_class_counts(*mismatched[key], num_classes) for key in keys))
        if num_classes_in_file in counts:
            counts = {num_classes_in_file}
        layers = ', '.join(sorted({key.removeprefix(f'{head}.').partition('.')[0] for key in keys}))
        if counts:
            in_file = f'{counts.pop()} classes' if len(counts) == 1 else 'another number of classes'
            sentences.append(
                f'{head}: {in_file} in the file, {num_classes} in the model: starts from random weights ({layers})'
            )
    return sentences


def _head_of(model: nn.Module, key: str) -> str:
    """The innermost module around the weight ``key`` that has ``num_classes``; empty if none does."""
    path = key.split('.')[:-1]
    for length in range(len(path), 0, -1):
        name = '.'.join(path[:length])
        try:
            module = model.get_submodule(name)
        except AttributeError:
            continue
        if isinstance(getattr(module, 'num_classes', None), int):
            return name
    return ''


def _class_counts(of_file: Any, of_model: Any, num_classes: int) -> set[int]:
    """How many classes the file's layer may have, where the model's has ``num_classes``.

    The first dimension holds as many outputs for each class, with a background class or without.
    """
    if not (isinstance(of_file, tuple) and of_file and of_model and of_file[1:] == of_model[1:]):
        return set()
    counts = set()
    for background in (0, 1):
        each, rest = divmod(of_model[0], num_classes + background)
        if each and not rest and of_file[0] % each == 0:
            counts.add(of_file[0] // each - background)
    return {count for count in counts if count > 0 and count != num_classes}
