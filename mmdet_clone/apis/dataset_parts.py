"""The data sets that a config names, built where they can be, and their annotations as they are written.

A part is ``data.train``, ``data.val`` or ``data.test``; a leaf is a data set in it that wraps no other.
"""

from __future__ import annotations

import functools
import inspect
import os.path as osp
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mmdet_clone.datasets import build_dataset
from mmdet_clone.datasets.coco import CocoDataset
from mmdet_clone.datasets.files import join_root, read_json
from mmdet_clone.datasets.inspection_findings import Finding
from mmdet_clone.datasets.inspection_table import AnnotationTable, table_of_coco, table_of_dataset
from mmdet_clone.datasets.wrappers import DatasetWrapper
from mmdet_clone.registry import DATASETS, type_name

PARTS = ('train', 'val', 'test')
_PER_FILE = ('ann_file', 'img_prefix', 'seg_prefix', 'proposal_file')


@dataclass
class Leaf:
    """A data set that wraps no other.

    Attributes:
        key: where it stands in the config (``data.train.dataset``).
        cfg: its config.
        dataset: as training builds it; ``None`` where that fails.
        table: its annotations, unfiltered; ``None`` where they cannot be read.
    """

    key: str
    cfg: dict
    dataset: Any = None
    table: AnnotationTable | None = None

    @property
    def identity(self) -> tuple:
        """What two leaves share whose annotations and images are the same."""
        wants_masks = bool(self.option('LoadAnnotations', 'with_mask'))
        return type_name(self.cfg), self.path('ann_file'), self.path('img_prefix'), self.class_names, wants_masks

    @property
    def class_names(self) -> tuple[str, ...] | None:
        return self.table.class_names if self.table is not None else None

    @property
    def img_prefix(self) -> str:
        return getattr(self.dataset, 'img_prefix', None) or self.path('img_prefix') or ''

    @functools.cached_property
    def image_paths(self) -> list[str]:
        return [osp.join(self.img_prefix, name) for name in self.table.filenames] if self.table else []

    def path(self, name: str) -> str | None:
        value = self.cfg.get(name)
        return join_root(self.cfg.get('data_root'), value) if isinstance(value, str) else None

    def option(self, step: str, name: str) -> Any:
        """The value of an option of a step in the pipeline, ``None`` if nothing sets it."""
        for found in _steps(self.cfg.get('pipeline')):
            if type_name(found) == step and found.get(name) is not None:
                return found[name]
        return None

    @property
    def on_disk(self) -> bool:
        """Whether the images are files of this machine, not of a remote backend."""
        backends = [self.cfg.get('file_client_args'), self.option('LoadImageFromFile', 'file_client_args')]
        local = all((args or {}).get('backend', 'disk') in ('disk', 'local') for args in backends)
        return local and '://' not in self.img_prefix


@dataclass
class Part:
    """``data.<name>`` of a config; ``kept`` is the number of images of an epoch, ``None`` if it cannot be built."""

    name: str
    cfg: Any
    leaves: list[Leaf] = field(default_factory=list)
    dataset: Any = None
    problems: list[Finding] = field(default_factory=list)

    @property
    def key(self) -> str:
        return f'data.{self.name}'

    @property
    def kept(self) -> int | None:
        return None if self.dataset is None else len(self.dataset)


def load_part(name: str, cfg: Any) -> Part:
    """Build a part as training (testing, for val and test) does and read its annotations; says what goes wrong."""
    part = Part(name, cfg)
    part.leaves = [Leaf(key, leaf) for key, leaf in leaf_configs(cfg, part.key)]
    part.dataset = _built(part)
    datasets = list(leaf_datasets(part.dataset)) if part.dataset is not None else []
    if len(datasets) == len(part.leaves):
        for leaf, dataset in zip(part.leaves, datasets):
            leaf.dataset = dataset
    for leaf in part.leaves:
        leaf.table = _table_of(leaf)
    return part


