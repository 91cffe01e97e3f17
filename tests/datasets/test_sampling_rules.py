"""What wrappers and samplers do beyond one data set and one process."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pytest

from mmdet_clone.datasets import (
    ClassAwareSampler,
    ClassBalancedDataset,
    CocoDataset,
    ConcatDataset,
    DistributedGroupSampler,
    DistributedSampler,
    InfiniteGroupBatchSampler,
    MultiImageMixDataset,
    RepeatDataset,
    build_dataloader,
    build_dataset,
)


class Shown:
    """Image i shows the classes ``shown[i]``; wide images have the flag 1."""

    CLASSES = ('a', 'b', 'c')

    def __init__(self, shown, flag=None):
        self.shown = shown
        self.flag = np.array(flag if flag is not None else [0] * len(shown), dtype=np.uint8)

    def __len__(self):
        return len(self.shown)

    def __getitem__(self, idx):
        return dict(number=idx)

    def get_cat_ids(self, idx):
        return self.shown[idx]

    def get_cat2imgs(self):
        return {label: [i for i, shown in enumerate(self.shown) if label in shown] for label in range(3)}


# ---------------------------------------------------------------------- classes in turn


def test_every_class_is_drawn_as_often_and_one_without_images_never():
    data = Shown([[0]] * 9 + [[1]])
    order = list(ClassAwareSampler(data, 1, num_replicas=1, rank=0))
    assert len(order) == 10 and order.count(9) == 5
    assert len(set(order)) == 6  # no image of the frequent class twice before all were drawn


def test_several_images_of_a_class_come_together():
    data = Shown([[0], [0], [0], [0], [1], [2]])
    order = list(ClassAwareSampler(data, 6, num_replicas=1, rank=0, num_sample_class=2))
    runs = [{data.shown[i][0] for i in order[k : k + 2]} for k in (0, 2, 4)]
    assert all(len(run) == 1 for run in runs) and set.union(*runs) == {0, 1, 2}
    assert order.count(4) == order.count(5) == 2  # a class of one image gives it twice


def test_ranks_take_shares_of_one_drawing_and_epochs_draw_anew():
    data = Shown([[i % 3] for i in range(10)])
    samplers = [ClassAwareSampler(data, 2, num_replicas=2, rank=rank, seed=3) for rank in (0, 1)]
    whole = list(ClassAwareSampler(data, 4, num_replicas=1, rank=0, seed=3))
    shares = [list(sampler) for sampler in samplers]
    assert shares[0] + shares[1] == whole and len(whole) == 12 and [len(s) for s in samplers] == [6, 6]
    assert Counter(data.shown[i][0] for i in whole) == {0: 4, 1: 4, 2: 4}
    samplers[0].set_epoch(1)
    assert list(samplers[0]) != shares[0]


def test_class_aware_sampling_of_what_cannot_tell_classes_is_refused():
    with pytest.raises(TypeError, match='RepeatDataset has no get_cat2imgs'):
        ClassAwareSampler(RepeatDataset(Shown([[0]]), 2), num_replicas=1, rank=0)
    with pytest.raises(ValueError, match='no image of Shown shows a class'):
        ClassAwareSampler(Shown([[], []]), num_replicas=1, rank=0)


def test_the_config_switches_it_on(write_json, toy):
    data = build_dataset(dict(type='CocoDataset', ann_file=write_json(toy), pipeline=[], classes=['cat', 'dog']))
    loader = build_dataloader(data, 2, 0, dist=False, class_aware_sampler=dict(num_sample_class=1), seed=0)
    assert isinstance(loader.batch_sampler.sampler, ClassAwareSampler)


# ---------------------------------------------------------------------- processes


@pytest.mark.parametrize('count, world', [(1, 4), (5, 4), (7, 3)])
def test_each_process_gets_as_many_and_no_image_is_lost(count, world):
    shares = [list(DistributedSampler(range(count), world, rank, seed=1)) for rank in range(world)]
    assert len({len(share) for share in shares}) == 1 and set().union(*shares) == set(range(count))


def test_a_group_smaller_than_a_step_of_all_processes_is_repeated():
    data = Shown([[0]] * 7, flag=[1] * 6 + [0])
    shares = [list(DistributedGroupSampler(data, 2, 2, rank)) for rank in (0, 1)]
    drawn = Counter(shares[0] + shares[1])
    assert drawn[6] == 4 and set(drawn) == set(range(7)) and sum(drawn.values()) == 12


def test_endless_groups_of_two_processes_share_each_pass():
    data = Shown([[0]] * 12, flag=[1] * 6 + [0] * 6)
    batches = [list(islice(InfiniteGroupBatchSampler(data, 2, 2, rank, seed=5).numbered(), 6)) for rank in (0, 1)]
    for batch in batches[0] + batches[1]:
        assert len({data.flag[index] for _, index in batch}) == 1
    seen = [item for share in batches for batch in share for item in batch]
    assert len(set(seen)) == len(seen)  # no image twice in a pass
    assert {index for number, index in seen if number == 0} >= set(range(12)) - {i for n, i in seen if n == 1}


# ---------------------------------------------------------------------- wrappers in wrappers


def test_wrappers_hand_on_flags_classes_and_category_ids():
    joined = ConcatDataset([Shown([[0], [1]], [0, 1]), Shown([[2]], [1])])
    repeated = RepeatDataset(joined, 2)
    assert repeated.flag.tolist() == [0, 1, 1, 0, 1, 1] and repeated.CLASSES == ('a', 'b', 'c')
    # a third of the images shows each class: sqrt(.5 * 3) = 1.22, rounded up to 2
    balanced = ClassBalancedDataset(repeated, oversample_thr=0.5)
    assert len(balanced) == 12 and balanced.get_cat_ids(0) == [0] and len(balanced.flag) == 12
    mixed = MultiImageMixDataset(balanced, [])
    assert len(mixed) == 12 and mixed[11] == dict(number=0) and mixed.flag.tolist() == balanced.flag.tolist()


def test_a_joined_data_set_without_flags_has_none():
    first, second = Shown([[0]]), Shown([[1]])
    del second.flag
    assert not hasattr(ConcatDataset([first, second]), 'flag')


def test_parts_of_a_joined_data_set_keep_their_own_results(write_json, toy):
    other = {**toy, 'images': toy['images'][:1], 'annotations': toy['annotations'][:1]}
    files = [write_json(toy), write_json(other, 'other.json')]
    cfg = dict(type='CocoDataset', ann_file=files, pipeline=[], classes=['cat', 'dog'], separate_eval=True)
    joined = build_dataset(cfg, dict(test_mode=True))
    assert isinstance(joined, ConcatDataset) and isinstance(joined.datasets[1], CocoDataset) and len(joined) == 5
    cat, none = np.array([[10, 20, 40, 60, 0.9]]), np.zeros((0, 5))
    numbers = joined.evaluate([[none, none]] * 4 + [[cat, none]], logger='silent', metric='bbox')
    assert numbers['0_bbox_mAP'] == 0 and numbers['1_bbox_mAP'] == 1


def test_joined_data_sets_that_label_differently_are_refused():
    other = Shown([[0]])
    other.CLASSES = ('b', 'a', 'c')
    with pytest.raises(ValueError, match='label numbers would mean different things'):
        ConcatDataset([Shown([[0]]), other])
