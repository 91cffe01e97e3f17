"""What the package says when a library below it cannot work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def import_with(stub: str, content: str, tmp_path: Path, root: Path) -> str:
    """Import the package beside a broken stand-in of a library; returns the last line of the error."""
    package = tmp_path / stub
    package.mkdir()
    (package / '__init__.py').write_text(content)
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(tmp_path), str(root)])}
    done = subprocess.run([sys.executable, '-c', 'import mmdet_clone'], capture_output=True, text=True, env=env)
    assert done.returncode == 1
    assert 'During handling' not in done.stderr
    return done.stderr.strip().splitlines()[-1]


def test_torchvision_of_another_torch_is_told_in_one_line_with_both_versions_and_the_cure(tmp_path, root):
    from importlib.metadata import version

    line = import_with('torchvision', "raise RuntimeError('operator torchvision::nms does not exist')", tmp_path, root)
    assert line.startswith('ImportError: torchvision')
    assert version('torch') in line
    assert version('torchvision') in line
    assert 'pip install --upgrade --force-reinstall torch torchvision' in line


def test_torchvision_whose_operators_are_absent_is_noticed_though_it_imports(tmp_path, root):
    (tmp_path / 'torchvision').mkdir()
    (tmp_path / 'torchvision/ops.py').write_text('')
    (tmp_path / 'torchvision').rename(tmp_path / 'parts')
    line = import_with('torchvision', f'__path__ = [{str(tmp_path / "parts")!r}]', tmp_path, root)
    assert line.startswith('ImportError: torchvision')


@pytest.mark.parametrize('library', ['libGL.so.1', 'libgthread-2.0.so.0'])
def test_opencv_without_its_display_libraries_is_told_with_the_cure(tmp_path, root, library):
    line = import_with('cv2', f"raise ImportError('{library}: cannot open shared object file')", tmp_path, root)
    assert line.startswith('ImportError: OpenCV cannot be loaded')
    assert library in line
    assert 'opencv-python-headless' in line
