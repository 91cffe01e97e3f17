"""The steps that turn a dataset's entry into what a model takes."""

from mmdet_clone.datasets.pipelines.affine import RandomAffine
from mmdet_clone.datasets.pipelines.annotations import FilterAnnotations, LoadAnnotations, LoadProposals
from mmdet_clone.datasets.pipelines.auto_augment import AutoAugment
from mmdet_clone.datasets.pipelines.base import MissingKeyError, Transform
from mmdet_clone.datasets.pipelines.color import CutOut, Normalize, PhotoMetricDistortion
from mmdet_clone.datasets.pipelines.compose import Compose
from mmdet_clone.datasets.pipelines.crop import MinIoURandomCrop, RandomCrop
from mmdet_clone.datasets.pipelines.flip import RandomFlip
from mmdet_clone.datasets.pipelines.formatting import (
    Collect,
    DefaultFormatBundle,
    ImageToTensor,
    ToDataContainer,
    ToTensor,
    Transpose,
    WrapFieldsToLists,
    to_tensor,
)
from mmdet_clone.datasets.pipelines.hsv import YOLOXHSVRandomAug
from mmdet_clone.datasets.pipelines.loading import (
    LoadImageFromFile,
    LoadImageFromWebcam,
    LoadMultiChannelImageFromFiles,
)
from mmdet_clone.datasets.pipelines.mixup import MixUp
from mmdet_clone.datasets.pipelines.mosaic import Mosaic
from mmdet_clone.datasets.pipelines.pad import Expand, Pad
from mmdet_clone.datasets.pipelines.resize import Resize, SegRescale
from mmdet_clone.datasets.pipelines.tta import MultiScaleFlipAug

__all__ = [
    'AutoAugment',
    'Collect',
    'Compose',
    'CutOut',
    'DefaultFormatBundle',
    'Expand',
    'FilterAnnotations',
    'ImageToTensor',
    'LoadAnnotations',
    'LoadImageFromFile',
    'LoadImageFromWebcam',
    'LoadMultiChannelImageFromFiles',
    'LoadProposals',
    'MinIoURandomCrop',
    'MissingKeyError',
    'MixUp',
    'Mosaic',
    'MultiScaleFlipAug',
    'Normalize',
    'Pad',
    'PhotoMetricDistortion',
    'RandomAffine',
    'RandomCrop',
    'RandomFlip',
    'Resize',
    'SegRescale',
    'ToDataContainer',
    'ToTensor',
    'Transform',
    'Transpose',
    'WrapFieldsToLists',
    'YOLOXHSVRandomAug',
    'to_tensor',
]
