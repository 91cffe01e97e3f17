from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from mmdet_clone.datasets import (
    ClassAwareSampler,
    DistributedGroupSampler,
    DistributedSampler,
    GroupSampler,
    InfiniteBatchSampler,
    InfiniteGroupBatchSampler,
)


class Flagged:
    def __init__(self, wide: int, high: int) -> None:
        self.flag = np.array([1] * wide + [0] * high, dtype=np.uint8)

    def __len__(self):
        return len(self.flag)

    def get_cat2imgs(self):
        return {0: [0, 1, 2], 1: [3], 2: []}


def batches(indices, size):
    indices = list(indices)
    return [indices[i : i + size] for i in range(0, len(indices), size)]


@pytest.mark.parametrize('wide, high, size', [(7, 4, 2), (5, 1, 4), (3, 0, 2), (1, 1, 3)])
def test_a_batch_is_of_one_group_and_every_image_comes(wide, high, size):
    data = Flagged(wide, high)
    sampler = GroupSampler(data, size)
    order = list(sampler)
    assert len(order) == len(sampler) and set(order) == set(range(wide + high))
    assert all(len({data.flag[i] for i in batch}) == 1 for batch in batches(order, size))


def test_the_order_follows_from_seed_and_epoch():
    sampler, twin = GroupSampler(Flagged(20, 20), 2, seed=3), GroupSampler(Flagged(20, 20), 2, seed=3)
    first = list(sampler)
    assert list(sampler) == first == list(twin)
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert list(GroupSampler(Flagged(20, 20), 2, seed=4)) != first


@pytest.mark.parametrize('world', [1, 2, 3])
def test_processes_share_the_groups_in_full_batches(world):
    data = Flagged(11, 6)
    samplers = [DistributedGroupSampler(data, 2, world, rank, seed=1) for rank in range(world)]
    orders = [list(sampler) for sampler in samplers]
    assert len({len(order) for order in orders}) == 1 and len(orders[0]) == len(samplers[0])
    assert set().union(*orders) == set(range(17))
    for order in orders:
        assert all(len({data.flag[i] for i in batch}) == 1 for batch in batches(order, 2))


def test_groups_need_a_flag():
    with pytest.raises(TypeError, match='test_mode=False'):
        GroupSampler([1, 2, 3])


def test_results_of_the_ranks_in_turn_are_in_order():
    ranks = [list(DistributedSampler(range(7), 2, rank, shuffle=False)) for rank in range(2)]
    assert ranks == [[0, 2, 4, 6], [1, 3, 5, 0]]
    assert [list(DistributedSampler(range(1), 3, rank, shuffle=False)) for rank in range(3)] == [[0]] * 3


def test_shuffled_shares_cover_the_data_once():
    ranks = [list(DistributedSampler(range(8), 2, rank, seed=5)) for rank in range(2)]
    assert sorted(ranks[0] + ranks[1]) == list(range(8)) and ranks[0] != [0, 2, 4, 6]


def test_endless_batches_go_through_the_data_pass_by_pass():
    sampler = InfiniteBatchSampler(range(5), 2, world_size=1, rank=0, seed=0)
    drawn = [i for batch in islice(sampler, 5) for i in batch]
    assert sorted(drawn[:5]) == sorted(drawn[5:]) == list(range(5)) and drawn[:5] != drawn[5:]
    assert list(islice(InfiniteBatchSampler(range(3), 2, world_size=1, rank=0, shuffle=False), 3)) == [
        [0, 1],
        [2, 0],
        [1, 2],
    ]
    assert [n for batch in islice(sampler.numbered(), 5) for n, _ in batch] == [0] * 5 + [1] * 5


def test_endless_batches_of_two_processes_share_a_pass():
    firsts = [
        [i for batch in islice(InfiniteBatchSampler(range(8), 2, 2, rank, seed=0), 2) for i in batch] for rank in (0, 1)
    ]
    assert sorted(firsts[0] + firsts[1]) == list(range(8))


def test_endless_batches_are_of_one_group():
    data = Flagged(5, 3)
    for batch in islice(InfiniteGroupBatchSampler(data, 2, world_size=1, rank=0), 20):
        assert len(batch) == 2 and len({data.flag[i] for i in batch}) == 1


def test_classes_take_turns():
    sampler = ClassAwareSampler(Flagged(4, 0), samples_per_gpu=2, num_replicas=1, rank=0)
    order = list(sampler)
    assert len(order) == len(sampler) == 4 and order.count(3) == 2  # class 1 is shown by image 3 alone
