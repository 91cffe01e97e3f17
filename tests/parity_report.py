"""Our models against the reference implementation, config by config.

    python tests/parity_report.py                        weights and figures of every config whose types we have
    python tests/parity_report.py 'retinanet/*' --jobs 1   of some
    python tests/parity_report.py --new --write          measure what is not listed yet, and add what agrees
    python tests/parity_report.py --write                measure all, and write the list anew

``tests/data/parity_configs.txt`` lists what agrees: a config, then ``names`` (the names and shapes of its weights),
``order`` (in which optimizers number them, which a resume from the reference's checkpoints depends on) and ``figures``
(what it computes). A row whose reference is itself random or mere rounding says so after a ``#``.
"""

from __future__ import annotations

import argparse
import fnmatch
import importlib.util
import json
import multiprocessing
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache, lru_cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import torch
from rich.console import Console
from rich.progress import track

LIST = Path(__file__).resolve().parent / 'data' / 'parity_configs.txt'
SHARED = Path(__file__).resolve().parents[2] / 'shared'
HEADER = '# written by tests/parity_report.py: config, in what it agrees with the reference, what is excused and why'
KINDS = ('names', 'order', 'figures')
ROUNDING = 1e-9  # of the norm of all gradients: below it, a gradient is rounding


# ---------------------------------------------------------------- the list


class Row(NamedTuple):
    """What agrees, and the reason for what is excused, if anything is."""

    kinds: tuple[str, ...]
    reason: str = ''


def read_list(path: Path = LIST) -> dict[str, Row]:
    rows = {}
    for line in path.read_text().splitlines():
        fields, _, reason = line.partition('#')
        if fields.split():
            config, *kinds = fields.split()
            rows[config] = Row(tuple(kinds), reason.strip())
    return rows


def write_list(rows: dict[str, Row], path: Path = LIST) -> None:
    lines = [' '.join((c, *row.kinds, *(['#', row.reason] * bool(row.reason)))) for c, row in sorted(rows.items())]
    unfinished = path.with_suffix('.tmp')
    unfinished.write_text('\n'.join((HEADER, *lines)) + '\n')
    unfinished.replace(path)


def listed(kind: str) -> list[str]:
    """The configs that agree in ``names`` or ``figures``, in a fixed order."""
    return sorted(config for config, row in read_list().items() if kind in row.kinds)


def third(configs: Sequence[str], which: str) -> list[str]:
    """Every third config from the ``which``-th on (``0``, ``1`` or ``2``), or ``all``."""
    if which not in ('0', '1', '2', 'all'):
        raise ValueError(f'PARITY_THIRD is 0, 1, 2 or all, not {which!r}')
    return list(configs if which == 'all' else configs[int(which) :: 3])


# ---------------------------------------------------------------- the comparison


