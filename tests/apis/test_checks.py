"""Mistakes that are found before the first iteration, and what they say."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from mmengine.config import Config
from torch import nn

from mmdet_clone.apis import checks

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
