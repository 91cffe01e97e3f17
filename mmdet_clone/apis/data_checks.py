"""What the data of a training tell in a moment: missing images, masks of another size, images in train and val.

The thorough form is :mod:`mmdet_clone.apis.check_dataset`; both use ``datasets/inspection*``.
"""

from __future__ import annotations

import os.path as osp
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

from mmdet_clone.apis.dataset_parts import leaf_datasets
from mmdet_clone.datasets.inspection import rle_of_other_size
from mmdet_clone.datasets.inspection_findings import KINDS, category_differences, shared_paths
from mmdet_clone.datasets.inspection_images import kinds_of_image, spread
from mmdet_clone.engine.dist import broadcast_object, get_dist_info

_LOSSY_KINDS = ('sixteen_bit_image', 'cmyk_image', 'animated_image')  # of images that training sees otherwise
_DETAILS = 'tools/misc/check_dataset.py lists what is odd about the data of a config'


def check_images(dataset: Any, key: str, limit: int = 1000) -> None:
    """Raise for images that are missing, damaged or of another size than annotated: ``dataset.check_images``.

    Rank 0 looks, so that many processes do not ask one file server for the same; all ranks raise.
    """
    problem = _image_problem(dataset, limit) if get_dist_info()[0] == 0 else None
    problem = broadcast_object(problem)
    if problem is not None:
        raise type(problem)(f'{key}: {problem}')
    if get_dist_info()[0] == 0:
        _warn_of_kinds(dataset, key)


def _image_problem(dataset: Any, limit: int) -> Exception | None:
    for part in getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]:
        if part is not None and (problem := _image_problem(part, limit)):
            return problem
    if not hasattr(dataset, 'check_images') or not dataset.loads_images:
        return None
    try:
        dataset.check_images(limit)
    except (FileNotFoundError, ValueError) as error:
        return type(error)(str(error))
    return None


def _warn_of_kinds(dataset: Any, key: str, limit: int = 200) -> None:
    """Warn of 16-bit, CMYK and animated images, by the headers of ``limit`` files of each data set."""
    counts: Counter = Counter()
    examples: dict[str, str] = {}
    looked_at = 0
    for leaf in leaf_datasets(dataset):
        paths = image_paths(leaf, limit) if getattr(leaf, 'loads_images', False) else []
        looked_at += len(paths)
        for path in paths:
            for kind, what in _kinds_of(path):
                counts[kind] += 1
                examples.setdefault(kind, f'{path} ({what})')
    for kind in _LOSSY_KINDS:
        if counts[kind]:
            warnings.warn(
                f'{key}: {counts[kind]} of the {looked_at} images looked at are of the kind "{KINDS[kind].title}", '
                f'first {examples[kind]}: {KINDS[kind].fix}. {_DETAILS}',
                stacklevel=3,
            )


def _kinds_of(path: str) -> list[tuple[str, str]]:
    try:
        return kinds_of_image(path)
    except Exception:  # loading it works: its header is not for Pillow
        return []


def image_paths(dataset: Any, limit: int | None = None) -> list[str]:
    """The image files (``limit`` of them) of a data set that wraps no other, without those of a remote backend."""
    prefix = getattr(dataset, 'img_prefix', None) or ''
    infos = getattr(dataset, 'data_infos', ())
    names = [infos[i].get('filename') for i in spread(len(infos), limit)]
    paths = [osp.join(prefix, name) for name in names if isinstance(name, str)]
    return [] if paths and '://' in paths[0] else paths


def check_mask_sizes(dataset: Any, key: str, limit: int = 5000) -> None:
    """Raise ``ValueError`` for an RLE mask of another size than its image; looks at ``limit`` images a data set."""
    for leaf in leaf_datasets(dataset):
        steps = getattr(getattr(leaf, 'pipeline', None), 'transforms', ())
        if hasattr(leaf, 'data_infos') and any(getattr(step, 'with_mask', False) for step in steps):
            for i in spread(len(leaf), limit):
                _check_masks_of(leaf.data_infos[i], leaf.get_ann_info(i), key)


def _check_masks_of(info: dict, ann: dict, key: str) -> None:
    size = [info.get(edge) or float('nan') for edge in ('width', 'height')]
    for i, mask in enumerate(ann.get('masks', ())):
        if rle_of_other_size(mask, *size):
            which = f'annotation {ann["ann_ids"][i]}' if 'ann_ids' in ann else f'box {i} (from 0)'
            found = mask.get('size') if isinstance(mask, dict) else mask.shape
            raise ValueError(
                f'{key}: the mask of {which} of image {info.get("filename")!r} is {found} (height, width), the image '
                f'{size[::-1]}: {KINDS["mask_size"].fix}. {_DETAILS}'
            )


def warn_of_differences(train: Any, val: Any, names: Sequence[str] = ('data.train', 'data.val')) -> None:
    """Warn of images in both data sets, and of categories that the annotation file of one has and the other lacks."""
    if get_dist_info()[0] != 0:
        return
    ours, theirs = ([path for leaf in leaf_datasets(part) for path in image_paths(leaf)] for part in (train, val))
    common = shared_paths(ours, theirs)
    if common:
        warnings.warn(
            f'{len(common)} of the {len(theirs)} images of {names[1]} are in {names[0]} too, first {common[0]!r}: '
            f'figures on them are too good. {_DETAILS}',
            stacklevel=2,
        )
    first, second = categories_of(train), categories_of(val)
    for sentence in category_differences(first, second, names) if first and second else ():
        warnings.warn(sentence, stacklevel=2)


def categories_of(dataset: Any) -> dict[str, Any]:
    """name -> id of the categories in the annotation files, where these list them."""
    cats = (getattr(getattr(leaf, 'coco', None), 'cats', None) or {} for leaf in leaf_datasets(dataset))
    return {category['name']: category_id for of_leaf in cats for category_id, category in of_leaf.items()}
