"""Backbones: from images to a pyramid of features."""

from __future__ import annotations

from .csp_darknet import CSPDarknet
from .mobilenet_v2 import MobileNetV2
from .regnet import RegNet
from .resnet import ResNet, ResNetV1d
from .resnext import ResNeXt
from .ssd_vgg import SSDVGG

__all__ = ['SSDVGG', 'CSPDarknet', 'MobileNetV2', 'RegNet', 'ResNeXt', 'ResNet', 'ResNetV1d']
