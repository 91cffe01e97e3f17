"""What ``tools/train.py`` and ``tools/test.py`` do once their arguments are read."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import logging
import os
import pickle
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger, print_log

from mmdet_clone.config import DictAction, check_trainable, config_text, dump_config, load_config, loader_args
from mmdet_clone.engine import (
    find_latest_checkpoint,
    get_dist_info,
    init_dist,
    init_random_seed,
    set_random_seed,
)
from mmdet_clone.engine.checkpoint import read_checkpoint
from mmdet_clone.engine.dist import barrier, broadcast_object
from mmdet_clone.engine.hooks.checks import check_num_classes
from mmdet_clone.engine.runner import ensure_writable
from mmdet_clone.version import __version__

_loggers = itertools.count()


def parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """``['a.b=1', 'c=[2,3]']`` as ``{'a.b': 1, 'c': [2, 3]}``."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='*', action=DictAction, default={})
    return parser.parse_args(['--cfg-options', *pairs]).cfg_options


# ---------------------------------------------------------------- training


def run_training(args: argparse.Namespace) -> Any:
    """Train as the command line of ``tools/train.py`` asks; returns the runner."""
    quiet_other_processes()
    with records_said() as early:
        cfg = load_config(args.config, parse_options(args.cfg_options))
    check_trainable(cfg)
    apply_train_arguments(cfg, args)
    start_processes(args.launcher, cfg, args.gpu_id)
    from mmdet_clone.apis.checks import check_files

    check_files(cfg)
    ensure_writable(cfg.work_dir)
    timestamp = broadcast_object(time.strftime('%Y%m%d_%H%M%S'))
    logger = root_logger(Path(cfg.work_dir) / f'{timestamp}.log', cfg.get('log_level', 'INFO'))
    write_to_files(logger, early)
    with warnings_as_lines(logger.warning):
        return _train(cfg, args, logger, timestamp)


def _train(cfg: Config, args: argparse.Namespace, logger: MMLogger, timestamp: str) -> Any:
    from mmdet_clone.apis.train import build_train_datasets, train_detector
    from mmdet_clone.models import build_detector

    given = args.seed if args.seed is not None else cfg.get('seed')
    cfg.seed = init_random_seed(given if given is not None else seed_of_resumed(cfg))
    rank, world_size = get_dist_info()
    set_random_seed(cfg.seed + rank * args.diff_seed, deterministic=cfg.deterministic)
    environment = environment_text()
    logger.info(f'Environment:\n{environment}')
    logger.info(f'Processes: {world_size}, seed: {cfg.seed}, deterministic: {cfg.deterministic}')
    if rank == 0:
        dumped = dump_config(cfg, Path(cfg.work_dir) / Path(args.config).with_suffix('.py').name)
        logger.info(f'Config, with everything it inherits: {dumped}')

    datasets = build_train_datasets(cfg)
    model = build_detector(cfg.model)
    meta = dict(env_info=environment, config=config_text(cfg), seed=cfg.seed, exp_name=Path(args.config).name)
    runner = train_detector(
        model,
        datasets,
        cfg,
        distributed=args.launcher != 'none',
        validate=not args.no_validate,
        timestamp=timestamp,
        meta=meta,
    )
    leave_processes()
    return runner


def apply_train_arguments(cfg: Config, args: argparse.Namespace) -> None:
    """Let the command line win over the config, in place."""
    stem = Path(args.config).stem
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or str(Path('work_dirs') / stem)
    if args.resume_from:
        cfg.resume_from = args.resume_from
    cfg.auto_resume = args.auto_resume
    cfg.deterministic = args.deterministic or cfg.get('deterministic', False)
    cfg.trust_checkpoint = args.trust_checkpoint or cfg.get('trust_checkpoint', False)
    cfg.gpu_ids = [args.gpu_id]
    if args.auto_scale_lr:
        if (cfg.get('auto_scale_lr') or {}).get('base_batch_size') is None:
            raise ValueError(
                '--auto-scale-lr needs auto_scale_lr = dict(base_batch_size=16) in the config: the batch size that its '
                'learning rate was chosen for'
            )
        cfg.auto_scale_lr.enable = True


def seed_of_resumed(cfg: Config) -> int | None:
    """The seed of the run to be continued, so that its images come in the same order; ``None`` for a new run."""
    path = cfg.get('resume_from') or (find_latest_checkpoint(cfg.work_dir) if cfg.auto_resume else None)
    if not path:
        return None
    return (read_checkpoint(path, trust=cfg.trust_checkpoint).get('meta') or {}).get('seed')


# ---------------------------------------------------------------- testing


def run_testing(args: argparse.Namespace) -> dict | None:
    """Test as the command line of ``tools/test.py`` asks; returns the figures of ``--eval``, if any, on rank 0."""
    quiet_other_processes()
    cfg = load_config(args.config, parse_options(args.cfg_options))
    check_checkpoint_argument(args.checkpoint)
    out = {'--out': args.out and Path(args.out).parent, '--work-dir': args.work_dir, '--show-dir': args.show_dir}
    for option, folder in {**out, '--tmpdir': args.tmpdir}.items():
        if folder:
            ensure_writable(folder, option)  # now, not after a long run
    start_processes(args.launcher, cfg, args.gpu_id)
    with warnings_as_lines(_say_warning):
        return _test(cfg, args)


