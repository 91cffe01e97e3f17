"""Data sets, their pipelines and loaders."""

from __future__ import annotations

from .builder import DATASETS, PIPELINES, build_dataloader, build_dataset
from .catalog import (
    get_dataset_dicts,
    register_coco_instances,
    register_coco_panoptic,
    register_dataset,
    register_lvis_instances,
    register_voc,
    registered_datasets,
    unregister_dataset,
)
from .cityscapes import CityscapesDataset
from .coco import CocoDataset
from .coco_occluded import OccludedSeparatedCocoDataset
from .coco_panoptic import CocoPanopticDataset
from .custom import CustomDataset
from .deepfashion import DeepFashionDataset
from .loader import collate
from .lvis import LVISDataset, LVISV05Dataset, LVISV1Dataset
from .multi_image_mix import MultiImageMixDataset
from .objects365 import Objects365V1Dataset, Objects365V2Dataset
from .openimages import OpenImagesChallengeDataset, OpenImagesDataset
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
from .wider_face import WIDERFaceDataset
from .wrappers import ClassBalancedDataset, ConcatDataset, DatasetWrapper, RepeatDataset
from .xml_style import XMLDataset

__all__ = [
    'DATASETS',
    'PIPELINES',
    'CityscapesDataset',
    'ClassAwareSampler',
    'ClassBalancedDataset',
    'CocoDataset',
    'CocoPanopticDataset',
    'ConcatDataset',
    'CustomDataset',
    'DatasetWrapper',
    'DeepFashionDataset',
    'DistributedGroupSampler',
    'DistributedSampler',
    'GroupSampler',
    'InfiniteBatchSampler',
    'InfiniteGroupBatchSampler',
    'LVISDataset',
    'LVISV05Dataset',
    'LVISV1Dataset',
    'MultiImageMixDataset',
    'Objects365V1Dataset',
    'Objects365V2Dataset',
    'OccludedSeparatedCocoDataset',
    'OpenImagesChallengeDataset',
    'OpenImagesDataset',
    'RepeatDataset',
    'VOCDataset',
    'WIDERFaceDataset',
    'XMLDataset',
    'build_dataloader',
    'build_dataset',
    'collate',
    'get_dataset_dicts',
    'get_loading_pipeline',
    'register_coco_instances',
    'register_coco_panoptic',
    'register_dataset',
    'register_lvis_instances',
    'register_voc',
    'registered_datasets',
    'replace_ImageToTensor',
    'unregister_dataset',
]
