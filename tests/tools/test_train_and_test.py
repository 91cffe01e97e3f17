"""tools/train.py and tools/test.py on a small data set: what they write, say, and refuse."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import tiny_detector
import torch

from mmdet_clone.config import load_config
from mmdet_clone.engine import load_checkpoint
from mmdet_clone.models import build_detector

LOW_THRESHOLD = 'model.test_cfg.rcnn.score_thr=0.0'


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    """A data set and a config for it."""
    folder = tmp_path_factory.mktemp('tiny')
    data = tiny_detector.make_data(folder / 'data', num_train=4, num_val=3)
    return SimpleNamespace(folder=folder, data=data, config=tiny_detector.write_config(folder / 'tiny.py', data))


@pytest.fixture(scope='module')
def trained(root, tiny):
    """Two epochs of training by the command line, as a user does."""
    work_dir = tiny.folder / 'run'
    command = [
        sys.executable,
        str(root / 'tools/train.py'),
        str(tiny.config),
        '--work-dir',
        str(work_dir),
        '--seed',
        '3',
    ]
    command += ['--cfg-options', 'runner.max_epochs=2', "workflow=[('train',1),('val',1)]"]
    env = {'PYTHONPATH': str(root), 'PATH': '/usr/bin:/bin', 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return SimpleNamespace(work_dir=work_dir, log=done.stdout + done.stderr)


def checkpoint(path):
    return torch.load(path, weights_only=False)


def test_work_dir_holds_config_logs_and_checkpoints(trained):
    names = {path.name for path in trained.work_dir.iterdir()}
    assert {'tiny.py', 'epoch_1.pth', 'epoch_2.pth', 'latest.pth'} <= names
    assert len([n for n in names if n.endswith('.log')]) == len([n for n in names if n.endswith('.log.json')]) == 1


def test_dumped_config_holds_the_options_and_reads_back(trained):
    cfg = load_config(trained.work_dir / 'tiny.py')
    assert cfg.runner.max_epochs == 2 and cfg.seed == 3 and cfg.work_dir == str(trained.work_dir)


def test_log_tells_environment_losses_and_figures(trained):
    for text in ('torch ', 'seed: 3', 'Epoch [1][1/4]', 'loss_mask', 'eta:', 'Epoch(val)', 'bbox_mAP', 'segm_mAP'):
        assert text in trained.log


def test_log_tells_nothing_twice_and_no_list_of_hooks(trained):
    assert trained.log.count('torchvision') == 1
    assert 'Hooks will be executed' not in trained.log and 'before_train_iter' not in trained.log


def test_json_log_holds_training_validation_losses_and_figures(trained):
    lines = [json.loads(line) for line in next(trained.work_dir.glob('*.log.json')).read_text().splitlines()]
    train = [line for line in lines if line.get('mode') == 'train']
    val = [line for line in lines if line.get('mode') == 'val']
    assert [(line['epoch'], line['iter']) for line in train] == [(e, i) for e in (1, 2) for i in (1, 2, 3, 4)]
    assert all({'lr', 'time', 'data_time', 'memory', 'loss', 'loss_cls'} <= line.keys() for line in train)
    assert any('bbox_mAP' in line for line in val) and any('loss_cls' in line for line in val)


def test_checkpoint_tells_classes_config_and_seed(trained):
    meta = checkpoint(trained.work_dir / 'latest.pth')['meta']
    assert tuple(meta['CLASSES']) == tiny_detector.CLASSES
    assert meta['epoch'] == 2 and meta['iter'] == 8 and meta['seed'] == 3
    assert 'max_epochs=2' in meta['config'] and 'torch' in str(meta['env_info'])


def test_resumed_run_ends_with_the_weights_of_the_whole_run(run_tool, tiny, trained, tmp_path):
    options = ['--seed', 3, '--no-validate', '--cfg-options', 'runner.max_epochs=2', "workflow=[('train',1),('val',1)]"]
    first = trained.work_dir / 'epoch_1.pth'
    runner = run_tool('train', tiny.config, '--work-dir', tmp_path, '--resume-from', first, *options)
    assert runner.epoch == 2
    whole = checkpoint(trained.work_dir / 'epoch_2.pth')['state_dict']
    for name, value in checkpoint(tmp_path / 'epoch_2.pth')['state_dict'].items():
        assert torch.equal(value, whole[name]), name


def test_auto_resume_takes_the_latest_checkpoint_and_starts_anew_without_one(run_tool, tiny, tmp_path):
    options = ['--work-dir', tmp_path, '--auto-resume', '--no-validate', '--seed', 1, '--cfg-options']
    assert run_tool('train', tiny.config, *options, 'runner.max_epochs=1').iter == 4
    runner = run_tool('train', tiny.config, *options, 'runner.max_epochs=2')
    assert runner.resume_from.endswith('latest.pth') and runner.iter == 8
    lines = sorted(tmp_path.glob('*.log.json'))[-1].read_text().splitlines()
    assert json.loads(lines[-1])['epoch'] == 2


def test_a_resumed_run_takes_the_seed_of_the_first(run_tool, tiny, trained, tmp_path):
    arguments = ['--work-dir', tmp_path, '--no-validate', '--cfg-options', 'runner.max_epochs=2']
    runner = run_tool('train', tiny.config, '--resume-from', trained.work_dir / 'epoch_1.pth', *arguments)
    assert runner.seed == 3
    resumed = run_tool('train', tiny.config, '--auto-resume', *arguments, 'runner.max_epochs=3')
    assert resumed.seed == 3


def test_load_from_starts_at_iteration_0_with_the_weights(run_tool, tiny, trained, tmp_path):
    start = trained.work_dir / 'latest.pth'
    options = ['--no-validate', '--cfg-options', f'load_from={start}', 'optimizer.lr=0.0', 'runner.max_epochs=1']
    runner = run_tool('train', tiny.config, '--work-dir', tmp_path, *options)
    assert runner.iter == 4
    whole = checkpoint(start)['state_dict']
    assert all(torch.equal(v, whole[k]) for k, v in checkpoint(tmp_path / 'latest.pth')['state_dict'].items())


def test_learning_rate_scales_with_the_batch_size(run_tool, tiny, tmp_path):
    options = ['--no-validate', '--work-dir', tmp_path / 'run', '--auto-scale-lr']
    with pytest.raises(ValueError, match='base_batch_size'):
        run_tool('train', tiny.config, *options)
    config = tiny_detector.write_config(tmp_path / 'fixed.py', tiny.data, "\nlr_config = dict(policy='fixed')\n")
    options += ['--cfg-options', 'auto_scale_lr.base_batch_size=8', 'data.samples_per_gpu=2', 'optimizer.lr=0.04']
    assert run_tool('train', config, *options).current_lr() == [0.01]
    dumped = load_config(tmp_path / 'run' / 'fixed.py')  # whoever trains by it gets the same rate
    assert dumped.optimizer.lr == 0.01 and not dumped.auto_scale_lr.enable


def test_iterations_instead_of_epochs(run_tool, tiny, tmp_path):
    config = tiny_detector.write_config(
        tmp_path / 'iters.py', tiny.data,
        "\nrunner = dict(type='IterBasedRunner', max_iters=6)"
        "\nevaluation['interval'] = checkpoint_config['interval'] = 3\n",
    )  # fmt: skip
    runner = run_tool('train', config, '--work-dir', tmp_path / 'run')
    assert runner.iter == 6
    assert {'iter_3.pth', 'iter_6.pth'} <= {p.name for p in (tmp_path / 'run').iterdir()}


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (['model.roi_head.mask_head.num_classes=80'], ValueError, 'model.roi_head.mask_head.num_classes'),
        (["data.val.classes=('disc','box')"], ValueError, 'data.val'),
        (["data.train.classes='disc'"], TypeError, "('disc',)"),
        (["data.train.classes=('disk','square')", "data.val.classes=('disk','square')",
          "data.test.classes=('disk','square')"], ValueError, 'disc'),
        (['load_from=gone.pth'], FileNotFoundError, 'load_from names a checkpoint that does not exist: gone.pth'),
        (['resume_from=gone.pth'], FileNotFoundError, 'resume_from'),
        (['data.train.img_prefix=gone/'], FileNotFoundError, 'gone'),
        (['data.train.ann_file=gone.json'], FileNotFoundError, 'gone.json'),
        (['train_dataloader.batch_size=2'], ValueError, 'data.samples_per_gpu'),
        (['model.backbone.depht=50'], TypeError, 'model.backbone'),
        (['model.backbone.type=ResNett'], KeyError, 'ResNet'),
        (["data.train.pipeline.7.keys=['img','gt_bboxes','gt_labels']"], ValueError, "add 'gt_masks'"),
    ],
)  # fmt: skip
def test_mistakes_are_told_before_the_first_iteration(run_tool, tiny, tmp_path, options, error, message):
    with pytest.raises(error) as raised:
        run_tool('train', tiny.config, '--work-dir', tmp_path / 'run', '--cfg-options', *options)
    assert message in str(raised.value)
    assert not list(tmp_path.glob('run/*.pth'))


def test_unwritable_work_dir_is_told(run_tool, tiny, tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(OSError, match=r'file/run.*--work-dir'):
        run_tool('train', tiny.config, '--work-dir', tmp_path / 'file' / 'run')


def test_missing_config_is_told(run_tool):
    with pytest.raises(FileNotFoundError, match=r'gone\.py'):
        run_tool('train', 'gone.py')


def test_results_file_holds_each_image_with_encoded_masks(run_tool, tiny, trained, tmp_path):
    out = tmp_path / 'new' / 'results.pkl'
    run_tool('test', tiny.config, trained.work_dir / 'latest.pth', '--out', out, '--cfg-options', LOW_THRESHOLD)
    results = pickle.loads(out.read_bytes())
    assert len(results) == 3
    boxes, masks = results[0]
    assert len(boxes) == len(masks) == 2 and sum(map(len, boxes)) == 10
    rle = next(mask for of_class in masks for mask in of_class)
    assert rle['size'] == [96, 96] and isinstance(rle['counts'], bytes)
    assert [p.name for p in out.parent.iterdir()] == ['results.pkl']


def test_eval_writes_its_figures_where_asked(run_tool, tiny, trained, tmp_path, capsys):
    arguments = [tiny.config, trained.work_dir / 'latest.pth', '--eval', 'bbox', 'segm', '--work-dir', tmp_path]
    figures = run_tool('test', *arguments, '--eval-options', 'classwise=True', '--cfg-options', LOW_THRESHOLD)
    written = json.loads(next(tmp_path.glob('eval_*.json')).read_text())
    assert written['config'] == str(tiny.config) and written['metric'] == dict(figures)
    assert {'bbox_mAP', 'segm_mAP'} <= figures.keys()
    out = capsys.readouterr().out
    assert 'images/s' in out and 'square' in out


@pytest.mark.filterwarnings("ignore:'ImageToTensor' is replaced")
def test_batches_of_images_and_fused_layers_give_the_same_detections(run_tool, tiny, trained, tmp_path):
    for name, more in (('plain', []), ('batched', ['data.test.samples_per_gpu=2']), ('fused', [])):
        fuse = ['--fuse-conv-bn'] if name == 'fused' else []
        out = tmp_path / f'{name}.pkl'
        latest = trained.work_dir / 'latest.pth'
        run_tool('test', tiny.config, latest, '--out', out, *fuse, '--cfg-options', LOW_THRESHOLD, *more)
    plain, batched, fused = (
        pickle.loads((tmp_path / f'{n}.pkl').read_bytes()) for n in ('plain', 'batched', 'fused')
    )  # fmt: skip
    for others in (batched, fused):
        for (boxes_a, _), (boxes_b, _) in zip(plain, others, strict=True):
            for a, b in zip(boxes_a, boxes_b, strict=True):
                np.testing.assert_allclose(a, b, atol=0.01)


def test_pictures_are_written_under_their_images_names(run_tool, tiny, trained, tmp_path):
    arguments = [tiny.config, trained.work_dir / 'latest.pth', '--show-dir', tmp_path, '--show-score-thr', 0]
    run_tool('test', *arguments, '--cfg-options', LOW_THRESHOLD)
    assert sorted(p.name for p in tmp_path.iterdir()) == ['val_0.png', 'val_1.png', 'val_2.png']
    assert cv2.imread(str(tmp_path / 'val_0.png')).shape == (96, 96, 3)


def test_format_only_writes_json_without_evaluating(run_tool, tiny, trained, tmp_path):
    arguments = [tiny.config, trained.work_dir / 'latest.pth', '--format-only', '--eval-options']
    assert run_tool('test', *arguments, f'jsonfile_prefix={tmp_path}/r', '--cfg-options', LOW_THRESHOLD) is None
    detections = json.loads((tmp_path / 'r.bbox.json').read_text())
    assert len(detections) == 30 and detections[0].keys() >= {'image_id', 'bbox', 'score', 'category_id'}
    assert (tmp_path / 'r.segm.json').is_file()


def test_test_refuses_a_missing_checkpoint_and_wrong_heads(run_tool, tiny, trained, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no such checkpoint: gone\.pth'):
        run_tool('test', tiny.config, 'gone.pth', '--eval', 'bbox')
    with pytest.raises(ValueError, match='bbox_head'):
        run_tool(
            'test', tiny.config, trained.work_dir / 'latest.pth', '--eval', 'bbox',
            '--cfg-options', 'model.roi_head.bbox_head.num_classes=5',
        )  # fmt: skip


def test_checkpoint_loads_whole_into_a_new_model(tiny, trained, capsys):
    model = build_detector(load_config(tiny.config).model)
    load_checkpoint(model, trained.work_dir / 'latest.pth', strict=True)
    assert '0 missing, 0 unexpected, 0 of another shape' in capsys.readouterr().out
