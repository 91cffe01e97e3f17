"""Hooks that stop a training that cannot succeed."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from mmdet_clone.engine.checkpoint import unwrap_model
from mmdet_clone.engine.hooks.hook import HOOKS, Hook

__all__ = ['CheckInvalidLossHook', 'NumClassCheckHook', 'check_num_classes']

# parts whose ``num_classes`` counts something else: ImageNet's classes, objectness, stuff
_OTHER_COUNTS = {'backbone', 'rpn_head', 'semantic_head', 'panoptic_fusion_head'}


@HOOKS.register_module()
class NumClassCheckHook(Hook):
    """Compares ``num_classes`` of each head with the classes of each data set, before the first iteration."""

    def before_train(self, runner: Any) -> None:
        loaders = [*runner.train_loop.loaders, *([runner.val_loop.dataloader] if runner.val_loop else [])]
        for dataset in {id(loader.dataset): loader.dataset for loader in loaders}.values():
            check_num_classes(unwrap_model(runner.model), dataset, runner.logger)


def class_heads(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """(path in the model, module) of each part whose ``num_classes`` is that of the data set."""
    return [
        (path, module)
        for path, module in model.named_modules()
        if isinstance(getattr(module, 'num_classes', None), int) and not _OTHER_COUNTS & set(path.split('.'))
    ]


def check_num_classes(model: nn.Module, dataset: Any, logger: Any = None) -> None:
    """Raise ``ValueError`` if a head of ``model`` has another ``num_classes`` than ``dataset`` has classes."""
    classes, name = getattr(dataset, 'CLASSES', None), type(dataset).__name__
    if classes is None:
        if logger is not None:
            logger.warning(f'{name} has no CLASSES: the num_classes of the heads cannot be checked')
        return
    if isinstance(classes, str):
        raise ValueError(
            f'CLASSES of {name} is the string {classes!r}, each letter of which would be a class: '
            f"write ({classes!r},) with a comma, or ['{classes}']"
        )
    wrong = [
        f'  model.{path + "." if path else ""}num_classes={module.num_classes} ({type(module).__name__})'
        for path, module in class_heads(model)
        if module.num_classes != len(classes)
    ]
    if wrong:
        few = ', '.join(map(str, list(classes)[:5])) + (', ...' if len(classes) > 5 else '')
        raise ValueError(
            f'{name} has {len(classes)} classes ({few}) but the model is built for another number. '
            f'Set num_classes={len(classes)} at:\n' + '\n'.join(wrong)
        )


@HOOKS.register_module()
class CheckInvalidLossHook(Hook):
    """Stops when the loss is infinite or not a number.

    Args:
        interval: iterations between two checks.
    """

    def __init__(self, interval: int = 50) -> None:
        self.interval = interval

    def after_train_iter(self, runner: Any) -> None:
        if not self.every_n_iters(runner, self.interval) or bool(torch.isfinite(runner.outputs['loss']).all()):
            return
        values = {name: float(value) for name, value in runner.outputs['log_vars'].items()}
        raise FloatingPointError(
            f'the loss is infinite or not a number in iteration {runner.iter + 1}: '
            + ', '.join(f'{name}: {value:.4g}' for name, value in values.items())
            + '. Try a lower learning rate, a longer warm-up, or optimizer_config=dict(grad_clip=dict(max_norm=35))'
        )
