"""Hooks under MMDetection 2.x's names; importing this registers them."""

from __future__ import annotations

from mmdet_clone.engine.hooks.checkpoint import CheckpointHook
from mmdet_clone.engine.hooks.checks import CheckInvalidLossHook, NumClassCheckHook, check_num_classes
from mmdet_clone.engine.hooks.ema import EMAHook, ExpMomentumEMAHook, LinearMomentumEMAHook
from mmdet_clone.engine.hooks.evaluation import DistEvalHook, EvalHook
from mmdet_clone.engine.hooks.hook import HOOKS, Hook
from mmdet_clone.engine.hooks.logger import LoggerHook
from mmdet_clone.engine.hooks.optimizer import GradientCumulativeOptimizerHook, OptimizerHook
from mmdet_clone.engine.hooks.runtime import DistSamplerSeedHook, IterTimerHook, RuntimeInfoHook, SetEpochInfoHook
from mmdet_clone.engine.hooks.schedule import LrUpdaterHook, MomentumUpdaterHook
from mmdet_clone.engine.hooks.sync_norm import SyncNormHook
from mmdet_clone.engine.hooks.tensorboard import TensorboardLoggerHook
from mmdet_clone.engine.hooks.text_logger import TextLoggerHook
from mmdet_clone.engine.hooks.yolox import SyncRandomSizeHook, YOLOXModeSwitchHook

__all__ = [
    'HOOKS',
    'CheckInvalidLossHook',
    'CheckpointHook',
    'DistEvalHook',
    'DistSamplerSeedHook',
    'EMAHook',
    'EvalHook',
    'ExpMomentumEMAHook',
    'GradientCumulativeOptimizerHook',
    'Hook',
    'IterTimerHook',
    'LinearMomentumEMAHook',
    'LoggerHook',
    'LrUpdaterHook',
    'MomentumUpdaterHook',
    'NumClassCheckHook',
    'OptimizerHook',
    'RuntimeInfoHook',
    'SetEpochInfoHook',
    'SyncNormHook',
    'SyncRandomSizeHook',
    'TensorboardLoggerHook',
    'TextLoggerHook',
    'YOLOXModeSwitchHook',
    'check_num_classes',
]
