from __future__ import annotations

import random
from itertools import islice

import numpy as np
import pytest
import torch

from mmdet_clone.aliases.stand_ins import DataContainer
from mmdet_clone.datasets import ConcatDataset, RepeatDataset, build_dataloader, collate
from mmdet_clone.datasets.loader import stack_padded


class Noise(torch.utils.data.Dataset):
    """Samples that are nothing but random draws of every kind."""

    CLASSES = ('a',)

    def __init__(self, size: int = 6) -> None:
        self.size = size
        self.flag = np.array([i % 2 for i in range(size)], dtype=np.uint8)

    def __len__(self):
        return self.size

    def __getitem__(self, idx):
        draws = [random.random(), np.random.rand(), torch.rand(()).item()]
        return dict(img=torch.tensor(draws)[:, None, None], img_metas=dict(idx=idx))


def draws(loader, epoch=0, skip=0, count=None) -> dict[tuple, list]:
    loader.set_epoch(epoch)
    loader.batch_sampler.skip(skip)
    return [
        (tuple(meta['idx'] for meta in batch['img_metas']), batch['img'].flatten().tolist())
        for batch in islice(loader, count)
    ]


@pytest.mark.parametrize(
    'dataset',
    [Noise(), RepeatDataset(Noise(3), 2), ConcatDataset([Noise(3), Noise(4)])],
    ids=lambda d: type(d).__name__,
)
@pytest.mark.parametrize('runner_type', ['EpochBasedRunner', 'IterBasedRunner'])
def test_batches_do_not_depend_on_the_number_of_workers(dataset, runner_type):
    kwargs = dict(dist=False, seed=7, runner_type=runner_type)
    alone, helped = (draws(build_dataloader(dataset, 2, workers, **kwargs), count=6) for workers in (0, 2))
    assert alone == helped
    values = [value for _, drawn in alone for value in drawn]
    assert len(set(values)) > len(values) / 2


def test_batches_follow_from_seed_and_epoch():
    loader = build_dataloader(Noise(), 2, 0, dist=False, seed=7)
    first = draws(loader, 3)
    assert draws(loader, 3) == first and draws(loader, 4) != first
    assert draws(build_dataloader(Noise(), 2, 0, dist=False, seed=8), 3) != first


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('runner_type', ['EpochBasedRunner', 'IterBasedRunner'])
def test_skipping_continues_where_an_uninterrupted_epoch_would_be(workers, runner_type):
    kwargs = dict(dist=False, seed=1, runner_type=runner_type)
    whole = draws(build_dataloader(Noise(9), 2, workers, **kwargs), 2, count=5)
    loader = build_dataloader(Noise(9), 2, workers, **kwargs)
    assert draws(loader, 2, skip=3, count=2) == whole[3:]
    assert draws(loader, 2, count=5) == whole  # a skip counts once


def test_skipped_samples_are_not_made():
    class Counting(Noise):
        made = 0

        def __getitem__(self, idx):
            type(self).made += 1
            return super().__getitem__(idx)

    draws(build_dataloader(Counting(8), 2, 0, dist=False, seed=1), skip=3)
    assert Counting.made == 2


def test_loading_in_the_main_process_leaves_the_models_random_numbers_alone():
    def states():
        return random.random(), np.random.rand(), torch.rand(()).item()

    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    expected = states()
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    draws(build_dataloader(Noise(), 2, 0, dist=False, seed=1))
    assert states() == expected


def test_an_image_that_comes_twice_in_an_epoch_is_augmented_anew():
    data = Noise(1)  # filled up to a batch of two
    ((indices, values),) = draws(build_dataloader(data, 2, 0, dist=False, seed=1))
    assert indices == (0, 0) and values[:3] != values[3:]


def test_the_loader_shows_the_users_data_set():
    data = Noise()
    loader = build_dataloader(data, 2, 2, dist=False, seed=0, persistent_workers=True)
    assert loader.dataset is data
    first = draws(loader)
    assert loader.dataset is data and draws(loader) == first


