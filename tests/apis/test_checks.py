"""Mistakes that are found before the first iteration, and what they say."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from mmengine.config import Config
from torch import nn

from mmdet_clone.apis import checks, data_checks
from mmdet_clone.apis.inference import without_pretrained
from mmdet_clone.datasets import (
    CityscapesDataset,
    CocoDataset,
    ConcatDataset,
    CustomDataset,
    OccludedSeparatedCocoDataset,
    VOCDataset,
)

PIPELINE = [dict(type='LoadAnnotations', with_bbox=True), dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels'])]


class Head(nn.Module):
    def __init__(self, num_classes: int, **parts: nn.Module) -> None:
        super().__init__()
        self.num_classes = num_classes
        for name, part in parts.items():
            self.add_module(name, part)


class Images(list):
    """A data set of one image and ``num`` classes."""

    def __init__(self, num: int) -> None:
        super().__init__([0])
        self.CLASSES = tuple(f'class {i}' for i in range(num))


class Model(nn.Module):
    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)


def test_every_wrong_head_is_listed_with_the_key_to_set():
    box_heads = nn.ModuleList([Head(80), Head(3), Head(80)])
    model = Model(rpn_head=Head(1), roi_head=Model(bbox_head=box_heads, mask_head=Head(80)))
    with pytest.raises(ValueError) as raised:
        checks.check_before_training(Config(), model, [Images(3)])
    message = str(raised.value)
    assert 'num_classes=3' in message and '(class 0, class 1, class 2)' in message
    for key in ('bbox_head.0', 'bbox_head.2', 'mask_head'):
        assert f'model.roi_head.{key}.num_classes' in message
    assert 'bbox_head.1' not in message and 'rpn_head' not in message


@pytest.mark.parametrize('classes', ['person', {'person', 'car'}])
def test_classes_given_as_string_or_set_are_refused(classes):
    with pytest.raises(TypeError, match=r"\('?person'?,\)"):
        checks.class_names(SimpleNamespace(CLASSES=classes))


def test_train_and_val_classes_that_differ_are_named():
    with pytest.raises(
        ValueError, match=r"only data.train has \['bicycle'\], only data.val has \['bycicle'\]"
    ) as raised:
        checks.check_same_classes(('car', 'bicycle'), ('car', 'bycicle'))
    assert "misspelt? 'bycicle' for 'bicycle'" in str(raised.value)


def test_train_and_val_classes_in_another_order_are_named():
    with pytest.raises(ValueError, match="class 0 is 'a' in one and 'b' in the other"):
        checks.check_same_classes(('a', 'b'), ('b', 'a'))
    checks.check_same_classes(('a', 'b'), ['a', 'b'])
    checks.check_same_classes(('a', 'b'), None)


@pytest.mark.parametrize(
    ('cfg', 'key'),
    [
        (dict(load_from='gone.pth'), 'load_from'),
        (dict(resume_from='gone.pth'), 'resume_from'),
        (dict(model=dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='gone.pth')))),
         'model.backbone.init_cfg.checkpoint'),
        (dict(model=dict(neck=[dict(init_cfg=[dict(type='Pretrained', checkpoint='gone.pth')])])),
         'model.neck.0.init_cfg.0.checkpoint'),
        (dict(model=dict(pretrained='gone.pth')), 'model.pretrained'),
    ],
)  # fmt: skip
def test_missing_checkpoint_is_named_with_its_key(cfg, key):
    with pytest.raises(FileNotFoundError, match=rf'{key} names a checkpoint that does not exist: gone.pth'):
        checks.check_files(Config(cfg))


def test_urls_and_present_files_pass(tmp_path):
    (tmp_path / 'a.pth').touch()
    pretrained = dict(type='Pretrained', checkpoint='torchvision://resnet50')
    checks.check_files(Config(dict(load_from=str(tmp_path / 'a.pth'), model=dict(backbone=dict(init_cfg=pretrained)))))


def test_empty_dataset_is_refused():
    with pytest.raises(ValueError, match=r'data\.train has no image'):
        checks.check_not_empty([], 'data.train')


def masked_model():
    model = Model(roi_head=Model())
    model.roi_head.with_mask = True
    return model


def test_mask_head_without_masks_in_the_pipeline_is_refused():
    cfg = Config(dict(data=dict(train=dict(type='RepeatDataset', times=2, dataset=dict(pipeline=PIPELINE)))))
    with pytest.raises(ValueError, match="add 'gt_masks'"):
        checks.check_masks_are_loaded(cfg, masked_model())
    pipeline = [PIPELINE[0], dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels', 'gt_masks'])]
    with pytest.raises(ValueError, match='with_mask=True'):
        checks.check_masks_are_loaded(Config(dict(data=dict(train=dict(pipeline=pipeline)))), masked_model())
    checks.check_masks_are_loaded(cfg, Model())


def test_prefixed_steps_are_known_as_what_they_are(tmp_path):
    steps = [{**step, 'type': f'mmdet.{step["type"]}'} for step in PIPELINE]
    with pytest.raises(ValueError, match="add 'gt_masks'"):
        checks.check_masks_are_loaded(Config(dict(data=dict(train=dict(pipeline=steps)))), masked_model())
    pretrained = dict(type='mmcls.Pretrained', checkpoint='gone.pth')
    with pytest.raises(FileNotFoundError, match=r'model\.backbone\.init_cfg\.checkpoint'):
        checks.check_files(Config(dict(model=dict(backbone=dict(init_cfg=pretrained)))))
    assert without_pretrained(dict(backbone=dict(type='ResNet', init_cfg=pretrained))) == dict(
        backbone=dict(type='ResNet', init_cfg=None)
    )


def of_class(cls):
    return object.__new__(cls)  # its figures are known without data


@pytest.mark.parametrize(
    ('cls', 'evaluation', 'good', 'bad'),
    [
        (CocoDataset, dict(metric='bbox'), 'bbox_mAP_50', 'bbox_mAP50'),
        (CocoDataset, dict(metric=['bbox', 'segm']), 'segm_mAP', 'mAP'),
        (CocoDataset, dict(metric='bbox', metric_items=['mAP_75']), 'bbox_mAP_75', 'bbox_mAP'),
        (CocoDataset, dict(metric='proposal', proposal_nums=(1, 10)), 'AR@10', 'AR@100'),
        (CocoDataset, dict(metric='keypoints'), 'keypoints_mAP', 'bbox_mAP'),
        (VOCDataset, dict(metric='mAP'), 'AP50', 'bbox_mAP'),
        (VOCDataset, dict(metric='mAP', iou_thr=[0.5, 0.75]), 'AP75', 'AP60'),
        (CustomDataset, dict(metric='recall', proposal_nums=[7]), 'recall@7@0.5', 'mAP'),
    ],
)
def test_save_best_names_a_figure_of_the_evaluation(cls, evaluation, good, bad):
    checks.check_save_best(of_class(cls), dict(evaluation, interval=1, save_best=good))
    checks.check_save_best(of_class(cls), dict(evaluation, save_best='auto'))
    with pytest.raises(ValueError, match=f"evaluation.save_best='{bad}' is not among what the evaluation gives"):
        checks.check_save_best(of_class(cls), dict(evaluation, save_best=bad))


def test_save_best_of_joined_data_sets_has_their_number_before_it():
    joined = SimpleNamespace(datasets=[of_class(CocoDataset)] * 2, separate_eval=True)
    checks.check_save_best(joined, dict(metric='bbox', save_best='1_bbox_mAP'))
    with pytest.raises(ValueError, match=r"Did you mean '[01]_bbox_mAP'"):
        checks.check_save_best(joined, dict(metric='bbox', save_best='bbox_mAP'))


def test_save_best_is_left_to_data_sets_with_an_evaluation_of_their_own():
    class Own(CocoDataset):
        def evaluate(self, results, logger=None):
            return dict(score=1.0)

    checks.check_save_best(of_class(Own), dict(save_best='score'))

    class Telling(Own):
        def evaluate(self, results, logger=None):
            return dict(score=1.0)

        def figure_names(self):
            return ['score']

    with pytest.raises(ValueError, match='gives: score'):
        checks.check_save_best(of_class(Telling), dict(save_best='bbox_mAP'))


def files_of(prefix, names, categories=None):
    coco = SimpleNamespace(cats={i: dict(id=i, name=name) for i, name in (categories or {}).items()})
    return SimpleNamespace(data_infos=[dict(filename=name) for name in names], img_prefix=prefix, coco=coco)


def test_images_in_train_and_val_and_categories_that_differ_are_warnings():
    train = files_of('a', ['1.jpg', '2.jpg', '3.jpg'], {1: 'cat'})
    val = SimpleNamespace(dataset=files_of('a', ['3.jpg', '4.jpg'], {1: 'cat', 2: 'dog'}))
    with pytest.warns(UserWarning) as caught:
        data_checks.warn_of_differences(train, val)
    shared, added = (str(item.message) for item in caught)
    assert shared.startswith("1 of the 2 images of data.val are in data.train too, first 'a/3.jpg'")
    assert added == "only data.val has category 'dog'; data.train has not"


def test_images_of_one_name_in_two_folders_are_not_the_same(recwarn):
    data_checks.warn_of_differences(files_of('a', ['1.jpg']), files_of('b', ['1.jpg']))
    assert not recwarn.list


def test_what_runs_before_training_takes_a_moment_for_a_hundred_thousand_images():
    names = [f'{i:012d}.jpg' for i in range(100_000)]
    start = time.process_time()
    data_checks.warn_of_differences(files_of('a', names), files_of('b', names[:5000]))
    assert time.process_time() - start < 3  # about 0.3 on a free core


# ---------------------------------------------------------------------- testing


def bare(kind: type) -> object:
    return object.__new__(kind)


@pytest.mark.parametrize('kind', [CustomDataset, VOCDataset, ConcatDataset])
def test_format_only_is_refused_where_nothing_would_be_written(kind):
    with pytest.raises(ValueError, match=f'--format-only: {kind.__name__} has no format'):
        checks.check_formatting(bare(kind), {})


def test_the_options_of_format_only():
    assert checks.check_formatting(bare(CocoDataset), dict(jsonfile_prefix='x')) == 'jsonfile_prefix'
    assert checks.check_formatting(bare(CityscapesDataset), {}) == 'txtfile_prefix'
    with pytest.raises(ValueError, match=r"does not take 'json_prefix'\. It takes jsonfile_prefix"):
        checks.check_formatting(bare(CocoDataset), dict(json_prefix='x'))

    class Own(CocoDataset):
        def format_results(self, results, **options):
            return options

    assert checks.check_formatting(bare(Own), dict(anything=1)) is None


@pytest.mark.parametrize('kind', [VOCDataset, OccludedSeparatedCocoDataset])
def test_a_measure_that_a_data_set_lacks_is_told_before_testing(kind):
    with pytest.raises(ValueError, match='has no metric'):
        checks.check_evaluation(bare(kind), dict(metric=['bbbox']))
