"""Data sets registered by name in one call, and used by that name as ``type`` in a config::

    register_coco_instances('helmets_train', 'data/helmets/train.json', 'data/helmets/images')

    data = dict(train=dict(type='helmets_train', pipeline=...))      # in the config

The calls stand in a file that the config names in ``custom_imports``, or in the script that builds the data set.
"""

from __future__ import annotations

import inspect
import os.path as osp
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mmengine.logging import print_log

from ..registry import DATASETS
from .checks import near_names, resolve_classes
from .coco import CocoDataset
from .coco_panoptic import CocoPanopticDataset

_PATHS = ('ann_file', 'img_prefix', 'seg_prefix', 'ins_ann_file', 'proposal_file')


class RegisteredDataset(NamedTuple):
    """What a name stands for: a class, and the arguments that the name brings."""

    type: type
    arguments: dict[str, Any]


class _CocoWithTheFilesClasses(CocoDataset):
    """COCO's format with the classes of the file, in its order."""

    CLASSES = None
    PALETTE = None


_registered: dict[str, RegisteredDataset] = {}


def register_dataset(name: str, kind: str | type, force: bool = False, **arguments: Any) -> None:
    """Register ``name`` for a data set of class ``kind`` with these constructor arguments.

    Paths (``ann_file``, ``img_prefix``, ``seg_prefix``, ``ins_ann_file``, ``proposal_file``) may start with ``~``; they
    belong to the name: where a config brings others, as its base file does, they are not used, and the log says so.
    Other arguments can be set in the config.

    Args:
        name: the name, used as ``type`` in a config.
        kind: a class, or the name that it is registered under (``'CocoDataset'``).
        force: register a name anew instead of raising.
        **arguments: of the class; ``None`` stands for its own default.

    Raises:
        KeyError: the name is taken, by a registration or a class; or there is no such class.
        TypeError: the class does not take one of the arguments.
    """
    if not isinstance(name, str) or not name:
        raise TypeError(f'a data set is registered by a name, got {name!r}')
    if name in DATASETS.module_dict and not (force and name in _registered):
        taken = 'a registered data set' if name in _registered else 'a data set class'
        hint = '; force=True replaces it' if name in _registered else ''
        raise KeyError(f'{name!r} is {taken} already{hint}')
    cls = DATASETS.get(kind) if isinstance(kind, str) else kind
    if cls is None:
        near = near_names(kind, DATASETS.names())
        raise KeyError(
            f'{kind!r} is not in the dataset registry' + (f': did you mean {", ".join(near)}?' if near else '')
        )
    given = {key: _absolute(key, value) for key, value in arguments.items() if value is not None}
    if 'classes' in given:
        given['classes'] = resolve_classes(given['classes'], None)
    DATASETS.register_module(name, force=force, module=_factory(name, cls, given))
    _registered[name] = RegisteredDataset(cls, given)


def register_coco_instances(
    name: str, annotation: str, image_root: str, classes: Sequence[str] | None = None, force: bool = False
) -> None:
    """Register boxes, and masks if there are any, in COCO's json.

    Args:
        name: the name, used as ``type`` in a config.
        annotation: the json.
        image_root: the folder that its ``file_name`` are relative to.
        classes: names in label order; by default those of the json.
        force: register a name anew.
    """
    _check_paths('register_coco_instances', annotation, image_root)
    cls = CocoDataset if classes else _CocoWithTheFilesClasses
    register_dataset(name, cls, force, ann_file=annotation, img_prefix=image_root, classes=classes)


def register_voc(
    name: str, annotation: str, image_root: str, classes: Sequence[str] | None = None, force: bool = False
) -> None:
    """Register boxes in Pascal VOC's xml.

    Args:
        name: the name, used as ``type`` in a config.
        annotation: the list of image names; or a split of ``image_root/ImageSets/Main`` (``'trainval'``).
        image_root: the folder of ``Annotations`` and ``JPEGImages``.
        classes: names in label order; by default VOC's 20.
        force: register a name anew.
    """
    _check_paths('register_voc', annotation, image_root)
    if osp.splitext(annotation)[1] == '' and osp.basename(annotation) == annotation:
        annotation = osp.join(image_root, 'ImageSets', 'Main', f'{annotation}.txt')
    register_dataset(name, 'VOCDataset', force, ann_file=annotation, img_prefix=image_root, classes=classes)


def register_lvis_instances(
    name: str,
    annotation: str,
    image_root: str,
    version: str = 'v1',
    classes: Sequence[str] | None = None,
    force: bool = False,
) -> None:
    """Register instances in LVIS' json.

    Args:
        name: the name, used as ``type`` in a config.
        annotation: the json.
        image_root: the folder of the images: with ``train2017`` and ``val2017`` in it for ``'v1'``.
        version: ``'v1'`` or ``'v0.5'``.
        classes: names in label order; by default the data set's.
        force: register a name anew.
    """
    types = {'v1': 'LVISV1Dataset', 'v0.5': 'LVISV05Dataset'}
    if version not in types:
        raise ValueError(f'LVIS has the versions {", ".join(types)}, got {version!r}')
    _check_paths('register_lvis_instances', annotation, image_root)
    register_dataset(name, types[version], force, ann_file=annotation, img_prefix=image_root, classes=classes)


