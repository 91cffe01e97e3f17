"""Detections as COCO's records, with the annotations that they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmdet_clone.apis.entry import parse_options
from mmdet_clone.apis.saved_results import load_saved_results
from mmdet_clone.config import load_config
from mmdet_clone.datasets.coco_results import output_prefix
from mmdet_clone.datasets.files import read_json

_NEEDED = dict(bbox='bbox', segm='segmentation')
Records = dict[str, list[dict]]


def from_result_file(path: str, ann_file: str, kinds: Sequence[str]) -> tuple[dict, Records]:
    """The annotation dict and, for each of ``kinds`` (``'bbox'``, ``'segm'``), the records of one result file."""
    for name, file in (('result file', path), ('annotation file (--ann)', ann_file)):
        if not Path(file).is_file():
            raise FileNotFoundError(f'no such {name}: {file}')
    ground_truth, records = read_json(ann_file), read_json(path)
    _check_annotations(ground_truth, ann_file)
    for kind in kinds:
        check_records(records, kind, ground_truth, path)
    return ground_truth, dict.fromkeys(kinds, records)


def from_config(
    config: str, results: str, kinds: Sequence[str], cfg_options: Sequence[str] = ()
) -> tuple[dict, Records]:
    """The same from a config, whose ``data.test`` is in COCO's format, and results that ``test.py --out`` wrote.

    Annotations of classes that the config does not name are left out.
    """
    saved = load_saved_results(load_config(config, parse_options(cfg_options)), results)
    saved.check_any_detection('an analysis')
    dataset = saved.dataset
    if not hasattr(dataset, 'results2json') or not hasattr(dataset, 'cat_ids'):
        raise ValueError(
            f'data.test of {config} is a {type(dataset).__name__}, the analysis needs one data set in the format of '
            'COCO: evaluate the parts of joined data sets one by one; confusion_matrix.py takes every format'
        )
    ground_truth = _covered(read_json(dataset.ann_file), dataset)
    prefix, folder = output_prefix(None)
    try:
        files = dataset.results2json(saved.results, prefix)  # format_results may write another benchmark's
        found: Records = {}
        for kind in kinds:
            if kind not in files:
                raise ValueError(f'{results} holds no {kind} results: choose among {", ".join(files)} by --types')
            found[kind] = read_json(files[kind])
            check_records(found[kind], kind, ground_truth, results)
    finally:
        if folder is not None:
            folder.cleanup()
    return ground_truth, found


def _covered(content: dict, dataset: Any) -> dict:
    """The images and categories of an annotation file that ``dataset`` has."""
    images, categories = {info['id'] for info in dataset.data_infos}, set(dataset.cat_ids)
    return dict(
        images=[image for image in content['images'] if image['id'] in images],
        annotations=[
            ann for ann in content['annotations'] if ann['image_id'] in images and ann['category_id'] in categories
        ],
        categories=[category for category in content['categories'] if category['id'] in categories],
    )


def _check_annotations(content: Any, path: str) -> None:
    present = content if isinstance(content, dict) else {}
    missing = [key for key in ('images', 'annotations', 'categories') if key not in present]
    if missing:
        raise ValueError(f'{path} is no COCO annotation file: it lacks {", ".join(missing)}')
    if not content['annotations']:
        raise ValueError(f'{path} holds no annotation: there is nothing to compare with')


def check_records(records: Any, kind: str, ground_truth: dict, path: str) -> None:
    """Raise ``ValueError`` for records that are none, none of ``kind``, or of other images or categories."""
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise ValueError(
            f'{path} is no COCO result file: expected a list of records with image_id, category_id, score and bbox or '
            'segmentation. tools/test.py --format-only writes one'
        )
    if not records:
        raise ValueError(f'{path} holds no detection: there is nothing to analyse')
    needed = {'image_id', 'category_id', 'score', _NEEDED[kind]}
    for i, record in enumerate(records):
        if not needed <= set(record):
            lacking = ', '.join(sorted(needed - set(record)))
            raise ValueError(f'{path}: record {i} (from 0) lacks {lacking}, which --types {kind} needs')
    for key, entries in (('image_id', 'images'), ('category_id', 'categories')):
        known = {entry['id'] for entry in ground_truth[entries]}
        strange = {record[key] for record in records} - known
        if strange:
            raise ValueError(
                f'{path} has {len(strange)} {key} that the annotations lack, such as {min(strange, key=str)}: were the '
                'results made from another data set?'
            )
