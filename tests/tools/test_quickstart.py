"""The README's first command, as a newcomer runs it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest


@pytest.mark.slow
def test_quickstart_trains_a_model_that_finds_the_shapes(root: Path):
    done = subprocess.run([root / 'demo/quickstart.sh'], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    last = done.stdout.strip().splitlines()[-1]
    figures = re.fullmatch(r'quickstart: bbox_mAP=(\d\.\d{3}) segm_mAP=(\d\.\d{3})', last)
    assert figures, last
    assert float(figures[1]) >= 0.60
    assert float(figures[2]) >= 0.55
    pictures = list((root / 'work_dirs/quickstart/images').iterdir())
    assert len(pictures) == 16
    for line in ('What there is now', 'What to try next'):
        assert line in done.stdout
