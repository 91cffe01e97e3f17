"""mmcv's layer builders, with errors that name the layer that is missing."""

from __future__ import annotations

import difflib

from mmcv import cnn
from mmengine.registry import MODELS as LAYERS
from torch import nn

from mmdet_clone.registry import UnknownTypeError

__all__ = ['build_conv_layer', 'build_norm_layer', 'build_plugin_layer']


def build_conv_layer(cfg: dict | None, *args: int, **kwargs: int | bool | str) -> nn.Module:
    """A convolution from ``dict(type='ConvWS', ...)``; ``None`` is ``nn.Conv2d``. The rest goes to its constructor."""
    if cfg is not None:
        _check_registered(cfg, 'convolution layer')
    return cnn.build_conv_layer(cfg, *args, **kwargs)


def build_norm_layer(cfg: dict, num_features: int, postfix: int | str = '') -> tuple[str, nn.Module]:
    """The name (``bn1``) and the layer of ``dict(type='BN', requires_grad=True)``."""
    _check_registered(cfg, 'normalisation layer')
    return cnn.build_norm_layer(cfg, num_features, postfix)


def build_plugin_layer(cfg: dict, in_channels: int) -> tuple[str, nn.Module]:
    """The name (``context_block``) and the layer of a plug-in such as ``dict(type='ContextBlock', ratio=1 / 16)``."""
    _check_registered(cfg, 'plug-in layer')
    cfg = dict(cfg)
    postfix = cfg.pop('postfix', '')
    return cnn.build_plugin_layer(cfg, postfix, in_channels=in_channels)


def _check_registered(cfg: dict, kind: str) -> None:
    layer = cfg['type']
    if not isinstance(layer, str) or LAYERS.get(layer) is not None:
        return
    near = difflib.get_close_matches(layer, LAYERS.module_dict, n=3, cutoff=0.5)
    raise UnknownTypeError(
        f'{layer!r} is not in the registry of layers, so this {kind} cannot be built'
        + (f'. Did you mean {", ".join(near)}?' if near else '.')
        + ' A layer of your own is registered by `@mmengine.registry.MODELS.register_module()` in a file that the '
        "config's custom_imports names."
    )
