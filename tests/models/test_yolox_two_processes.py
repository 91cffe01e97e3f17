"""YOLOX in two processes over gloo: synchronised normalisation, averaged weights, sizes; against one process."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys

import pytest
import torch
from torch import nn

pytestmark = pytest.mark.slow  # starting two processes takes most of it


@pytest.fixture(scope='module')
def ranks(tmp_path_factory, root):
    """What each process saved, and the module that they ran."""
    out = tmp_path_factory.mktemp('yolox_processes')
    here, engine = root / 'tests/models', root / 'tests/engine'
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    common = {**os.environ, 'WORLD_SIZE': '2', 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(port)}
    common.update(CUDA_VISIBLE_DEVICES='', PYTHONPATH=os.pathsep.join(map(str, (root, here, engine))))
    processes = [
        subprocess.Popen(
            [sys.executable, str(here / 'yolox_processes.py'), str(out)],
            env={**common, 'RANK': str(rank), 'LOCAL_RANK': str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=180)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], '\n'.join(outputs)
    return [torch.load(out / f'rank{rank}.pth', weights_only=False) for rank in range(2)]


@pytest.fixture
def processes_module(root, monkeypatch):
    for folder in ('models', 'engine'):
        monkeypatch.syspath_prepend(str(root / 'tests' / folder))
    import yolox_processes

    return yolox_processes


def inputs() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(4, 3, 5, 2, generator=generator) * (i + 1) + i for i in range(3)]


def weighted_by_position(outs: list[torch.Tensor]) -> torch.Tensor:
    """The loss of ``normalise``, with the parts' own positions."""
    return sum((out * torch.sin(torch.arange(out.numel()).view_as(out) + 1.0) ** 2 * out).sum() for out in outs)


@pytest.mark.parametrize(
    ('name', 'first', 'momentum'), [('equal shares', 2, 0.2), ('by images', 3, None)], ids=['default', 'N']
)
def test_statistics_outputs_and_gradients_are_those_of_one_process_with_all_images(ranks, name, first, momentum):
    layer = nn.BatchNorm2d(3, momentum=momentum)
    if name == 'equal shares':
        nn.init.uniform_(layer.weight, generator=torch.Generator().manual_seed(2))
    for step, x in enumerate(inputs()):
        x = x.requires_grad_()
        parts = layer(x).split([first, 4 - first])
        weighted_by_position(parts).backward()
        for rank, (part, grad) in enumerate(zip(parts, x.grad.split([first, 4 - first]))):
            torch.testing.assert_close(ranks[rank][name]['outs'][step], part.detach(), msg=f'{rank} {step}')
            torch.testing.assert_close(ranks[rank][name]['grads'][step], grad, rtol=1e-4, atol=1e-5)
    for parameter in ('weight', 'bias'):
        summed = sum(rank[name]['parameters'][parameter] for rank in ranks)
        torch.testing.assert_close(summed, getattr(layer, parameter).grad, rtol=1e-4, atol=1e-4)
    for rank in ranks:
        assert list(rank[name]['state']) == list(layer.state_dict())
        for key, value in layer.state_dict().items():
            torch.testing.assert_close(rank[name]['state'][key], value, msg=key)


def test_a_process_without_images_takes_part(ranks):
    x = inputs()[0].requires_grad_()
    out = nn.BatchNorm2d(3)(x)
    weighted_by_position([out]).backward()
    torch.testing.assert_close(ranks[0]['empty'][0], out.detach())
    torch.testing.assert_close(ranks[0]['empty'][1], x.grad, rtol=1e-4, atol=1e-5)
    assert ranks[1]['empty'][1].shape == (0, 3, 5, 2)


def test_in_eval_mode_the_running_statistics_count(ranks):
    layer = nn.BatchNorm2d(3).eval()
    layer.load_state_dict(ranks[0]['equal shares']['state'])
    torch.testing.assert_close(ranks[0]['eval'], layer(inputs()[0]).detach())


def test_a_detector_trains_as_in_one_process_with_both_images(ranks, processes_module):
    """Losses are divided by the mean number of positives, so their mean is the loss of the whole batch."""
    whole = processes_module.train_once(processes_module.detector('BN'), processes_module.images())
    both = [rank['synchronised'] for rank in ranks]
    for name, value in whole['losses'].items():
        torch.testing.assert_close((both[0]['losses'][name] + both[1]['losses'][name]) / 2, value, rtol=1e-4, atol=1e-5)
    for name, value in whole['statistics'].items():
        for one in both:
            torch.testing.assert_close(one['statistics'][name], value, rtol=1e-4, atol=1e-5, msg=name)
    size = sum(g.pow(2).sum() for g in whole['gradients'].values()).sqrt()
    for one in both:  # DDP has averaged them
        off = sum((one['gradients'][n] - g).pow(2).sum() for n, g in whole['gradients'].items()).sqrt()
        assert off / size < 1e-3


def test_both_processes_draw_the_size_of_the_first(ranks):
    sizes = [rank['sizes'] for rank in ranks]
    assert sizes[0] == sizes[1]
    assert sizes[0][0] == (64, 64) and len(set(sizes[0])) > 2


def test_weights_are_averaged_alike_and_statistics_synchronised(ranks):
    results = [rank['averages'] for rank in ranks]
    steps = [result['raw'] for result in results]
    assert len(steps[0]) == 4
    for key in ('linear.weight', 'norm.bias'):
        average = torch.full((1, 2), 0.5) if key == 'linear.weight' else torch.zeros(2)
        for i, state in enumerate(steps[0]):
            m = 0.01 + 0.99 * math.exp(-(1 + i) / 4)
            average = (1 - m) * average + m * state[key]
        for result in results:
            torch.testing.assert_close(result['final'][key], average)
            torch.testing.assert_close(result['final'][f'ema_{key.replace(".", "_")}'], steps[0][-1][key])


def test_at_the_end_of_epochs_every_process_has_the_mean_of_the_statistics(ranks):
    results = [rank['averages'] for rank in ranks]
    for key in ('norm.running_mean', 'norm.running_var'):
        last = [result['raw'][-1][key] for result in results]  # each process saw other images
        assert not torch.allclose(*last)
        for result in results:  # between epochs the trained weights are in the other buffers
            torch.testing.assert_close(result['final'][f'ema_{key.replace(".", "_")}'], (last[0] + last[1]) / 2)
