"""MMDetection 1.x spellings, and that 2.x ones are left alone."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from mmengine.config import Config

from mmdet_clone.config import load_config, translate_legacy

DATA = Path(__file__).parent / 'data'
NORM = dict(type='Normalize', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)


@pytest.fixture
def said(monkeypatch) -> list[str]:
    """What the translation logs."""
    lines: list[str] = []
    monkeypatch.setattr('mmdet_clone.config.legacy.print_log', lambda message, logger: lines.append(message))
    return lines


def test_an_old_config_is_translated_with_one_line_a_spelling(said):
    cfg = load_config(DATA / 'old_mask_rcnn.py')
    assert cfg.data.samples_per_gpu == 2 and 'imgs_per_gpu' not in cfg.data
    assert cfg.runner == dict(type='EpochBasedRunner', max_epochs=12) and 'total_epochs' not in cfg
    assert cfg.model.train_cfg.rpn.pos_weight == -1 and cfg.model.test_cfg.rcnn.score_thr == 0.05
    assert 'train_cfg' not in cfg and 'test_cfg' not in cfg
    about = ['imgs_per_gpu', 'total_epochs', 'train_cfg', 'test_cfg', 'data.train:', 'data.val:', 'data.test:']
    assert len(said) == len(about) and all(any(word in line for line in said) for word in about)


def test_an_old_training_set_becomes_the_pipeline_that_1x_ran():
    train = load_config(DATA / 'old_mask_rcnn.py').data.train
    assert sorted(train) == ['ann_file', 'img_prefix', 'pipeline', 'type']
    assert train.pipeline == [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True, with_label=True, with_mask=True, with_seg=False),
        dict(type='Resize', img_scale=(1333, 800), keep_ratio=True),
        dict(type='RandomFlip', flip_ratio=0.5),
        NORM,
        dict(type='Pad', size_divisor=32),
        dict(type='DefaultFormatBundle'),
        dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels', 'gt_bboxes_ignore', 'gt_masks']),
    ]


def test_old_val_and_test_sets_become_test_pipelines():
    data = load_config(DATA / 'old_mask_rcnn.py').data
    assert data.val.pipeline == data.test.pipeline
    assert data.test.test_mode is True
    image, augmented = data.test.pipeline
    assert image == dict(type='LoadImageFromFile')
    assert (augmented.type, augmented.img_scale, augmented.flip) == ('MultiScaleFlipAug', (1333, 800), False)
    assert augmented.transforms == [
        dict(type='Resize', keep_ratio=True),
        dict(type='RandomFlip'),
        NORM,
        dict(type='Pad', size_divisor=32),
        dict(type='ImageToTensor', keys=['img']),
        dict(type='Collect', keys=['img']),
    ]


def test_options_reach_an_old_data_set_before_it_is_translated():
    cfg = load_config(
        DATA / 'old_mask_rcnn.py',
        {'data.train.img_scale': (640, 480), 'data.imgs_per_gpu': 4, 'total_epochs': 3, 'test_cfg.rcnn.score_thr': 0.1},
    )
    assert cfg.data.train.pipeline[2].img_scale == (640, 480)
    assert (cfg.data.samples_per_gpu, cfg.runner.max_epochs, cfg.model.test_cfg.rcnn.score_thr) == (4, 3, 0.1)


def test_multi_scale_proposals_and_wrapped_old_data_sets():
    entry = dict(
        type='CocoDataset',
        proposal_file='p.pkl',
        num_max_proposals=2000,
        img_scale=[(1333, 640), (1333, 800)],
        multiscale_mode='range',
        with_mask=False,
        with_crowd=False,
    )
    cfg = translate_legacy(Config(dict(data=dict(train=dict(type='RepeatDataset', times=3, dataset=entry)))))
    steps = cfg.data.train.dataset.pipeline
    assert steps[1] == dict(type='LoadProposals', num_max_proposals=2000)
    assert steps[3] == dict(
        type='Resize', img_scale=[(1333, 640), (1333, 800)], keep_ratio=True, multiscale_mode='range'
    )
    assert steps[-1]['keys'] == ['img', 'proposals', 'gt_bboxes', 'gt_labels']
    assert cfg.data.train.dataset.proposal_file == 'p.pkl'


def test_ssd_style_augmentation_of_old_data_sets():
    extra = dict(photo_metric_distortion=dict(brightness_delta=32), expand=dict(ratio_range=(1, 4)))
    entry = dict(type='CocoDataset', img_scale=(300, 300), resize_keep_ratio=False, extra_aug=extra, with_mask=False)
    steps = translate_legacy(Config(dict(data=dict(train=entry)))).data.train.pipeline
    assert steps[0] == dict(type='LoadImageFromFile', to_float32=True)
    assert [s.type for s in steps[2:5]] == ['PhotoMetricDistortion', 'Expand', 'Resize']
    assert steps[4].keep_ratio is False


def test_a_2x_config_comes_out_as_it_went_in(said):
    pipeline = [dict(type='LoadImageFromFile'), dict(type='Collect', keys=['img'])]
    values = dict(
        model=dict(type='RPN', train_cfg=dict(rpn=dict()), test_cfg=dict()),
        data=dict(
            samples_per_gpu=2,
            train=dict(type='MyDataset', pipeline=pipeline, img_scale=(1, 1), test_mode=False),
            val=dict(type='CocoDataset', pipeline=pipeline, test_mode=True),
            train_dataloader=dict(samples_per_gpu=4, class_aware_sampler=dict(num_sample_class=1)),
        ),
        runner=dict(type='IterBasedRunner', max_iters=10),
    )
    cfg = translate_legacy(Config(copy.deepcopy(values)))
    assert cfg.to_dict() == values
    assert said == []


def test_translating_twice_changes_nothing():
    cfg = load_config(DATA / 'old_mask_rcnn.py')
    once = cfg.to_dict()
    assert translate_legacy(cfg).to_dict() == once


def test_imgs_per_gpu_wins_over_an_inherited_samples_per_gpu(said):
    cfg = translate_legacy(Config(dict(data=dict(samples_per_gpu=2, imgs_per_gpu=8))))
    assert cfg.data == dict(samples_per_gpu=8)
    assert said == ['1.x config: data.imgs_per_gpu=8 is read as data.samples_per_gpu, not 2']


def test_a_batch_size_of_the_test_set_moves_to_its_loader():
    entry = [dict(type='A', samples_per_gpu=2), dict(type='B', samples_per_gpu=4)]
    cfg = translate_legacy(Config(dict(data=dict(test=entry))))
    assert cfg.data == dict(test=[dict(type='A'), dict(type='B')], test_dataloader=dict(samples_per_gpu=4))


def test_two_values_for_one_thing_are_refused():
    with pytest.raises(ValueError, match=r'total_epochs is 24, but runner .* max_epochs=12.*max_epochs=24'):
        translate_legacy(Config(dict(total_epochs=24, runner=dict(type='EpochBasedRunner', max_epochs=12))))
    with pytest.raises(ValueError, match=r'has both train_cfg and model.train_cfg'):
        translate_legacy(Config(dict(train_cfg=dict(a=1), model=dict(type='X', train_cfg=dict(a=2)))))
