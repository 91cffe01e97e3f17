"""What every detector shares: how a batch reaches its methods, how losses are summed, how results are drawn."""

from __future__ import annotations

import inspect
import zlib
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from mmengine.model import BaseModel
from torch import Tensor

__all__ = ['BaseDetector']

REDUCED_AT_ONCE = 128  # numbers of a batch's losses that the processes of a distributed run average in one go


class BaseDetector(BaseModel):
    """A detector, driven by ``mmengine``'s runner and by ``MMDistributedDataParallel``.

    A new one defines ``extract_feat``, ``forward_train``, ``simple_test`` and, to be tested on several views of an
    image, ``aug_test``.

    Attributes:
        CLASSES: the class names, set from the data set or the checkpoint.
        PALETTE: one RGB colour a class, if known.
    """

    CLASSES: Sequence[str] | None = None
    PALETTE: Sequence[Sequence[int]] | None = None

    def __init__(self, init_cfg: dict | list[dict] | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self._mean_over_ranks = _MeanOverRanks()

    @property
    def with_neck(self) -> bool:
        return getattr(self, 'neck', None) is not None

    @property
    def with_rpn(self) -> bool:
        return getattr(self, 'rpn_head', None) is not None

    @property
    def with_roi_head(self) -> bool:
        return getattr(self, 'roi_head', None) is not None

    @property
    def with_shared_head(self) -> bool:
        return self.with_roi_head and bool(getattr(self.roi_head, 'with_shared_head', False))

    @property
    def with_bbox(self) -> bool:
        return self._has_head('bbox')

    @property
    def with_mask(self) -> bool:
        return self._has_head('mask')

    def _has_head(self, kind: str) -> bool:
        in_roi_head = self.with_roi_head and bool(getattr(self.roi_head, f'with_{kind}', False))
        return in_roi_head or getattr(self, f'{kind}_head', None) is not None

    @abstractmethod
    def extract_feat(self, img: Tensor) -> Any:
        """The features, finest level first, of images of shape (N, 3, H, W)."""

    def extract_feats(self, imgs: Sequence[Tensor]) -> list:
        """The features of each augmented view of a batch."""
        return [self.extract_feat(img) for img in imgs]

    def forward_train(self, img: Tensor, img_metas: list[dict], **kwargs: Any) -> dict[str, Tensor | list[Tensor]]:
        """The losses of a batch; entries with 'loss' in their name are summed and minimised.

        This one only records ``batch_input_shape``, the padded (H, W), in each of ``img_metas``.
        """
        _set_batch_input_shape(img, img_metas)
        return {}

    @abstractmethod
    def simple_test(self, img: Tensor, img_metas: list[dict], rescale: bool = False) -> list:
        """The result of each image: a list over classes of (n, 5) arrays, or with masks a pair of lists.

        Args:
            img: (N, 3, H, W).
            img_metas: one dict an image.
            rescale: give boxes in pixels of the original image, not of ``img``.
        """

    def aug_test(self, imgs: list[Tensor], img_metas: list[list[dict]], rescale: bool = False) -> list:
        """The result of one image from several augmented views of it, each (1, 3, H, W)."""
        raise NotImplementedError(
            f'{type(self).__name__} does not define aug_test: give one scale and flip=False in the test pipeline'
        )

    def forward_dummy(self, img: Tensor) -> Any:
        """The raw outputs of the network; the features where a detector does not define more."""
        return self.extract_feat(img)

    def forward(
        self,
        img: Tensor | list[Tensor],
        img_metas: list | None = None,
        return_loss: bool = True,
        mode: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Losses, results or raw outputs of a batch.

        Args:
            img: (N, 3, H, W); at test time also a list of such, one an augmented view.
            img_metas: a list of one dict an image; at test time a list of such lists beside a list of ``img``.
            return_loss: call ``forward_train``, else ``forward_test``.
            mode: in ``mmengine``'s terms, and in place of ``return_loss``: ``'loss'``, ``'predict'`` (results in
                pixels of the original images) or ``'tensor'``.
            kwargs: what else the batch holds, passed to the method called.
        """
        if mode == 'tensor':
            return self.forward_dummy(img)
        if mode == 'predict':
            return self.forward_test(img, img_metas, **{'rescale': True, **kwargs})
        if mode not in (None, 'loss'):
            raise ValueError(f"mode must be 'loss', 'predict' or 'tensor', got {mode!r}")
        if mode is None and not return_loss:
            return self.forward_test(img, img_metas, **kwargs)
        _check_batch(self, self.forward_train, dict(img=img, img_metas=img_metas, **kwargs))
        _set_batch_input_shape(img, img_metas)
        return self.forward_train(img, img_metas, **kwargs)

    def forward_test(self, imgs: Tensor | list[Tensor], img_metas: list, **kwargs: Any) -> list:
        """The results of a batch: ``simple_test`` of one view, ``aug_test`` image by image of several.

        Args:
            imgs: a list over views of (N, 3, H, W), or one view alone.
            img_metas: a list over views of lists over images, or the list over images of one view alone.
            kwargs: ``rescale``, and what else the test takes; ``proposals`` is a list over views like ``imgs``.
        """
        if torch.is_tensor(imgs):
            imgs, img_metas = [imgs], [img_metas]
            kwargs.update({'proposals': [kwargs['proposals']]} if 'proposals' in kwargs else {})
        if len(imgs) != len(img_metas):
            raise ValueError(f'expected img_metas for each of the {len(imgs)} views, got {len(img_metas)}')
        for img, metas in zip(imgs, img_metas):
            _set_batch_input_shape(img, metas)
        if len(imgs) == 1:
            if 'proposals' in kwargs:
                kwargs['proposals'] = kwargs['proposals'][0]
            _check_batch(self, self.simple_test, dict(img=imgs[0], img_metas=img_metas[0], **kwargs))
            return self.simple_test(imgs[0], img_metas[0], **kwargs)
        _check_batch(self, self.aug_test, dict(imgs=imgs, img_metas=img_metas, **kwargs))
        return [result for views in _by_image(imgs, img_metas, kwargs) for result in self.aug_test(**views)]

    def parse_losses(self, losses: dict[str, Tensor | Sequence[Tensor]]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss to minimise, and what to log.

        Args:
            losses: tensors or lists of tensors, which are averaged, then summed over the list.

        Returns:
            The sum of the entries with 'loss' in their name, and every entry with that sum as ``'loss'``; what is
            logged is the mean over the processes of a distributed run.
        """
        scalars = OrderedDict((name, _to_scalar(name, value)) for name, value in losses.items())
        to_sum = [value for name, value in scalars.items() if 'loss' in name]
        if not to_sum:
            raise ValueError(f"no entry of the losses has 'loss' in its name: {sorted(losses)}")
        total = sum(to_sum)
        scalars['loss'] = total
        return total, self._mean_over_ranks(scalars)

    def show_result(
        self,
        img: str | np.ndarray,
        result: list | tuple,
        score_thr: float = 0.3,
        bbox_color: Any = None,
        text_color: Any = None,
        mask_color: Any = None,
        thickness: int = 2,
        font_size: int = 13,
        win_name: str = '',
        show: bool = False,
        wait_time: float = 0,
        out_file: str | None = None,
    ) -> np.ndarray:
        """Draw the result of one image on it.

        Args:
            img: a file, or (h, w, 3) in BGR.
            result: what ``simple_test`` gives for one image.
            score_thr: detections scored less are left out.
            bbox_color, mask_color: an RGB colour, a list of one a class, or a palette's name; ``PALETTE`` by default.
            text_color: an RGB colour; by default black or white, whichever is readable.
            wait_time: seconds that a window stays open; 0 waits for a key.
            out_file: where to write the picture.

        Returns:
            The picture, (h, w, 3) uint8 in BGR.
        """
        from mmdet_clone.visualization import draw_detections, flatten_result, show_image

        bboxes, labels, segms = flatten_result(result)
        drawn = draw_detections(
            img,
            bboxes,
            labels,
            segms=segms,
            class_names=self.CLASSES,
            score_thr=score_thr,
            palette=self.PALETTE if bbox_color is None else bbox_color,
            mask_palette=mask_color,
            text_color=text_color,
            thickness=thickness,
            font_size=font_size,
            out_file=out_file,
        )
        if show:
            show_image(drawn, win_name, wait_time)
        return drawn


def _set_batch_input_shape(img: Tensor, img_metas: list[dict]) -> None:
    for meta in img_metas:
        meta['batch_input_shape'] = tuple(img.shape[-2:])


def _by_image(imgs: list[Tensor], img_metas: list[list[dict]], others: dict) -> list[dict]:
    """The arguments of ``aug_test`` for each image of a batch of views."""
    views = []
    for i in range(len(imgs[0])):
        kwargs = dict(others)
        if 'proposals' in others:
            kwargs['proposals'] = [[view[i]] for view in others['proposals']]
        views.append(dict(imgs=[img[i : i + 1] for img in imgs], img_metas=[[m[i]] for m in img_metas], **kwargs))
    return views


def _check_batch(detector: BaseDetector, method: Callable, batch: dict) -> None:
    """Compare the keys of a batch with what a method of the detector takes."""
    parameters = list(inspect.signature(method).parameters.values())
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    present = {key for key, value in batch.items() if value is not None}
    missing = [p.name for p in named[2:] if p.default is p.empty and p.name not in present]
    missing += [key for key in list(batch)[:2] if key not in present]
    name = f'{type(detector).__name__}.{method.__name__}'
    if missing:
        raise ValueError(
            f'{name} needs {", ".join(missing)}, but the batch holds only {", ".join(sorted(present))}: '
            "add the missing keys to the 'keys' of Collect in the pipeline (and load them: LoadAnnotations "
            'with_bbox=True, with_mask=True, or LoadProposals)'
        )
    unknown = sorted(set(list(batch)[2:]) - {p.name for p in named})
    if unknown and not any(p.kind is p.VAR_KEYWORD for p in parameters):
        raise ValueError(
            f'{name} does not take {", ".join(unknown)} of the batch: remove them from the keys of Collect in the '
            f'pipeline. It takes: {", ".join(p.name for p in named)}'
        )


def _to_scalar(name: str, value: Tensor | Sequence[Tensor]) -> Tensor:
    if torch.is_tensor(value):
        return value.mean()
    if isinstance(value, list | tuple) and value and all(torch.is_tensor(v) for v in value):
        return sum(v.mean() for v in value)
    raise TypeError(f'loss entry {name!r} must be a tensor or a list of tensors, got {type(value).__name__}: {value!r}')


class _MeanOverRanks:
    """The mean of the loss entries over the processes of a distributed run.

    Processes that hold different entries would mix them up, so what is reduced carries a number made of their names.
    Reading it makes a GPU wait: it is done where the names are not those that were compared before.
    """

    def __init__(self) -> None:
        self._compared: list[str] | None = None

    def __call__(self, scalars: dict[str, Tensor]) -> dict[str, Tensor]:
        """Detached scalars, the mean of each entry of ``scalars``."""
        values = torch.stack([v.detach().float() for v in scalars.values()])
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            values = self._reduce(values, list(scalars))
        return OrderedDict(zip(scalars, values.unbind()))

    def _reduce(self, values: Tensor, names: list[str]) -> Tensor:
        world_size = dist.get_world_size()
        code = zlib.crc32('\n'.join(names).encode()) % 2**20  # small enough for exact sums of squares
        first = values.new_zeros(REDUCED_AT_ONCE, dtype=torch.float64)  # as many for whatever a process holds
        first[:2] = first.new_tensor([code, code**2])
        first[2 : 2 + len(values)] = values[: REDUCED_AT_ONCE - 2]
        dist.all_reduce(first)
        if names != self._compared:
            # the sums of codes and of squares are those of equal codes only where all are equal
            if first[:2].tolist() != [world_size * code, world_size * code**2]:
                raise RuntimeError(_differing_entries(names))
            self._compared = names
        rest = values[REDUCED_AT_ONCE - 2 :].double()
        if len(rest):
            dist.all_reduce(rest)
        return (torch.cat((first[2 : 2 + len(values)], rest)) / world_size).float()


def _differing_entries(names: list[str]) -> str:
    return (
        f'the loss entries differ between processes; those of rank {dist.get_rank()}: {", ".join(names)}. '
        'forward_train must return the same keys for every batch, also for images without objects '
        '(multiply an unused output by zero)'
    )
