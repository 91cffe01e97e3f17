"""What a check of the data sets found, as tables, csv, json and a contact sheet."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from mmdet_clone.apis.check_dataset import CheckResult, Counts
from mmdet_clone.datasets.inspection_findings import KINDS, SEVERITIES, Finding
from mmdet_clone.evaluation.csv_table import write_csv
from mmdet_clone.evaluation.report import table

_COLUMNS = ('severity', 'check', 'part', 'file', 'image_id', 'annotation_id', 'what', 'fix')
_COLORS = dict(error=(150, 150, 255), warning=(130, 215, 255), note=(215, 215, 215))  # BGR
_MOST_CLASSES = 100
_SHOWN = 3  # examples of each kind on the terminal
_FIGURES = {
    'images': 'images',
    'samples': 'samples of an epoch',
    'images_looked_at': 'images looked at',
    'boxes': 'boxes',
    'boxes_of_other_classes': 'boxes of other classes',
    'crowd_or_ignored': 'crowd, ignored, difficult',
}


def summary_text(result: CheckResult) -> str:
    """Figures, classes, heads and findings as tables for a terminal."""
    blocks = [_figures(result.counts), *_classes(result.counts)]
    if result.heads:
        rows = [(f'model.{path}' if path else 'model', str(number)) for path, number in result.heads.items()]
        blocks.append(table(['head', 'num_classes'], rows))
    blocks.append(_findings(result.findings))
    counts = ((_count(result, severity), severity) for severity in SEVERITIES)
    totals = ', '.join(f'{count} {severity}{"s" * (count != 1)}' for count, severity in counts)
    return '\n'.join([*blocks, f'In all: {totals}'])


def _count(result: CheckResult, severity: str) -> int:
    return sum(finding.severity == severity for finding in result.findings)


def _figures(counts: dict[str, Counts]) -> str:
    rows = [
        [title, *(_shown(getattr(of_part, name)) for of_part in counts.values())] for name, title in _FIGURES.items()
    ]
    rows.append(['classes', *(str(len(of_part.classes)) for of_part in counts.values())])
    for kind in KINDS:
        found = [of_part.found.get(kind, 0) for of_part in counts.values()]
        if any(found):
            rows.append([KINDS[kind].title, *map(str, found)])
    return table(['', *counts], rows)


def _shown(value: int | None) -> str:
    return 'cannot be built' if value is None else str(value)


def _classes(counts: dict[str, Counts]) -> Iterator[str]:
    names = list(dict.fromkeys(name for of_part in counts.values() for name in of_part.classes))
    rows = [[name, *(str(of_part.classes.get(name, '-')) for of_part in counts.values())] for name in names]
    if rows:
        shown = rows[:_MOST_CLASSES]
        yield table(['boxes of class', *counts], shown, pairs=max(min(3, len(shown) // 10), 1))
    if len(rows) > _MOST_CLASSES:
        yield f'... and {len(rows) - _MOST_CLASSES} more classes: see the summary (--out-dir)'


def _findings(findings: Sequence[Finding]) -> str:
    if not findings:
        return 'Nothing odd was found.'
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.severity, finding.kind, finding.part), []).append(finding)
    return '\n'.join(_group(*key, found) for key, found in groups.items())


def _group(severity: str, kind: str, part: str, found: list[Finding]) -> str:
    examples = ''.join(f'\n  {_example(finding)}' for finding in found[:_SHOWN])
    more = f'\n  ... and {len(found) - _SHOWN} more' if len(found) > _SHOWN else ''
    return f'\n{severity.upper()} {KINDS[kind].title}: {len(found)} in {part}{examples}{more}\n  Fix: {KINDS[kind].fix}'


def _example(finding: Finding) -> str:
    """The place and sentence of a finding."""
    where = [f'annotation {finding.annotation_id}'] * (finding.annotation_id is not None)
    where += [f'image {finding.file or finding.image_id}'] * bool(finding.file or finding.image_id is not None)
    return f'{" of ".join(where)}: {finding.what}' if where else finding.what


def write_report(result: CheckResult, folder: str | os.PathLike, most_pictures: int = 40) -> list[Path]:
    """Write ``findings.csv`` (a row each), ``summary.json`` and, where a picture tells more, ``suspicious.jpg``."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / 'findings.csv', folder / 'summary.json']
    write_csv(paths[0], _COLUMNS, (_row(finding) for finding in result.findings))
    paths[1].write_text(json.dumps(_summary(result), indent=2, default=str), encoding='utf-8')
    chosen = choose_pictures(result.findings, most_pictures)
    if chosen:
        from mmdet_clone.visualization.contact_sheet import contact_sheet
        from mmdet_clone.visualization.draw import write_image

        paths.append(folder / 'suspicious.jpg')
        write_image(contact_sheet([_cell(finding) for finding in chosen]), paths[-1])
    return paths


def _row(finding: Finding) -> list[str]:
    ids = ['' if value is None else str(value) for value in (finding.image_id, finding.annotation_id)]
    return [finding.severity, finding.kind, finding.part, finding.file, *ids, finding.what, finding.fix]


def _summary(result: CheckResult) -> dict:
    return dict(
        totals={severity: _count(result, severity) for severity in SEVERITIES},
        parts={name: dataclasses.asdict(of_part) for name, of_part in result.counts.items()},
        num_classes={f'model.{path}': number for path, number in result.heads.items()},
    )


def choose_pictures(findings: Sequence[Finding], most: int) -> list[Finding]:
    """Up to ``most`` findings about a single image: the gravest kinds first, of each kind about as many."""
    by_kind: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        if finding.path and finding.kind != 'empty_image':
            by_kind.setdefault((finding.severity, finding.kind), []).append(finding)
    turns = chain.from_iterable(zip_longest(*by_kind.values()))
    chosen = [finding for finding in turns if finding is not None][:most]
    return sorted(chosen, key=lambda finding: SEVERITIES.index(finding.severity))


def _cell(finding: Finding) -> Any:
    import cv2

    from mmdet_clone.visualization.contact_sheet import Cell

    img = cv2.imread(finding.path) if os.path.isfile(finding.path) and os.path.getsize(finding.path) else None
    of_annotation = '' if finding.annotation_id is None else f', annotation {finding.annotation_id}'
    text = f'{Path(finding.file).name}{of_annotation}'
    return Cell(f'{finding.severity}: {KINDS[finding.kind].title}', text, img, finding.box, _COLORS[finding.severity])
