"""Where checkpoints come from: files, addresses, model zoos. A server on this machine stands for the network."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import json
import os
import sys
import threading
import types
from urllib.parse import urlsplit

import pytest
import torch
from mmengine.model import initialize
from torch import nn

from mmdet_clone.engine import checkpoint_sources
from mmdet_clone.engine.checkpoint import load_checkpoint
from mmdet_clone.engine.checkpoint_sources import cache_path, find_url
from mmdet_clone.engine.safe_load import read_checkpoint


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = urlsplit(self.path).path
        self.server.asked.append(path)
        body, length = self.server.answers.get(path, (None, 0))
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header('Content-Length', str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """``server.put('/a.pth', b'...')`` gives an address; ``server.asked`` lists what was fetched."""
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.answers, server.asked = {}, []

    def put(path, body, length=None):
        server.answers[path] = body, len(body) if length is None else length
        return f'http://127.0.0.1:{server.server_port}{path}'

    server.put = put
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def content(tmp_path):
    torch.save(dict(state_dict=dict(weight=torch.ones(2, 3), bias=torch.zeros(2))), tmp_path / 'source.pth')
    return (tmp_path / 'source.pth').read_bytes()


def test_a_download_is_kept_and_used_again(server, content):
    url = server.put('/some/model.pth', content) + '?download=1'
    for _ in range(2):
        model = nn.Linear(3, 2)
        load_checkpoint(model, url, strict=True)
        assert torch.equal(model.weight, torch.ones(2, 3))
    assert server.asked == ['/some/model.pth']
    assert [path.name for path in cache_path(url).parent.iterdir()] == ['model.pth']


def test_init_cfg_takes_addresses_and_prefixes(server, tmp_path):
    torch.save({'backbone.weight': torch.ones(2, 3), 'neck.weight': torch.zeros(1)}, tmp_path / 'a.pth')
    url = server.put('/a.pth', (tmp_path / 'a.pth').read_bytes())
    model = nn.Linear(3, 2)
    initialize(model, dict(type='Pretrained', checkpoint=url, prefix='backbone'))
    assert torch.equal(model.weight, torch.ones(2, 3))


def test_files_of_one_name_at_two_addresses_are_two_files(server, tmp_path):
    for number in (1, 2):
        torch.save(dict(number=number), tmp_path / 'a.pth')
        server.put(f'/{number}/latest.pth', (tmp_path / 'a.pth').read_bytes())
    base = f'http://127.0.0.1:{server.server_port}'
    assert [read_checkpoint(f'{base}/{number}/latest.pth')['number'] for number in (1, 2)] == [1, 2]


def test_names_with_a_hash_are_kept_where_torch_and_mmcv_keep_them(server, content, capsys):
    digest = hashlib.sha256(content).hexdigest()[:8]
    url = server.put(f'/model_20200130-{digest}.pth', content)
    assert cache_path(url).parent.name == 'checkpoints'
    read_checkpoint(url)
    assert 'SHA-256' not in capsys.readouterr().out
    read_checkpoint(server.put('/model_20200130-0123abcd.pth', content))
    assert f'begins with 0123abcd, but it is {digest}' in capsys.readouterr().out
    assert cache_path('http://a/model-20200130.pth').parent.name != 'checkpoints'  # a date


def test_a_file_without_the_hash_of_its_name_is_not_given_to_who_asks_another_address(server, content, tmp_path):
    named = '/model-' + hashlib.sha256(content).hexdigest()[:8] + '.pth'
    torch.save(dict(state_dict=dict(weight=torch.full((2, 3), 6.0))), tmp_path / 'other.pth')
    forged = server.put('/forged' + named, (tmp_path / 'other.pth').read_bytes())
    real = server.put('/real' + named, content)
    for _ in range(2):
        assert read_checkpoint(forged)['state_dict']['weight'][0, 0] == 6
    assert read_checkpoint(real)['state_dict']['weight'][0, 0] == 1
    assert server.asked == ['/forged' + named, '/real' + named]


@pytest.mark.parametrize(
    ('body', 'length', 'error', 'message'),
    [
        (b'<html>please log in</html>', None, ValueError, 'is a web page'),
        (b'', None, ValueError, 'is empty'),
        (b'PK\x03\x04', 1000, ConnectionError, 'ended after 4 of 1000 bytes|IncompleteRead'),
    ],
)
def test_a_bad_answer_is_said_and_not_kept(server, body, length, error, message):
    url = server.put('/a.pth', body, length)
    with pytest.raises(error, match=message):
        read_checkpoint(url)
    assert not any(cache_path(url).parent.iterdir())


@pytest.mark.parametrize(
    ('body', 'message'), [(b'<html>please log in</html>', 'is a web page'), (b'\xff' * 6 + b'\0\0{}', 'is truncated')]
)
def test_a_bad_answer_for_safetensors_is_said_and_not_kept(server, body, message):
    url = server.put('/a.safetensors', body)
    with pytest.raises(ValueError, match=message):
        read_checkpoint(url)
    assert not any(cache_path(url).parent.iterdir())


def test_what_is_not_there_is_said_with_the_way_round(server):
    url = f'http://127.0.0.1:{server.server_port}/none.pth'
    with pytest.raises(
        ConnectionError, match=r'none\.pth: HTTP Error 404.*fetch .* elsewhere and put it at .*none\.pth'
    ):
        read_checkpoint(url)


def test_no_network_is_said_with_the_way_round(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    monkeypatch.setitem(
        checkpoint_sources.ZOOS, 'torchvision', lambda name, key: 'http://127.0.0.1:9/resnet50-0676ba61.pth'
    )
    with pytest.raises(ConnectionError, match=r'torchvision://resnet50.*refused.*local file'):
        read_checkpoint('torchvision://resnet50')


def test_a_file_address_is_a_path(tmp_path, content):
    (tmp_path / 'with space.pth').write_bytes(content)
    assert 'state_dict' in read_checkpoint((tmp_path / 'with space.pth').as_uri())
    with pytest.raises(FileNotFoundError, match=r'none\.pth does not exist.*holds source\.pth'):
        read_checkpoint((tmp_path / 'none.pth').as_uri())


def test_an_unknown_scheme_lists_the_known_ones():
    with pytest.raises(ConnectionError, match=r'cannot read nowhere://a.*torchvision://, .*timm://'):
        read_checkpoint('nowhere://a.pth')


@pytest.mark.parametrize(
    ('name', 'url'),
    [
        ('torchvision://resnet50', 'https://download.pytorch.org/models/resnet50-0676ba61.pth'),
        ('torchvision://resnet101', 'https://download.pytorch.org/models/resnet101-63fe2227.pth'),
        ('modelzoo://resnet18', 'https://download.pytorch.org/models/resnet18-f37072fd.pth'),
        ('torchvision://resnet50.imagenet1k_v2', 'https://download.pytorch.org/models/resnet50-11ad3fa6.pth'),
        ('torchvision://ResNet50_Weights.IMAGENET1K_V2', 'https://download.pytorch.org/models/resnet50-11ad3fa6.pth'),
        ('torchvision://resnet50.default', 'https://download.pytorch.org/models/resnet50-11ad3fa6.pth'),
        (
            'open-mmlab://detectron2/resnet50_caffe',
            'https://download.openmmlab.com/pretrain/third_party/resnet50_msra-5891d200.pth',
        ),
        (
            'open-mmlab://resnet50_caffe',
            'https://download.openmmlab.com/pretrain/third_party/resnet50_caffe-788b5fa3.pth',
        ),
        ('open-mmlab://vgg16_caffe', 'https://download.openmmlab.com/pretrain/third_party/vgg16_caffe-292e1171.pth'),
        ('https://a.b/c.pth', 'https://a.b/c.pth'),
    ],
)
def test_zoo_names_lead_to_the_published_files(name, url):
    assert find_url(name) == url


def test_every_zoo_name_that_mmdetection_configs_use_is_known(shared):
    configs = json.loads(gzip.decompress((shared / 'parity' / 'configs.json.gz').read_bytes()))

    def names(node):
        if isinstance(node, dict | list):
            for child in node.values() if isinstance(node, dict) else node:
                yield from names(child)
        elif isinstance(node, str) and node.startswith(('torchvision://', 'open-mmlab://', 'mmcls://')):
            yield node

    found = set(names(configs))
    assert len(found) > 30
    assert all(find_url(name).startswith('https://') for name in found)


def test_an_unknown_zoo_name_shows_near_ones():
    with pytest.raises(FileNotFoundError, match=r'near names: .*resnet50'):
        find_url('torchvision://resnet5O')
    with pytest.raises(FileNotFoundError, match=r'near names: .*resnet50\.imagenet1k_v2'):
        find_url('torchvision://resnet50.imagenet1k_v3')
    with pytest.raises(FileNotFoundError, match=r'near names: .*regnetx_3\.2gf'):
        find_url('open-mmlab://regnetx_3.2g')


@pytest.fixture
def timm(monkeypatch):
    """What of timm's interface is used, as its version 1.0 has it."""
    entry = dict(url=None, file=None, hf_hub_id=None, hf_hub_filename=None, has_weights=True)
    known = {
        'resnet50': types.SimpleNamespace(**{**entry, 'hf_hub_id': 'timm/resnet50.a1_in1k'}),
        'old': types.SimpleNamespace(**{**entry, 'url': 'https://a.b/old-0123abcd.pth'}),
        'empty': types.SimpleNamespace(**{**entry, 'has_weights': False}),
    }
    module = types.ModuleType('timm')
    module.get_pretrained_cfg, module.list_pretrained = known.get, lambda: list(known)
    monkeypatch.setitem(sys.modules, 'timm', module)


