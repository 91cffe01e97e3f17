"""LVIS data sets: how images are named, which classes there are, what evaluate gives."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

from mmdet_clone.datasets import DATASETS, LVISDataset, LVISV05Dataset, LVISV1Dataset, build_dataset

ITEMS = ['AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'APr', 'APc', 'APf']


@pytest.fixture(scope='module')
def lvis100(shared):
    return str(shared / 'data/lvis100/lvis_val_100.json')


@pytest.fixture
def toy(write_json):
    """Two images; a cat (rare) in both, a dog (frequent) in the first."""
    square = [[10, 10, 50, 10, 50, 50, 10, 50]]
    content = dict(
        images=[
            dict(
                id=i,
                coco_url=f'http://images.cocodataset.org/val2017/{i:012d}.jpg',
                width=100,
                height=100,
                neg_category_ids=[],
                not_exhaustive_category_ids=[],
            )
            for i in (1, 2)
        ],
        annotations=[
            dict(id=1, image_id=1, category_id=3, bbox=[10, 10, 40, 40], area=1600, segmentation=square),
            dict(id=2, image_id=2, category_id=3, bbox=[10, 10, 40, 40], area=1600, segmentation=square),
            dict(id=3, image_id=1, category_id=7, bbox=[60, 60, 20, 20], area=400, segmentation=square),
        ],
        categories=[dict(id=3, name='cat', frequency='r'), dict(id=7, name='dog', frequency='f')],
    )
    return write_json(content)


NONE = np.zeros((0, 5), dtype=np.float32)
CAT = np.array([[10, 10, 50, 50, 0.9]], dtype=np.float32)
DOG = np.array([[60, 60, 80, 80, 0.8]], dtype=np.float32)


def dataset_of(path):
    return LVISV1Dataset(path, [], classes=['cat', 'dog'], test_mode=True)


def test_the_classes_are_those_of_the_two_versions(lvis100):
    assert DATASETS.get('LVISDataset') is DATASETS.get('LVISV05Dataset') is LVISDataset is LVISV05Dataset
    with open(lvis100) as file:
        names = [category['name'] for category in json.load(file)['categories']]
    assert list(LVISV05Dataset.CLASSES) == names and len(names) == 1230
    assert len(LVISV1Dataset.CLASSES) == len(set(LVISV1Dataset.CLASSES)) == 1203
    assert LVISV1Dataset.CLASSES[0] == 'aerosol_can' and LVISV1Dataset.CLASSES[-1] == 'zucchini'
    assert {'bull', 'doughnut', 'speaker_(stero_equipment)', 'baboon'} <= set(LVISV1Dataset.CLASSES)
    assert 'baboon' not in names


def test_images_of_v05_are_named_as_in_coco_2017(lvis100):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        dataset = build_dataset(dict(type='LVISDataset', ann_file=lvis100, pipeline=[], test_mode=True))
    assert len(dataset) == 100 and dataset.data_infos[0]['filename'] == '000000266409.jpg'
    assert sum(len(dataset.get_ann_info(i)['labels']) for i in range(100)) == 977


def test_images_of_v1_are_found_by_their_address(lvis100, toy):
    with pytest.warns(UserWarning, match='1230 categories that are not the 1203 of LVISV1Dataset'):
        dataset = LVISV1Dataset(lvis100, [], test_mode=True)
    assert dataset.data_infos[0]['filename'] == 'val2017/000000266409.jpg'
    assert len(dataset.CLASSES) == 1230  # the file's
    assert dataset_of(toy).data_infos[1]['filename'] == 'val2017/000000000002.jpg'


def test_a_v1_file_without_addresses_says_so(toy, write_json):
    with open(toy) as file:
        content = json.load(file)
    for image in content['images']:
        del image['coco_url']
    with pytest.raises(ValueError, match=r"has no 'coco_url'.*LVISV05Dataset"):
        list(dataset_of(write_json(content, 'without.json')).data_infos)


def test_evaluate_gives_the_reference_s_keys(toy):
    numbers = dataset_of(toy).evaluate([[CAT, DOG], [CAT, NONE]], logger='silent')
    assert list(numbers) == [*(f'bbox_{item}' for item in ITEMS), 'bbox_mAP_copypaste']
    assert [numbers[f'bbox_{item}'] for item in ITEMS] == [1, 1, 1, 1, 1, -1, 1, -1, 1]
    assert numbers['bbox_mAP_copypaste'].startswith('AP:1.000 AP50:1.000 AP75:1.000 APs:1.000')
    half = dataset_of(toy).evaluate([[CAT, NONE], [NONE, NONE]], logger='silent')
    assert (half['bbox_APr'], half['bbox_APf']) == (round(51 / 101, 4), 0)  # 51 of 101 recall points


def test_masks_proposals_and_options(toy, capsys, tmp_path):
    mask = np.zeros((100, 100), dtype=np.uint8)
    mask[10:50, 10:50] = 1
    results = [([CAT, DOG], [[mask], [mask]]), ([CAT, NONE], [[mask], []])]
    numbers = dataset_of(toy).evaluate(
        results,
        ['bbox', 'segm', 'proposal', 'proposal_fast'],
        classwise=True,
        jsonfile_prefix=str(tmp_path / 'kept'),
        proposal_nums=(1, 10),
    )
    assert numbers['segm_AP'] == numbers['bbox_APf'] == 1
    assert [numbers[key] for key in ('AR@10', 'ARs@10', 'ARm@10', 'ARl@10')] == [1, 1, 1, -1]
    assert numbers['AR@1'] == pytest.approx(2 / 3, abs=1e-4)
    out = capsys.readouterr().out
    assert 'Average Precision  (AP) @[ IoU=0.50:0.95 | area=     r | maxDets= 300 ] = 1.0000' in out
    assert '| cat      | 1.000 | dog      | 1.000 |' in out
    assert sorted(path.name for path in tmp_path.glob('kept*')) == ['kept.bbox.json', 'kept.segm.json']
    chosen = dataset_of(toy).evaluate(results, logger='silent', metric_items=['APr', 'AR@300'], iou_thrs=0.5)
    assert list(chosen) == ['bbox_APr', 'bbox_AR@300', 'bbox_mAP_copypaste']
    with pytest.raises(KeyError, match="unknown metric item 'mAP'"):
        dataset_of(toy).evaluate(results, metric_items='mAP')
    with pytest.raises(KeyError, match="unknown metric 'keypoints'"):
        dataset_of(toy).evaluate(results, 'keypoints')
