"""browse_dataset, get_flops and the demos, run as their command lines run them."""

from __future__ import annotations

import importlib.util
import sys
from types import SimpleNamespace

import cv2
import pytest
import tiny_detector

from mmdet_clone.config import load_config
from mmdet_clone.engine import save_checkpoint
from mmdet_clone.models import build_detector


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp('tiny')
    data = tiny_detector.make_data(folder / 'data', num_train=2, num_val=1)
    extra = "\ndata['train'] = dict(type='RepeatDataset', times=2, dataset=data['train'])\n"
    config = tiny_detector.write_config(folder / 'tiny.py', data, extra)
    save_checkpoint(
        build_detector(load_config(config).model), folder / 'tiny.pth', meta=dict(CLASSES=('disc', 'square'))
    )
    return SimpleNamespace(config=config, checkpoint=folder / 'tiny.pth', image=data / 'val' / 'val_0.png')


def run_main(monkeypatch, module, *argv):
    monkeypatch.setattr(sys, 'argv', ['tool', *map(str, argv)])
    module.main()


@pytest.fixture
def load_demo(root):
    def load(name):
        spec = importlib.util.spec_from_file_location(name, root / 'demo' / f'{name}.py')
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def test_browse_draws_every_sample_of_a_wrapped_dataset(load_tool, monkeypatch, tiny, tmp_path):
    tool = load_tool('misc/browse_dataset')
    run_main(monkeypatch, tool, tiny.config, '--output-dir', tmp_path, '--not-show')
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ['train_0.jpg', 'train_0_2.jpg', 'train_1.jpg', 'train_1_2.jpg']
    assert cv2.imread(str(tmp_path / 'train_0.jpg')).max() > 60  # brighter than the noise that the shapes lie on


def test_browse_needs_somewhere_to_show(load_tool, monkeypatch, tiny, capsys):
    with pytest.raises(SystemExit):
        run_main(monkeypatch, load_tool('misc/browse_dataset'), tiny.config, '--not-show')
    assert '--output-dir' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run_main(monkeypatch, load_tool('misc/browse_dataset'), tiny.config, '--number', '0')
    assert '--number must be 1 or more' in capsys.readouterr().err


def test_flops_of_a_convolution_are_its_multiply_adds(load_tool):
    from torch import nn

    class OneConv(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, padding=1)

        def forward(self, img, mode):
            return self.conv(img)

    # each of 10 x 20 positions and 8 channels: 3 x 3 x 3 multiply-adds
    assert load_tool('analysis_tools/get_flops').count(OneConv(), (1, 3, 10, 20)) == {'': 43200, 'conv': 43200}


def test_get_flops_rounds_the_shape_up_and_lists_the_parts(load_tool, monkeypatch, tiny, capsys):
    run_main(monkeypatch, load_tool('analysis_tools/get_flops'), tiny.config, '--shape', '90', '70')
    out = capsys.readouterr().out
    assert 'Input shape: (3, 96, 96)' in out and 'GFLOPs' in out and 'roi_head' in out


def test_image_demo_writes_the_picture_and_lists_the_objects(load_demo, monkeypatch, tiny, tmp_path, capsys):
    arguments = [tiny.image, tiny.config, tiny.checkpoint, '--out-file', tmp_path / 'out.png', '--score-thr', 0.0]
    run_main(monkeypatch, load_demo('image_demo'), *arguments, '--palette', 'random')
    assert cv2.imread(str(tmp_path / 'out.png')).shape == (96, 96, 3)
    assert 'out.png' in capsys.readouterr().out


def test_video_demo_writes_each_frame(load_demo, monkeypatch, tiny, tmp_path):
    video, out = tmp_path / 'in.avi', tmp_path / 'out.avi'
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*'MJPG'), 5, (96, 96))
    for _ in range(3):
        writer.write(cv2.imread(str(tiny.image)))
    writer.release()
    run_main(monkeypatch, load_demo('video_demo'), video, tiny.config, tiny.checkpoint, '--out', out)
    assert cv2.VideoCapture(str(out)).get(cv2.CAP_PROP_FRAME_COUNT) == 3


def test_video_demo_refuses_what_it_cannot_read(load_demo, monkeypatch, tiny, tmp_path, capsys):
    (tmp_path / 'no.avi').write_text('no video')
    arguments = [tiny.config, tiny.checkpoint, '--out', tmp_path / 'out.avi']
    with pytest.raises(SystemExit, match='not a video'):
        run_main(monkeypatch, load_demo('video_demo'), tmp_path / 'no.avi', *arguments)
    with pytest.raises(SystemExit):
        run_main(monkeypatch, load_demo('video_demo'), tmp_path / 'gone.avi', *arguments)
    assert 'no such video' in capsys.readouterr().err
