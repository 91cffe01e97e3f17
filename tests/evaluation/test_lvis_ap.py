"""LVIS AP beside the reference implementation (pip install lvis), and on cases counted by hand."""

from __future__ import annotations

import copy
import json
import logging

import numpy as np
import pytest

from mmdet_clone.evaluation.lvis import best_of_images, lvis_eval


@pytest.fixture(scope='module')
def truth(shared):
    """40 of the images, with the categories that are known of any of them and some others."""
    content = json.loads((shared / 'data/lvis100/lvis_val_100.json').read_text())
    images = content['images'][:40]
    ids = {image['id'] for image in images}
    annotations = [ann for ann in content['annotations'] if ann['image_id'] in ids]
    known = {ann['category_id'] for ann in annotations} | set(range(1, 40))
    known |= {i for image in images for i in image['neg_category_ids'] + image['not_exhaustive_category_ids']}
    categories = [category for category in content['categories'] if category['id'] in known]
    return dict(images=images, annotations=annotations, categories=categories)


@pytest.fixture(scope='module')
def detections(truth):
    """Shifted objects, some left out; objects of absent, unknown and not exhaustively annotated categories."""
    from pycocotools import mask as mask_api

    rng = np.random.default_rng(0)
    images = {image['id']: image for image in truth['images']}
    all_ids = [category['id'] for category in truth['categories']]
    found = []

    def add(ann, category_id, most):
        image, shift = images[ann['image_id']], rng.normal(0, most, 2).round()
        moved = [(np.array(part).reshape(-1, 2) + shift).reshape(-1).tolist() for part in ann['segmentation']]
        rle = mask_api.merge(mask_api.frPyObjects(moved, image['height'], image['width']))
        x, y, w, h = ann['bbox']
        found.append(
            dict(
                image_id=ann['image_id'],
                category_id=int(category_id),
                bbox=[x + shift[0], y + shift[1], w * rng.uniform(0.8, 1.2), h * rng.uniform(0.8, 1.2)],
                segmentation=dict(rle, counts=rle['counts'].decode()),
                score=float(rng.random()),
            )
        )

    for ann in truth['annotations']:
        image = images[ann['image_id']]
        if rng.random() < 0.85:
            add(ann, ann['category_id'], 4)
        if rng.random() < 0.4:  # a second time, or somewhere near
            add(ann, ann['category_id'], 20)
        for known in (image['neg_category_ids'], image['not_exhaustive_category_ids'], all_ids):
            if known and rng.random() < 0.4:
                add(ann, rng.choice(known), 10)
    crowded = [ann for ann in truth['annotations'] if ann['image_id'] == truth['annotations'][0]['image_id']]
    for _ in range(350):  # more than the 300 that count
        ann = crowded[rng.integers(len(crowded))]
        add(ann, ann['category_id'], 15)
    return found


def without(records, key):
    return [{k: v for k, v in record.items() if k != key} for record in records]


@pytest.fixture
def peer(truth, detections, monkeypatch, tmp_path):
    """The numbers that the LVIS API gives."""
    lvis = pytest.importorskip('lvis', reason='the reference: pip install --no-deps lvis')
    monkeypatch.setattr(np, 'float', float, raising=False)  # its last version was written for numpy < 1.24
    logging.getLogger('lvis').setLevel(logging.ERROR)
    path = tmp_path / 'truth.json'
    path.write_text(json.dumps(truth))

    def numbers(iou_type):
        api = lvis.LVIS(str(path))
        # of a box and a mask the peer would take the box's area for the mask's
        records = without(copy.deepcopy(detections), 'bbox' if iou_type == 'segm' else 'segmentation')
        evaluation = lvis.LVISEval(api, lvis.LVISResults(api, records), iou_type)
        evaluation.run()
        return evaluation.get_results()

    return numbers


@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
def test_all_numbers_are_those_of_the_reference(truth, detections, peer, iou_type):
    expected = peer(iou_type)
    for backend in ('faster-coco-eval', 'pycocotools'):
        numbers = lvis_eval(truth, detections, iou_type, backend=backend).numbers()
        assert list(numbers) == list(expected)
        np.testing.assert_allclose(list(numbers.values()), list(expected.values()), rtol=0, atol=1e-9)
    assert 0.1 < numbers['AP'] < 0.9 and len({*numbers.values()}) == len(numbers)


