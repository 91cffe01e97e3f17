"""Every registry of the toolbox, and how a config dict becomes an object.

A registry is a table from a config's ``type`` to a class. The seven model registries are seven families of one
table, as in MMDetection 2.x: a type registered under one is found from each, and an error names the family asked.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import mmengine.registry

__all__ = [
    'ANCHOR_GENERATORS',
    'BACKBONES',
    'BBOX_ASSIGNERS',
    'BBOX_CODERS',
    'BBOX_SAMPLERS',
    'DATASETS',
    'DETECTORS',
    'HEADS',
    'HOOKS',
    'IOU_CALCULATORS',
    'LOSSES',
    'MATCH_COST',
    'MODELS',
    'NECKS',
    'OPTIMIZERS',
    'OPTIMIZER_BUILDERS',
    'PIPELINES',
    'PRIOR_GENERATORS',
    'ROI_EXTRACTORS',
    'RUNNERS',
    'SHARED_HEADS',
    'ConfigTypeError',
    'Registry',
    'UnknownTypeError',
    'build_from_cfg',
    'type_name',
]


class UnknownTypeError(KeyError):
    """A config names a ``type`` that no module has registered."""

    def __str__(self) -> str:  # KeyError would show the repr, with its line breaks escaped
        return str(self.args[0])


class ConfigTypeError(TypeError):
    """A config gives a class an argument that it does not take, or lacks one that it needs."""


# The outermost config under construction and the name of its place in the file, to tell a nested error's path.
_root: ContextVar[tuple[dict, str] | None] = ContextVar('config under construction', default=None)


class Registry(mmengine.registry.Registry):
    """A table of classes by name, filled on demand.

    Args:
        name: what the registry holds, in the singular, as error messages say it (``'backbone'``).
        location: the package whose import registers our own classes; it is imported at the first look-up.
        parent: a registry of ``mmengine`` that is asked for names this one lacks.
        shares: another registry whose table this one shares, as the model families do.
    """

    def __init__(
        self,
        name: str,
        location: str,
        parent: mmengine.registry.Registry | None = None,
        shares: Registry | None = None,
    ) -> None:
        super().__init__(name, parent=parent, scope='mmdet_clone')
        self.location = location
        self._own_names: set[str] = set()
        if shares is not None:
            self._module_dict = shares._module_dict

    def register_module(
        self, name: str | list[str] | type | Callable | None = None, force: bool = False, module: type | None = None
    ) -> Any:
        """Register a class: ``@REG.register_module``, ``@REG.register_module()`` or ``REG.register_module(module=C)``.

        Args:
            name: the name or names to register under; the class's own name by default.
            force: replace a class of that name instead of raising ``KeyError``.
            module: the class, where the method is not used as a decorator.
        """
        if inspect.isclass(name) or inspect.isfunction(name):
            return self.register_module(module=name)
        if module is None:
            return lambda cls: self.register_module(name, force, cls)
        names = [name or module.__name__] if name is None or isinstance(name, str) else list(name)
        self._register_module(module, names, force)
        self._own_names.update(names)
        return module

    def names(self) -> list[str]:
        """The sorted names registered through this registry (of one family, where a table is shared)."""
        self._import_own()
        return sorted(self._own_names)

    def get(self, key: str) -> Any:
        """The class registered as ``key``, ``None`` if there is none.

        A prefix (``'mmdet.ResNet'``, ``'mmcls.ConvNeXt'``) is dropped when the full name is unknown.
        """
        if key not in self._module_dict:
            self._import_own()
        for name in (key, key.rpartition('.')[2]):
            found = self._module_dict.get(name) or (self.parent.get(name) if self.parent is not None else None)
            if found is not None:
                return found
        return None

    def build(self, cfg: dict, default_args: dict | None = None, path: str = '') -> Any:
        """Build the object that ``cfg`` describes; ``cfg`` is left as it was.

        Args:
            cfg: the constructor's keyword arguments and ``type``, a registered name or a class.
            default_args: arguments for the keys that ``cfg`` lacks.
            path: where ``cfg`` stands in the config file (``'model'``), for error messages.

        Raises:
            UnknownTypeError: no class of that name is registered.
            ConfigTypeError: the class does not take one of the arguments, or misses one.
        """
        kwargs = self._checked_kwargs(cfg, default_args, path)
        with _building(cfg, path):
            cls = kwargs.pop('type')
            if isinstance(cls, str):
                cls = self.get(cls) or self._raise_unknown(cls, cfg)
            _check_arguments(cls, kwargs, cfg)
            try:
                return cls(**kwargs)
            except TypeError as error:  # a constructor with **kwargs hands them on to one that may not take them
                _explain_unexpected(error, cls, kwargs, cfg)
                raise

    def _checked_kwargs(self, cfg: Any, default_args: dict | None, path: str) -> dict:
        where = f' at {path}' if path else ''
        if not isinstance(cfg, dict):
            raise TypeError(f'expected a dict that describes a {self.name}{where}, got {type(cfg).__name__}: {cfg!r}')
        kwargs = {**(default_args or {}), **cfg}
        if 'type' not in kwargs:
            raise KeyError(f"the {self.name} config{where} has no 'type'; its keys are {sorted(kwargs)}")
        return kwargs

    def _raise_unknown(self, key: str, cfg: dict) -> None:
        known = [*self._module_dict, *(self.parent.module_dict if self.parent is not None else ())]
        near = difflib.get_close_matches(key, known, n=3, cutoff=0.5)
        place = _config_path(cfg)
        raise UnknownTypeError(
            f'{key!r} is not in the {self.name} registry'
            + (f' (asked for by {place})' if place else '')
            + (f'. Did you mean {", ".join(near)}?' if near else '.')
            + ' If it is a class of yours, name the file that registers it in the config: '
            "custom_imports = dict(imports=['your_package.your_module'], allow_failed_imports=False)"
        )

    def _import_own(self) -> None:
        location, self.location = self.location, ''
        if location:
            importlib.import_module(location)


def build_from_cfg(cfg: dict, registry: Registry, default_args: dict | None = None) -> Any:
    """``registry.build(cfg, default_args)``, in the form that MMDetection 2.x modules call."""
    return registry.build(cfg, default_args)


def type_name(cfg: Any) -> str:
    """The name of the class that a config dict asks for, without a prefix (``'mmdet.ResNet'``); else empty."""
    kind = cfg.get('type', '') if isinstance(cfg, dict) else ''
    return kind.rpartition('.')[2] if isinstance(kind, str) else kind.__name__


@contextlib.contextmanager
def _building(cfg: dict, path: str) -> Iterator[None]:
    token = _root.set((cfg, path)) if _root.get() is None else None
    try:
        yield
    finally:
        if token is not None:
            _root.reset(token)


def _config_path(cfg: dict) -> str:
    """Where ``cfg`` stands in the outermost config under construction: ``'model.roi_head.bbox_head'``."""
    root = _root.get()
    if root is None:
        return ''

    def search(node: Any, path: str, is_it: Callable[[Any], bool]) -> str | None:
        if is_it(node):
            return path
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list | tuple) else ()
        found = (search(child, f'{path}.{key}' if path else str(key), is_it) for key, child in items)
        return next(filter(None, found), None)

    # the dict itself, else one like it: constructors build their parts from copies too
    return search(*root, lambda node: node is cfg) or search(*root, lambda node: _alike(node, cfg)) or root[1]


def _alike(node: Any, cfg: dict) -> bool:
    try:
        return isinstance(node, dict) and node == cfg
    except (ValueError, RuntimeError):  # arrays or tensors inside, which have no single truth value
        return False


def _in_place(cfg: dict) -> str:
    path = _config_path(cfg)
    return f' (config path: {path})' if path else ''


def _check_arguments(cls: Callable, kwargs: dict, cfg: dict) -> None:
    """Compare ``kwargs`` with the signature of ``cls`` before calling it."""
    try:
        parameters = inspect.signature(cls).parameters
    except ValueError:  # some built-in classes have no signature
        return
    accepted = [n for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    unknown = [] if takes_any else sorted(set(kwargs) - set(accepted))
    if unknown:
        raise ConfigTypeError(_unknown_arguments(cls, unknown, accepted, cfg))
    missing = [n for n in accepted if parameters[n].default is inspect.Parameter.empty and n not in kwargs]
    if missing:
        raise ConfigTypeError(f'{cls.__name__} needs {", ".join(map(repr, missing))}{_in_place(cfg)}')


def _explain_unexpected(error: TypeError, cls: type, kwargs: dict, cfg: dict) -> None:
    """Raise ``ConfigTypeError`` if ``error`` is about one of ``kwargs`` that no base class of ``cls`` takes."""
    found = re.search(r"__init__\(\) got an unexpected keyword argument '(\w+)'", str(error))
    if not found or found[1] not in kwargs or not inspect.isclass(cls):
        return
    signatures = [inspect.signature(c.__init__).parameters for c in cls.__mro__ if '__init__' in vars(c)]
    named = {n: None for s in signatures for n, p in s.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    accepted = [name for name in named if name != 'self']
    if found[1] not in accepted:
        raise ConfigTypeError(_unknown_arguments(cls, [found[1]], accepted, cfg)) from None


def _unknown_arguments(cls: Callable, unknown: list[str], accepted: list[str], cfg: dict) -> str:
    near = [match for name in unknown for match in difflib.get_close_matches(name, accepted, n=1)]
    return (
        f'{cls.__name__} does not accept {", ".join(map(repr, unknown))}{_in_place(cfg)}'
        + (f'; did you mean {", ".join(map(repr, near))}?' if near else '.')
        + f' It accepts: {", ".join(accepted)}'
        + ('. If a base config has them, replace its dict by _delete_=True beside type' if len(unknown) > 1 else '')
    )


MODELS = Registry('model', 'mmdet_clone.models')
BACKBONES = Registry('backbone', 'mmdet_clone.models', shares=MODELS)
NECKS = Registry('neck', 'mmdet_clone.models', shares=MODELS)
HEADS = Registry('head', 'mmdet_clone.models', shares=MODELS)
ROI_EXTRACTORS = Registry('roi_extractor', 'mmdet_clone.models', shares=MODELS)
SHARED_HEADS = Registry('shared_head', 'mmdet_clone.models', shares=MODELS)
DETECTORS = Registry('detector', 'mmdet_clone.models', shares=MODELS)
LOSSES = Registry('loss', 'mmdet_clone.models', shares=MODELS)

DATASETS = Registry('dataset', 'mmdet_clone.datasets')
PIPELINES = Registry('pipeline', 'mmdet_clone.datasets')

BBOX_ASSIGNERS = Registry('assigner', 'mmdet_clone.boxes')
BBOX_SAMPLERS = Registry('sampler', 'mmdet_clone.boxes')
BBOX_CODERS = Registry('coder', 'mmdet_clone.boxes')
IOU_CALCULATORS = Registry('IoU calculator', 'mmdet_clone.boxes')
MATCH_COST = Registry('match cost', 'mmdet_clone.boxes')
PRIOR_GENERATORS = ANCHOR_GENERATORS = Registry('prior generator', 'mmdet_clone.boxes')

HOOKS = Registry('hook', 'mmdet_clone.engine', parent=mmengine.registry.HOOKS)
RUNNERS = Registry('runner', 'mmdet_clone.engine', parent=mmengine.registry.RUNNERS)
OPTIMIZERS = Registry('optimizer', 'mmdet_clone.engine', parent=mmengine.registry.OPTIMIZERS)
OPTIMIZER_BUILDERS = Registry(
    'optimizer constructor', 'mmdet_clone.engine', parent=mmengine.registry.OPTIM_WRAPPER_CONSTRUCTORS
)
