"""Instance masks by the rules of the Cityscapes benchmark (Cordts et al., arXiv:1604.01685, section 4).

The numbers come from the benchmark's own package, ``cityscapesscripts``; here its files are written and it is called.
"""

from __future__ import annotations

import contextlib
import copy
import os
import os.path as osp
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .report import say, table

# the benchmark's ids of the classes that have instances
LABEL_IDS = dict(person=24, rider=25, car=26, truck=27, bus=28, train=31, motorcycle=32, bicycle=33)


def write_predictions(results: list, image_names: Sequence[str], class_names: Sequence[str], folder: str) -> list[str]:
    """Write ``<image>_pred.txt`` with a line ``mask.png label_id score`` an instance, and the masks.

    Args:
        results: per image, (boxes by class, masks by class), the masks RLE or (h, w) bitmaps; or with
            (masks, mask scores) in place of the masks.
        image_names: the file name of each image without folder and suffix.
        class_names: of Cityscapes' classes.
        folder: where to write; it is made.
    """
    unknown = sorted(set(class_names) - set(LABEL_IDS))
    if unknown:
        raise ValueError(f'Cityscapes has no class {", ".join(unknown)}; its classes: {", ".join(LABEL_IDS)}')
    os.makedirs(folder, exist_ok=True)
    return [_write_image(result, name, class_names, folder) for result, name in zip(results, image_names, strict=True)]


def _write_image(result: tuple, name: str, class_names: Sequence[str], folder: str) -> str:
    import cv2

    lines = []
    for i, (label, score, mask) in enumerate(_instances(result, name)):
        png = f'{name}_{i}_{class_names[label]}.png'
        if not cv2.imwrite(osp.join(folder, png), mask):
            raise OSError(f'cannot write {osp.join(folder, png)!r}')
        lines.append(f'{png} {LABEL_IDS[class_names[label]]} {score}\n')
    path = osp.join(folder, f'{name}_pred.txt')
    with open(path, 'w') as file:
        file.writelines(lines)
    return path


def _instances(result: Any, name: str) -> Iterator[tuple[int, float, np.ndarray]]:
    """(label, score, (h, w) uint8 mask of 0 and 1) of each instance of an image."""
    from pycocotools import mask as mask_api

    if not isinstance(result, tuple):
        raise ValueError(f'the Cityscapes benchmark evaluates masks, but the result of {name!r} holds boxes only')
    boxes, masks = result
    masks, scores = masks if isinstance(masks, tuple) else (masks, [b[:, 4] for b in map(_rows, boxes)])
    for label, masks_of_class in enumerate(masks):
        for mask, score in zip(masks_of_class, scores[label], strict=True):
            decoded = mask_api.decode(mask) if isinstance(mask, dict) else np.asarray(mask)
            yield label, float(score), decoded.astype(np.uint8)


def _rows(boxes: Any) -> np.ndarray:
    return np.asarray(boxes, dtype=np.float64).reshape(-1, 5)


def evaluate_files(predictions: Sequence[str], truths: Sequence[str], logger: Any = None) -> dict[str, float]:
    """The benchmark's ``mAP`` and ``AP@50``, from 0 to 1.

    Args:
        predictions: the text files that ``write_predictions`` wrote.
        truths: the ``*_gtFine_instanceIds.png`` of the same images.
        logger: where the table goes.

    Raises:
        ImportError: ``cityscapesscripts`` is not installed.
        FileNotFoundError: a png of ``truths`` is absent.
    """
    api = _benchmark()
    absent = [path for path in truths if not osp.isfile(path)]
    if absent:
        raise FileNotFoundError(
            f'{len(absent)} of {len(truths)} ground truth images do not exist, first {absent[0]!r}: the folder gtFine '
            'of Cityscapes, with its *_instanceIds.png, belongs beside the folder leftImg8bit of img_prefix'
        )
    args = copy.copy(api.args)
    args.quiet, args.JSONOutput = True, False
    args.predictionPath = osp.dirname(osp.abspath(predictions[0]))
    with _in1d():
        api.setInstanceLabels(args)
        instances = api.instances2dict(list(truths), False)
        matches = api.matchGtWithPreds(list(predictions), list(truths), instances, args)
        averages = api.computeAverages(api.evaluateMatches(matches, args), args)
    rows = [(name, f'{c["ap"]:.3f}', f'{c["ap50%"]:.3f}') for name, c in averages['classes'].items()]
    numbers = OrderedDict([('mAP', float(averages['allAp'])), ('AP@50', float(averages['allAp50%']))])
    rows.append(('all', f'{numbers["mAP"]:.3f}', f'{numbers["AP@50"]:.3f}'))
    say('\n' + table(['class', 'AP', 'AP@50'], rows), logger)
    return numbers


def _benchmark() -> Any:
    try:
        import cityscapesscripts.evaluation.evalInstanceLevelSemanticLabeling as api
    except ImportError as error:
        raise ImportError("metric='cityscapes' needs the benchmark's package: pip install cityscapesscripts") from error
    return api


@contextlib.contextmanager
def _in1d() -> Iterator[None]:
    """Lend numpy, from 2.4, the function ``in1d`` that ``cityscapesscripts`` 2.3 still calls."""
    if hasattr(np, 'in1d'):
        yield
        return
    vars(np)['in1d'] = lambda values, wanted: np.isin(values, wanted).ravel()
    try:
        yield
    finally:
        vars(np).pop('in1d')
