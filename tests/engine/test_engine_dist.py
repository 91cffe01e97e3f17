"""Two processes over gloo, started as torchrun starts them; and what the launchers read from the environment."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
import torch
from engine_toys import ToyDataset
from torch import nn

from mmdet_clone.engine import dist
from mmdet_clone.engine.testing import merge_results


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


@pytest.fixture(scope='module')
def ranks(tmp_path_factory, root):
    """What each process saved, and the folder they worked in."""
    out = tmp_path_factory.mktemp('two_processes')
    here = root / 'tests' / 'engine'
    port = str(free_port())
    common = {**os.environ, 'WORLD_SIZE': '2', 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': port}
    common['CUDA_VISIBLE_DEVICES'] = ''
    common['PYTHONPATH'] = os.pathsep.join([str(root), str(here)])
    processes = [
        subprocess.Popen(
            [sys.executable, str(here / 'two_processes.py'), str(out)],
            env={**common, 'RANK': str(rank), 'LOCAL_RANK': str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=180)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], '\n'.join(outputs)
    (out / 'output.txt').write_text('\n'.join(outputs))
    return [torch.load(out / f'rank{rank}.pth', weights_only=False) for rank in range(2)], out


def test_processes_agree_on_seeds_and_objects(ranks):
    (first, second), _ = ranks
    assert (first['info'], second['info']) == ((0, 2), (1, 2))
    assert first['seed'] == second['seed']
    assert first['broadcast'] == second['broadcast'] == 'from 0'
    assert (first['objects'], second['objects']) == ([{'rank': 0}, {'rank': 1}], None)


def test_the_gradient_is_the_mean_of_those_of_each_image(ranks):
    (first, second), _ = ranks
    gradients = []
    for index in range(2):
        linear = nn.Linear(2, 1)
        nn.init.constant_(linear.weight, 0.5)
        nn.init.zeros_(linear.bias)
        sample = ToyDataset()[index]
        (linear(sample['img']) - sample['target']).pow(2).mean().backward()
        gradients.append(torch.cat([linear.weight.grad.flatten(), linear.bias.grad]))
    assert torch.allclose(first['gradient'], sum(gradients) / 2)
    assert torch.equal(first['gradient'], second['gradient'])


def test_all_processes_end_with_the_same_parameters(ranks):
    (first, second), _ = ranks
    for key in ('linear.weight', 'linear.bias', 'norm.weight'):
        assert torch.equal(first['whole'][key], second['whole'][key])


def test_a_resume_restores_the_random_states_of_every_process(ranks):
    for result in ranks[0]:
        assert torch.equal(result['whole']['linear.weight'], result['resumed']['linear.weight'])


def test_an_odd_number_of_images_is_evaluated_once_each_and_in_order(ranks):
    (first, second), out = ranks
    assert (first['odd'], second['odd']) == ([0, 1, 2, 3, 4], None)
    assert first['whole evaluated'] == [[0, 1, 2, 3, 4]] * 3
    assert second['whole evaluated'] == []
    assert sorted(path.name for path in (out / 'whole').glob('best*')) == ['best_bbox_mAP_epoch_1.pth']


@pytest.mark.parametrize('way', ['by files', 'by gpu_collect'])
def test_results_gathered_in_another_way_are_the_same(ranks, way):
    (first, second), out = ranks
    assert first[way] == first['odd'] and second[way] is None
    assert list((out / 'gathered').iterdir()) == []


def test_wrapping_for_several_processes_uses_no_deprecated_name(ranks):
    _, out = ranks
    assert 'broadcast_buffers' not in (out / 'output.txt').read_text()


def test_only_rank_zero_writes_logs(ranks):
    _, out = ranks
    assert len(list((out / 'whole').glob('*.log'))) == len(list((out / 'whole').glob('*.log.json'))) == 1


def test_results_of_any_number_of_processes_merge_in_order():
    whole = list(range(7))
    for world_size in (1, 2, 3, 5):
        padded = whole + whole[: -7 % world_size]
        assert merge_results([padded[rank::world_size] for rank in range(world_size)], 7) == whole
    assert merge_results([[0, 2], [1]], 3) == [0, 1, 2]
    with pytest.raises(RuntimeError, match='expected results for 3 images, got 2'):
        merge_results([[0], [1]], 3)


@pytest.fixture
def environment(monkeypatch):
    """An environment without any launcher's variables, put back afterwards."""
    monkeypatch.setattr(os, 'environ', {k: v for k, v in os.environ.items() if 'SLURM' not in k and 'MASTER' not in k})
    return os.environ


def test_slurm_variables_become_those_of_torch(environment, monkeypatch):
    environment.update(
        SLURM_PROCID='3', SLURM_NTASKS='4', SLURM_LOCALID='1', SLURM_NODELIST='node[1-2]', SLURM_JOB_ID='12345'
    )
    answer = subprocess.CompletedProcess([], 0, stdout='node1\nnode2\n')
    monkeypatch.setattr(subprocess, 'run', lambda *args, **kwargs: answer)
    dist._read_slurm_env(None)
    names = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT')
    assert [environment[name] for name in names] == ['3', '4', '1', 'node1', '22345']


def test_a_launcher_without_its_variables_says_how_to_start(environment):
    environment.pop('RANK', None)
    with pytest.raises(RuntimeError, match=r'RANK.*tools/dist_train.sh'):
        dist.init_dist('pytorch')
    with pytest.raises(RuntimeError, match=r'SLURM_PROCID.*tools/slurm_train.sh'):
        dist.init_dist('slurm')
    with pytest.raises(ValueError, match="'none', 'pytorch' or 'slurm'"):
        dist.init_dist('mpi')
    assert dist.get_dist_info() == (0, 1)


def test_a_port_in_use_is_named_with_the_variable_to_set(monkeypatch):
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        variables = dict(RANK='0', WORLD_SIZE='1', LOCAL_RANK='0', MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv('TORCHELASTIC_USE_AGENT_STORE', raising=False)
        with pytest.raises(RuntimeError, match=rf'port {port} on 127\.0\.0\.1 is in use.*MASTER_PORT'):
            dist.init_dist('pytorch')
