"""Sphinx settings: ``pip install -e '.[docs]' && sphinx-build docs docs/_build``."""

from pathlib import Path

_version: dict[str, str] = {}
exec((Path(__file__).parent.parent / 'mmdet_clone' / 'version.py').read_text(), _version)

project = 'mmdet_clone'
release = _version['__version__']
extensions = ['myst_parser']
exclude_patterns = ['_build']
html_theme = 'alabaster'
myst_heading_anchors = 3
suppress_warnings = ['myst.xref_missing']  # links to files outside docs/ are for readers of the repository
