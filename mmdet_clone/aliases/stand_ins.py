"""Names of mmcv 1.x and MMDetection 2.x that have no counterpart elsewhere, for users' modules that import them."""

from __future__ import annotations

import functools
import getpass
import inspect
import logging
import platform
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.logging import MMLogger
from torch import Tensor, nn

import mmdet_clone.registry

__all__ = [
    'CheckpointLoader',
    'DataContainer',
    'MMDataParallel',
    'Registry',
    'allreduce_grads',
    'auto_fp16',
    'build_model_from_cfg',
    'force_fp32',
    'get_host_info',
    'get_logger',
    'get_root_logger',
    'get_time_str',
    'images_to_levels',
    'jit',
    'load_checkpoint_file',
    'load_weights_below',
    'multi_apply',
    'obj_from_dict',
    'scatter',
    'wrap_fp16_model',
]

MMDET_VERSION = '2.28.2'  # what `mmdet.__version__` says to modules that ask
MMDET_VERSION_INFO = (2, 28, 2)


class DataContainer:
    """A value with a mark of how it is collated; the loader takes ``data`` out of it.

    Args:
        stack: whether the values of a batch are padded to one size and stacked, or kept as a list.
        padding_value: what fills the padding.
        cpu_only: whether the value is not a tensor for the device, as image metas.
        pad_dims: how many of the last dimensions may differ in size.
    """

    def __init__(
        self, data: Any, stack: bool = False, padding_value: int = 0, cpu_only: bool = False, pad_dims: int | None = 2
    ) -> None:
        self.data = data
        self.stack = stack
        self.padding_value = padding_value
        self.cpu_only = cpu_only
        self.pad_dims = pad_dims

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.data!r})'

    def __len__(self) -> int:
        return len(self.data)

    @property
    def datatype(self) -> type | str:
        return self.data.type() if isinstance(self.data, Tensor) else type(self.data)

    def size(self, *args: int) -> Any:
        return self.data.size(*args)

    def dim(self) -> int:
        return self.data.dim()


class MMDataParallel(nn.Module):
    """``module`` under the attribute that scripts of mmcv 1.x expect; it runs where its weights are."""

    def __init__(self, module: nn.Module, device_ids: Sequence[int] | None = None, dim: int = 0) -> None:
        super().__init__()
        self.module = module
        self.device_ids = list(device_ids or [])
        self.dim = dim

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def train_step(self, *args: Any, **kwargs: Any) -> Any:
        return self.module.train_step(*args, **kwargs)

    def val_step(self, *args: Any, **kwargs: Any) -> Any:
        return self.module.val_step(*args, **kwargs)


class Registry(mmdet_clone.registry.Registry):
    """A registry of the user's own, with the constructor of mmcv 1.x."""

    def __init__(
        self,
        name: str,
        build_func: Callable | None = None,
        parent: mmdet_clone.registry.Registry | None = None,
        scope: str | None = None,
    ) -> None:
        super().__init__(name, location='')
        self.parent = parent
        self._own_build = build_func

    def build(self, cfg: dict, *args: Any, **kwargs: Any) -> Any:
        if self._own_build is not None:
            return self._own_build(cfg, *args, **kwargs, registry=self)
        return super().build(cfg, *args, **kwargs)


def build_model_from_cfg(cfg: dict | list[dict], registry: Any, default_args: dict | None = None) -> Any:
    """Build one module, or a ``Sequential`` of modules from a list."""
    if isinstance(cfg, list):
        return nn.Sequential(*(registry.build(item, default_args=default_args) for item in cfg))
    return registry.build(cfg, default_args=default_args)


def auto_fp16(
    apply_to: Sequence[str] | None = None, out_fp32: bool = False, supported_types: tuple[type, ...] = (nn.Module,)
) -> Callable:
    """mmcv 1.x's mark of a method that may run in half precision: here autocast decides, so only ``out_fp32`` acts."""

    def decorate(func: Callable) -> Callable:
        @functools.wraps(func)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            out = func(*args, **kwargs)
            return _cast(out, torch.float32) if out_fp32 and _autocasting() else out

        return wrapper

    return decorate


def force_fp32(apply_to: Sequence[str] | None = None, out_fp16: bool = False) -> Callable:
    """Run a method in float32 where autocast is on; ``apply_to`` names the arguments to cast, all by default."""

    def decorate(func: Callable) -> Callable:
        names = list(inspect.signature(func).parameters)
        chosen = set(names if apply_to is None else apply_to)

        @functools.wraps(func)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            devices = _autocasting()
            if not devices:
                return func(*args, **kwargs)
            named = [*names, *[''] * len(args)]
            args = [_cast(a, torch.float32) if n in chosen else a for n, a in zip(named, args, strict=False)]
            kwargs = {n: _cast(a, torch.float32) if n in chosen else a for n, a in kwargs.items()}
            with torch.autocast(devices[0], enabled=False):
                out = func(*args, **kwargs)
            return _cast(out, torch.float16) if out_fp16 else out

        return wrapper

    return decorate


