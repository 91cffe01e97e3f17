"""Annotations go to worker processes as memory that they only read."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
from torch.utils.data import Subset

from mmdet_clone.datasets import (
    ClassBalancedDataset,
    CocoDataset,
    ConcatDataset,
    CustomDataset,
    RepeatDataset,
    build_dataloader,
)
from mmdet_clone.datasets.lazy_records import LazyList, packed
from mmdet_clone.datasets.sharing import share_with_workers


def middle(count):
    ann = dict(bboxes=[[1, 2, 30, 40]], labels=[0])
    return [dict(filename=f'{i}.jpg', width=64, height=48, ann=ann) for i in range(count)]


class OwnPid(CustomDataset):
    CLASSES = ('thing',)

    def __getitem__(self, idx):
        return dict(idx=idx, pid=os.getpid(), info=self.data_infos[idx], ann=self.get_ann_info(idx))


def test_lists_are_packed_when_a_loader_with_workers_is_built_and_not_before(write_json):
    dataset = OwnPid(write_json(middle(5)), [])
    infos = dataset.data_infos
    build_dataloader(dataset, 1, 0, dist=False)
    assert dataset.data_infos is infos and type(infos) is list
    loader = build_dataloader(dataset, 1, 2, dist=False, shuffle=False)
    assert isinstance(dataset.data_infos, LazyList) and list(dataset.data_infos) == infos
    batches = list(loader)
    assert [batch['info'][0] for batch in batches] == infos
    assert os.getpid() not in {batch['pid'][0] for batch in batches}
    assert batches[0]['ann'][0]['bboxes'].tolist() == [[1, 2, 30, 40]]


def test_data_sets_inside_of_others_are_packed(write_json, toy):
    parts = [OwnPid(write_json(middle(3)), []) for _ in range(3)]
    share_with_workers(ConcatDataset([RepeatDataset(parts[0], 2), parts[1]]))
    share_with_workers(Subset(parts[2], [0]))
    assert all(isinstance(part.data_infos, LazyList) for part in parts)
    coco = CocoDataset(write_json(toy, 'coco.json'), [], classes=['cat', 'dog'])
    infos = coco.data_infos
    share_with_workers(ClassBalancedDataset(coco, 0.5))
    assert coco.data_infos is infos  # compact already


def test_changed_entries_are_packed_with_their_changes(write_json, toy):
    dataset = CocoDataset(write_json(toy), [], classes=['cat', 'dog'])
    dataset.data_infos[1]['note'] = 'mine'
    share_with_workers(dataset)
    assert dataset.data_infos[1]['note'] == 'mine' and 'note' not in dataset.data_infos[0]
    assert dataset.get_ann_info(1)['labels'].tolist() == [1] and dataset.get_cat2imgs() == {0: [0], 1: [0, 1]}
    dataset.data_infos[0]['note'] = 'later'
    assert dataset.data_infos[0]['note'] == 'later'


def test_entries_that_were_sorted_are_packed(write_json, toy):
    class Sorted(CocoDataset):
        CLASSES = ('cat', 'dog')

        def load_annotations(self, ann_file):
            infos = super().load_annotations(ann_file)
            infos.sort(key=lambda info: info['file_name'])
            return infos

    dataset = Sorted(write_json(toy), [])
    assert type(dataset.data_infos) is list
    share_with_workers(dataset)
    assert isinstance(dataset.data_infos, LazyList)
    assert [info['file_name'] for info in dataset.data_infos] == ['high.jpg', 'wide.jpg']


def test_proposals_are_packed(write_json, tmp_path):
    proposals = [np.full((i + 1, 5), i, dtype=np.float32) for i in range(3)]
    (tmp_path / 'proposals.pkl').write_bytes(pickle.dumps(proposals))
    dataset = CustomDataset(write_json(middle(3)), [], classes=['thing'], proposal_file=str(tmp_path / 'proposals.pkl'))
    share_with_workers(dataset)
    assert isinstance(dataset.proposals, LazyList)
    for i, expected in enumerate(proposals):
        np.testing.assert_array_equal(dataset[i]['proposals'], expected)


def test_what_cannot_be_pickled_stays_a_list():
    items = [dict(f=lambda: None)]
    assert packed(items) is items


@pytest.mark.parametrize('threshold', [0.1, 0.9])
@pytest.mark.parametrize('filter_empty_gt', [True, False])
def test_repeat_factors_are_those_of_the_paper(threshold, filter_empty_gt):
    class Labels(CustomDataset):
        CLASSES = ('a', 'b', 'c')
        labels = ([0, 0, 1], [0], [], [2], [0, 2])

        def __init__(self):
            self.flag = np.zeros(5, dtype=np.uint8)

        def __len__(self):
            return 5

        def get_cat_ids(self, idx):
            return self.labels[idx]

    shown = [{0, 1}, {0}, set() if filter_empty_gt else {-1}, {2}, {0, 2}]
    share = {c: sum(c in classes for classes in shown) / 5 for c in (-1, 0, 1, 2)}
    factors = [max([max(1, (threshold / share[c]) ** 0.5) for c in classes], default=1) for classes in shown]
    dataset = ClassBalancedDataset(Labels(), threshold, filter_empty_gt)
    assert dataset._get_repeat_factors(dataset.dataset, threshold) == pytest.approx(factors)
    two = ClassBalancedDataset(ConcatDataset([Labels(), Labels()]), threshold, filter_empty_gt)
    assert two._get_repeat_factors(two.dataset, threshold) == pytest.approx(factors * 2)


def resident(name):
    with open('/proc/self/smaps_rollup') as file:
        return sum(int(line.split()[1]) for line in file if line.startswith(name)) / 1024


class Reader(CocoDataset):
    """Each sample says how much memory of its own the worker has."""

    CLASSES = tuple('abcdefgh')

    def __getitem__(self, idx):
        self.get_ann_info(idx)
        return dict(private=resident('Private') if idx in (0, len(self) - 1) else None)


def test_a_worker_that_reads_everything_grows_by_less_than_a_tenth(write_json, rng, monkeypatch):
    monkeypatch.setenv('MMDET_CLONE_CACHE', 'off')  # pages of a file that one process reads would count as its own
    outline = rng.random(120).round(2).tolist()
    anns = [
        dict(id=i, image_id=i // 10, category_id=i % 8, bbox=[1, 2, 30, 40], area=9, iscrowd=0, segmentation=[outline])
        for i in range(30_000)
    ]
    images = [dict(id=i, file_name=f'{i}.jpg', width=640, height=480) for i in range(3000)]
    categories = [dict(id=i, name=name) for i, name in enumerate(Reader.CLASSES)]
    dataset = Reader(write_json(dict(images=images, annotations=anns, categories=categories)), [])
    loader = build_dataloader(dataset, 1, 1, dist=False, shuffle=False)
    first, *_, last = [batch['private'][0] for batch in loader]
    held = sum(array.nbytes for array in dataset.coco.table.arrays().values()) / (1 << 20)
    assert held > 20 and last - first < held / 10
