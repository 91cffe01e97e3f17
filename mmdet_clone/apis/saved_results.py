"""Results that ``tools/test.py --out`` wrote, beside the data set that they were made on."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from mmdet_clone.datasets import build_dataset
from mmdet_clone.datasets.files import read_records

__all__ = ['SavedResults', 'load_saved_results', 'locate_image']


@dataclass
class SavedResults:
    """A config, its ``data.test`` without annotations in the samples, and one result an image."""

    cfg: Config
    dataset: Any
    results: list

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(self.dataset.CLASSES)

    @property
    def palette(self) -> Any:
        """The colours of the data set's type, RGB; None where its classes are others."""
        part, _ = locate_image(self.dataset, 0)
        own = type(part).CLASSES
        return getattr(part, 'PALETTE', None) if own is not None and tuple(own) == self.class_names else None

    def annotations(self, description: str) -> Iterator[dict]:
        """``get_ann_info`` of each image, with a progress bar."""
        from rich.progress import track

        for i in track(range(len(self.dataset)), description=description):
            yield self.dataset.get_ann_info(i)

    def check_boxes(self) -> None:
        """Raise ``ValueError`` or ``TypeError`` unless each result is a list of boxes over the data set's classes."""
        names, beyond = self.dataset.CLASSES, 0
        if names is None:
            raise ValueError('data.test has no class names: set classes=[...] of it')
        part, _ = locate_image(self.dataset, 0)
        if 'denorm_gt_bbox' in inspect.signature(part.evaluate).parameters:
            raise ValueError(
                f'{type(part).__name__} gives boxes as shares of the image, this tool compares boxes in pixels: '
                'eval_metric.py evaluates such results'
            )
        for i, result in enumerate(self.results):
            by_class = result[0] if isinstance(result, tuple) else result
            if not isinstance(by_class, list | tuple):
                what = 'proposals' if isinstance(result, np.ndarray) else type(result).__name__
                raise TypeError(f'image {i} (from 0): expected boxes by class, the results of a detector, got {what}')
            if len(by_class) != len(names):
                raise ValueError(
                    f'the results have {len(by_class)} classes, data.test has {len(names)} '
                    f'({", ".join(names[:5])} ...): were they made from another data set?'
                )
            beyond += self._lies_beyond(i, by_class)
        if beyond:
            print(
                f'warning: {beyond} of {len(self.results)} images have detections beyond the image: were the results '
                'made from another data set, or from the same images in another order?',
                file=sys.stderr,
            )

    def _lies_beyond(self, index: int, by_class: list) -> bool:
        """Whether a detection of an image reaches more than a pixel out of it, as far as its size is known."""
        part, i = locate_image(self.dataset, index)
        info = part.data_infos[i]
        far = [np.max(boxes[:, 2:4], axis=0) for boxes in by_class if len(boxes)]
        if not far or not info.get('width') or not info.get('height'):
            return False
        return bool((np.max(far, axis=0) > np.array([info['width'], info['height']]) + 1).any())

    def check_any_detection(self, wanted_for: str) -> None:
        """Raise ``ValueError`` where no image has a detection."""
        self.check_boxes()
        if not any(len(b) for r in self.results for b in (r[0] if isinstance(r, tuple) else r)):
            raise ValueError(
                f'the results of all {len(self.results)} images are empty, there is nothing for {wanted_for}: is the '
                'model trained, and test_cfg.score_thr low enough?'
            )


def load_saved_results(cfg: Config, path: str | os.PathLike) -> SavedResults:
    """The results in a pickle and the data set ``cfg.data.test``, which must have as many images.

    Raises:
        FileNotFoundError: there is no such pickle.
        ValueError, TypeError: it holds something else, nothing, or results of another number of images.
        KeyError: the config has no ``data.test``.
        pickle.UnpicklingError: the pickle is damaged or holds more than plain data; nothing in it is run.
    """
    results = read_results(path)
    if not (cfg.get('data') or {}).get('test'):
        raise KeyError(f'{cfg.filename} has no data.test: add the data set that the results were made on')
    dataset = build_dataset(_test_parts(cfg), dict(test_mode=True), path='data.test')
    if len(results) != len(dataset):
        raise ValueError(
            f'{path} holds results of {len(results)} images, data.test of {cfg.filename} has {len(dataset)}: were they '
            'made from another data set, or from a part of it? --cfg-options data.test.ann_file=... chooses another'
        )
    return SavedResults(cfg, dataset, results)


def _test_parts(cfg: Config) -> Any:
    """``data.test`` in test mode, without what only its loader needs."""

    def part(test: dict) -> dict:
        return {**{key: value for key, value in test.items() if key != 'samples_per_gpu'}, 'test_mode': True}

    test = cfg.data.test
    return [part(entry) for entry in test] if isinstance(test, list | tuple) else part(test)


def read_results(path: str | os.PathLike) -> list:
    """The list of results in a pickle."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'no such results: {path}. tools/test.py CONFIG CHECKPOINT --out {path} writes them')
    if path.suffix not in ('.pkl', '.pickle'):
        raise ValueError(
            f'{path}: expected the .pkl file that tools/test.py --out wrote, got the suffix {path.suffix!r}'
        )
    results = read_records(str(path))
    if not isinstance(results, list):
        raise TypeError(f'{path} holds a {type(results).__name__}: expected a list with one result an image')
    if not results:
        raise ValueError(f'{path} holds an empty list: no image was tested')
    return results


def locate_image(dataset: Any, index: int) -> tuple[Any, int]:
    """The part of joined data sets that an image belongs to, and its index there."""
    while hasattr(dataset, 'cumulative_sizes'):
        which = int(np.searchsorted(dataset.cumulative_sizes, index, side='right'))
        index -= dataset.cumulative_sizes[which - 1] if which else 0
        dataset = dataset.datasets[which]
    return dataset, index


def image_name(dataset: Any, index: int) -> str:
    """The name of an image as its annotation file has it."""
    part, i = locate_image(dataset, index)
    return str(part.data_infos[i]['filename'])


def annotated_image(
    dataset: Any, index: int, with_masks: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[np.ndarray] | None]:
    """An image as the test pipeline's first step loads it, and what is annotated on it.

    Args:
        dataset: in test mode; or several joined.
        index: of the image.
        with_masks: also load masks where every object has one.

    Returns:
        image (h, w, 3) BGR, boxes (k, 4), labels (k,) and k masks (h, w) or None.
    """
    from mmdet_clone.datasets.pipelines import LoadAnnotations

    part, i = locate_image(dataset, index)
    ann = part.get_ann_info(i)
    with_masks = with_masks and ann.get('masks') is not None and all(mask is not None for mask in ann['masks'])
    sample = LoadAnnotations(with_mask=with_masks)(_loaded(part, i) | dict(ann_info=ann))
    masks = list(sample['gt_masks'].to_ndarray()) if with_masks else None
    return sample['img'], sample['gt_bboxes'], sample['gt_labels'], masks


def load_image(part: Any, index: int) -> np.ndarray:
    """An image (h, w, 3) BGR as the first step of the pipeline loads it."""
    return _loaded(part, index)['img']


def _loaded(part: Any, index: int) -> dict:
    from mmdet_clone.datasets.pipelines import LoadImageFromFile

    sample = dict(img_info=part.data_infos[index])
    part.pre_pipeline(sample)
    steps = part.pipeline.transforms
    load = next((step for step in steps if isinstance(step, LoadImageFromFile)), None) or LoadImageFromFile()
    return load(sample)