@cache
def reference(folder: Path = SHARED / 'parity') -> ModuleType:
    """The comparison that comes with the reference figures, as a module with its ``configs`` and ``state_dicts``."""
    spec = importlib.util.spec_from_file_location('parity_check', folder / 'check.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.configs = module.load_json_gz('configs.json.gz')
    module.state_dicts = module.load_json_gz('state_dicts.json.gz')
    return module


def figures_of(config: str) -> dict | None:
    """What the reference computes, ``None`` where it was not recorded."""
    path = Path(reference().HERE, 'figures', f'{config}.json')
    return json.loads(path.read_text()) if path.exists() else None


@lru_cache(maxsize=1)
def our_weights(config: str) -> dict[str, list[int]]:
    """The shapes of a model's weights by name, built from the reference's config."""
    check = reference()
    with torch.device('meta'):  # shapes alone: nothing is allocated or computed
        model, _, _ = check.build(check.configs[config])
    return {name: list(value.shape) for name, value in model.state_dict().items()}


def differing_names(config: str) -> list[str]:
    ours, theirs = our_weights(config), dict(reference().state_dicts[config])
    shapes = [f'{name}: {ours[name]} for {shape}' for name, shape in theirs.items() if ours.get(name, shape) != shape]
    missing = [f'missing {name}' for name in theirs if name not in ours]
    return [*missing, *(f'unexpected {name}' for name in ours if name not in theirs), *shapes]


def differing_order(config: str) -> list[str]:
    theirs = [name for name, _ in reference().state_dicts[config]]
    return [f'{a} in the place of {b}' for a, b in zip(our_weights(config), theirs) if a != b][:1]


def differing_figures(config: str) -> list[str]:
    check, figures = reference(), figures_of(config)
    ours = check.measure(config, check.configs[config], figures)
    excused = {f'grads.{name}' for name in rounding(ours, among=rounding(figures))}
    return [f'{what}: {gap}' for what, gap in check.differences(figures, ours) if what not in excused]


def rounding(figures: dict, among: Sequence[str] | None = None) -> list[str]:
    """Parameters whose gradient is zero but for rounding, as that of a bias before a softmax over positions."""
    grads = figures.get('grads') or {'params': {}}
    names = grads['params'] if among is None else [name for name in among if name in grads['params']]
    return [name for name in names if float(grads['params'][name]) < ROUNDING * float(grads['norm'])]


def reason(config: str) -> str:
    """Why the figures of a config are compared less closely than others, if they are."""
    figures = figures_of(config) or {}
    reasons = ['the reference draws random numbers: losses within 20 %, gradients finite'] * bool(figures.get('random'))
    reasons += [f'the gradient of {name} is zero but for rounding in the reference' for name in rounding(figures)]
    return '; '.join(reasons)


def status(differing: Callable[[str], list[str]], config: str) -> tuple[str, list[str]]:
    """``equal``, ``differs`` with the differences, or ``absent`` with the type that is not registered."""
    try:
        differences = differing(config)
    except Exception as error:
        message = f'{type(error).__name__}: {error}'.splitlines()[0]
        return ('absent' if 'regist' in message.lower() else 'differs'), [message]
    return ('differs' if differences else 'equal'), differences


def compare(config: str, with_figures: bool) -> dict[str, tuple[str, list[str]]]:
    """The status by kind; figures are only measured where names agree and figures were recorded."""
    found = {'names': status(differing_names, config)}
    if found['names'][0] == 'equal':
        found['order'] = status(differing_order, config)
    if with_figures and figures_of(config) is not None:
        found['figures'] = status(differing_figures, config) if found['names'][0] == 'equal' else found['names']
    return found


# ---------------------------------------------------------------- the report


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('patterns', nargs='*', default=['*'], help='configs, such as retinanet/*')
    parser.add_argument('--names', action='store_true', help='compare the names and shapes of weights alone')
    parser.add_argument('--new', action='store_true', help='pass over what is listed')
    parser.add_argument('--write', action='store_true', help='write the list: add what agrees, drop what does not')
    parser.add_argument('--jobs', type=int, default=os.cpu_count() or 1, help='processes side by side')
    return parser.parse_args(argv)


def chosen(args: argparse.Namespace, rows: dict[str, Row]) -> list[str]:
    configs = [c for c in sorted(reference().state_dicts) if any(fnmatch.fnmatch(c, p) for p in args.patterns)]
    if not args.new:
        return configs
    kinds = KINDS[:2] if args.names else KINDS
    return [c for c in configs if any(is_unlisted(c, kind, rows) for kind in kinds)]


def is_unlisted(config: str, kind: str, rows: dict[str, Row]) -> bool:
    """Whether the reference has what the list does not say to agree."""
    recorded = kind != 'figures' or figures_of(config) is not None
    return recorded and kind not in rows.get(config, Row(())).kinds


def measure(configs: Sequence[str], with_figures: bool, jobs: int) -> dict[str, dict[str, tuple[str, list[str]]]]:
    """Compare configs side by side, printing each difference as it is found."""
    found = {}
    with ProcessPoolExecutor(jobs, multiprocessing.get_context('spawn'), torch.set_num_threads, (1,)) as pool:
        waiting = {pool.submit(compare, config, with_figures): config for config in configs}
        for done in track(as_completed(waiting), 'comparing', len(waiting), console=Console(stderr=True)):
            config = waiting[done]
            found[config] = done.result()
            for kind, (state, details) in found[config].items():
                if state == 'differs':
                    print(f'{config} differs in {kind}: {"; ".join(details[:5])}', flush=True)
    return found


def updated(rows: dict[str, Row], found: dict[str, dict[str, tuple[str, list[str]]]]) -> dict[str, Row]:
    """The rows after a measurement; what was not measured stays."""
    new = dict(rows)
    for config, kinds in found.items():
        kept = [kind for kind in rows.get(config, Row(())).kinds if kind not in kinds]
        agreeing = {*kept, *(kind for kind, (state, _) in kinds.items() if state == 'equal')}
        new.pop(config, None)
        if 'names' in agreeing:
            why = reason(config) if 'figures' in agreeing else ''
            new[config] = Row(tuple(kind for kind in KINDS if kind in agreeing), why)
    return new


def changes(old: dict[str, Row], new: dict[str, Row]) -> dict[str, list[str]]:
    """``gained`` and ``lost``, each a list of ``config (kind)``."""
    pairs = [{(config, kind) for config, row in rows.items() for kind in row.kinds} for rows in (old, new)]
    spelt = [sorted(f'{config} ({kind})' for config, kind in pairs[a] - pairs[b]) for a, b in ((1, 0), (0, 1))]
    return dict(zip(('gained', 'lost'), spelt))


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    rows = read_list()
    found = measure(chosen(args, rows), not args.names, args.jobs)
    for kind in KINDS[: 2 if args.names else 3]:
        count = Counter(kinds[kind][0] for kinds in found.values() if kind in kinds)
        print(f'{kind}: of {count.total()}, ' + ', '.join(f'{count[s]} {s}' for s in ('equal', 'differs', 'absent')))
    new = updated(rows, found)
    difference = changes(rows, new)
    for what, configs in difference.items():
        print(f'{what} against the list: {len(configs)}', *configs, sep='\n  ')
    if args.write:
        write_list(new)
        print(f'wrote {LIST}')
    return int(bool(difference['lost']))


if __name__ == '__main__':
    sys.exit(main())
