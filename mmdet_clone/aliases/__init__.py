"""Modules written for MMDetection 2.x and mmcv 1.x import unchanged.

``from mmdet.models.builder import BACKBONES`` or ``from mmcv.runner import BaseModule`` in a user's file finds ours, or
mmengine's, once the layer here is on; ``custom_imports`` turns it on. Three rules:

- ``mmdet.*`` is ours wherever we have the name, even beside an installed MMDetection: a class registered with the other
  toolbox would not be found by this one. Files of the user's own ``mmdet/`` folder that we have no counterpart of
  (``mmdet/models/backbones/mobilenet.py``) are loaded from there, as MMDetection's documentation teaches to add them.
- ``mmcv`` is the real one; only modules and names that it lacks (``mmcv.runner``, ``mmcv.Config``) come from us, and
  ``mmcv.ops``, whose compiled operators we do without, is ``mmdet_clone.ops``.
- The layer stays once a module was imported through it, since functions of that module may import more when they run.
  Without ``custom_imports`` it is never on.
"""

from mmdet_clone.aliases.finder import AliasModule, aliases, turn_off

__all__ = ['AliasModule', 'aliases', 'turn_off']
