"""Data sets, their pipelines and loaders."""

from __future__ import annotations

from .builder import DATASETS, PIPELINES, build_dataloader, build_dataset
from .coco import CocoDataset
from .custom import CustomDataset
from .loader import collate
from .multi_image_mix import MultiImageMixDataset
from .pipeline_edits import get_loading_pipeline, replace_ImageToTensor
from .samplers import (
    ClassAwareSampler,
    DistributedGroupSampler,
    DistributedSampler,
    GroupSampler,
    InfiniteBatchSampler,
    InfiniteGroupBatchSampler,
)
from .voc import VOCDataset
from .wrappers import ClassBalancedDataset, ConcatDataset, DatasetWrapper, RepeatDataset
from .xml_style import XMLDataset

__all__ = [
    'DATASETS',
    'PIPELINES',
    'ClassAwareSampler',
    'ClassBalancedDataset',
    'CocoDataset',
    'ConcatDataset',
    'CustomDataset',
    'DatasetWrapper',
    'DistributedGroupSampler',
    'DistributedSampler',
    'GroupSampler',
    'InfiniteBatchSampler',
    'InfiniteGroupBatchSampler',
    'MultiImageMixDataset',
    'RepeatDataset',
    'VOCDataset',
    'XMLDataset',
    'build_dataloader',
    'build_dataset',
    'collate',
    'get_loading_pipeline',
    'replace_ImageToTensor',
]
