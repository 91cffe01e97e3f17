"""Reading config files: inheritance, templates, and what goes wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmdet_clone.config import ConfigError, load_config

DATA = Path(__file__).parent / 'data'


@pytest.fixture
def write(tmp_path):
    """Write a config file below ``tmp_path`` and return its path."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def test_nested_bases_delete_and_base_variables():
    cfg = load_config(DATA / 'inherits.py')
    assert cfg.model.backbone.depth == 101
    assert cfg.model.backbone.type == 'ResNet'  # from two levels below
    assert cfg.model.neck == dict(type='PAFPN', num_outs=5)  # _delete_ dropped the base's other keys
    assert cfg.val_scale == (1333, 800)
    assert cfg.data.train.pipeline[0].img_scale == (1333, 800)
    assert cfg.data.val.pipeline == cfg.test_pipeline
    assert cfg.work_dir.endswith('tests/config/data/inherits')


def test_a_config_written_elsewhere_than_the_working_folder(write, monkeypatch):
    write('base/model.py', "model = dict(type='RPN')")
    path = write('sub/child.py', "_base_ = '../base/model.py'\nx = '{{ fileBasenameNoExtension }}'")
    monkeypatch.chdir('/')
    cfg = load_config(path)
    assert (cfg.model.type, cfg.x, cfg.filename) == ('RPN', 'child', str(path))


def test_environment_variables_in_templates(write, monkeypatch):
    path = write('c.py', "root = '{{$SOME_ROOT:data/coco}}/x'\nn = {{'$SOME_N:3'}}")
    assert (load_config(path).root, load_config(path).n) == ('data/coco/x', 3)
    monkeypatch.setenv('SOME_ROOT', '/mnt')
    assert load_config(path).root == '/mnt/x'


def test_yaml_and_json_configs(write):
    write('base.json', '{"model": {"type": "RPN"}, "optimizer": {"lr": 0.1}}')
    path = write('c.yaml', '_base_: ./base.json\noptimizer:\n  lr: 0.2\n')
    assert load_config(path).to_dict() == dict(model=dict(type='RPN'), optimizer=dict(lr=0.2))


def test_a_yaml_file_that_does_not_parse_is_named_with_the_line(write):
    with pytest.raises(ConfigError, match=r'bad.yaml: (.|\n)*line 2'):
        load_config(write('bad.yaml', 'a: 1\nb: [1\n'))


def test_imports_and_helpers_of_the_file_are_not_part_of_the_config(write):
    path = write(
        'c.py',
        'import numpy as np\nfrom math import sqrt\nfrom pathlib import Path\n_base_ = "./b.py"\n'
        'def double(x):\n    return 2 * x\n'
        'mean = np.array([1.0, 2.0]) * double(2)\nscale = np.float32(0.5)\nroot = Path("data") / "coco"\nr = sqrt(4)\n',
    )
    write('b.py', 'a = 1')
    cfg = load_config(path).to_dict()
    assert cfg == dict(a=1, mean=[4.0, 8.0], scale=0.5, root='data/coco', r=2.0)
    assert type(cfg['mean']) is list and type(cfg['scale']) is float


def test_references_to_other_values(write):
    path = write(
        'c.py',
        "depth = 18\nmodel = dict(backbone=dict(depth='${depth}'), name='r${depth}')\n"
        "copy = '${model.backbone}'\nsteps = [dict(type='A'), dict(type='B')]\nlast = '${steps.1.type}'\n",
    )
    cfg = load_config(path)
    assert cfg.model == dict(backbone=dict(depth=18), name='r18')
    assert cfg['copy'] == dict(depth=18)
    assert cfg.last == 'B'


def test_a_reference_to_nothing_names_the_keys_there_are(write):
    with pytest.raises(ValueError, match=r'\$\{model.neck\}.*no \'neck\'.*backbone'):
        load_config(write('c.py', "model = dict(backbone=1)\nx = '${model.neck}'"))
    with pytest.raises(ValueError, match='refers to itself'):
        load_config(write('d.py', "a = '${b}'\nb = '${a}'"))


def test_datasets_root_from_the_environment(write, monkeypatch):
    path = write('c.py', "data_root = 'data/coco/'\ndata = dict(train=dict(type='X', ann_file=data_root + 'a.json'))")
    monkeypatch.setenv('MMDET_DATASETS', '/mnt/coco/')
    assert load_config(path).data.train.ann_file == '/mnt/coco/a.json'


