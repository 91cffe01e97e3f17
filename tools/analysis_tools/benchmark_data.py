#!/usr/bin/env python
"""How fast annotations of COCO's size are loaded, how much memory they take, and how fast samples are made.

A json of train2017's size is generated once. Then, each in a process of its own: `CocoDataset` without a cache file
(cold), with one (cached), and with caching switched off, and `pycocotools.coco.COCO` with a dict an image, as other
toolboxes keep them, are loaded, give a first batch, and are read from start to end by each of some forked workers.

Memory is what /proc/self/smaps_rollup says, beyond what the libraries take: private (written by this process and
shared with no other) and proportional (pages that several processes share, those of a mapped file too, are divided
among them), the sum of which over all processes is what the machine spends.

Then the standard training pipeline of COCO is timed step by step, in one thread, in seconds of its CPU time.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import _generated_coco as generated
from _pycocotools_peer import PeerDataset

KINDS = dict(
    cold='CocoDataset, first start',
    cached='CocoDataset, later starts',
    off='CocoDataset, cache off',
    pycocotools='pycocotools and a dict an image',
)
_MB = 1 << 20
_STEPS = (
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', img_scale=(1333, 800), keep_ratio=True),
    dict(type='RandomFlip', flip_ratio=0.5),
    dict(type='Normalize', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True),
    dict(type='Pad', size_divisor=32),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels']),
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, help='for the generated files (600 MB each for train2017) and the results')
    parser.add_argument('--images', type=int, default=118_000, help='images of the json (default %(default)s)')
    parser.add_argument('--workers', type=int, default=2, help='worker processes (default %(default)s)')
    parser.add_argument('--samples', type=int, default=100, help='samples to time the pipeline on; 0 leaves it out')
    parser.add_argument('--image-folder', type=Path, help='time the pipeline on these images, not on generated ones')
    parser.add_argument('--with-mask', action='store_true', help='load, resize, flip and pad masks too')
    parser.add_argument('--skip', nargs='+', default=[], choices=list(KINDS), help='leave these out')
    parser.add_argument('--measure', choices=list(KINDS), help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if not args.folder.is_dir():
        args.folder.mkdir(parents=True)
    if args.measure:
        print(json.dumps(measure(args.measure, str(annotation_file(args)), args.workers)))
        return
    report: dict[str, Any] = dict(machine=machine(), images=args.images, workers=args.workers)
    path = annotation_file(args)
    report['annotation_file_mb'] = os.path.getsize(path) / _MB
    report['annotations'] = {kind: in_own_process(kind, args) for kind in KINDS if kind not in args.skip}
    if report['annotations']:
        print_annotations(report)
    if args.samples:
        report['pipeline'] = time_pipeline(args)
        print_pipeline(report['pipeline'])
    target = args.folder / 'benchmark_data.json'
    target.write_text(json.dumps(report, indent=2))
    print(f'\nwrote {target}')


def machine() -> str:
    with open('/proc/cpuinfo') as file:
        names = [line.partition(':')[2].strip() for line in file if line.startswith('model name')]
    load = os.getloadavg()[0]
    return f'{os.cpu_count()} cores ({names[0] if names else "?"}), Python {platform.python_version()}, load {load:.1f}'


def annotation_file(args: argparse.Namespace) -> Path:
    path = args.folder / f'generated_{args.images}.json'
    if not path.exists():
        generated.write_annotations(path, args.images)
        print(f'wrote {path}', flush=True)
    return path


# ---------------------------------------------------------------------- annotations


def in_own_process(kind: str, args: argparse.Namespace) -> dict:
    print(f'measuring: {KINDS[kind]} ...', flush=True)
    cache = args.folder / 'cache'
    if kind == 'cold':
        shutil.rmtree(cache, ignore_errors=True)
    environment = {**os.environ, 'MMDET_CLONE_CACHE': 'off' if kind == 'off' else str(cache.absolute())}
    command = [sys.executable, __file__, str(args.folder), '--images', str(args.images)]
    command += ['--workers', str(args.workers), '--measure', kind]
    output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.splitlines()[-1])


def measure(kind: str, path: str, workers: int) -> dict:
    """Load a data set, take a batch, read all annotations in each worker."""
    load, first_batch = (_load_peer, _first_batch_of_peer) if kind == 'pycocotools' else (_load_ours, _first_batch)
    load('')  # the imports
    before = memory('self')
    start, cpu_start = time.perf_counter(), time.process_time()
    dataset = load(path)
    found = dict(load_s=time.perf_counter() - start, load_cpu_s=time.process_time() - cpu_start)
    first_batch(dataset, workers)
    found['first_batch_s'] = time.perf_counter() - start
    after = memory('self')
    found.update({f'parent_{name}_mb': after[name] - before[name] for name in after})
    passes = read_in_workers(dataset, workers)
    whole = passes.pop('parent')['proportional'] + sum(last['proportional'] for _, last in passes.values())
    found['total_mb'] = whole - before['proportional']
    starts, ends = ([pair[i]['private'] for pair in passes.values()] for i in (0, 1))
    found['worker_start_mb'] = sum(starts) / workers
    found['worker_end_mb'] = sum(ends) / workers
    found['worker_growth_mb'] = (sum(ends) - sum(starts)) / workers
    mapped = getattr(getattr(dataset.coco, 'table', None), 'path', None)
    found['held_mb'] = found['parent_private_mb'] + (os.path.getsize(mapped) / _MB if mapped else 0)
    found['worker_growth_percent'] = 100 * ratio(found['worker_growth_mb'], found['held_mb'])
    return found


def memory(process: int | str) -> dict[str, float]:
    """MB of a process: ``private`` and ``proportional``."""
    with open(f'/proc/{process}/smaps_rollup') as file:
        lines = [line.partition(':') for line in file if line.endswith('kB\n')]
    sizes = {name: int(rest.split()[0]) * 1024 / _MB for name, _, rest in lines}
    return dict(private=sizes['Private_Dirty'], proportional=sizes['Pss'])


def read_in_workers(dataset: Any, workers: int) -> dict:
    """Memory of the parent, and of each worker at the start and end of reading all annotations."""
    context = multiprocessing.get_context('fork')
    answers, measured = context.Queue(), context.Barrier(workers + 1)
    processes = [context.Process(target=_read_all, args=(dataset, answers, measured)) for _ in range(workers)]
    for process in processes:
        process.start()
    for _ in range(2):  # all have begun; all have ended
        measured.wait()
    parent = memory('self')
    found = dict(answers.get() for _ in processes)
    measured.wait()
    for process in processes:
        process.join()
    return {**found, 'parent': parent}


def _read_all(dataset: Any, answers: Any, measured: Any) -> None:
    len(dataset.get_ann_info(0)['masks'])  # what is made on first use is no growth
    measured.wait()
    start = memory('self')
    for i in range(len(dataset)):
        dataset.get_ann_info(i)
    measured.wait()
    answers.put((os.getpid(), (start, memory('self'))))
    measured.wait()  # none may go before all have measured what they share


def _load_ours(path: str) -> Any:
    from mmdet_clone.datasets import CocoDataset

    return CocoDataset(path, [], classes=generated.CLASSES) if path else None


def _first_batch(dataset: Any, workers: int) -> None:
    from mmdet_clone.datasets import build_dataloader

    next(iter(build_dataloader(dataset, 2, workers, dist=False, seed=0)))


def _load_peer(path: str) -> Any:
    import torch.utils.data  # noqa: F401
    from pycocotools.coco import COCO  # noqa: F401

    return PeerDataset(path) if path else None


def _first_batch_of_peer(dataset: Any, workers: int) -> None:
    from torch.utils.data import DataLoader

    next(iter(DataLoader(dataset, batch_size=2, shuffle=True, num_workers=workers, collate_fn=list)))


# ---------------------------------------------------------------------- the pipeline


def time_pipeline(args: argparse.Namespace) -> dict:
    """Milliseconds of CPU time of each step, over ``args.samples`` samples."""
    import cv2
    import numpy as np
    import torch

    from mmdet_clone.datasets.loader import keep_freed_memory
    from mmdet_clone.registry import PIPELINES

    keep_freed_memory()  # as the loader's workers do
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    samples = list(_samples(args))
    steps = [PIPELINES.build(_with_masks(step) if args.with_mask else step) for step in _STEPS]
    spent = dict.fromkeys(_names(steps), 0.0)
    np.random.seed(0)
    _run(samples[0], steps, dict(spent))  # the first run pays for what is made once
    for sample in samples:
        _run(sample, steps, spent)
    total = sum(spent.values())
    return dict(
        worker_images_per_second=ratio(1, seconds_in_worker(samples, steps)),
        samples=len(samples),
        with_mask=args.with_mask,
        images_per_second=len(samples) / total,
        milliseconds={name: 1000 * seconds / len(samples) for name, seconds in spent.items()},
        shares={name: seconds / total for name, seconds in spent.items()},
    )


def seconds_in_worker(samples: list, steps: list) -> float:
    """CPU time of an image in a worker of the loader, which makes batches of two and hands them over too."""
    from mmdet_clone.datasets import build_dataloader

    batches = iter(build_dataloader(Samples(samples, steps), 2, 1, dist=False, shuffle=False, persistent_workers=True))
    for _ in batches:
        pass
    (worker,) = batches._workers
    with open(f'/proc/{worker.pid}/stat') as file:
        fields = file.read().rpartition(')')[2].split()
    user, system = int(fields[11]), int(fields[12])  # utime and stime of proc(5)
    return (user + system) / os.sysconf('SC_CLK_TCK') / len(samples)


class Samples:
    """What the steps make of the samples, as a data set."""

    CLASSES = generated.CLASSES

    def __init__(self, samples: list[Callable[[], dict]], steps: list) -> None:
        self.samples = samples
        self.steps = steps

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict:
        results = self.samples[index]()
        for step in self.steps:
            results = step(results)
        return results


def _with_masks(step: dict) -> dict:
    if step['type'] == 'LoadAnnotations':
        return {**step, 'with_mask': True}
    return {**step, 'keys': [*step['keys'], 'gt_masks']} if step['type'] == 'Collect' else step


def _names(steps: list) -> list[str]:
    return ['annotations of the image', *(type(step).__name__ for step in steps)]


def _run(take: Callable[[], dict], steps: list, spent: dict[str, float]) -> None:
    start = time.thread_time()
    results = take()
    for name, step in zip(spent, [None, *steps], strict=True):
        results = step(results) if step else results
        now = time.thread_time()
        spent[name] += now - start
        start = now


def _samples(args: argparse.Namespace) -> Iterator[Callable[[], dict]]:
    """For each sample a function that takes its annotations from the data set."""
    import cv2

    from mmdet_clone.datasets import CocoDataset

    folder = args.image_folder or args.folder / 'images'
    if args.image_folder:
        names = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in ('.jpg', '.jpeg', '.png'))
    else:
        names = generated.write_images(folder, min(args.samples, 64))
    if not names:
        raise SystemExit(f'{folder} holds no .jpg, .jpeg or .png')
    small = args.folder / 'generated_1000.json'
    if not small.exists():
        generated.write_annotations(small, 1000)
    dataset = CocoDataset(str(small), [], classes=generated.CLASSES)
    for i in range(args.samples):
        name = names[i % len(names)]
        height, width = cv2.imread(str(folder / name)).shape[:2]
        yield partial(_sample, dataset, i, str(folder), name, (width, height))


def _sample(dataset: Any, index: int, folder: str, name: str, size: tuple[int, int]) -> dict:
    info = {**dataset.data_infos[index % len(dataset)], 'filename': name, 'width': size[0], 'height': size[1]}
    results = dict(img_info=info, ann_info=dataset.get_ann_info(index % len(dataset)))
    dataset.pre_pipeline(results)
    results['img_prefix'] = folder
    return results


# ---------------------------------------------------------------------- what is printed


def print_annotations(report: dict) -> None:
    from mmdet_clone.evaluation.report import table

    rows = dict(
        load_s='load, s',
        load_cpu_s='load, s of CPU time',
        first_batch_s='first batch, s',
        held_mb='the annotations, MB',
        parent_private_mb='parent: private, MB',
        parent_proportional_mb='parent: proportional, MB',
        worker_start_mb='a worker: private at the start, MB',
        worker_end_mb='a worker: private after reading all, MB',
        worker_growth_mb='growth of a worker, MB',
        worker_growth_percent='growth of a worker, % of the annotations',
        total_mb='all processes together after that, MB',
    )
    found = report['annotations']
    print(f'\n{report["machine"]}\n{report["images"]} images, {report["annotation_file_mb"]:.0f} MB of json')
    print(f'{report["workers"]} workers, each reads all annotations')
    values = [[title, *(f'{found[kind][key]:.1f}' for kind in found)] for key, title in rows.items()]
    print(table(['', *(KINDS[kind] for kind in found)], values))
    peer = found.get('pycocotools')
    if peer:
        ratios = {kind: ratios_to(peer, found[kind]) for kind in found if kind != 'pycocotools'}
        report['ratios'] = ratios
        names = list(next(iter(ratios.values())))
        values = [[name, *(ratio[name] for ratio in ratios.values())] for name in names]
        print(table(['beside pycocotools', *map(KINDS.get, ratios)], values))


def ratio(value: float, base: float) -> float:
    """NaN for what is too small to be measured: memory is given out by pages, CPU time by ticks."""
    return value / base if base > 0 else float('nan')


def ratios_to(peer: dict, ours: dict) -> dict[str, str]:
    return {
        'load': f'{ratio(peer["load_s"], ours["load_s"]):.1f} times faster',
        'load, CPU time': f'{ratio(peer["load_cpu_s"], ours["load_cpu_s"]):.1f} times less',
        'first batch': f'{ratio(peer["first_batch_s"], ours["first_batch_s"]):.1f} times faster',
        'the annotations': f'{ratio(ours["held_mb"], peer["held_mb"]):.3f} of it',
        'parent memory': f'{ratio(ours["parent_proportional_mb"], peer["parent_proportional_mb"]):.3f} of it',
        'memory of all': f'{ratio(ours["total_mb"], peer["total_mb"]):.3f} of it',
    }


def print_pipeline(found: dict) -> None:
    from mmdet_clone.evaluation.report import table

    kind = 'with masks' if found['with_mask'] else 'boxes only'
    print(f'\nthe pipeline, {kind}, one core: {found["images_per_second"]:.1f} images a second')
    rows = [
        [name, f'{value:.2f}', f'{100 * found["shares"][name]:.1f} %'] for name, value in found['milliseconds'].items()
    ]
    print(table(['step', 'ms', 'share'], rows))
    print(f'a worker, which batches them and hands them over: {found["worker_images_per_second"]:.1f} images a second')


if __name__ == '__main__':
    main()
