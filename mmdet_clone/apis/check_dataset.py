"""Checking the data sets of a config thoroughly: what ``tools/misc/check_dataset.py`` does.

The quick form, which every training runs, is :mod:`mmdet_clone.apis.checks`; both use ``datasets/inspection*``.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmdet_clone.apis.checks import (
    check_evaluation,
    check_masks_are_loaded,
    check_same_classes,
    check_save_best,
    class_names,
    evaluate_arguments,
)
from mmdet_clone.apis.dataset_parts import PARTS, Leaf, Part, load_part
from mmdet_clone.datasets.inspection_findings import (
    SEVERITIES,
    Finding,
    category_differences,
    class_counts,
    inspect_table,
    shared_paths,
)
from mmdet_clone.datasets.inspection_images import look_at_images, missing_files, same_content, spread
from mmdet_clone.datasets.pipelines.files import FileReader


@dataclass
class Counts:
    """The figures of a part. ``images`` are those listed, ``samples`` those of an epoch (``None``: cannot be built)."""

    images: int = 0
    samples: int | None = None
    boxes: int = 0
    boxes_of_other_classes: int = 0
    crowd_or_ignored: int = 0
    images_looked_at: int = 0
    classes: dict[str, int] = field(default_factory=dict)
    found: dict[str, int] = field(default_factory=dict)


@dataclass
class CheckResult:
    """What a check found: findings by severity, the figures of each part, ``num_classes`` of each head."""

    findings: list[Finding]
    counts: dict[str, Counts]
    heads: dict[str, int]

    @property
    def num_errors(self) -> int:
        return sum(finding.severity == 'error' for finding in self.findings)


def check_config(
    cfg: dict,
    parts: Sequence[str] = PARTS,
    images: bool = True,
    max_images: int | None = None,
    workers: int = 2,
    progress: bool = True,
) -> CheckResult:
    """Check ``data.train``, ``val`` and ``test`` of a config, and its model's heads against them.

    Args:
        cfg: a loaded config.
        parts: which of them; those that the config lacks are passed over.
        images: read and decode the image files; without, only whether they exist.
        max_images: of each part look at so many, evenly spread.
        workers: threads that read images.
        progress: show a bar.
    """
    data = cfg.get('data') or {}
    loaded = [load_part(name, data[name]) for name in parts if data.get(name)]
    if not loaded:
        raise KeyError(f'the config has none of {", ".join(f"data.{name}" for name in parts)}: nothing to check')
    findings, counts = [], {}
    done: dict[tuple, tuple[list[Finding], int]] = {}  # data.test often is data.val
    for part in loaded:
        findings += part.problems
        found, looked_at = [*part.problems], 0
        for leaf in part.leaves:
            if leaf.identity not in done:
                of_images, number = _of_images(leaf, images, max_images, workers, progress)
                done[leaf.identity] = [*_of_annotations(leaf), *of_images], number
                findings += done[leaf.identity][0]
            found += done[leaf.identity][0]
            looked_at += done[leaf.identity][1]
        counts[part.name] = _counts_of(part, found, looked_at)
    findings += _between(loaded, images)
    heads, of_model = _of_model(cfg, loaded)
    findings = sorted([*findings, *of_model], key=lambda finding: SEVERITIES.index(finding.severity))
    return CheckResult(findings, counts, heads)


def _counts_of(part: Part, found: list[Finding], looked_at: int) -> Counts:
    tables = [leaf.table for leaf in part.leaves if leaf.table is not None]
    classes: Counter = Counter()
    for table in tables:
        classes.update(dict(zip(table.class_names, class_counts(table).tolist())))
    return Counts(
        images=sum(len(table.image_ids) for table in tables),
        samples=part.kept,
        boxes=sum(len(table.boxes) for table in tables),
        boxes_of_other_classes=sum(int((table.labels < 0).sum()) for table in tables),
        crowd_or_ignored=sum(int(table.crowd.sum()) for table in tables),
        images_looked_at=looked_at,
        classes=dict(classes),
        found=dict(Counter(finding.kind for finding in found)),
    )


# ---------------------------------------------------------------------- one data set


def _of_annotations(leaf: Leaf) -> list[Finding]:
    if leaf.table is None:
        return []
    found = inspect_table(leaf.table, bool(leaf.option('LoadAnnotations', 'with_mask')))
    paths = dict(zip(leaf.table.filenames, leaf.image_paths))
    return [dataclasses.replace(item, part=leaf.key, path=paths.get(item.file, '')) for item in found]


def _of_images(leaf: Leaf, decode: bool, limit: int | None, workers: int, progress: bool) -> tuple[list[Finding], int]:
    """What the image files tell, and how many were read."""
    table = leaf.table
    if table is None:
        return [], 0
    paths = leaf.image_paths
    absent = set(missing_files(paths)) if leaf.on_disk else set()
    found = [_of_file(leaf, i, 'missing_image', f'there is no {paths[i]}') for i in sorted(absent)]
    chosen = [i for i in spread(len(paths), limit) if i not in absent] if decode else []
    for kinds, i in zip(_looked_at(leaf, chosen, workers, progress), chosen):  # the bar first, to see its end
        found += [_of_file(leaf, i, kind, what) for kind, what in kinds]
    return found, len(chosen)


def _looked_at(leaf: Leaf, chosen: list[int], workers: int, progress: bool) -> Iterator[list[tuple[str, str]]]:
    from rich.progress import track

    paths = leaf.image_paths
    sizes = leaf.table.sizes
    known = [bool(np.isfinite(size).all()) for size in sizes]
    infos = [dict(width=int(sizes[i][0]), height=int(sizes[i][1])) if known[i] else {} for i in chosen]
    read = FileReader(leaf.option('LoadImageFromFile', 'file_client_args'))
    color_type = leaf.option('LoadImageFromFile', 'color_type') or 'color'
    looks = look_at_images([paths[i] for i in chosen], infos, read, color_type, workers)
    with warnings.catch_warnings():  # what loading says of kinds of images is found for each of them
        warnings.simplefilter('ignore')
        yield from track(looks, f'Images of {leaf.key}', len(chosen), disable=not (progress and chosen))


def _of_file(leaf: Leaf, index: int, kind: str, what: str) -> Finding:
    table = leaf.table
    path = leaf.image_paths[index]
    return Finding(kind, what, table.filenames[index], table.image_ids[index], path=path, part=leaf.key)


# ---------------------------------------------------------------------- between data sets


def _between(parts: list[Part], images: bool) -> Iterator[Finding]:
    """Class lists, categories and shared images of ``data.train`` and of what it is evaluated on."""
    train = next((part for part in parts if part.name == 'train'), None)
    seen: set[tuple] = set()
    for part in parts:
        if train is None or part is train:
            continue
        yield from _class_lists(train, part)
        identity = tuple(leaf.identity for leaf in part.leaves)
        if identity not in seen:
            seen.add(identity)
            yield from _categories(train, part)
            yield from _shared(train, part, images)


def _class_lists(train: Part, part: Part) -> Iterator[Finding]:
    try:
        check_same_classes(_classes_of(train), _classes_of(part), part.key)
    except (ValueError, TypeError) as error:
        yield Finding('class_lists', str(error), part=part.key)


def _classes_of(part: Part) -> tuple[str, ...] | None:
    if part.dataset is not None:
        return class_names(part.dataset)
    return next((leaf.table.class_names for leaf in part.leaves if leaf.table is not None), None)


def _categories(train: Part, part: Part) -> Iterator[Finding]:
    first, second = ({k: v for leaf in p.leaves if leaf.table for k, v in leaf.table.categories.items()}
                     for p in (train, part))  # fmt: skip
    if first and second:
        for sentence in category_differences(first, second, (train.key, part.key)):
            yield Finding('added_category', sentence, part=part.key)


def _shared(train: Part, part: Part, read: bool) -> Iterator[Finding]:
    ours, theirs = ([path for leaf in p.leaves if leaf.on_disk for path in leaf.image_paths] for p in (train, part))
    where = f'{train.key} and {part.key}'
    common = shared_paths(ours, theirs)
    for path in common:
        yield Finding('shared_image', f'{where} both list it', path, path=path, part=part.key)
    if read:
        rest = set(theirs) - set(common)
        for first, second in same_content(ours, sorted(rest)):
            yield Finding('shared_image', f'{where}: {first} is the same file', second, path=second, part=part.key)


# ---------------------------------------------------------------------- the model


def _of_model(cfg: dict, parts: list[Part]) -> tuple[dict[str, int], list[Finding]]:
    """``num_classes`` of each head, and where it is not that of the data."""
    from mmdet_clone.apis.inference import without_pretrained
    from mmdet_clone.engine.hooks.checks import check_num_classes, class_heads
    from mmdet_clone.models import build_detector

    if not cfg.get('model'):
        return {}, []
    try:
        model = build_detector(without_pretrained(cfg['model']))
    except Exception as error:
        return {}, [Finding('config', f'the model cannot be built: {error}', part='model')]
    found = []
    for part in parts:
        known = _classes_of(part)
        if known is not None and not found:
            dataset = part.dataset if part.dataset is not None else _Classes(known)
            found += _told('num_classes', part.key, check_num_classes, model, dataset)
    found += _told('config', 'data.train', check_masks_are_loaded, cfg, model)
    val = next((part.dataset for part in parts if part.name == 'val' and part.dataset is not None), None)
    evaluation = cfg.get('evaluation') or {}
    if val is not None:
        found += _told('config', 'evaluation', check_evaluation, val, evaluate_arguments(evaluation))
        found += _told('config', 'evaluation', check_save_best, val, evaluation)
    return {path: head.num_classes for path, head in class_heads(model)}, found


@dataclass
class _Classes:
    """Stands for a data set that cannot be built."""

    CLASSES: tuple[str, ...]


def _told(kind: str, where: str, check: Callable, *arguments: Any) -> list[Finding]:
    """What a check of :mod:`mmdet_clone.apis.checks` raises, as a finding."""
    try:
        check(*arguments)
    except (ValueError, TypeError) as error:
        return [Finding(kind, str(error), part=where)]
    return []
