"""In which order, and in which groups, images are drawn."""

from __future__ import annotations

from .class_aware import ClassAwareSampler
from .distributed import DistributedSampler
from .group import DistributedGroupSampler, GroupSampler
from .infinite import InfiniteBatchSampler, InfiniteGroupBatchSampler

__all__ = [
    'ClassAwareSampler',
    'DistributedGroupSampler',
    'DistributedSampler',
    'GroupSampler',
    'InfiniteBatchSampler',
    'InfiniteGroupBatchSampler',
]
