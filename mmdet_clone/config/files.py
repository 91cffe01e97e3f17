"""The files a config consists of: each is there, parses, and names bases that exist.

``mmengine`` evaluates configs through temporary copies, so its own errors name files that are gone by the time one
reads them. The walk here comes first and names the file and line that the user wrote.
"""

from __future__ import annotations

import ast
import difflib
import os
import re
from pathlib import Path

SUFFIXES = ('.py', '.json', '.yaml', '.yml')


class ConfigError(ValueError):
    """A config file that cannot be read: what is wrong, in which file, and the fix."""


def check_files(path: Path) -> list[Path]:
    """Look at ``path`` and, recursively, at its ``_base_`` files; return them all, bases first.

    Raises:
        FileNotFoundError: the config or a base file is missing.
        ConfigError: a file does not parse or is written in a dialect that is not MMDetection 2.x's.
    """
    return list(dict.fromkeys(_walk(path, named_by=())))


def _walk(path: Path, named_by: tuple[Path, ...]) -> list[Path]:
    if path in named_by:
        raise ConfigError(f'{path} inherits from itself, through {" -> ".join(map(str, named_by))}')
    if not path.is_file():
        raise FileNotFoundError(_missing_message(path, named_by))
    if path.suffix not in SUFFIXES:
        raise ConfigError(
            f'{path}: a config is a {", ".join(SUFFIXES)} file, not {path.suffix or "one without suffix"}'
        )
    found: list[Path] = []
    for base in _bases(path):
        found += _walk(_base_path(base, path), (*named_by, path))
    return [*found, path]


def _base_path(base: object, path: Path) -> Path:
    if not isinstance(base, str):
        raise ConfigError(f'{path}: _base_ is a path or a list of paths relative to this file, got {base!r}')
    if '::' in base:
        raise ConfigError(f'{path}: _base_ names {base!r}; bases inside packages are not supported, give the path')
    return Path(os.path.normpath(path.parent / base))


def _missing_message(path: Path, named_by: tuple[Path, ...]) -> str:
    what = f'base file {path} does not exist; it is named in _base_ of {named_by[-1]}' if named_by else ''
    what = what or f'config file {path} ' + ('is a folder: give a file' if path.is_dir() else 'does not exist')
    if path.is_dir():
        near = sorted(str(p) for p in path.glob('*.py'))[:5]
        return what + (f'. It holds {", ".join(near)}' if near else '')
    folder = path.parent
    while not folder.is_dir():
        folder = folder.parent
    if folder != path.parent:
        near = difflib.get_close_matches(path.parts[len(folder.parts)], [p.name for p in folder.iterdir()], 3)
        return f'{what}. The folder {folder} exists' + (f' and holds {", ".join(near)}' if near else '')
    near = difflib.get_close_matches(path.name, [p.name for p in folder.iterdir() if p.suffix in SUFFIXES], 3)
    tail = f'. Did you mean {", ".join(str(folder / name) for name in near)}?' if near else ''
    relative = '' if named_by or path.is_absolute() else f' (looked from {Path.cwd()})'
    return what + relative + (tail or '. Check the path' + (' in _base_' if named_by else ''))


def _bases(path: Path) -> list:
    if path.suffix == '.py':
        bases = _python_bases(path)
    else:
        import mmengine

        try:
            content = mmengine.load(str(path))
        except Exception as error:  # json's and yaml's own parse errors, which carry the line
            raise ConfigError(f'{path}: {error}') from error
        bases = content.get('_base_', []) if isinstance(content, dict) else []
    return list(bases) if isinstance(bases, list | tuple) else [bases]


def _python_bases(path: Path) -> object:
    text = _without_templates(path.read_text(encoding='utf-8'), path)
    try:
        tree = ast.parse(text, str(path))
    except SyntaxError as error:
        line = (error.text or '').strip()
        raise ConfigError(f'{path}, line {error.lineno}: {error.msg}' + (f': {line}' if line else '')) from error
    for node in ast.walk(tree):
        if isinstance(node, ast.With) and 'read_base' in ast.dump(node.items[0].context_expr):
            raise ConfigError(
                f"{path}, line {node.lineno}: 'with read_base()' belongs to mmengine's own config dialect. "
                "In an MMDetection 2.x config, write _base_ = ['path/of/the/base.py'] instead"
            )
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', None) == '_base_':
            try:
                return eval(compile(ast.Expression(node.value), str(path), 'eval'))
            except Exception as error:
                raise ConfigError(
                    f'{path}, line {node.lineno}: _base_ is evaluated before the rest of the file, so it has to be a '
                    f'literal ({type(error).__name__}: {error})'
                ) from error
    return []


def _without_templates(text: str, path: Path) -> str:
    """``text`` with ``{{ ... }}`` filled in as far as a look at its syntax needs it; line breaks stay."""
    known = {
        'fileDirname': path.parent.absolute().as_posix(),
        'fileBasename': path.name,
        'fileBasenameNoExtension': path.stem,
        'fileExtname': path.suffix,
    }

    def fill(match: re.Match) -> str:
        name = match[1].strip(' \'"')
        if name.startswith('$'):
            variable, _, default = name[1:].partition(':')
            return os.environ.get(variable.strip(), default.strip())
        return known.get(name, '_')

    return re.sub(r'\{\{([^{}\n]*)\}\}', fill, text)