def test_timm_names_lead_to_the_files_that_timm_would_take(timm, monkeypatch):
    monkeypatch.delenv('HF_ENDPOINT', raising=False)
    hub = 'huggingface.co/timm/resnet50.a1_in1k/resolve/main/model.safetensors'
    assert find_url('timm://resnet50') == f'https://{hub}'
    assert find_url('timm://old') == 'https://a.b/old-0123abcd.pth'
    with pytest.raises(FileNotFoundError, match='near names: resnet50'):
        find_url('timm://resnet5')
    with pytest.raises(FileNotFoundError, match='no such model'):
        find_url('timm://empty')


def test_timm_absent_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, 'timm', None)
    with pytest.raises(ModuleNotFoundError, match='pip install timm'):
        find_url('timm://resnet50')


def test_safetensors_absent_is_said_and_present_are_read(tmp_path, monkeypatch):
    (tmp_path / 'a.safetensors').write_bytes(b'\x08\0\0\0\0\0\0\0{}      ')
    monkeypatch.setitem(sys.modules, 'safetensors.torch', None)
    with pytest.raises(ModuleNotFoundError, match='pip install safetensors'):
        read_checkpoint(tmp_path / 'a.safetensors')
    fake = types.ModuleType('safetensors.torch')
    fake.load_file = lambda path, device: dict(weight=torch.ones(1, device=device))
    monkeypatch.setitem(sys.modules, 'safetensors', types.ModuleType('safetensors'))
    monkeypatch.setitem(sys.modules, 'safetensors.torch', fake)
    assert read_checkpoint(tmp_path / 'a.safetensors')['weight'].item() == 1


def test_a_home_folder_in_a_path_is_found(tmp_path, content, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    assert 'state_dict' in read_checkpoint(os.path.join('~', 'source.pth'))
