"""MultiImageMixDataset: steps over several samples, left out or replaced while training."""

from __future__ import annotations

import numpy as np
import pytest

from mmdet_clone.datasets import MultiImageMixDataset, build_dataloader, build_dataset
from mmdet_clone.registry import PIPELINES


class Numbers:
    """Sample i is ``dict(x=[i])``, the same object each time."""

    CLASSES, PALETTE = ('a', 'b'), None
    flag = np.array([0, 1, 0, 1], np.uint8)

    def __init__(self) -> None:
        self.samples = [dict(x=[i], bboxes=np.zeros((i, 4))) for i in range(4)]

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict:
        return self.samples[index]

    def get_ann_info(self, index: int) -> dict:
        return self.samples[index]

    def get_cat_ids(self, index: int) -> list[int]:
        return [index]


class AddOthers:
    """Appends what it mixes in, in place."""

    def get_indexes(self, dataset) -> list[int]:
        return [len(dataset) - 1, 0]

    def __call__(self, results: dict) -> dict:
        results['x'] += [other['x'][0] for other in results['mix_results']]
        return results


def double(results: dict) -> dict:
    results['x'] = [2 * x for x in results['x']]
    return results


class DropTwice:
    calls = 0

    def __call__(self, results: dict) -> dict | None:
        self.calls += 1
        results['tries'] = results.get('tries', 0) + 1
        return results if self.calls > 2 else None


def test_a_step_finds_the_samples_that_it_asks_for():
    dataset = MultiImageMixDataset(Numbers(), [double, AddOthers(), double])
    assert dataset[1]['x'] == [4, 6, 0]
    assert 'mix_results' not in dataset[1]
    assert len(dataset) == 4 and dataset.CLASSES == ('a', 'b')
    assert dataset.flag.tolist() == [0, 1, 0, 1] and dataset.get_cat_ids(2) == [2]


def test_samples_of_the_inner_data_set_stay_as_they_are():
    inner = Numbers()
    dataset = MultiImageMixDataset(inner, [AddOthers()])
    assert dataset[1]['x'] == dataset[1]['x'] == [1, 3, 0]
    assert [sample['x'] for sample in inner.samples] == [[0], [1], [2], [3]]


def test_named_steps_are_left_out_from_the_start_or_later():
    dataset = MultiImageMixDataset(Numbers(), [double, AddOthers()], skip_type_keys=['AddOthers'])
    assert dataset[1]['x'] == [2]
    dataset.update_skip_type_keys(['function'])
    assert dataset[1]['x'] == [1, 3, 0]
    dataset.update_skip_type_keys(None)
    assert dataset[1]['x'] == [2, 3, 0]
    with pytest.raises(TypeError, match="got the string 'Mosaic'"):
        dataset.update_skip_type_keys('Mosaic')


def test_a_step_that_drops_a_sample_is_tried_again_on_the_sample_as_it_was():
    dataset = MultiImageMixDataset(Numbers(), [DropTwice()])
    assert dataset[0]['tries'] == 1
    with pytest.raises(RuntimeError, match='dropped sample 0 2 times'):
        MultiImageMixDataset(Numbers(), [DropTwice()], max_refetch=2)[0]


def test_the_dynamic_scale_reaches_every_sample():
    dataset = MultiImageMixDataset(Numbers(), [double], dynamic_scale=[32, 64])
    assert dataset[0]['scale'] == (32, 64)
    dataset.update_dynamic_scale((96, 96))
    assert dataset[0]['scale'] == (96, 96)


def test_a_pipeline_that_is_no_list_of_steps_is_refused():
    with pytest.raises(TypeError, match='is a list of steps, got dict'):
        MultiImageMixDataset(Numbers(), dict(type='Mosaic'))
    with pytest.raises(TypeError, match=r'step 1 .* neither a dict nor callable'):
        MultiImageMixDataset(Numbers(), [double, 3])


@pytest.fixture
def coco_mix(shared):
    root = shared / 'data/coco_mini'
    inner = dict(
        type='CocoDataset',
        ann_file=str(root / 'annotations/instances_train2017.json'),
        img_prefix=str(root / 'train2017'),
        filter_empty_gt=False,
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)],
    )
    steps = [
        dict(type='Mosaic', img_scale=(96, 96), pad_val=114.0),
        dict(type='RandomAffine', scaling_ratio_range=(0.1, 2), border=(-48, -48)),
        dict(type='MixUp', img_scale=(96, 96), ratio_range=(0.8, 1.6), pad_val=114.0),
        dict(type='YOLOXHSVRandomAug'),
        dict(type='RandomFlip', flip_ratio=0.5),
        dict(type='Resize', img_scale=(96, 96), keep_ratio=True),
        dict(type='Pad', pad_to_square=True, pad_val=dict(img=(114.0, 114.0, 114.0))),
        dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1), keep_empty=False),
        dict(type='DefaultFormatBundle'),
        dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels']),
    ]
    return build_dataset(dict(type='MultiImageMixDataset', dataset=inner, pipeline=steps))


@pytest.mark.parametrize('skipped', [None, ['Mosaic', 'RandomAffine', 'MixUp']])
def test_the_pipeline_of_yolox_makes_batches_of_one_size(coco_mix, skipped):
    coco_mix.update_skip_type_keys(skipped)
    loader = build_dataloader(coco_mix, 4, 0, dist=False, seed=0)
    batch = next(iter(loader))
    assert batch['img'].shape == (4, 3, 96, 96)
    for boxes, labels in zip(batch['gt_bboxes'], batch['gt_labels']):
        assert len(boxes) == len(labels) and boxes.dtype.is_floating_point
        assert boxes.min() >= 0 and boxes.max() <= 96 if len(boxes) else True
        assert ((boxes[:, 2:] - boxes[:, :2]) > 1).all()
    assert sum(map(len, batch['gt_bboxes'])) > 0


def test_samples_are_the_same_with_and_without_workers(coco_mix):
    first, second = (
        next(iter(build_dataloader(coco_mix, 2, workers, dist=False, seed=3, shuffle=False))) for workers in (0, 1)
    )
    assert (first['img'] == second['img']).all()
    assert all((a == b).all() for a, b in zip(first['gt_bboxes'], second['gt_bboxes']))


def test_steps_are_known_by_their_registered_name(coco_mix):
    assert coco_mix.pipeline_types[:3] == ['Mosaic', 'RandomAffine', 'MixUp']
    steps = [dict(type='mmdet.RandomFlip', flip_ratio=1.0), dict(type=PIPELINES.get('Resize'), img_scale=(8, 8))]
    assert MultiImageMixDataset(Numbers(), steps).pipeline_types == ['RandomFlip', 'Resize']
