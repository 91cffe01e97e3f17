"""What a user may give wrong: told by tools/train.py and tools/test.py, and by the API, before the first iteration."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import pytest
import tiny_detector
import torch
from PIL import Image

from mmdet_clone.apis import init_detector
from mmdet_clone.config import load_config
from mmdet_clone.engine import save_checkpoint
from mmdet_clone.models import build_detector

XYXY = 'looks like x1y1x2y2: the format asks for [x, y, width, height]'


@pytest.fixture(scope='module')
def good(tmp_path_factory):
    """A data set, a config and a checkpoint with which all is well."""
    folder = tmp_path_factory.mktemp('good')
    data = tiny_detector.make_data(folder / 'data', 4, 3)
    config = tiny_detector.write_config(folder / 'tiny.py', data)
    model = build_detector(load_config(config).model)
    save_checkpoint(model, folder / 'good.pth', meta=dict(CLASSES=tiny_detector.CLASSES))
    return SimpleNamespace(data=data, config=config, checkpoint=folder / 'good.pth')


@pytest.fixture
def spoil(good, tmp_path):
    """``spoil(change, split)``: a config for a copy of the data, its annotations and folder put through ``change``."""

    def make(change, split='train', extra='') -> Path:
        folder = tmp_path / 'data'
        shutil.copytree(good.data, folder)
        content = json.loads((folder / f'{split}.json').read_text())
        change(content, folder / split)
        (folder / f'{split}.json').write_text(json.dumps(content))
        return tiny_detector.write_config(tmp_path / 'spoilt.py', folder, extra)

    return make


@pytest.fixture
def fails_early(run_tool, tmp_path):
    """``fails_early(error, fragments, 'train', config, ...)``: a tool raises ``error`` and has run no iteration."""

    def run(error, fragments, tool, *arguments):
        run_dir = tmp_path / 'run'
        with pytest.raises(error) as raised:
            run_tool(tool, *arguments, '--work-dir', run_dir)
        for fragment in fragments:
            assert fragment in str(raised.value)
        # the json log begins when the first iteration does, figures and results are written after the last
        assert not [p for p in run_dir.glob('*') if p.name.endswith(('.log.json', '.pth', '.pkl')) or 'eval' in p.name]
        return str(raised.value)

    return run


def annotations(**changes):
    """A change of the first annotation."""
    return lambda content, _: content['annotations'][0].update(**changes)


def same_ids(content, _):
    for annotation in content['annotations'][:3]:
        annotation['id'] = 3


def corners(content, _):
    for annotation in content['annotations']:
        x, y, w, h = annotation['bbox']
        annotation['bbox'] = [x, y, x + w, y + h]


def without_masks(content, _):
    for annotation in content['annotations']:
        del annotation['segmentation']


def crowds_and_nothing(content, _):
    content['images'].append(dict(id=99, file_name='none.png', width=96, height=96))
    for annotation in content['annotations']:
        annotation['iscrowd'] = 1


@pytest.mark.parametrize(
    ('change', 'fragments'),
    [
        (annotations(category_id=77), ['1 annotations have a category_id', 'annotation 0: 77', 'Defined ids: 1, 2']),
        (same_ids, ['1 duplicate annotation ids, first [3]', 'renumber']),
        (annotations(bbox=[10, float('nan'), 5, 8]), ['1 of 8 boxes are not four finite', 'annotation 0', 'nan']),
        (corners, ['reach outside their image', 'annotation 1 of train_0.png', XYXY]),
        (without_masks, ['with_mask=True', "8 of 8 annotations have no 'segmentation'", 'add polygons']),
        (crowds_and_nothing, ['none of its 5 images', '4 with crowd or ignored regions only; 1 without annotation']),
    ],
)  # fmt: skip
def test_annotations_that_cannot_be_trained_on(fails_early, spoil, change, fragments):
    message = fails_early(ValueError, fragments, 'train', spoil(change))
    assert message.startswith('data.train: ') and 'train.json' in message


def test_a_mask_of_another_size_than_its_image_is_told_before_training(fails_early, spoil):
    fragments = ['data.train: the mask of annotation 0', 'train_0.png', '[50, 80]', '[96, 96]', 'size of the RLE']
    wrong = annotations(segmentation=dict(size=[50, 80], counts=[4000]))
    fails_early(ValueError, fragments, 'train', spoil(wrong))


def test_a_polygon_beyond_its_image_is_cut_at_the_border(run_tool, spoil, tmp_path):
    config = spoil(annotations(segmentation=[[10, 10, 150, 10, 150, 60]]))
    runner = run_tool('train', config, '--work-dir', tmp_path / 'run', '--no-validate')
    assert runner.iter == 4


def add_a_category(content, _):
    content['categories'].append(dict(id=9, name='star'))
    content['annotations'].append({**content['annotations'][0], 'id': 99, 'category_id': 9})


def test_a_category_added_between_annotation_files_is_a_line_of_the_log(run_tool, spoil, tmp_path):
    run_tool('train', spoil(add_a_category, 'val'), '--work-dir', tmp_path / 'run')
    log = next((tmp_path / 'run').glob('*.log')).read_text()
    assert "only data.val has category 'star'; data.train has not" in log and 'bbox_mAP' in log


def replace_image(name, form, mode, **options):
    def change(_, folder):
        with Image.open(folder / name) as image:
            image.convert(mode).save(folder / name, form, **options)

    return change


def sixteen_bit(_, folder):
    path = str(folder / 'train_2.png')
    cv2.imwrite(path, cv2.imread(path).astype('uint16') * 257)


def animated(_, folder):
    with Image.open(folder / 'train_2.png') as image:
        image.save(folder / 'train_2.png', save_all=True, append_images=[image.rotate(90)])


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (sixteen_bit, 'kind "16-bit image"'),
        (replace_image('train_2.png', 'JPEG', 'CMYK'), 'kind "CMYK image"'),
        (animated, 'kind "animated image"'),
        (replace_image('train_2.png', 'PNG', 'L'), None),
        (replace_image('train_2.png', 'PNG', 'RGBA'), None),
    ],
)
def test_images_of_unusual_kinds_are_trained_on_and_those_that_lose_by_it_are_told(
    run_tool, spoil, tmp_path, change, said
):
    runner = run_tool('train', spoil(change), '--work-dir', tmp_path / 'run', '--no-validate')
    log = next((tmp_path / 'run').glob('*.log')).read_text()
    assert runner.iter == 4 and (said is None or said in log)
    assert ('WARNING' in log) is (said is not None)


def test_a_box_of_negative_size_is_a_line_of_the_log_and_training_goes_on(run_tool, spoil, tmp_path):
    config = spoil(annotations(bbox=[10, 10, -5, 8]))
    run_tool('train', config, '--work-dir', tmp_path / 'run', '--no-validate')
    log = next((tmp_path / 'run').glob('*.log')).read_text()
    line = next(i for i, line in enumerate(log.splitlines()) if 'WARNING' in line)
    assert 'of 8 boxes 0 reach outside their image and 1 have a width or height of zero' in log.splitlines()[line]
    assert 'annotation 0 of train_0.png: [10.0, 10.0, -5.0, 8.0]' in log.splitlines()[line + 1]
    assert 'warnings.warn' not in log and 'Epoch [1][4/4]' in log


@pytest.mark.parametrize(
    ('lines', 'error', 'fragments'),
    [
        ("data[s]['classes'] = 'disc'", TypeError, ["data.train.classes is the text 'disc'", "('disc',)"]),
        ("data[s]['classes'] = {'disc', 'square'}", TypeError, ['data.train.classes is the set', 'tuple or list']),
        ("data[s]['classes'] = ('disk', 'square')", ValueError, ["'disk' (did you mean 'disc'?)", 'train.json']),
        ("data['val']['classes'] = ('square', 'disc')", ValueError, ["data.val.classes = ('square', 'disc')"]),
        ("data[s].pop('classes')", ValueError, ['80 classes are not in', "categories are 'disc', 'square'"]),
    ],
)  # fmt: skip
def test_class_names_that_cannot_be_meant(fails_early, good, tmp_path, lines, error, fragments):
    extra = f"\nfor s in ('train', 'val', 'test'):\n    {lines}\n"
    fails_early(error, fragments, 'train', tiny_detector.write_config(tmp_path / 'c.py', good.data, extra))


def test_class_lists_of_files_that_differ(fails_early, good, tmp_path):
    """The names of a file are known when the data sets are built."""
    (tmp_path / 'a.txt').write_text('disc\nsquare\n')
    (tmp_path / 'b.txt').write_text('square\ndisc\n')
    files = [str(tmp_path / name) for name in ('a.txt', 'b.txt')]
    extra = f"\ndata['train']['classes'], data['val']['classes'] = {files}\n"
    fragments = ['the classes of data.train and data.val', "class 0 is 'disc' in one and 'square' in the other"]
    fails_early(ValueError, fragments, 'train', tiny_detector.write_config(tmp_path / 'c.py', good.data, extra))


def test_every_head_with_another_number_of_classes_is_listed(fails_early, good):
    wrong = ['model.roi_head.bbox_head.num_classes=80', 'model.roi_head.mask_head.num_classes=81']
    fragments = ['2 classes (disc, square)', 'Set num_classes=2 at:', *wrong]
    fails_early(ValueError, fragments, 'train', good.config, '--cfg-options', *wrong)
    fails_early(ValueError, ['num_classes=2', wrong[0]], 'test', good.config, good.checkpoint, '--eval', 'bbox',
                '--cfg-options', wrong[0])  # fmt: skip


def remove(name):
    return lambda _, folder: (folder / name).unlink()


def cut(name, length):
    return lambda _, folder: (folder / name).write_bytes((folder / name).read_bytes()[:length])


def resize(name):
    return lambda _, folder: cv2.imwrite(str(folder / name), cv2.resize(cv2.imread(str(folder / name)), (50, 80)))


@pytest.mark.parametrize('tool', ['train', 'test'])
@pytest.mark.parametrize(
    ('change', 'error', 'fragments'),
    [
        (remove, FileNotFoundError, ["the path is img_prefix '", "+ the file name '", 'data_root']),
        (lambda name: cut(name, 3000), ValueError, ['cannot read the image', '3000 bytes', 'truncated']),
        (lambda name: cut(name, 0), ValueError, ['cannot read the image', 'the file is empty']),
        (resize, ValueError, ['is 50 x 80 pixels', 'its annotation says 96 x 96']),
    ],
)
def test_images_that_do_not_fit_the_annotations(fails_early, spoil, good, tool, change, error, fragments):
    split = 'train' if tool == 'train' else 'val'
    config = spoil(change(f'{split}_2.png'), split)
    arguments = [] if tool == 'train' else [good.checkpoint, '--eval', 'bbox']
    message = fails_early(error, fragments, tool, config, *arguments)
    assert message.startswith(f'data.{tool}: ') and f'{split}_2.png' in message


def test_images_of_validation_are_looked_at_before_training(fails_early, spoil):
    fails_early(FileNotFoundError, ['data.val: ', 'val_1.png'], 'train', spoil(remove('val_1.png'), 'val'))


@pytest.mark.parametrize(
    ('option', 'fragments'),
    [
        ('data.train.ann_file=gone.json', ['data.train: ann_file: no such file', 'gone.json', 'working directory']),
        ('data.val.img_prefix=gone/', ['data.val: img_prefix: no such folder', 'gone/']),
        ('load_from=gone.pth', ['load_from names a checkpoint that does not exist: gone.pth', 'looked in']),
        ('resume_from=gone.pth', ['resume_from names a checkpoint']),
        ('model.pretrained=gone.pth', ['model.pretrained names a checkpoint']),
    ],
)  # fmt: skip
def test_files_that_are_not_there(fails_early, good, option, fragments):
    fails_early(FileNotFoundError, fragments, 'train', good.config, '--cfg-options', option)


def test_configs_and_bases_that_are_not_there(fails_early, good, tmp_path):
    near = f'Did you mean {good.config}?'
    gone = good.config.with_name('tinny.py')
    for tool, arguments in (('train', []), ('test', [good.checkpoint, '--eval', 'bbox'])):
        fails_early(FileNotFoundError, [f'config file {gone} does not exist', near], tool, gone, *arguments)
    child = tmp_path / 'child.py'
    child.write_text(f"_base_ = '{gone}'\n")
    fails_early(FileNotFoundError, [f'base file {gone}', f'named in _base_ of {child}', near], 'train', child)


def test_checkpoints_that_are_not_there_or_are_none(fails_early, good):
    fails_early(FileNotFoundError, ['no such checkpoint: gone.pth'], 'test', good.config, 'gone.pth', '--eval', 'bbox')
    wrong = [good.config, good.config, '--eval', 'bbox']
    fails_early(ValueError, [f'checkpoint {good.config}'], 'test', *wrong)
    with pytest.raises(FileNotFoundError, match=r'gone\.pth'):
        init_detector(good.config, 'gone.pth')
    with pytest.raises(FileNotFoundError, match=r'config file gone\.py does not exist'):
        init_detector('gone.py', good.checkpoint)


@pytest.mark.parametrize(
    ('tool', 'options'), [('train', ['--work-dir']), ('test', ['--work-dir']), ('test', ['--show-dir'])]
)
def test_folders_that_cannot_be_written_to(run_tool, good, tmp_path, tool, options):
    (tmp_path / 'a_file').touch()
    arguments = [] if tool == 'train' else [good.checkpoint, '--eval', 'bbox']
    with pytest.raises(OSError, match=rf'cannot write to .*a_file/run .* by {options[0]}'):
        run_tool(tool, good.config, *arguments, *options, tmp_path / 'a_file' / 'run')


@pytest.mark.parametrize(
    ('options', 'fragments'),
    [
        (['evaluation.metric=mAP'], ["CocoDataset has no metric 'mAP'; it has bbox, segm"]),
        (['evaluation.claswise=True'], ["does not take 'claswise' (did you mean 'classwise'?)"]),
        (['evaluation.save_best=mAP'], ["evaluation.save_best='mAP' is not among", 'bbox_mAP, bbox_mAP_50']),
        (['data.samples_per_gpu=0'], ['samples_per_gpu', 'must be 1 or more']),
    ],
)  # fmt: skip
def test_settings_that_would_fail_after_the_first_epoch(fails_early, good, options, fragments):
    fails_early(ValueError, fragments, 'train', good.config, '--cfg-options', *options)


@pytest.mark.parametrize(
    ('options', 'fragments'),
    [
        (['--eval', 'mAP'], ["--eval and --eval-options: CocoDataset has no metric 'mAP'"]),
        (['--eval', 'bbox', '--eval-options', 'clasw=1'], ["does not take 'clasw' (did you mean 'classwise'?)"]),
    ],
)
def test_measures_that_there_are_not_are_told_before_testing(fails_early, good, options, fragments):
    fails_early(ValueError, fragments, 'test', good.config, good.checkpoint, *options)


def test_a_checkpoint_with_code_needs_trust(fails_early, run_tool, good, tmp_path):
    content = torch.load(good.checkpoint, weights_only=False)
    torch.save({**content, 'extra': SimpleNamespace()}, tmp_path / 'odd.pth')
    options = ['--no-validate', '--cfg-options', f'load_from={tmp_path / "odd.pth"}']
    fails_early(ValueError, ['types.SimpleNamespace', '--trust-checkpoint'], 'train', good.config, *options)
    runner = run_tool('train', good.config, '--work-dir', tmp_path / 'trusted', '--trust-checkpoint', *options)
    assert runner.iter == 4


def test_weights_of_a_part_need_trust_too(fails_early, run_tool, good, tmp_path):
    backbone = build_detector(load_config(good.config).model).backbone
    torch.save({'state_dict': backbone.state_dict(), 'extra': SimpleNamespace()}, tmp_path / 'odd.pth')
    init = f"\nmodel['backbone']['init_cfg'] = dict(type='Pretrained', checkpoint={str(tmp_path / 'odd.pth')!r})\n"
    config = tiny_detector.write_config(tmp_path / 'c.py', good.data, init)
    with pytest.raises(ValueError, match='--trust-checkpoint'):
        run_tool('train', config, '--work-dir', tmp_path / 'a', '--no-validate')
    runner = run_tool('train', config, '--work-dir', tmp_path / 'b', '--no-validate', '--trust-checkpoint')
    assert runner.iter == 4


# ---------------------------------------------------------------- as a user sees it


def environment(root, **more):
    return {**os.environ, 'PYTHONPATH': str(root), 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1', **more}


def run(root, *command, **more):
    command = [str(part) for part in command]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment(root, **more))


def test_train_ends_with_the_message_alone(root, good, spoil, tmp_path):
    config = spoil(remove('train_2.png'))
    done = run(root, sys.executable, root / 'tools/train.py', config, '--work-dir', tmp_path / 'run')
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith('error: data.train: image not found: ') and 'train_2.png' in last
    assert 'Traceback' not in done.stderr and 'During handling' not in done.stderr


@pytest.mark.parametrize(
    ('command', 'message'),
    [
        ('tools/test.py {config} gone.pth --eval bbox', 'no such checkpoint: gone.pth'),
        ('demo/image_demo.py gone.jpg {config} {checkpoint} --device cpu', 'no such image: '),
    ],
)
def test_other_tools_end_with_the_message_alone(root, good, command, message):
    script, *arguments = command.format(config=good.config, checkpoint=good.checkpoint).split()
    done = run(root, sys.executable, root / script, *arguments)
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith(f'error: {message}')


def test_an_error_of_the_users_own_code_keeps_its_traceback(root, good, tmp_path):
    (tmp_path / 'own_step.py').write_text(
        'from mmdet_clone.datasets import PIPELINES\n\n\n@PIPELINES.register_module()\nclass Broken:\n'
        '    def __call__(self, results):\n        return results["image"]\n'
    )
    extra = "\ncustom_imports = dict(imports=['own_step'])\ntrain_pipeline.insert(2, dict(type='Broken'))\n"
    config = tiny_detector.write_config(tmp_path / 'c.py', good.data, extra)
    done = run(root, sys.executable, root / 'tools/train.py', config, '--work-dir', tmp_path / 'run')
    assert done.returncode == 1
    assert 'Traceback' in done.stderr and 'own_step.py", line 7' in done.stderr and "KeyError: 'image'" in done.stderr


def test_two_processes_tell_it_once_and_last(root, good, tmp_path):
    done = run(
        root, root / 'tools/dist_train.sh', good.config, 2, '--work-dir', tmp_path / 'run', '--cfg-options',
        'model.roi_head.bbox_head.num_classes=7', PORT='',
    )  # fmt: skip
    assert done.returncode != 0
    assert done.stderr.count('Set num_classes=2 at:') == 1 and 'Traceback' not in done.stderr
    assert done.stderr.strip().splitlines()[-1].strip() == 'model.roi_head.bbox_head.num_classes=7 (Shared2FCBBoxHead)'


def test_a_port_in_use_is_told(root, good, tmp_path):
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        rank = dict(RANK='0', WORLD_SIZE='2', LOCAL_RANK='0', MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
        done = run(root, sys.executable, root / 'tools/train.py', good.config, '--launcher', 'pytorch', **rank)
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f'error: port {port} on 127.0.0.1 is in use') and 'MASTER_PORT' in last
