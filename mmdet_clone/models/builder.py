"""How the parts of a detector and the detector itself are built from their config dicts."""

from __future__ import annotations

from typing import Any

from mmengine.config import ConfigDict
from torch import nn

from mmdet_clone.registry import (
    BACKBONES,
    DETECTORS,
    HEADS,
    LOSSES,
    MODELS,
    NECKS,
    ROI_EXTRACTORS,
    SHARED_HEADS,
)

__all__ = [
    'BACKBONES',
    'DETECTORS',
    'HEADS',
    'LOSSES',
    'MODELS',
    'NECKS',
    'ROI_EXTRACTORS',
    'SHARED_HEADS',
    'build_backbone',
    'build_detector',
    'build_head',
    'build_head_with',
    'build_loss',
    'build_neck',
    'build_roi_extractor',
    'build_shared_head',
]


def build_backbone(cfg: dict, default_args: dict | None = None) -> nn.Module:
    """Build a backbone; ``default_args`` fill the keys that ``cfg`` lacks, here and in the functions below."""
    return BACKBONES.build(cfg, default_args)


def build_neck(cfg: dict | list[dict], default_args: dict | None = None) -> nn.Module:
    """Build a neck; a list makes one neck after the other."""
    if isinstance(cfg, list | tuple):
        return nn.Sequential(*(NECKS.build(part, default_args) for part in cfg))
    return NECKS.build(cfg, default_args)


def build_head(cfg: dict, default_args: dict | None = None) -> nn.Module:
    """Build a dense, RoI, box or mask head."""
    return HEADS.build(cfg, default_args)


def build_head_with(cfg: dict, train_cfg: dict | None, test_cfg: dict | None, **others: Any) -> nn.Module:
    """Build a head with its detector's ``train_cfg`` and ``test_cfg``, and ``others`` likewise.

    They take the place of the head's own, as in MMDetection 2.x; where the detector has none, the head's own count.
    """
    given = dict(train_cfg=train_cfg, test_cfg=test_cfg, **others)
    replaced = {key for key in given if given[key] is not None and key in cfg}
    return build_head({k: v for k, v in cfg.items() if k not in replaced} if replaced else cfg, given)


def build_roi_extractor(cfg: dict, default_args: dict | None = None) -> nn.Module:
    """Build a RoI feature extractor."""
    return ROI_EXTRACTORS.build(cfg, default_args)


def build_shared_head(cfg: dict, default_args: dict | None = None) -> nn.Module:
    """Build the head that box and mask branches share."""
    return SHARED_HEADS.build(cfg, default_args)


def build_loss(cfg: dict, default_args: dict | None = None) -> nn.Module:
    """Build a loss."""
    return LOSSES.build(cfg, default_args)


def build_detector(cfg: dict, train_cfg: dict | None = None, test_cfg: dict | None = None) -> nn.Module:
    """Build the detector that a config's ``model`` describes.

    Args:
        cfg: the ``model`` dict.
        train_cfg, test_cfg: these dicts where the config keeps them beside ``model``, as older configs do.

    Raises:
        ValueError: ``train_cfg`` or ``test_cfg`` is given in both places.
    """
    if not isinstance(cfg, dict):
        return DETECTORS.build(cfg, path='model')  # says what it expects
    cfg = ConfigDict(cfg)
    outer = {key: value for key, value in (('train_cfg', train_cfg), ('test_cfg', test_cfg)) if value is not None}
    twice = [key for key in outer if cfg.get(key) is not None]
    if twice:
        raise ValueError(
            f'{" and ".join(twice)} given both inside `model` and beside it: keep the first, delete the second'
        )
    cfg.update(outer)
    return DETECTORS.build(cfg, path='model')
