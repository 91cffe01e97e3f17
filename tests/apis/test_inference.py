"""From a config and a checkpoint to results and pictures."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import tiny_detector
import torch
from mmengine.config import Config

from mmdet_clone import apis
from mmdet_clone.apis import inference_detector, init_detector, show_result
from mmdet_clone.apis.inference import choose_device, without_pretrained
from mmdet_clone.engine import save_checkpoint

pytestmark = pytest.mark.filterwarnings('ignore:no checkpoint')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return tiny_detector.make_data(tmp_path_factory.mktemp('tiny'), 1, 3)


@pytest.fixture(scope='module')
def config(data):
    return tiny_detector.write_config(data / 'tiny.py', data)


@pytest.fixture(scope='module')
def model(config):
    torch.manual_seed(0)
    return init_detector(config, cfg_options={'model.test_cfg.rcnn.score_thr': 0.0})


def assert_same(a, b):
    for x, y in zip(a[0], b[0], strict=True):
        np.testing.assert_array_equal(x, y)
    for x, y in zip(a[1], b[1], strict=True):
        np.testing.assert_array_equal(np.array(x), np.array(y))


def test_api_names_are_importable_and_listed():
    assert {*apis.__all__} <= {*dir(apis)}
    for name in apis.__all__:
        assert callable(getattr(apis, name))
    with pytest.raises(AttributeError, match='no_such_name'):
        apis.no_such_name  # noqa: B018


def test_result_is_boxes_and_masks_by_class_in_pixels_of_the_image(model, data):
    boxes, masks = inference_detector(model, str(data / 'val' / 'val_0.png'))
    assert len(boxes) == len(masks) == 2
    assert sum(len(b) for b in boxes) == 10  # max_per_img of the config, for every box passes a threshold of 0
    for per_class, masks_of_class in zip(boxes, masks):
        assert per_class.dtype == np.float32 and per_class.shape[1] == 5
        assert (per_class[:, :4] >= 0).all() and (per_class[:, :4] <= 96).all()
        assert len(masks_of_class) == len(per_class)
        assert all(m.shape == (96, 96) and m.dtype == bool for m in masks_of_class)


def test_path_and_array_give_the_same(model, data):
    path = data / 'val' / 'val_1.png'
    assert_same(inference_detector(model, path), inference_detector(model, cv2.imread(str(path))))


def test_list_gives_a_list_in_its_order_whatever_its_kinds_and_sizes(model, data):
    paths = [data / 'val' / f'val_{i}.png' for i in range(3)]
    wide = cv2.resize(cv2.imread(str(paths[0])), (192, 96))
    results = inference_detector(model, [str(paths[0]), cv2.imread(str(paths[1])), wide, paths[2]])
    assert len(results) == 4
    for result, img in zip(results, [paths[0], paths[1], wide, paths[2]]):
        assert_same(result, inference_detector(model, img))
    assert results[2][1][0] == [] or results[2][1][0][0].shape == (96, 192)
    assert inference_detector(model, []) == []


def test_grey_and_transparent_arrays_are_taken(model):
    for channels in ((), (1,), (4,)):
        boxes, _ = inference_detector(model, np.full((96, 96, *channels), 90, dtype=np.uint8))
        assert len(boxes) == 2


def test_model_keeps_its_mode_and_batch_size_does_not_change_results(config, model, data):
    paths = [data / 'val' / f'val_{i}.png' for i in range(3)]
    batched = init_detector(config, cfg_options={'model.test_cfg.rcnn.score_thr': 0.0, 'data.test.samples_per_gpu': 2})
    batched.load_state_dict(model.state_dict())
    batched.train()
    for a, b in zip(inference_detector(batched, paths), inference_detector(model, paths), strict=True):
        for x, y in zip(a[0], b[0], strict=True):
            np.testing.assert_allclose(x, y, atol=1e-3)
    assert batched.training


def test_bad_images_are_named(model, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no such image: .*gone\.jpg'):
        inference_detector(model, 'gone.jpg')
    with pytest.raises(ValueError, match=r'shape \(5, 5, 7\)'):
        inference_detector(model, np.zeros((5, 5, 7), np.uint8))
    with pytest.raises(TypeError, match='path or a BGR array'):
        inference_detector(model, [3])


def test_class_names_and_colours_come_from_the_checkpoint_first(config, model, tmp_path):
    meta = dict(CLASSES=('round', 'edgy'), PALETTE=[(1, 2, 3), (4, 5, 6)])
    save_checkpoint(model, tmp_path / 'a.pth', meta=meta)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        loaded = init_detector(config, tmp_path / 'a.pth')
    assert tuple(loaded.CLASSES) == ('round', 'edgy') and [tuple(c) for c in loaded.PALETTE] == [(1, 2, 3), (4, 5, 6)]
    torch.testing.assert_close(loaded.state_dict(), model.state_dict())


def checkpoint_without_names(model, path):
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return path


def test_class_names_come_from_the_config_next_with_a_warning(config, model, tmp_path):
    path = checkpoint_without_names(model, tmp_path / 'a.pth')
    with pytest.warns(UserWarning, match=r'holds no class names: taking the 2 names of data\.test\.classes'):
        assert init_detector(config, path).CLASSES == ('disc', 'square')


def test_class_names_are_never_silently_those_of_coco(data, model, tmp_path):
    path = checkpoint_without_names(model, tmp_path / 'a.pth')
    cfg = tiny_detector.write_config(tmp_path / 'c.py', data, "\ndel data['test']['classes']\n")
    with pytest.warns(UserWarning, match='CocoDataset has 80 names, the model 2 classes'):
        assert init_detector(cfg, path).CLASSES == ('class 0', 'class 1')


def test_config_may_be_loaded_already_and_is_left_as_it_was(config):
    cfg = Config.fromfile(config)
    text = cfg.pretty_text
    model = init_detector(cfg, cfg_options={'model.test_cfg.rcnn.max_per_img': 3})
    assert model.cfg.model.test_cfg.rcnn.max_per_img == 3
    assert cfg.pretty_text == text
    with pytest.raises(TypeError, match='file or a mmengine Config'):
        init_detector(3)


def test_missing_files_are_named(config):
    with pytest.raises(FileNotFoundError, match=r'gone\.py'):
        init_detector('gone.py')
    with pytest.raises(FileNotFoundError, match=r'gone\.pth'):
        init_detector(config, 'gone.pth')


def test_a_checkpoint_with_code_needs_trust(config, model, tmp_path):
    torch.save(
        dict(state_dict=model.state_dict(), meta=dict(CLASSES=('a', 'b')), extra=SimpleNamespace()), tmp_path / 'a'
    )
    with pytest.raises(ValueError, match='trust=True'):
        init_detector(config, tmp_path / 'a')
    assert init_detector(config, tmp_path / 'a', trust=True).CLASSES == ('a', 'b')


def test_cuda_where_there_is_none_says_use_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert choose_device(None).type == 'cpu'
    with pytest.raises(ValueError, match="device='cpu'"):
        choose_device('cuda:0')


def test_weights_of_parts_are_not_fetched_when_the_whole_has_a_checkpoint():
    pretrained = dict(type='Pretrained', checkpoint='torchvision://resnet50')
    normal = dict(type='Normal', layer='Conv2d')
    cfg = dict(pretrained='x.pth', backbone=dict(init_cfg=pretrained), neck=dict(init_cfg=[normal, pretrained]))
    stripped = without_pretrained(cfg)
    assert stripped == dict(pretrained=None, backbone=dict(init_cfg=None), neck=dict(init_cfg=[normal]))
    assert cfg['backbone']['init_cfg'] is pretrained


def test_pictures_of_results(model, data, tmp_path):
    path = data / 'val' / 'val_0.png'
    result = (
        [np.array([[10, 10, 60, 60, 0.9]], np.float32), np.zeros((0, 5), np.float32)],
        [[np.ones((96, 96), bool)], []],
    )
    drawn = show_result(path, result, model.CLASSES, score_thr=0.5, out_file=tmp_path / 'out' / 'a.png')
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / 'out' / 'a.png')), drawn)
    assert (drawn != cv2.imread(str(path))).any()
    np.testing.assert_array_equal(show_result(path, result, model.CLASSES, score_thr=0.95), cv2.imread(str(path)))
    model.show_result(str(path), result, out_file=str(tmp_path / 'b.jpg'))
    assert (tmp_path / 'b.jpg').is_file()


@pytest.mark.filterwarnings('ignore:.*non-interactive')
def test_pyplot_shows_what_show_result_draws(model, data, tmp_path):
    path = str(data / 'val' / 'val_0.png')
    apis.show_result_pyplot(model, path, inference_detector(model, path), out_file=tmp_path / 'p.png')
    import matplotlib.pyplot as plt

    assert plt.gcf().axes[0].images[0].get_array().shape == (96, 96, 3)
    plt.close('all')
    assert (tmp_path / 'p.png').is_file()
