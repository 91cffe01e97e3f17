"""Training on a real SLURM cluster: two nodes, two processes on each."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
import rank_spy
import tiny_detector
import torch

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


@pytest.fixture
def cluster(shared, tmp_path_factory):
    """The environment of a running cluster of the nodes n1 and n2."""
    script = shared / 'slurm' / 'cluster.sh'
    missing = [name for name in ('srun', 'slurmctld', 'slurmd', 'munged') if shutil.which(name) is None]
    if missing:
        pytest.skip(f'needs {", ".join(missing)}: apt-get install -y slurm-wlm munge')
    if os.geteuid() != 0:
        pytest.skip('needs root to start a cluster')
    if not script.is_file():
        pytest.skip(f'needs {script}')
    state = tmp_path_factory.mktemp('cluster')
    with open(state / 'start.log', 'w') as log:  # a file: the daemons keep it open
        started = subprocess.run(['bash', str(script), 'start', str(state)], stdout=log, stderr=log, timeout=120)
    assert started.returncode == 0, (state / 'start.log').read_text()
    yield {**os.environ, 'SLURM_CONF': str(state / 'slurm.conf')}
    subprocess.run(['bash', str(script), 'stop', str(state)], timeout=60, check=False)


def test_slurm_train_runs_two_nodes_with_two_processes_each(root, cluster, tmp_path):
    data = tiny_detector.make_data(tmp_path / 'data', num_train=8, num_val=3)
    extra = rank_spy.EXTRA.replace('{out}', str(tmp_path / 'seen'))
    config = tiny_detector.write_config(tmp_path / 'tiny.py', data, extra)
    env = {
        **cluster,
        'GPUS_PER_NODE': '2',
        'CPUS_PER_TASK': '1',
        'PYTHON': sys.executable,
        'PYTHONPATH': str(root / 'tests'),
    }
    command = [root / 'tools/slurm_train.sh', 'dev', 'tiny', config, tmp_path / 'run', '4', '--seed', '3']
    done = subprocess.run([*map(str, command)], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'Processes: 4' in done.stdout + done.stderr
    ranks = [torch.load(tmp_path / 'seen' / f'rank_{rank}.pth', weights_only=True) for rank in range(4)]
    assert len({rank['files'][0] for rank in ranks}) == 4
    for rank in ranks[1:]:
        assert all(torch.equal(value, rank['weights'][name]) for name, value in ranks[0]['weights'].items())
    meta = torch.load(tmp_path / 'run' / 'epoch_1.pth', weights_only=False)['meta']
    assert meta['world_size'] == 4 and meta['iter'] == 2

    command = [root / 'tools/slurm_test.sh', 'dev', 'tiny', config, tmp_path / 'run/latest.pth', '4', '--eval', 'bbox']
    done = subprocess.run([*map(str, command)], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'bbox_mAP' in done.stdout
