"""The steps that turn a dataset's entry into what a model takes."""

from mmdet_clone.datasets.pipelines.affine import RandomAffine
from mmdet_clone.datasets.pipelines.albu import Albu
from mmdet_clone.datasets.pipelines.annotations import FilterAnnotations, LoadAnnotations, LoadProposals
from mmdet_clone.datasets.pipelines.auto_augment import AutoAugment
from mmdet_clone.datasets.pipelines.base import MissingKeyError, Transform
from mmdet_clone.datasets.pipelines.center_crop_pad import RandomCenterCropPad
from mmdet_clone.datasets.pipelines.color import CutOut, Normalize, PhotoMetricDistortion
from mmdet_clone.datasets.pipelines.compose import Compose
from mmdet_clone.datasets.pipelines.copy_paste import CopyPaste
from mmdet_clone.datasets.pipelines.corrupt import Corrupt
from mmdet_clone.datasets.pipelines.crop import MinIoURandomCrop, RandomCrop
from mmdet_clone.datasets.pipelines.enhance import (
    BrightnessTransform,
    ColorTransform,
    ContrastTransform,
    EqualizeTransform,
)
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
from mmdet_clone.datasets.pipelines.instaboost import InstaBoost
from mmdet_clone.datasets.pipelines.loading import (
    LoadImageFromFile,
    LoadImageFromWebcam,
    LoadMultiChannelImageFromFiles,
)
from mmdet_clone.datasets.pipelines.mixup import MixUp
from mmdet_clone.datasets.pipelines.mosaic import Mosaic
from mmdet_clone.datasets.pipelines.pad import Expand, Pad
from mmdet_clone.datasets.pipelines.panoptic import LoadPanopticAnnotations
from mmdet_clone.datasets.pipelines.resize import Resize, SegRescale
from mmdet_clone.datasets.pipelines.shift import RandomShift
from mmdet_clone.datasets.pipelines.tta import MultiScaleFlipAug
from mmdet_clone.datasets.pipelines.warp import Rotate, Shear, Translate

__all__ = [
    'Albu',
    'AutoAugment',
    'BrightnessTransform',
    'Collect',
    'ColorTransform',
    'Compose',
    'ContrastTransform',
    'CopyPaste',
    'Corrupt',
    'CutOut',
    'DefaultFormatBundle',
    'EqualizeTransform',
    'Expand',
    'FilterAnnotations',
    'ImageToTensor',
    'InstaBoost',
    'LoadAnnotations',
    'LoadImageFromFile',
    'LoadImageFromWebcam',
    'LoadMultiChannelImageFromFiles',
    'LoadPanopticAnnotations',
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
    'RandomCenterCropPad',
    'RandomCrop',
    'RandomFlip',
    'RandomShift',
    'Resize',
    'Rotate',
    'SegRescale',
    'Shear',
    'ToDataContainer',
    'ToTensor',
    'Transform',
    'Translate',
    'Transpose',
    'WrapFieldsToLists',
    'YOLOXHSVRandomAug',
    'to_tensor',
]
