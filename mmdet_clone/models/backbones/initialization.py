"""What a backbone's ``pretrained`` and ``init_cfg`` say together."""

from __future__ import annotations

__all__ = ['CONVOLUTIONAL', 'initialization']

# how convolutional backbones start without a checkpoint
CONVOLUTIONAL = (
    dict(type='Kaiming', layer='Conv2d'),
    dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
)


def initialization(
    pretrained: str | None, init_cfg: dict | list | None, default: tuple[dict, ...] = CONVOLUTIONAL
) -> dict | list:
    """The ``init_cfg`` of a backbone.

    Args:
        pretrained: a checkpoint's path or URL; the older way to write ``init_cfg``.
        init_cfg: as the config has it.
        default: where neither is given.

    Raises:
        ValueError: both are given.
    """
    if pretrained and init_cfg:
        raise ValueError(
            f'both init_cfg and pretrained={pretrained!r} are given: write the checkpoint as '
            "init_cfg=dict(type='Pretrained', checkpoint=...) alone"
        )
    if pretrained:
        return dict(type='Pretrained', checkpoint=pretrained)
    return init_cfg or [dict(rule) for rule in default]