def _test(cfg: Config, args: argparse.Namespace) -> dict | None:
    from mmdet_clone.apis.checks import check_evaluation, check_formatting, check_images
    from mmdet_clone.apis.test import multi_gpu_test, single_gpu_test

    dataset, loader = build_test_loader(cfg, distributed=args.launcher != 'none')
    if args.eval:
        check_evaluation(dataset, evaluation_arguments(cfg, args), '--eval and --eval-options')
    if args.format_only:
        check_formatting(dataset, parse_options(args.eval_options))
    check_images(dataset, 'data.test')
    model = load_for_test(cfg, args, dataset)
    check_num_classes(model, dataset)
    if args.launcher == 'none':
        results = single_gpu_test(model, loader, args.show, args.show_dir, args.show_score_thr)
    else:
        results = multi_gpu_test(
            model, loader, args.tmpdir, args.gpu_collect, out_dir=args.show_dir, show_score_thr=args.show_score_thr
        )
    figures = use_results(dataset, results, cfg, args) if get_dist_info()[0] == 0 else None
    leave_processes()
    return figures


def use_results(dataset: Any, results: list, cfg: Config, args: argparse.Namespace) -> dict | None:
    """Write, format and evaluate the results, whatever was asked for."""
    if args.show_dir:
        print(f'pictures: {args.show_dir}')
    if args.out:
        write_pickle(results, args.out)
        print(f'results: {args.out}')
    if args.format_only:
        format_results(dataset, results, args)
    return evaluate(dataset, results, cfg, args) if args.eval else None


def build_test_loader(cfg: Config, distributed: bool) -> tuple[Any, Any]:
    """``data.test`` in test mode (lists make one joined data set) and its loader."""
    from mmdet_clone.apis.inference import test_batch_size
    from mmdet_clone.datasets import build_dataloader, build_dataset, replace_ImageToTensor

    if not (cfg.get('data') or {}).get('test'):
        raise KeyError(f'{cfg.filename} has no data.test: add the data set to test on')
    size = test_batch_size(cfg)
    parts = cfg.data.test if isinstance(cfg.data.test, list) else [cfg.data.test]
    for part in parts:
        part.test_mode = True
        part.pop('samples_per_gpu', None)
        if size > 1 and part.get('pipeline'):
            part.pipeline = replace_ImageToTensor(part.pipeline)
    dataset = build_dataset(cfg.data.test, dict(test_mode=True), path='data.test')
    loader_kwargs = {**loader_args(cfg.data, 'test'), 'samples_per_gpu': size, 'shuffle': False}
    return dataset, build_dataloader(dataset, dist=distributed, **loader_kwargs)


def load_for_test(cfg: Config, args: argparse.Namespace, dataset: Any) -> Any:
    """The detector with the checkpoint's weights, on the device to use."""
    from mmdet_clone.apis.class_names import palette_of
    from mmdet_clone.apis.inference import without_pretrained
    from mmdet_clone.engine import load_checkpoint
    from mmdet_clone.models import build_detector

    model_cfg = without_pretrained(cfg.model)
    model_cfg.pop('train_cfg', None)
    model = build_detector(model_cfg)
    meta = load_checkpoint(model, args.checkpoint, map_location='cpu', trust=args.trust_checkpoint).get('meta') or {}
    model.CLASSES = meta.get('CLASSES') or dataset.CLASSES
    model.PALETTE = palette_of(meta, cfg, len(model.CLASSES or ()))
    if dataset.CLASSES is not None and tuple(model.CLASSES) != tuple(dataset.CLASSES):
        print_log(
            f'the checkpoint knows {len(model.CLASSES)} classes ({", ".join(model.CLASSES[:5])} ...), data.test has '
            f'{len(dataset.CLASSES)} ({", ".join(dataset.CLASSES[:5])} ...): figures mean something only if they agree',
            level=logging.WARNING,
        )
    if args.fuse_conv_bn:
        from mmcv.cnn import fuse_conv_bn

        model = fuse_conv_bn(model)
    return model.to(torch.device('cuda', torch.cuda.current_device()) if torch.cuda.is_available() else 'cpu').eval()


def evaluation_arguments(cfg: Config, args: argparse.Namespace) -> dict:
    """What ``dataset.evaluate`` is called with: ``evaluation`` of the config, changed by the command line."""
    from mmdet_clone.apis.checks import evaluate_arguments

    of_config = evaluate_arguments(cfg.get('evaluation') or {})
    return {**of_config, 'metric': args.eval, **parse_options(args.eval_options)}


def evaluate(dataset: Any, results: list, cfg: Config, args: argparse.Namespace) -> dict:
    """Evaluate, print the figures and, where there is a work dir, write them to ``eval_<time>.json`` in it."""
    figures = dataset.evaluate(results, **evaluation_arguments(cfg, args))
    print(dict(figures))
    if args.work_dir:
        import mmengine

        path = Path(args.work_dir) / f'eval_{time.strftime("%Y%m%d_%H%M%S")}.json'
        mmengine.dump(dict(config=args.config, metric=dict(figures)), str(path), indent=2)
        print(f'figures: {path}')
    return figures