def _built(part: Part) -> Any:
    arguments = {} if part.name == 'train' else dict(test_mode=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        try:
            dataset = build_dataset(_without_batch_size(part.cfg), arguments, path=part.key)
        except Exception as error:  # also those of a data set of the user's own
            dataset = None
            message = str(error) if isinstance(error, ValueError | OSError | TypeError) else repr(error)
            part.problems.append(Finding('cannot_build', message, part=part.key))
    told = dict.fromkeys(str(item.message) for item in caught if issubclass(item.category, UserWarning))
    for message in told:
        if 'reach outside their image' not in message:  # those boxes are listed one by one
            part.problems.append(Finding('remark', message, part=part.key))
    return dataset


def _without_batch_size(cfg: Any) -> Any:
    """A copy without ``samples_per_gpu``, whose older place is the data set's dict."""
    if isinstance(cfg, list | tuple):
        return [_without_batch_size(item) for item in cfg]
    return {key: value for key, value in cfg.items() if key != 'samples_per_gpu'} if isinstance(cfg, dict) else cfg


def leaf_configs(cfg: Any, key: str) -> Iterator[tuple[str, dict]]:
    """The configs of the data sets that wrap no other, with their places, in the order that they are built in."""
    if isinstance(cfg, list | tuple):
        for i, item in enumerate(cfg):
            yield from leaf_configs(item, f'{key}.{i}')
    elif not isinstance(cfg, dict):
        return
    elif 'datasets' in cfg:
        yield from leaf_configs(list(cfg['datasets']), f'{key}.datasets')
    elif 'dataset' in cfg:
        yield from leaf_configs(cfg['dataset'], f'{key}.dataset')
    elif isinstance(cfg.get('ann_file'), list | tuple):
        for i in range(len(cfg['ann_file'])):
            lists = [name for name in _PER_FILE if isinstance(cfg.get(name), list | tuple) and i < len(cfg[name])]
            yield f'{key}.{i}', {**cfg, **{name: cfg[name][i] for name in lists}}
    else:
        yield key, dict(cfg)


def leaf_datasets(dataset: Any) -> Iterator[Any]:
    """The data sets below wrappers, in order."""
    if hasattr(dataset, 'datasets'):
        for child in dataset.datasets:
            yield from leaf_datasets(child)
    elif isinstance(dataset, DatasetWrapper) or (hasattr(dataset, 'dataset') and not hasattr(dataset, 'data_infos')):
        yield from leaf_datasets(dataset.dataset)
    else:
        yield dataset


def _table_of(leaf: Leaf) -> AnnotationTable | None:
    cls = _class_of(leaf.cfg)
    ann_file = leaf.path('ann_file')
    try:
        if isinstance(cls, type) and issubclass(cls, CocoDataset) and str(ann_file).endswith('.json'):
            return _coco_table(leaf, cls, ann_file)
        dataset = leaf.dataset if getattr(leaf.dataset, 'test_mode', False) else _unchecked(leaf.cfg, cls)
        normalised = any(leaf.option('LoadAnnotations', name) for name in ('denorm_bbox', 'normed_bbox'))
        return table_of_dataset(dataset, str(ann_file), normalised)
    except Exception:  # building it has said why; what remains to be checked is checked
        return None


def _coco_table(leaf: Leaf, cls: type, ann_file: str) -> AnnotationTable | None:
    content = read_json(ann_file)
    if not isinstance(content, dict) or not isinstance(content.get('images'), list):
        return None
    own = getattr(leaf.dataset, 'image_info', None)  # LVIS and others find their images by other entries
    images = content['images'] if own is not None else ()
    names = {image.get('id'): own(dict(image)).get('filename') for image in images if isinstance(image, dict)}
    classes = getattr(leaf.dataset, 'CLASSES', None) or cls.get_classes(leaf.cfg.get('classes'))
    return table_of_coco(content, ann_file, classes, names)


def _unchecked(cfg: dict, cls: type) -> Any:
    """The data set with all its images, whatever its annotations are like."""
    accepted = inspect.signature(cls).parameters
    changes = dict(test_mode=True) if 'test_mode' in accepted else {}
    kind = type(cls.__name__, (cls,), dict(check_annotations=lambda self: None))
    kept = {key: value for key, value in cfg.items() if key not in ('min_size', 'samples_per_gpu')}
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return DATASETS.build({**kept, **changes, 'type': kind})


def _class_of(cfg: dict) -> Any:
    kind = cfg.get('type')
    return DATASETS.get(kind) if isinstance(kind, str) else kind


def _steps(pipeline: Any) -> Iterator[dict]:
    """All steps of a pipeline's config, nested ones too."""
    for step in pipeline if isinstance(pipeline, list | tuple) else ():
        if isinstance(step, dict):
            yield step
            yield from _steps(step.get('transforms'))
