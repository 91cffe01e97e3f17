"""``train_cfg.rcnn`` and ``test_cfg.rcnn`` as named values, read where they are used."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = ['RCNNTestSettings', 'RCNNTrainSettings']

_Settings = TypeVar('_Settings', bound='_FromConfig')


class _FromConfig:
    """A dataclass that is read from a config dict."""

    place = ''

    @classmethod
    def known_keys(cls) -> list[str]:
        """What is read from the dict."""
        return [field.name for field in dataclasses.fields(cls)]

    @classmethod
    def read(cls: type[_Settings], cfg: Any) -> _Settings:
        """The settings in the dict ``cfg``; a change of it counts from the next call on.

        Raises:
            ValueError: ``cfg`` is ``None`` or lacks a value that has no default.
        """
        if cfg is None:
            raise ValueError(f'the model was built without {cls.place}: give it in the config')
        required = [field.name for field in dataclasses.fields(cls) if field.default is dataclasses.MISSING]
        missing = [name for name in required if name not in cfg]
        if missing:
            raise ValueError(f'{cls.place} needs {", ".join(missing)}; it has {", ".join(sorted(cfg)) or "nothing"}')
        return cls(**{name: cfg[name] for name in cls.known_keys() if name in cfg})


@dataclass(frozen=True)
class RCNNTrainSettings(_FromConfig):
    """How the second stage is trained.

    Attributes:
        assigner, sampler: config dicts.
        pos_weight: weight of a positive sample in the classification loss; 1 if not above 0.
        mask_size: side, or (h, w), of mask targets.
        soft_mask_target: keep mask targets between 0 and 1 instead of thresholding them.
        debug: has no effect; published configs carry it.
    """

    place = 'train_cfg.rcnn'
    assigner: dict | None = None
    sampler: dict | None = None
    pos_weight: float = -1
    mask_size: int | tuple[int, int] = 28
    soft_mask_target: bool = False
    debug: bool = False

    @property
    def mask_shape(self) -> tuple[int, int]:
        return (self.mask_size, self.mask_size) if isinstance(self.mask_size, int) else tuple(self.mask_size)


@dataclass(frozen=True)
class RCNNTestSettings(_FromConfig):
    """How the second stage's outputs become detections.

    Attributes:
        score_thr: class scores at or below it are dropped.
        nms: the config dict of NMS.
        max_per_img: detections kept, of highest score; -1 for all.
        mask_thr_binary: mask probability from which a pixel is foreground; negative: keep probabilities as 0..255.
    """

    place = 'test_cfg.rcnn'
    score_thr: float
    nms: dict
    max_per_img: int = -1
    mask_thr_binary: float = 0.5
