"""Curves and times from ``*.log.json`` files.

``python tools/analysis_tools/analyze_logs.py plot_curve LOG.json --keys loss_cls loss_bbox --out losses.pdf``
``python tools/analysis_tools/analyze_logs.py cal_train_time LOG.json``
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

Points = list[tuple[float, float]]


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Analyse the json logs of training.')
    tasks = parser.add_subparsers(dest='task', required=True)
    plot = tasks.add_parser('plot_curve', help='plot losses, learning rate or evaluation figures')
    plot.add_argument('json_logs', nargs='+', help='.log.json files')
    plot.add_argument('--keys', nargs='+', default=['bbox_mAP'], help='what to plot (default bbox_mAP)')
    plot.add_argument('--start-epoch', type=int, default=1, help='first epoch that is plotted')
    plot.add_argument(
        '--eval-interval', type=int, help='of no effect: the logs tell at which epoch each figure was taken'
    )
    plot.add_argument('--title', help='title of the figure')
    plot.add_argument('--legend', nargs='+', help='a name for each curve; <log>_<key> by default')
    plot.add_argument('--backend', help="matplotlib's backend")
    plot.add_argument('--style', help='a style sheet of matplotlib')
    plot.add_argument('--out', help='file to write the figure to; it is shown in a window by default')
    times = tasks.add_parser('cal_train_time', help='average time of an iteration, by epoch')
    times.add_argument('json_logs', nargs='+', help='.log.json files')
    times.add_argument(
        '--include-outliers', action='store_true', help='count the first entry of each epoch, which is slower'
    )
    args = parser.parse_args(argv)
    for path in args.json_logs:
        if not Path(path).is_file():
            parser.error(f'no such log: {path}')
        if not path.endswith('.json'):
            parser.error(f'{path} is not a json log: give the file that ends in .log.json, beside the .log')
    if args.task == 'plot_curve' and args.legend and len(args.legend) != len(args.json_logs) * len(args.keys):
        parser.error(f'--legend has {len(args.legend)} names for {len(args.json_logs)} logs x {len(args.keys)} keys')
    return args


def read_log(path: str) -> list[dict]:
    """The entries of training and validation, without the first line, which tells the environment."""
    entries = []
    for number, line in enumerate(Path(path).read_text().splitlines(), 1):
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise SystemExit(f'{path}, line {number}: not a json log ({error})') from error
        if isinstance(entry, dict) and 'epoch' in entry and 'mode' in entry:
            entries.append(entry)
    return entries


def curve(entries: list[dict], key: str, start_epoch: int = 1) -> Points:
    """(x, value) of ``key``: training figures by iteration, others by epoch (by iteration where there is one epoch)."""
    found = [e for e in entries if isinstance(e.get(key), int | float) and e['epoch'] >= start_epoch]
    in_training = [e for e in found if e['mode'] == 'train']
    if not in_training:
        by_epoch = len({e['epoch'] for e in found}) > 1
        return [(e['epoch'] if by_epoch else e['iter'], e[key]) for e in found]
    length = iterations_per_epoch(entries)
    return [((e['epoch'] - 1) * length + e['iter'], e[key]) for e in in_training]


def iterations_per_epoch(entries: list[dict]) -> int:
    """The largest iteration seen in an epoch; 0 where iterations count through, as ``IterBasedRunner`` counts."""
    last: dict[int, int] = defaultdict(int)
    first: dict[int, int] = {}
    for entry in entries:
        if entry['mode'] == 'train':
            last[entry['epoch']] = max(last[entry['epoch']], entry['iter'])
            first.setdefault(entry['epoch'], entry['iter'])
    epochs = sorted(last)
    counts_through = any(first[b] > last[a] for a, b in itertools.pairwise(epochs))
    return 0 if counts_through else max(last.values(), default=0)


def plot_curve(args: argparse.Namespace) -> None:
    import matplotlib

    if args.backend or args.out:
        matplotlib.use(args.backend or 'Agg')
    import matplotlib.pyplot as plt

    if args.style:
        plt.style.use(args.style)
    names = iter(args.legend or [f'{Path(log).name}_{key}' for log in args.json_logs for key in args.keys])
    by_epoch = set()
    for log in args.json_logs:
        entries = read_log(log)
        for key in args.keys:
            points = curve(entries, key, args.start_epoch)
            if not points:
                known = sorted(
                    {k for e in entries for k, v in e.items() if isinstance(v, int | float)} - {'epoch', 'iter'}
                )
                raise SystemExit(f'{log} holds no {key!r} from epoch {args.start_epoch} on; it has: {", ".join(known)}')
            trained = any(e['mode'] == 'train' and key in e for e in entries)
            by_epoch.add(not trained)
            plt.plot(*zip(*points), marker=None if trained else 'o', linewidth=1, label=next(names))
    plt.xlabel('epoch' if by_epoch == {True} else 'iteration')
    if len(args.keys) == 1:
        plt.ylabel(args.keys[0])
    plt.legend()
    if args.title:
        plt.title(args.title)
    if args.out:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        plt.savefig(args.out)
        print(f'figure: {args.out}')
    else:
        plt.show()


def cal_train_time(args: argparse.Namespace) -> None:
    for log in args.json_logs:
        print(f'{"-" * 5} {log} {"-" * 5}')
        times = epoch_times(read_log(log), args.include_outliers)
        if not times:
            raise SystemExit(f'{log} holds no times of training')
        slowest, fastest = max(times, key=times.get), min(times, key=times.get)
        mean = sum(times.values()) / len(times)
        std = (sum((t - mean) ** 2 for t in times.values()) / len(times)) ** 0.5
        print(f'slowest epoch {slowest}, average time is {times[slowest]:.4f} s/iter')
        print(f'fastest epoch {fastest}, average time is {times[fastest]:.4f} s/iter')
        print(f'time std over epochs is {std:.4f}')
        print(f'average iter time: {mean:.4f} s/iter\n')


def epoch_times(entries: list[dict], include_outliers: bool) -> dict[int, float]:
    """Mean seconds of an iteration by epoch; the first entry of an epoch is left out where there are others."""
    by_epoch: dict[int, list[float]] = defaultdict(list)
    for entry in entries:
        if entry['mode'] == 'train' and 'time' in entry:
            by_epoch[entry['epoch']].append(entry['time'])
    kept = {e: t if include_outliers or len(t) == 1 else t[1:] for e, t in by_epoch.items()}
    return {epoch: sum(times) / len(times) for epoch, times in kept.items()}


def main() -> None:
    args = parse_args()
    {'plot_curve': plot_curve, 'cal_train_time': cal_train_time}[args.task](args)


if __name__ == '__main__':
    main()