# ---------------------------------------------------------------------- by hand


@pytest.fixture
def toy():
    """A cat and, of more without annotation, a dog; no emu, and whether a yak is not known."""
    image = dict(id=1, width=100, height=100, neg_category_ids=[3], not_exhaustive_category_ids=[2])
    square = [[10, 10, 50, 10, 50, 50, 10, 50]]
    return dict(
        images=[image],
        annotations=[
            dict(id=1, image_id=1, category_id=1, bbox=[10, 10, 40, 40], area=1600, segmentation=square),
            dict(id=2, image_id=1, category_id=2, bbox=[10, 10, 40, 40], area=1600, segmentation=square),
        ],
        categories=[
            dict(id=i, name=name, frequency=frequency)
            for i, name, frequency in [(1, 'cat', 'r'), (2, 'dog', 'c'), (3, 'emu', 'f'), (4, 'yak', 'f')]
        ],
    )


def record(category_id, score, bbox=(10, 10, 40, 40)):
    return dict(image_id=1, category_id=category_id, bbox=list(bbox), score=score)


ELSEWHERE = (60, 60, 30, 30)


def test_a_wrong_box_costs_precision_only_where_the_category_is_exhaustive(toy):
    right = [record(1, 0.5), record(2, 0.5)]
    wrong = [record(1, 0.9, ELSEWHERE), record(2, 0.9, ELSEWHERE)]
    scores = lvis_eval(toy, right + wrong)
    assert scores.ap_of_category(1) == 0.5  # one of two right, at every recall
    assert scores.ap_of_category(2) == 1  # it may be one of the dogs without annotation
    numbers = scores.numbers()
    assert (numbers['APr'], numbers['APc'], numbers['APf']) == (0.5, 1, -1)
    assert numbers['AP'] == 0.75


def test_boxes_of_categories_that_nothing_is_known_of_do_not_count(toy):
    toy['annotations'].append({**toy['annotations'][0], 'id': 3, 'category_id': 3, 'image_id': 2})
    toy['annotations'].append({**toy['annotations'][0], 'id': 4, 'category_id': 4, 'image_id': 2})
    toy['images'].append(dict(id=2, width=100, height=100, neg_category_ids=[], not_exhaustive_category_ids=[]))
    second = [{**record(3, 0.5), 'image_id': 2}, {**record(4, 0.5), 'image_id': 2}]
    scores = lvis_eval(toy, [*second, record(3, 0.9), record(4, 0.9)])
    assert scores.ap_of_category(3) == 0.5  # image 1 is known to show no emu
    assert scores.ap_of_category(4) == 1  # whether it shows a yak is not known


def test_the_best_of_an_image_count_over_all_categories():
    records = [record(i % 3, score) for i, score in enumerate([0.1, 0.9, 0.3, 0.7])]
    assert [r['score'] for r in best_of_images(records, 2)] == [0.9, 0.7]
    assert best_of_images(records, 4) == records


def test_a_box_that_covers_nothing_is_no_mistake(toy):
    nothing = [record(1, 0.9, (60, 60, 0, 10)), record(1, 0.5)]
    assert lvis_eval(toy, nothing).ap_of_category(1) == 1


def test_neither_argument_is_changed(toy):
    records = [record(1, 0.5), record(2, 0.5)]
    before = json.dumps([toy, records])
    lvis_eval(toy, records, backend='pycocotools')
    assert json.dumps([toy, records]) == before


def test_a_coco_file_is_told_from_an_lvis_file(toy):
    del toy['images'][0]['neg_category_ids']
    with pytest.raises(ValueError, match=r"needs 'neg_category_ids' in the images .*Is it a COCO file"):
        lvis_eval(toy, [])
    toy['images'][0]['neg_category_ids'] = []
    toy['categories'][0]['frequency'] = 'often'
    with pytest.raises(ValueError, match=r"is 'r', 'c' or 'f', got \['often'\]"):
        lvis_eval(toy, [])