def test_missing_config_names_near_files(write):
    path = write('faster_rcnn_r50.py', 'a = 1')
    with pytest.raises(
        FileNotFoundError, match=r'faster_rcnn_r05.py does not exist.*Did you mean .*faster_rcnn_r50.py'
    ):
        load_config(path.with_name('faster_rcnn_r05.py'))
    with pytest.raises(FileNotFoundError, match=r'is a folder: give a file.*faster_rcnn_r50.py'):
        load_config(path.parent)
    with pytest.raises(FileNotFoundError, match=f'folder {path.parent} exists'):
        load_config(path.parent / 'nowhere' / 'c.py')


def test_missing_base_names_the_file_that_asks_and_near_files(write):
    write('models/retinanet_r50_fpn.py', 'a = 1')
    middle = write('middle.py', "_base_ = ['./models/retinanet_r50_fnp.py']")
    path = write('c.py', "_base_ = './middle.py'")
    with pytest.raises(FileNotFoundError, match=r'retinanet_r50_fnp.py does not exist') as error:
        load_config(path)
    assert f'named in _base_ of {middle}' in str(error.value)
    assert f'Did you mean {path.parent / "models/retinanet_r50_fpn.py"}?' in str(error.value)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('a = 1\nmodel = dict(type="X"\nb = 2\n', r'bad.py, line 2'),
        ('a = 1\nb = a + c\n', r"bad.py, line 2: NameError: name 'c'"),
        ('a = 1\n_base_ = [x]\n', r'bad.py, line 2: _base_ is evaluated before the rest'),
        ('with read_base():\n    from .x import *\n', r"bad.py, line 1: 'with read_base\(\)' belongs to mmengine"),
        ("_base_ = 'mmdet::rpn/rpn.py'\n", 'bases inside packages are not supported'),
        ("_base_ = './bad.py'\n", 'inherits from itself'),
    ],
)
def test_a_file_that_cannot_be_evaluated_is_named_with_the_line(write, text, message):
    path = write('bad.py', text)
    with pytest.raises(ConfigError, match=message):
        load_config(path)


def test_an_error_in_a_base_file_names_the_base_file(write):
    write('b.py', 'x = 1\ny = undefined\n')
    with pytest.raises(ConfigError, match=r'/b.py, line 2: NameError'):
        load_config(write('c.py', "_base_ = './b.py'"))


def test_bases_that_set_the_same_key(write):
    write('a.py', 'model = 1')
    write('b.py', 'model = 2')
    with pytest.raises(ConfigError, match=r'Duplicate key .*model.*its bases: .*a.py, .*b.py'):
        load_config(write('c.py', "_base_ = ['./a.py', './b.py']"))


@pytest.mark.parametrize(
    ('text', 'key', 'counterpart'),
    [
        ('train_dataloader = dict(batch_size=2)', 'train_dataloader', 'samples_per_gpu'),
        ("optim_wrapper = dict(optimizer=dict(type='SGD'))", 'optim_wrapper', 'optimizer'),
        ("param_scheduler = [dict(type='LinearLR')]", 'param_scheduler', 'lr_config'),
        ('default_hooks = dict(timer=dict())', 'default_hooks', 'checkpoint_config'),
        ('train_cfg = dict(by_epoch=True, max_epochs=12)', 'train_cfg', 'runner'),
        ("test_cfg = dict(type='TestLoop')", 'test_cfg', r'data=dict\(test='),
        ("val_evaluator = dict(type='CocoMetric')", 'val_evaluator', 'evaluation'),
        ('resume = True', 'resume', 'resume_from'),
        ("model = dict(data_preprocessor=dict(type='X'))", 'model.data_preprocessor', 'Normalize'),
    ],
)
def test_keys_of_mmengines_dialect_are_refused_with_the_2x_key(write, text, key, counterpart):
    path = write('c.py', text)
    with pytest.raises(ValueError, match=f'{key} -> .*{counterpart}') as error:
        load_config(path)
    assert str(path) in str(error.value)


def test_keys_of_mmengines_dialect_are_refused_on_the_command_line(write):
    path = write('c.py', "model = dict(type='RPN', train_cfg=dict(rpn=dict(debug=False)))")
    with pytest.raises(ValueError, match=r'--cfg-options.*\n.*train_dataloader.batch_size -> data.samples_per_gpu'):
        load_config(path, {'train_dataloader.batch_size': 4})
    with pytest.raises(ValueError, match=r'train_cfg.max_epochs -> runner.max_epochs'):
        load_config(path, {'train_cfg.max_epochs': 4})
    assert load_config(path, {'train_cfg.rpn.debug': True}).model.train_cfg.rpn.debug is True  # 1.x, not mmengine
