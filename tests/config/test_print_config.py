"""tools/misc/print_config.py, run as a user runs it."""

from __future__ import annotations

import subprocess
import sys

from mmdet_clone.config import load_config


def run(root, *args: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(root / 'tools/misc/print_config.py'), *args]
    return subprocess.run(command, capture_output=True, text=True, cwd=root)


def test_the_output_is_a_config_that_reads_back(root, tmp_path):
    config = root / 'configs/rpn/rpn_r50_fpn_1x_coco.py'
    saved = tmp_path / 'saved.py'
    done = run(root, str(config), '--cfg-options', 'total_epochs=2', '--save-path', str(saved))
    assert done.returncode == 0, done.stderr
    printed = tmp_path / 'printed.py'
    printed.write_text(done.stdout)
    expected = load_config(config, {'runner.max_epochs': 2}).to_dict()
    assert load_config(printed).to_dict() == load_config(saved).to_dict() == expected


def test_a_wrong_path_is_one_line_without_a_traceback(root):
    done = run(root, 'configs/rpn/rpn_r50_fpn_1x.py')
    assert done.returncode == 1
    assert done.stderr.startswith('error: config file configs/rpn/rpn_r50_fpn_1x.py does not exist')
    assert 'Traceback' not in done.stderr
