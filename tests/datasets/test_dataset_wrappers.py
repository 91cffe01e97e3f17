from __future__ import annotations

import numpy as np
import pytest

from mmdet_clone.datasets import (
    ClassBalancedDataset,
    CocoDataset,
    ConcatDataset,
    CustomDataset,
    RepeatDataset,
    build_dataset,
)


class Numbers:
    """A stand-in: sample i is i, image i shows the classes ``shown[i]``."""

    CLASSES = ('a', 'b')
    PALETTE = [(0, 0, 0), (1, 1, 1)]

    def __init__(self, shown: list[list[int]], flag: list[int] | None = None) -> None:
        self.shown = shown
        self.flag = np.array(flag or [0] * len(shown), dtype=np.uint8)

    def __len__(self):
        return len(self.shown)

    def __getitem__(self, idx):
        return idx

    def get_cat_ids(self, idx):
        return self.shown[idx]


def test_repeat_goes_over_the_data_again():
    repeated = RepeatDataset(Numbers([[0], [1], []], [0, 1, 1]), 2)
    assert len(repeated) == 6 and [repeated[i] for i in range(6)] == [0, 1, 2, 0, 1, 2]
    assert repeated.flag.tolist() == [0, 1, 1, 0, 1, 1]
    assert repeated.CLASSES == ('a', 'b') and repeated.PALETTE == Numbers.PALETTE and repeated.get_cat_ids(4) == [1]


def test_concat_continues_in_the_next():
    joined = ConcatDataset([Numbers([[0], [1]], [0, 1]), Numbers([[0]], [1])])
    assert len(joined) == 3 and [joined[i] for i in (0, 1, 2, -1)] == [0, 1, 0, 0]
    assert joined.flag.tolist() == [0, 1, 1] and joined.get_cat_ids(2) == [0]
    with pytest.raises(IndexError):
        joined[3]


def test_class_balance_follows_the_lvis_formula():
    # class 0 in 8 of 10 images (f = .8), class 1 in 1 of 10 (f = .1); t = .4: r = max(1, sqrt(.4 / f)) = 1 and 2
    dataset = Numbers([[0]] * 8 + [[1, 1]] + [[]])
    balanced = ClassBalancedDataset(dataset, oversample_thr=0.4)
    assert [balanced[i] for i in range(len(balanced))] == [*range(8), 8, 8, 9]
    assert len(balanced.flag) == 11 and balanced.get_cat_ids(9) == [1, 1]
    # as a class of their own, images without boxes have f = .1 too
    assert [*ClassBalancedDataset(dataset, 0.4, filter_empty_gt=False).repeat_indices[-2:]] == [9, 9]
    # a factor of 1.5 is rounded up
    assert ClassBalancedDataset(Numbers([[0]] * 3 + [[1]]), oversample_thr=0.5625).repeat_indices == [0, 1, 2, 3, 3]


def test_configs_of_nested_wrappers_build(write_json, toy):
    inner = dict(type='CocoDataset', ann_file=write_json(toy), pipeline=[])
    cfg = dict(
        type='RepeatDataset',
        times=3,
        dataset=dict(
            type='ClassBalancedDataset',
            oversample_thr=1e-3,
            dataset=dict(type='ConcatDataset', datasets=[inner, inner]),
        ),
    )
    built = build_dataset(cfg, dict(classes=['cat', 'dog']))
    assert isinstance(built, RepeatDataset) and isinstance(built.dataset, ClassBalancedDataset)
    assert isinstance(built.dataset.dataset, ConcatDataset) and len(built) == 12
    assert 'classes' not in inner and cfg['dataset']['dataset']['datasets'][0] is inner


def test_lists_of_annotation_files_make_a_joined_data_set(write_json, toy):
    files = [write_json(toy), write_json(toy, 'second.json')]
    cfg = dict(
        type='CocoDataset',
        ann_file=files,
        img_prefix=['a', 'b'],
        classes=['cat', 'dog'],
        pipeline=[],
        separate_eval=True,
    )
    joined = build_dataset(cfg)
    assert isinstance(joined, ConcatDataset) and [d.img_prefix for d in joined.datasets] == ['a', 'b']
    assert [d.ann_file for d in joined.datasets] == files
    assert len(build_dataset([cfg, cfg])) == 8


def test_errors_name_the_place_in_the_config(write_json, toy):
    inner = dict(type='CocoDataset', ann_file=write_json(toy), pipeline=[], classes=['cat'], clases=1)
    with pytest.raises(TypeError, match=r"does not accept 'clases'.*config path: data.train.dataset"):
        build_dataset(dict(type='RepeatDataset', times=2, dataset=inner), path='data.train')
    with pytest.raises(KeyError, match=r'CocoDatset.*CocoDataset'):
        build_dataset(dict(type='CocoDatset', ann_file=['a', 'b'], pipeline=[]))


def middle_dataset(write_json, name, boxes):
    ann = dict(bboxes=boxes, labels=[0] * len(boxes))
    infos = [dict(filename=name, width=64, height=64, ann=ann)]
    return CustomDataset(write_json(infos, name + '.json'), [], classes=['a'])


def test_joined_data_sets_are_evaluated_apart_or_together(write_json):
    parts = [middle_dataset(write_json, 'x', [[0, 0, 9, 9]]), middle_dataset(write_json, 'y', [[0, 0, 9, 9]])]
    results = [[np.array([[0, 0, 9, 9, 0.9]])], [np.zeros((0, 5))]]
    apart = ConcatDataset(parts).evaluate(results, logger='silent')
    assert apart == {'0_mAP': 1, '0_AP50': 1, '1_mAP': 0, '1_AP50': 0}
    together = ConcatDataset(parts, separate_eval=False).evaluate(results, logger='silent')
    assert together == dict(mAP=0.5, AP50=0.5)
    assert len(parts[0]) == 1
    with pytest.raises(ValueError, match='1 results for 2 images'):
        ConcatDataset(parts).evaluate(results[:1])


def test_joined_coco_data_sets_are_evaluated_apart_only(write_json, toy):
    part = CocoDataset(write_json(toy), [], classes=['cat', 'dog'], test_mode=True)
    none = [np.zeros((0, 5))] * 2
    numbers = ConcatDataset([part, part]).evaluate([none] * 8, logger='silent', metric='bbox')
    assert numbers['0_bbox_mAP'] == numbers['1_bbox_mAP'] == 0
    with pytest.raises(NotImplementedError, match='separate_eval=True'):
        ConcatDataset([part, part], separate_eval=False).evaluate([none] * 8)