def test_lengths_and_order():
    assert len(build_dataloader(Noise(7), 2, 0, dist=False)) == 4 + 0  # 4 even and 3 odd images, filled up
    test = build_dataloader(Noise(7), 2, 0, dist=False, shuffle=False)
    assert [indices for indices, _ in draws(test)] == [(0, 1), (2, 3), (4, 5), (6,)] and len(test) == 4
    assert len(build_dataloader(Noise(7), 2, 0, dist=False, shuffle=False, drop_last=True)) == 3
    assert len(build_dataloader(Noise(7), 2, 0, num_gpus=2, dist=False, shuffle=False)) == 2


def test_images_are_padded_below_and_right_and_stacked():
    small, large = torch.ones(3, 2, 4), torch.ones(3, 5, 3)
    batch = collate([
        dict(img=small, gt_semantic_seg=torch.zeros(1, 2, 4), gt_bboxes=torch.zeros(0, 4), img_metas=dict(a=1)),
        dict(img=large, gt_semantic_seg=torch.zeros(1, 5, 3), gt_bboxes=torch.zeros(2, 4), img_metas=dict(a=2)),
    ])  # fmt: skip
    assert batch['img'].shape == (2, 3, 5, 4) and batch['gt_semantic_seg'].shape == (2, 1, 5, 4)
    assert batch['img'][0].sum() == 24 and batch['img'][0, :, :2].min() == 1 and batch['img'][1, :, :, 3].max() == 0
    assert batch['gt_semantic_seg'][0, 0, 2:].min() == 255 and batch['gt_semantic_seg'][0, 0, :2].max() == 0
    assert [len(boxes) for boxes in batch['gt_bboxes']] == [0, 2] and batch['img_metas'] == [dict(a=1), dict(a=2)]


class OfSizes(torch.utils.data.Dataset):
    """Images of several sizes, and a value without height and width."""

    CLASSES = ('a',)

    def __len__(self):
        return 6

    def __getitem__(self, idx):
        sizes = [(2, 4), (5, 3), (3, 3), (3, 3), (4, 4), (1, 1)]
        fields = dict(img=0, depth=7, number=0)
        img = torch.full((3, *sizes[idx]), float(idx + 1))
        depth = torch.full((1, *sizes[idx]), idx, dtype=torch.uint8)
        return dict(img=img, depth=depth, number=torch.tensor([idx]), img_metas={}, stack_fields=fields)


def test_batches_made_in_workers_are_the_same_and_lie_in_shared_memory():
    alone, helped = (list(build_dataloader(OfSizes(), 2, n, dist=False, shuffle=False)) for n in (0, 1))
    for a, b in zip(alone, helped, strict=True):
        for key in ('img', 'depth', 'number'):
            assert a[key].dtype == b[key].dtype and torch.equal(a[key], b[key])
            assert b[key].is_shared() and not a[key].is_shared() and b[key].is_contiguous()
    assert alone[0]['img'].shape == (2, 3, 5, 4) and alone[0]['depth'][0, 0, 4, 0] == 7


def test_a_sample_may_name_further_fields_to_stack():
    samples = [dict(img_metas={}, depth=torch.zeros(1, 2, size), stack_fields=dict(depth=7)) for size in (2, 3)]
    batch = collate(samples)
    assert (
        set(batch) == {'img_metas', 'depth'}
        and batch['depth'].shape == (2, 1, 2, 3)
        and batch['depth'][0, 0, 0, 2] == 7
    )


def test_samples_of_several_augmentations_become_lists_over_augmentations():
    def sample(name):
        return dict(img=[torch.zeros(3, 4, 4), torch.zeros(3, 8, 8)], img_metas=[dict(n=name, aug=k) for k in range(2)])

    batch = collate([sample('a'), sample('b')])
    assert [tuple(img.shape) for img in batch['img']] == [(2, 3, 4, 4), (2, 3, 8, 8)]
    assert batch['img_metas'] == [[dict(n=n, aug=k) for n in 'ab'] for k in range(2)]