def _autocasting() -> list[str]:
    """The device types for which autocast is on."""
    return [device for device in ('cuda', 'cpu') if torch.is_autocast_enabled(device)]


def _cast(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    if isinstance(value, dict):
        return type(value)({key: _cast(item, dtype) for key, item in value.items()})
    return type(value)(_cast(item, dtype) for item in value) if type(value) in (list, tuple) else value


def load_checkpoint_file(filename: str, map_location: Any = None, logger: Any = None) -> dict:
    """mmcv 1.x's ``_load_checkpoint``: the content of a checkpoint file, of which nothing is run."""
    from mmdet_clone.engine.checkpoint import read_checkpoint

    return read_checkpoint(filename, map_location or 'cpu')


def load_weights_below(prefix: str, filename: str, map_location: Any = None) -> dict[str, Tensor]:
    """mmcv 1.x's ``_load_checkpoint_with_prefix``: the weights whose names start with ``prefix``, without it."""
    from mmdet_clone.engine.checkpoint import weights_below

    return weights_below(prefix, load_checkpoint_file(filename, map_location), filename)


class CheckpointLoader:
    """mmcv 1.x's reader of checkpoints from anywhere."""

    load_checkpoint = staticmethod(load_checkpoint_file)


def jit(func: Callable | None = None, **options: Any) -> Callable:
    """mmcv 1.x's mark of functions that its own compiler may take; they run as they are. With or without options."""
    return func if func is not None else lambda decorated: decorated


def scatter(inputs: Any, target_gpus: Sequence[Any], dim: int = 0) -> list:
    """A batch of :func:`collate` on one device, as the list of one that scripts of mmcv 1.x expect."""
    from mmdet_clone.engine.testing import to_device

    if len(target_gpus) > 1:
        raise ValueError(
            f'a process has one device here, not {list(target_gpus)}: several train by tools/dist_train.sh'
        )
    device = target_gpus[0] if target_gpus else 'cpu'
    if isinstance(device, int):
        device = torch.device('cpu') if device < 0 else torch.device('cuda', device)
    return [to_device(inputs, torch.device(device))]


def obj_from_dict(info: dict, parent: Any = None, default_args: dict | None = None) -> Any:
    """An object of the class ``info['type']``, a class or its name in the module ``parent``."""
    arguments = {**(default_args or {}), **info}
    kind = arguments.pop('type')
    return (getattr(parent, kind) if isinstance(kind, str) else kind)(**arguments)


def get_time_str() -> str:
    return time.strftime('%Y%m%d_%H%M%S')


def get_host_info() -> str:
    return f'{getpass.getuser()}@{platform.node()}'


def allreduce_grads(params: Sequence[nn.Parameter], coalesce: bool = True, bucket_size_mb: int = -1) -> None:
    """Give every process the mean of the gradients."""
    from mmengine.dist import all_reduce_params

    grads = [p.grad for p in params if p.requires_grad and p.grad is not None]
    all_reduce_params(grads, coalesce, bucket_size_mb, 'mean')


def wrap_fp16_model(model: nn.Module) -> None:
    """Nothing to do: autocast needs no change to the model."""


def get_logger(
    name: str, log_file: str | None = None, log_level: int = logging.INFO, file_mode: str = 'w'
) -> logging.Logger:
    """The logger ``name``, made on first use; it prints on rank 0 and writes to ``log_file`` if one is given."""
    level = logging.getLevelName(log_level)
    return MMLogger.get_instance(name, logger_name=name, log_file=log_file, log_level=level, file_mode=file_mode)


def get_root_logger(log_file: str | None = None, log_level: int = logging.INFO) -> logging.Logger:
    """The logger of the run in progress, or a new one where ``log_file`` is given."""
    if log_file is not None:
        return get_logger('mmdet_clone', log_file, log_level)
    return MMLogger.get_current_instance()


def multi_apply(func: Callable, *args: Any, **kwargs: Any) -> tuple[list, ...]:
    """Call ``func`` on the items of ``args`` in step and return a list for each of its results."""
    call = functools.partial(func, **kwargs) if kwargs else func
    return tuple(map(list, zip(*map(call, *args), strict=True)))


def images_to_levels(target: Sequence[Tensor], num_levels: Sequence[int]) -> list[Tensor]:
    """Per-image targets ``[(P, ...)] * N`` to per-level ones ``[(N, P_l, ...)] * L``."""
    return list(torch.stack(list(target)).split(list(num_levels), dim=1))
