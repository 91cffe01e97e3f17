"""The import hook that serves the old paths, and the fallback for names that a real module lacks."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from mmdet_clone.aliases.names import SOURCES, STOCK, parents, renamed, sources_of

_OUR_FOLDER = Path(__file__).resolve().parent.parent
_REAL_MODULES = ('mmcv', 'mmcv.utils', 'mmcv.cnn', 'mmcv.cnn.bricks', 'mmcv.cnn.utils')
_MISSING = object()


class AliasModule(ModuleType):
    """Stands for a module of the old packages; its names are looked up in ours when they are asked for."""

    def __getattr__(self, name: str) -> Any:
        if name == '__all__':
            return _public_names(self.__name__)
        value = _look_up(self.__name__, name)
        if value is _MISSING:
            raise AttributeError(f'mmdet_clone has nothing that stands for {self.__name__}.{name}')
        setattr(self, name, value)
        return value


class _AliasFinder(MetaPathFinder, Loader):
    """First on ``sys.meta_path`` while the layer is on."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> Any:
        if name.partition('.')[0] not in ('mmdet', 'mmcv') or not self._serves(name, path):
            return None
        spec = ModuleSpec(name, self, is_package=True)
        spec.submodule_search_locations = _folders(name)
        return spec

    def _serves(self, name: str, path: Sequence[str] | None) -> bool:
        if name == 'mmcv' or not (name in SOURCES or name in STOCK or _same_path(name)):
            return False
        if name == 'mmdet' or name.startswith('mmcv.ops'):
            return True
        if name.startswith('mmcv.'):
            return not path or PathFinder.find_spec(name, path) is None
        return isinstance(sys.modules.get('mmdet'), AliasModule)  # not where a real MMDetection was imported before

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return AliasModule(spec.name, f'The names of {spec.name}, served by mmdet_clone.')

    def exec_module(self, module: ModuleType) -> None:
        pass


_finder = _AliasFinder()


@contextlib.contextmanager
def aliases() -> Iterator[None]:
    """Turn the layer on. It goes off again only if nothing was imported meanwhile (see the package's docstring)."""
    was_on = _finder in sys.meta_path
    if not was_on:
        for name in _REAL_MODULES:
            _add_fallback(importlib.import_module(name))
        sys.meta_path.insert(0, _finder)
    before = set(sys.modules)
    try:
        yield
    finally:
        if not was_on and not set(sys.modules) - before:
            turn_off()


def turn_off() -> None:
    """Take the layer away, with the modules that it served; code imported through it keeps the names that it holds."""
    if _finder in sys.meta_path:
        sys.meta_path.remove(_finder)
    for name in _REAL_MODULES:
        _remove_fallback(sys.modules.get(name))
    for name, module in list(sys.modules.items()):
        if isinstance(module, AliasModule):
            del sys.modules[name]
            parent, _, child = name.rpartition('.')
            if parent in sys.modules:
                vars(sys.modules[parent]).pop(child, None)


def _add_fallback(module: ModuleType) -> None:
    """Let a real module answer for names that it lost since mmcv 1.x."""
    if '__getattr__' in vars(module):
        return

    def fallback(name: str) -> Any:
        value = _look_up(module.__name__, name)
        if value is _MISSING:
            raise AttributeError(f'module {module.__name__!r} has no attribute {name!r}')
        return value

    fallback.is_alias = True
    module.__getattr__ = fallback


def _remove_fallback(module: ModuleType | None) -> None:
    if module is not None and getattr(vars(module).get('__getattr__'), 'is_alias', False):
        del module.__getattr__


def _look_up(module: str, name: str) -> Any:
    """The object that ``name`` of the old ``module`` stands for, or ``_MISSING``."""
    target = renamed(module, name)
    if target is not None:
        place, _, attribute = target.partition(':')
        return getattr(_import_if_there(place), attribute, _MISSING)
    if name.startswith('__'):
        return _MISSING
    submodule = f'{module}.{name}'
    if submodule in SOURCES:
        return importlib.import_module(submodule)
    for source in (*_same_path(module), *sources_of(module)):
        found = _import_if_there(source)
        if found is not None and hasattr(found, name):
            return getattr(found, name)
    return _MISSING


def _import_if_there(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name in parents(name):
            return None
        raise


def _same_path(name: str) -> tuple[str, ...]:
    """Our module at the place of ``mmdet.a.b``, if there is one: ``mmdet_clone.a.b``."""
    root, _, rest = name.partition('.')
    if root != 'mmdet' or not rest:
        return ()
    place = _OUR_FOLDER.joinpath(*rest.split('.'))
    there = place.with_suffix('.py').is_file() or (place / '__init__.py').is_file()
    return (f'mmdet_clone.{rest}',) if there else ()


def _folders(name: str) -> list[str]:
    """The folders ``mmdet/...`` on ``sys.path``, where the user's own additions to MMDetection lie."""
    root, _, rest = name.partition('.')
    if root != 'mmdet':
        return []
    places = (Path(entry or '.').absolute() / root / rest.replace('.', '/') for entry in sys.path)
    return [str(place) for place in dict.fromkeys(places) if place.is_dir()]


def _public_names(module: str) -> list[str]:
    """What ``from module import *`` brings: the public names of every source."""
    names: dict[str, None] = {}
    for source in (*_same_path(module), *sources_of(module)):
        found = _import_if_there(source)
        public = getattr(found, '__all__', None) or [n for n in vars(found or object) if not n.startswith('_')]
        names.update(dict.fromkeys(public))
    return list(names)