def test_values_in_a_data_container_are_taken_out_and_stacked_if_it_says_so():
    def sample(height, name):
        return dict(
            img=DataContainer(torch.ones(3, height, 4), stack=True),
            img_metas=DataContainer(dict(filename=name), cpu_only=True),
            proposals=DataContainer(torch.ones(height, 2), stack=True, padding_value=7),
            gt_semantic_seg=DataContainer(torch.ones(1, height, 4)),
        )

    batch = collate([sample(2, 'a'), sample(3, 'b')])
    assert batch['img'].shape == (2, 3, 3, 4) and batch['img'][0, :, 2].eq(0).all()
    assert batch['img_metas'] == [dict(filename='a'), dict(filename='b')]
    assert batch['proposals'].shape == (2, 3, 2) and batch['proposals'][0, 2].tolist() == [7, 7]
    assert [tuple(seg.shape) for seg in batch['gt_semantic_seg']] == [(1, 2, 4), (1, 3, 4)]


def test_data_containers_of_several_augmentations():
    img, meta = torch.zeros(3, 2, 2), dict(filename='a')
    sample = dict(
        img=[DataContainer(img, stack=True), DataContainer(img + 1, stack=True)],
        img_metas=[DataContainer(meta, cpu_only=True), DataContainer(meta, cpu_only=True)],
    )
    batch = collate([sample, sample])
    assert [tuple(i.shape) for i in batch['img']] == [(2, 3, 2, 2)] * 2
    assert batch['img_metas'] == [[meta, meta], [meta, meta]]


def test_images_of_other_channels_cannot_be_stacked():
    with pytest.raises(ValueError, match='cannot stack'):
        stack_padded([torch.zeros(3, 2, 2), torch.zeros(1, 2, 3)])


def test_class_aware_sampling_by_config(write_json, toy):
    from mmdet_clone.datasets import CocoDataset

    dataset = CocoDataset(write_json(toy), [], classes=['cat', 'dog'])
    loader = build_dataloader(dataset, 1, 0, dist=False, seed=0, class_aware_sampler=dict(num_sample_class=1))
    assert len(list(loader)) == 2


def test_loader_arguments_of_the_config_reach_torch(monkeypatch):
    loader = build_dataloader(Noise(), 2, 1, dist=False, prefetch_factor=5, persistent_workers=True, timeout=9)
    assert (loader.prefetch_factor, loader.persistent_workers, loader.timeout) == (5, True, 9)
    alone = build_dataloader(Noise(), 2, 0, dist=False, prefetch_factor=5, persistent_workers=True)
    assert alone.prefetch_factor is None and not alone.persistent_workers  # there are no workers


@pytest.mark.parametrize(
    'asked, cuda, pinned', [(None, True, True), (None, False, False), (True, False, False), (False, True, False)]
)
def test_memory_is_pinned_for_a_gpu_only(asked, cuda, pinned, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: cuda)
    assert build_dataloader(Noise(), 2, 0, dist=False, pin_memory=asked).pin_memory is pinned


def test_workers_keep_freed_memory_and_run_the_users_own_function(monkeypatch):
    from mmdet_clone.datasets import loader as module

    kept, started = [], []
    monkeypatch.setattr(module, 'keep_freed_memory', lambda: kept.append(True))
    build_dataloader(Noise(), 2, 1, dist=False, worker_init_fn=started.append).worker_init_fn(3)
    build_dataloader(Noise(), 2, 1, dist=False).worker_init_fn(4)
    assert kept == [True, True] and started == [3]
    assert build_dataloader(Noise(), 2, 0, dist=False).worker_init_fn is None


def test_other_c_libraries_are_left_as_they_are(monkeypatch):
    import ctypes

    from mmdet_clone.datasets.loader import keep_freed_memory

    monkeypatch.setattr(ctypes, 'CDLL', lambda name: object())
    keep_freed_memory()
