"""Packages that only some steps need."""

from __future__ import annotations

import importlib
from types import ModuleType


def import_optional(name: str, step: str, command: str) -> ModuleType:
    """The package ``name``.

    Raises:
        ImportError: it is absent, or its import fails; says which step needs it and the command that installs it.
    """
    try:
        return importlib.import_module(name)
    except Exception as error:  # packages older than today's numpy fail in many ways
        if isinstance(error, ModuleNotFoundError) and error.name == name:
            problem = 'which is not installed'
        else:
            problem = f'which is installed but cannot be imported ({type(error).__name__}: {error})'
        raise ImportError(
            f'the pipeline step {step} needs the package {name}, {problem}: {command}; or leave {step} out of the '
            'pipeline'
        ) from error