def format_results(dataset: Any, results: list, args: argparse.Namespace) -> None:
    """Write the results in the benchmark's format; next to the other outputs, if no place is given."""
    from mmdet_clone.apis.checks import check_formatting

    kwargs = parse_options(args.eval_options)
    name = check_formatting(dataset, kwargs)
    if name and name not in kwargs:
        folder = Path(args.work_dir or Path('work_dirs') / Path(args.config).stem)
        folder.mkdir(parents=True, exist_ok=True)
        kwargs[name] = str(folder / 'results')
    dataset.format_results(results, **kwargs)
    if name:
        print(f'formatted results: {kwargs[name]}' + ('.*.json' if name == 'jsonfile_prefix' else ''))


def check_checkpoint_argument(path: str) -> None:
    if '://' not in path and not Path(path).expanduser().is_file():
        raise FileNotFoundError(f'no such checkpoint: {path} (looked in {Path(path).absolute().parent})')


def write_pickle(value: Any, path: str | os.PathLike) -> None:
    """Write a pickle under another name, then rename it: ``path`` is whole or is not there."""
    path = Path(path)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        with open(temporary, 'wb') as file:
            pickle.dump(value, file)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


# ---------------------------------------------------------------- both


def start_processes(launcher: str, cfg: Config, gpu_id: int = 0) -> None:
    """Join the process group of ``launcher``, choose the device, and set what the config says of the machine."""
    if launcher != 'none':
        init_dist(launcher, **(cfg.get('dist_params') or {}))
    elif torch.cuda.is_available():
        count = torch.cuda.device_count()
        if gpu_id >= count:
            raise ValueError(f'--gpu-id {gpu_id}: this machine has {count} GPUs, numbered from 0')
        torch.cuda.set_device(gpu_id)
    torch.backends.cudnn.benchmark = bool(cfg.get('cudnn_benchmark', False))
    if cfg.get('opencv_num_threads') is not None:
        import cv2

        cv2.setNumThreads(int(cfg.opencv_num_threads))


def quiet_other_processes() -> None:
    """What is said before the process group is there, rank 0 alone shall say."""
    if os.environ.get('RANK', os.environ.get('SLURM_PROCID', '0')) != '0':
        MMLogger.get_current_instance().setLevel(logging.ERROR)


@contextlib.contextmanager
def records_said() -> Iterator[list[logging.LogRecord]]:
    """What is logged inside, which is before there is a log file: the translation of older configs, for one."""
    records: list[logging.LogRecord] = []
    logger, keep = MMLogger.get_current_instance(), logging.Handler()
    keep.emit = records.append
    logger.addHandler(keep)
    try:
        yield records
    finally:
        logger.removeHandler(keep)


def write_to_files(logger: logging.Logger, records: Sequence[logging.LogRecord]) -> None:
    """Write records that the console has shown already to the log files of ``logger``."""
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            for record in records:
                handler.handle(record)


@contextlib.contextmanager
def warnings_as_lines(say: Callable[[str], None]) -> Iterator[None]:
    """Hand warnings to ``say``: our own by their text, others with the place in the code that they come from."""

    def show(message: Warning, category: type, filename: str, lineno: int, *_: Any) -> None:
        ours = issubclass(category, UserWarning) and str(Path(__file__).parent.parent) in filename
        say(str(message) if ours else f'{category.__name__}: {message} ({filename}, line {lineno})')

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _say_warning(text: str) -> None:
    if get_dist_info()[0] == 0:
        print(f'warning: {text}', file=sys.stderr)


def leave_processes() -> None:
    """Wait for the other processes and close the group; a process that just ends may abort the others."""
    if torch.distributed.is_initialized():
        barrier()
        torch.distributed.destroy_process_group()


def root_logger(log_file: str | os.PathLike, log_level: str | int) -> MMLogger:
    """The logger of what comes before the runner, in the file that the runner goes on with; rank 0 alone writes it."""
    name = f'{log_file}_{next(_loggers)}'  # mmengine gives the same logger to the same name
    return MMLogger.get_instance(
        name, logger_name='mmdet_clone', log_file=str(log_file), log_level=log_level, file_mode='a'
    )


def environment_text() -> str:
    """Versions and devices, a line each."""
    import mmcv
    import mmengine
    import numpy
    import torchvision

    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    facts = {
        'mmdet_clone': __version__,
        'torch': torch.__version__,
        'torchvision': torchvision.__version__,
        'mmengine': mmengine.__version__,
        'mmcv': mmcv.__version__,
        'numpy': numpy.__version__,
        'Python': platform.python_version(),
        'system': platform.platform(),
        'CUDA': torch.version.cuda if devices else 'not available',
        'devices': ', '.join(devices) or f'CPU, {torch.get_num_threads()} threads',
    }
    return '\n'.join(f'  {name:12s} {value}' for name, value in facts.items())