def register_coco_panoptic(
    name: str,
    annotation: str,
    image_root: str,
    panoptic_root: str,
    instances: str | None = None,
    classes: Sequence[str] | None = None,
    force: bool = False,
) -> None:
    """Register panoptic segmentation in COCO's json and png.

    Args:
        name: the name, used as ``type`` in a config.
        annotation: the panoptic json.
        image_root: the folder of the images.
        panoptic_root: the folder of the png.
        instances: the json of instances, which ``bbox`` and ``segm`` are evaluated with.
        classes: names in label order; by default COCO's.
        force: register a name anew.
    """
    _check_paths('register_coco_panoptic', annotation, image_root)
    paths = dict(ann_file=annotation, img_prefix=image_root, seg_prefix=panoptic_root, ins_ann_file=instances)
    register_dataset(name, 'CocoPanopticDataset', force, classes=classes, **paths)


def registered_datasets() -> dict[str, RegisteredDataset]:
    """What was registered, by name."""
    return dict(sorted(_registered.items()))


def unregister_dataset(name: str) -> None:
    """Forget a registered name."""
    _find(name)
    del _registered[name]
    DATASETS.module_dict.pop(name, None)
    DATASETS._own_names.discard(name)


def get_dataset_dicts(name: str) -> list[dict[str, Any]]:
    """The images of a registered data set with their annotations, nothing filtered out.

    Returns:
        Per image ``file_name`` (with its folder), ``image_id``, ``height`` and ``width`` where the file tells them, and
        ``annotations``: each with ``bbox`` x1y1x2y2, ``category_id`` (the label, an index of the classes),
        ``iscrowd`` (1 for regions to ignore; their label is -1 where none is known) and, where there are masks,
        ``segmentation``. Of a panoptic data set, instead of those, ``pan_seg_file_name`` and ``segments_info``, dicts
        of ``id`` and ``category_id``.
    """
    _find(name)
    dataset = DATASETS.build(dict(type=name, pipeline=[], test_mode=True))
    return [_as_dict(dataset, i) for i in range(len(dataset))]


def _as_dict(dataset: Any, idx: int) -> dict[str, Any]:
    info, ann = dataset.data_infos[idx], dataset.get_ann_info(idx)
    sizes = {key: info[key] for key in ('height', 'width') if key in info}
    objects = [
        dict(bbox=box.tolist(), category_id=int(label), iscrowd=0) for box, label in zip(ann['bboxes'], ann['labels'])
    ]
    panoptic = isinstance(dataset, CocoPanopticDataset)
    for item, mask in zip(objects, () if panoptic else ann.get('masks') or ()):
        item['segmentation'] = mask
    ignored = ann.get('bboxes_ignore', ())
    labels = ann.get('labels_ignore', [-1] * len(ignored))
    objects += [dict(bbox=box.tolist(), category_id=int(c), iscrowd=1) for box, c in zip(ignored, labels)]
    path = osp.join(dataset.img_prefix or '', info['filename'])
    entry = dict(file_name=path, image_id=info.get('id', info.get('img_id', idx)), **sizes, annotations=objects)
    return {**entry, **_panoptic_part(dataset, ann)} if panoptic else entry


def _panoptic_part(dataset: CocoPanopticDataset, ann: dict) -> dict[str, Any]:
    segments = [dict(id=segment['id'], category_id=segment['category']) for segment in ann['masks']]
    return dict(pan_seg_file_name=osp.join(dataset.seg_prefix or '', ann['seg_map']), segments_info=segments)


# ---------------------------------------------------------------------- behind the calls


def _factory(name: str, cls: type, given: dict[str, Any]) -> Callable:
    """What the registry calls for ``name``: it builds a ``cls``, so that data sets pickle as those of a config do."""
    accepted = inspect.signature(cls).parameters
    unknown = sorted(set(given) - set(accepted))
    if unknown:
        raise TypeError(f'{cls.__name__} does not accept {", ".join(unknown)}; it accepts: {", ".join(accepted)}')

    def build(**arguments: Any) -> Any:
        return cls(**_joined(name, given, arguments))

    build.__name__ = build.__qualname__ = name
    build.__doc__ = f'{cls.__name__} registered as {name!r}.'
    optional = [p.replace(default=given[key]) if key in given else p for key, p in accepted.items()]
    build.__signature__ = inspect.Signature([p.replace(kind=p.KEYWORD_ONLY) for p in optional])
    build.CLASSES = given.get('classes', cls.CLASSES)
    build.PALETTE = None if 'classes' in given else cls.PALETTE
    return build


def _joined(name: str, given: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a config with those of the name; of paths, the name's."""
    other = {key: arguments[key] for key in _PATHS if key in given and arguments.get(key, given[key]) != given[key]}
    if other:
        shown = ', '.join(f'{key}={value!r}' for key, value in other.items())
        print_log(f'{name} has its own paths; of the config are not used: {shown}', logger='current')
    paths = {key: given[key] for key in _PATHS if key in given}
    return {**given, **arguments, **paths}


def _absolute(key: str, value: Any) -> Any:
    """A path that later changes of the working directory, or a ``data_root``, do not move."""
    if key not in _PATHS or not isinstance(value, str) or '://' in value:
        return value
    return osp.abspath(osp.expanduser(value))


def _check_paths(function: str, annotation: Any, image_root: Any) -> None:
    if not isinstance(annotation, str) or not isinstance(image_root, str):
        raise TypeError(
            f'{function}(name, annotation, image_root, ...) takes two paths, got {annotation!r} and {image_root!r}'
            + ('; leave the metadata of detectron2 out' if isinstance(annotation, dict) else '')
        )


def _find(name: str) -> RegisteredDataset:
    if name not in _registered:
        near = near_names(name, list(_registered))
        known = f'did you mean {", ".join(near)}?' if near else f'registered are: {", ".join(_registered) or "none"}'
        raise KeyError(f'{name!r} is not a registered data set; {known}')
    return _registered[name]
