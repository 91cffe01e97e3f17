"""Build the parts of this package from their config dicts, under MMDetection 2.x's names."""

from __future__ import annotations

from typing import Any

from mmdet_clone.registry import BBOX_ASSIGNERS, BBOX_CODERS, BBOX_SAMPLERS, IOU_CALCULATORS, PRIOR_GENERATORS


def build_assigner(cfg: dict, **default_args: Any) -> Any:
    """The assigner that ``cfg`` describes."""
    return BBOX_ASSIGNERS.build(cfg, default_args)


def build_sampler(cfg: dict, **default_args: Any) -> Any:
    """The sampler that ``cfg`` describes; ``context`` names the head that it works for."""
    return BBOX_SAMPLERS.build(cfg, default_args)


def build_bbox_coder(cfg: dict, **default_args: Any) -> Any:
    """The box coder that ``cfg`` describes."""
    return BBOX_CODERS.build(cfg, default_args)


def build_iou_calculator(cfg: dict, default_args: dict | None = None) -> Any:
    """The IoU calculator that ``cfg`` describes."""
    return IOU_CALCULATORS.build(cfg, default_args)


def build_prior_generator(cfg: dict, default_args: dict | None = None) -> Any:
    """The prior generator that ``cfg`` describes."""
    return PRIOR_GENERATORS.build(cfg, default_args)


build_anchor_generator = build_prior_generator
