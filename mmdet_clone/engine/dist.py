"""Process groups: started from what ``torchrun`` or SLURM put in the environment, with or without CUDA."""

from __future__ import annotations

import inspect
import os
import pickle
import re
import subprocess
import uuid
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as torch_dist
from torch import nn

__all__ = [
    'barrier',
    'broadcast_object',
    'gather_by_files',
    'gather_objects',
    'get_dist_info',
    'init_dist',
    'is_rank_zero',
    'wrap_ddp',
]


def init_dist(launcher: str, backend: str | None = None, port: int | None = None) -> None:
    """Start the default process group; does nothing for ``'none'`` or where one is already running.

    Args:
        launcher: ``'none'``, ``'pytorch'`` (``torchrun``) or ``'slurm'`` (``srun``).
        backend: of ``torch.distributed``; ``nccl`` with CUDA, else ``gloo``. Without CUDA, ``nccl`` becomes ``gloo``.
        port: of rank 0, where the environment does not give ``MASTER_PORT``.

    Raises:
        ValueError: unknown launcher.
        RuntimeError: the launcher's variables are missing, or the port is in use.
    """
    if launcher == 'none' or torch_dist.is_initialized():
        return
    readers = {'pytorch': _read_torchrun_env, 'slurm': _read_slurm_env}
    if launcher not in readers:
        raise ValueError(f"unknown launcher {launcher!r}: use 'none', 'pytorch' or 'slurm'")
    readers[launcher](port)
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ['LOCAL_RANK']) % torch.cuda.device_count())
        backend = backend or 'nccl'
    else:
        backend = 'gloo' if backend in (None, 'nccl') else backend
    try:
        torch_dist.init_process_group(backend=backend)
    except RuntimeError as error:
        _raise_if_port_in_use(error)
        raise


def get_dist_info() -> tuple[int, int]:
    """This process's rank and the number of processes: ``(0, 1)`` without a process group."""
    if not torch_dist.is_available() or not torch_dist.is_initialized():
        return 0, 1
    return torch_dist.get_rank(), torch_dist.get_world_size()


def is_rank_zero() -> bool:
    return get_dist_info()[0] == 0


def barrier() -> None:
    if get_dist_info()[1] > 1:
        torch_dist.barrier(group=_cpu_group())


def broadcast_object(value: Any, src: int = 0) -> Any:
    """The ``value`` of rank ``src``, on every rank; any object that pickles."""
    if get_dist_info()[1] == 1:
        return value
    box = [value]
    torch_dist.broadcast_object_list(box, src=src, group=_cpu_group())
    return box[0]


def gather_objects(value: Any, over_gpus: bool = False) -> list[Any] | None:
    """Every rank's ``value`` in the order of ranks, on rank 0; ``None`` on the others.

    Args:
        over_gpus: by the default group's backend, which is nccl with CUDA; otherwise by gloo.
    """
    rank, world_size = get_dist_info()
    if world_size == 1:
        return [value]
    parts = [None] * world_size if rank == 0 else None
    torch_dist.gather_object(value, parts, dst=0, group=None if over_gpus else _cpu_group())
    return parts


def gather_by_files(value: Any, folder: str | os.PathLike) -> list[Any] | None:
    """The same through files in ``folder``, which every process must see; they are removed again."""
    rank, world_size = get_dist_info()
    token = broadcast_object(uuid.uuid4().hex)
    paths = [Path(folder) / f'results_{token}_{i}.pkl' for i in range(world_size)]
    Path(folder).mkdir(parents=True, exist_ok=True)
    with open(paths[rank], 'xb', opener=partial(os.open, mode=0o600)) as file:  # not for others to read or replace
        pickle.dump(value, file)
    barrier()
    if rank != 0:
        return None
    try:
        unseen = [str(path) for path in paths if not path.is_file()]
        if unseen:
            raise FileNotFoundError(f'tmpdir {folder} must be a folder that all processes see: there is no {unseen[0]}')
        return [pickle.loads(path.read_bytes()) for path in paths]
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


def wrap_ddp(model: nn.Module, find_unused_parameters: bool = False, **ddp_args: Any) -> nn.Module:
    """``MMDistributedDataParallel`` around ``model`` on the device that it is on.

    As in MMDetection 2.x, buffers are not broadcast at each step. A model on the CPU takes no ``device_ids``, and a
    model without trainable parameters is returned as it is: DDP refuses it, and there is nothing to reduce.
    """
    from mmengine.model import MMDistributedDataParallel

    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        return model
    device = parameters[0].device
    known = inspect.signature(nn.parallel.DistributedDataParallel).parameters
    if 'broadcast_buffers' not in ddp_args:  # its name of torch >= 2.15 comes first
        ddp_args.setdefault(next(n for n in ('forward_sync_buffers', 'broadcast_buffers') if n in known), False)
    return MMDistributedDataParallel(
        module=model,
        device_ids=[device.index] if device.type == 'cuda' else None,
        find_unused_parameters=find_unused_parameters,
        **ddp_args,
    )


_gloo_group: Any = None


def _cpu_group() -> Any:
    """A gloo group beside an nccl one, for objects that live on the CPU; ``None`` is the default group."""
    global _gloo_group
    if torch_dist.get_backend() == 'gloo':
        return None
    if _gloo_group is None:
        _gloo_group = torch_dist.new_group(backend='gloo')
    return _gloo_group


def _read_torchrun_env(port: int | None) -> None:
    missing = [name for name in ('RANK', 'WORLD_SIZE') if name not in os.environ]
    if missing:
        raise RuntimeError(
            f'--launcher pytorch needs {" and ".join(missing)} in the environment: start with tools/dist_train.sh or '
            "'torchrun --nproc_per_node=N tools/train.py ... --launcher pytorch'"
        )
    os.environ.setdefault('LOCAL_RANK', os.environ['RANK'])
    os.environ.setdefault('MASTER_ADDR', '127.0.0.1')
    os.environ.setdefault('MASTER_PORT', str(port or 29500))


def _read_slurm_env(port: int | None) -> None:
    if 'SLURM_PROCID' not in os.environ:
        raise RuntimeError('--launcher slurm needs SLURM_PROCID in the environment: start with tools/slurm_train.sh')
    env = os.environ
    env['RANK'], env['WORLD_SIZE'] = env['SLURM_PROCID'], env['SLURM_NTASKS']
    env['LOCAL_RANK'] = env.get('SLURM_LOCALID', '0')
    if 'MASTER_ADDR' not in env:
        env['MASTER_ADDR'] = _first_host(env['SLURM_NODELIST'])
    if 'MASTER_PORT' not in env:  # one port a job, so that two jobs on a node do not meet
        env['MASTER_PORT'] = str(port or 20000 + int(env.get('SLURM_JOB_ID', 0)) % 10000)


def _first_host(node_list: str) -> str:
    try:
        shown = subprocess.run(
            ['scontrol', 'show', 'hostname', node_list], check=True, capture_output=True, text=True
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise RuntimeError(
            f'cannot read the first host of SLURM_NODELIST={node_list} by `scontrol show hostname`: {error}; '
            'set MASTER_ADDR to the host of rank 0'
        ) from error
    return shown.split()[0]


def _raise_if_port_in_use(error: RuntimeError) -> None:
    if re.search(r'EADDRINUSE|address already in use', str(error), re.IGNORECASE):
        raise RuntimeError(
            f'port {os.environ["MASTER_PORT"]} on {os.environ["MASTER_ADDR"]} is in use: choose a free one with the '
            'environment variable MASTER_PORT (PORT for tools/dist_train.sh and tools/dist_test.sh)'
        ) from error
