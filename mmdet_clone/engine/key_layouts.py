"""The names that wrappers and other versions of MMDetection gave to weights, and what they are called here.

MMDetection 3 names the weights of Faster and Mask R-CNN, RetinaNet, SSD and YOLOX as 2.x does. Names change only where
that makes them fit the model at hand, so a model that has a part of the older name keeps it.
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ['AdaptedNames', 'adapt_names', 'class_names_of_mmengine', 'weights_below', 'weights_of']

STRIP_DDP = ((r'^module\.', ''),)

# The entries of a checkpoint that may hold its weights, the first found counts. Beside a ``state_dict``, mmengine's
# ``ema_state_dict`` holds the weights as trained: it writes the averages to ``state_dict``.
ENTRIES = ('state_dict', 'model', 'model_state_dict', 'ema_state_dict', 'state_dict_ema', 'model_ema')

# Data parallelism, torch.compile, averaging, Lightning
WRAPPERS = ('module.', '_orig_mod.', 'ema_model.', 'model.')
COUNTERS = ('steps', 'n_averaged')  # of averaging


@dataclass
class AdaptedNames:
    """Weights under the model's names, and how many were renamed or ignored, by what they were."""

    weights: OrderedDict
    renamed: Counter = field(default_factory=Counter)
    ignored: Counter = field(default_factory=Counter)


def weights_of(checkpoint: dict, revise_keys: Any = STRIP_DDP) -> OrderedDict:
    """The weights of a checkpoint: its ``state_dict`` or ``model`` entry, one of averages, else the dict itself.

    Args:
        revise_keys: (pattern, replacement) pairs applied to each name, in order.
    """
    weights = next((checkpoint[key] for key in ENTRIES if isinstance(checkpoint.get(key), dict)), checkpoint)
    revised = OrderedDict()
    for key, value in weights.items():
        name = str(key)
        for pattern, replacement in revise_keys:
            name = re.sub(pattern, replacement, name)
        revised[name] = value
    if hasattr(weights, '_metadata'):
        revised._metadata = weights._metadata
    return revised


def weights_below(prefix: str, checkpoint: dict, source: str) -> OrderedDict:
    """The weights of a checkpoint whose names start with ``prefix`` (its dot is optional), without it."""
    prefix = prefix.rstrip('.') + '.'
    weights = OrderedDict((k[len(prefix) :], v) for k, v in weights_of(checkpoint).items() if k.startswith(prefix))
    if not weights:
        raise ValueError(f'{source} has no weights whose names start with {prefix!r}')
    return weights


def adapt_names(state_dict: Mapping[str, Any], own: Container[str]) -> AdaptedNames:
    """``state_dict`` under the names of a model whose entries are ``own``."""
    found = AdaptedNames(OrderedDict())
    for key, value in _unwrapped(state_dict, own).items():
        if key in own:
            found.weights[key] = value
        elif kind := _superfluous(key):
            found.ignored[kind] += 1
        else:
            label, name = _renamed(key, own, state_dict)
            found.renamed[label] += label is not None
            found.weights[name] = value
    del found.renamed[None]
    if hasattr(state_dict, '_metadata'):
        found.weights._metadata = state_dict._metadata  # module versions, which some modules' loading depends on
    return found


def _unwrapped(weights: Mapping[str, Any], own: Container[str]) -> Mapping[str, Any]:
    """``weights`` without the prefix that a wrapper gave to all of them, if none fits as it is."""
    while weights and not any(key in own for key in weights):
        names = [key for key in weights if key not in COUNTERS]
        prefix = next((p for p in WRAPPERS if names and all(key.startswith(p) for key in names)), None)
        if prefix is None:
            break
        weights = OrderedDict((key.removeprefix(prefix), value) for key, value in weights.items())
    return weights


def _superfluous(key: str) -> str | None:
    """What a name stands for that no detector needs."""
    if key.startswith('data_preprocessor.'):
        return 'of data_preprocessor'  # MMDetection 3's means and standard deviations, which the pipeline holds here
    if key.startswith('ema_') and '.' not in key:
        return 'of EMA'  # the buffers of 2.x's EMA hooks
    return 'of EMA' if key in COUNTERS else None


def _ssd_layer(match: re.Match) -> str:
    layer = int(match[1])
    return f'neck.extra_layers.{layer // 2}.{layer % 2}.conv.{match[2]}'


RENAMINGS: tuple[tuple[str, str, str | Callable[[re.Match], str]], ...] = (
    ('RPN of MMDetection 3', r'bbox_head\.(rpn_.+)', r'rpn_head.\1'),
    ('SSD of early MMDetection 2', r'backbone\.extra\.(\d+)\.(\w+)', _ssd_layer),
    ('SSD of early MMDetection 2', r'backbone\.l2_norm\.weight', r'neck.l2_norm.weight'),
    ('SSD of early MMDetection 2', r'bbox_head\.(cls|reg)_convs\.(\d+)\.(weight|bias)', r'bbox_head.\1_convs.\2.0.\3'),
    (
        'RetinaNet of MMDetection 0.5',
        r'bbox_head\.(cls|reg)_convs\.(\d+)\.(weight|bias)',
        r'bbox_head.\1_convs.\2.conv.\3',
    ),
)


def _renamed(key: str, own: Container[str], given: Container[str]) -> tuple[str | None, str]:
    """The name of ``key`` that the model has and the file lacks, with the renaming's label; else ``key``."""
    for label, pattern, replacement in RENAMINGS:
        if (match := re.fullmatch(pattern, key)) is not None:
            name = replacement(match) if callable(replacement) else match.expand(replacement)
            if name in own and name not in given:
                return label, name
    return None, key


def class_names_of_mmengine(meta: dict) -> dict:
    """``CLASSES`` and ``PALETTE``, as MMDetection 2.x has them, of the meta that mmengine wrote; {} of another."""
    dataset = meta.get('dataset_meta')
    if not isinstance(dataset, dict):
        return {}
    spelt = {'CLASSES': ('classes', 'CLASSES'), 'PALETTE': ('palette', 'PALETTE')}
    found = {name: next((dataset[k] for k in keys if dataset.get(k)), None) for name, keys in spelt.items()}
    return {name: value for name, value in found.items() if value is not None and name not in meta}
