"""Arguments of the tools: answered at once, older spellings taken, other dialects refused with the way that works."""

from __future__ import annotations

import subprocess
import sys

import pytest

TOOLS = [
    'tools/train.py',
    'tools/test.py',
    'tools/misc/browse_dataset.py',
    'tools/analysis_tools/get_flops.py',
    'tools/analysis_tools/analyze_logs.py',
    'tools/analysis_tools/analyze_results.py',
    'tools/analysis_tools/coco_error_analysis.py',
    'tools/analysis_tools/confusion_matrix.py',
    'tools/analysis_tools/eval_metric.py',
    'tools/analysis_tools/pr_curves.py',
    'demo/image_demo.py',
    'demo/video_demo.py',
]


@pytest.mark.parametrize('tool', TOOLS)
def test_help_is_shown_without_importing_torch(root, tool):
    code = (
        'import runpy, sys\n'
        f'sys.argv = [{tool!r}, "--help"]\n'
        f'sys.path.insert(0, {str((root / tool).parent)!r})\n'
        'try:\n'
        f'    runpy.run_path({str(root / tool)!r}, run_name="__main__")\n'
        'except SystemExit as stop:\n'
        '    assert stop.code == 0\n'
        'assert not {"torch", "numpy", "cv2"} & set(sys.modules)\n'
    )
    done = subprocess.run([sys.executable, '-c', code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'usage' in done.stdout


def test_train_takes_older_spellings(parse):
    args = parse('train', 'c.py', '--work_dir', 'w', '--resume_from', 'r.pth', '--validate', '--options', 'a.b=1')
    assert (args.work_dir, args.resume_from, args.cfg_options) == ('w', 'r.pth', ['a.b=1'])
    assert parse('train', 'c.py', '--local_rank', '3').local_rank == 3
    assert parse('train', 'c.py', '--local-rank=3').local_rank == 3


def test_cfg_options_may_be_given_twice(parse):
    args = parse('train', 'c.py', '--cfg-options', 'a=1', 'b=2', '--seed', '5', '--cfg-options', 'c=[1,2]')
    assert args.cfg_options == ['a=1', 'b=2', 'c=[1,2]']


@pytest.mark.parametrize(
    ('argv', 'message'),
    [
        (['--gpus', '4'], 'dist_train.sh'),
        (['--gpu-ids', '0', '1'], 'dist_train.sh'),
        (['--gpus', '0'], 'CPU'),
        (['--resume'], '--resume-from'),
        (['--amp'], 'fp16'),
        (['--cfg-options', 'optimizer.lr'], 'KEY=VALUE'),
        (['--resume-from', 'a.pth', '--auto-resume'], 'one of them'),
    ],
)
def test_train_refuses_with_the_way_that_works(parse, capsys, argv, message):
    with pytest.raises(SystemExit):
        parse('train', 'c.py', *argv)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ('argv', 'message'),
    [
        ([], '--eval bbox'),
        (['--out', 'results.json'], '.pkl'),
        (['--eval', 'bbox', '--format-only'], 'exclude'),
        (['--eval', 'bbox', '--gpus', '2'], 'dist_test.sh'),
        (['--eval', 'bbox', '--eval-options', 'classwise'], 'KEY=VALUE'),
    ],
)
def test_test_refuses_with_the_way_that_works(parse, capsys, argv, message):
    with pytest.raises(SystemExit):
        parse('test', 'c.py', 'c.pth', *argv)
    assert message in capsys.readouterr().err


def test_test_takes_all_options_of_2_28(parse):
    args = parse(
        'test', 'c.py', 'c.pth', '--work-dir', 'w', '--out', 'o.pickle', '--fuse-conv-bn', '--gpu-id', '1',
        '--eval', 'bbox', 'segm', '--show', '--show-dir', 'd', '--show-score-thr', '0.5', '--gpu-collect',
        '--tmpdir', 't', '--cfg-options', 'a=1', '--eval-options', 'classwise=True', '--launcher', 'pytorch',
        '--local_rank', '0',
    )  # fmt: skip
    assert args.eval == ['bbox', 'segm'] and args.gpu_id == 1 and args.show_score_thr == 0.5


def test_the_older_options_of_test_are_those_of_the_evaluation(parse):
    args = parse('test', 'c.py', 'x.pth', '--eval', 'bbox', '--options', 'classwise=True')
    assert args.eval_options == ['classwise=True'] and args.cfg_options == []


def test_options_become_values():
    from mmdet_clone.apis.entry import parse_options

    assert parse_options(['a.b=1', 'c=[1,2]', 'd=(3,4)', 'e=True', 'f=text', 'g=0.5']) == {
        'a.b': 1, 'c': [1, 2], 'd': (3, 4), 'e': True, 'f': 'text', 'g': 0.5,
    }  # fmt: skip
    assert parse_options([]) == {}


@pytest.mark.parametrize(
    ('script', 'arguments', 'needs'),
    [
        ('dist_train.sh', ['c.py'], 'GPUS'),
        ('dist_test.sh', ['c.py', 'c.pth'], 'GPUS'),
        ('slurm_train.sh', ['p'], 'WORK_DIR'),
    ],
)
def test_scripts_tell_what_is_missing(root, script, arguments, needs):
    done = subprocess.run([str(root / 'tools' / script), *arguments], capture_output=True, text=True)
    assert done.returncode == 2 and needs in done.stderr


def test_dist_train_needs_a_number_of_processes(root):
    done = subprocess.run([str(root / 'tools/dist_train.sh'), 'c.py', '--seed'], capture_output=True, text=True)
    assert done.returncode == 2 and "got '--seed'" in done.stderr


@pytest.fixture
def srun(tmp_path, monkeypatch):
    """A stand-in for ``srun`` that prints its arguments."""
    path = tmp_path / 'bin' / 'srun'
    path.parent.mkdir()
    path.write_text('#!/bin/sh\necho "$@"\n')
    path.chmod(0o755)
    monkeypatch.setenv('PATH', str(path.parent), prepend=':')
    for name in ('GPUS', 'GPUS_PER_NODE', 'CPUS_PER_TASK', 'SRUN_ARGS', 'PY_ARGS', 'CPU_ONLY'):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def shown(root, *command):
    return subprocess.run([str(root / 'tools' / command[0]), *command[1:]], capture_output=True, text=True).stdout


def test_slurm_train_asks_for_eight_gpus_by_default(root, srun):
    out = shown(root, 'slurm_train.sh', 'part', 'job', 'c.py', 'w', '--seed', '1')
    assert '--partition=part --job-name=job --ntasks=8 --ntasks-per-node=8 --cpus-per-task=5' in out
    assert '--gres=gpu:8' in out and 'train.py c.py --work-dir=w --launcher=slurm --seed 1' in out


def test_slurm_train_takes_its_numbers_from_argument_and_environment(root, srun):
    for name, value in dict(
        GPUS_PER_NODE='4', CPUS_PER_TASK='2', SRUN_ARGS='-x n3 --time=5', PY_ARGS='--seed 2'
    ).items():
        srun.setenv(name, value)
    out = shown(root, 'slurm_train.sh', 'part', 'job', 'c.py', 'w', '16', '--no-validate')
    assert '--ntasks=16 --ntasks-per-node=4 --cpus-per-task=2' in out and '-x n3 --time=5' in out
    assert out.rstrip().endswith('--launcher=slurm --no-validate --seed 2')


def test_slurm_test_runs_the_tester(root, srun):
    srun.setenv('GPUS', '2')
    out = shown(root, 'slurm_test.sh', 'part', 'job', 'c.py', 'c.pth', '--eval', 'bbox')
    assert '--ntasks=2 --ntasks-per-node=2' in out and 'test.py c.py c.pth --launcher=slurm --eval bbox' in out
