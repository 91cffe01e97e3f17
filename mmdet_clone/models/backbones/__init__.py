"""Backbones: from images to a pyramid of features."""

from __future__ import annotations

from .resnet import ResNet, ResNetV1d
from .resnext import ResNeXt

__all__ = ['ResNeXt', 'ResNet', 'ResNetV1d']
