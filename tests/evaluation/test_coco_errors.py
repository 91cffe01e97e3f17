"""Error analysis of detections with one planted error a class."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from mmdet_clone.evaluation.coco_errors import AREA_NAMES, KINDS, area_ranges, error_curves, error_rows

RIGHT_PLACE, EMPTY_PLACE = [10, 10, 20, 20], [60, 60, 20, 20]
CLASSES = dict(cat='animal', dog='animal', cow='animal', car='vehicle', tree='plant', bike='', bus='vehicle')
IDS = {name: i for i, name in enumerate(CLASSES, 1)}


def record(image, name, bbox, score):
    return dict(image_id=IDS[image], category_id=IDS[name], bbox=bbox, score=score)


@pytest.fixture
def planted():
    """An image a class, each with one object of its class; the objects are found, but for what follows."""
    categories = [
        dict(id=IDS[name], name=name, **(dict(supercategory=kind) if kind else {})) for name, kind in CLASSES.items()
    ]
    images = [dict(id=i, width=100, height=100) for i in IDS.values()]
    annotations = [dict(id=i, image_id=i, category_id=i, bbox=RIGHT_PLACE, area=400, iscrowd=0) for i in IDS.values()]
    detections = [
        record('cat', 'cat', [10, 10, 20, 60], 0.8),  # three times as high: IoU 1/3
        record('bus', 'bus', [10, 10, 20, 33], 0.8),  # IoU 20/33
        record('cow', 'dog', RIGHT_PLACE, 0.9),  # a cow taken for a dog, which is similar
        record('dog', 'dog', RIGHT_PLACE, 0.8),
        record('cow', 'car', RIGHT_PLACE, 0.9),  # a cow taken for a car, which is not
        record('car', 'car', RIGHT_PLACE, 0.8),
        record('tree', 'tree', EMPTY_PLACE, 0.9),
        record('tree', 'tree', RIGHT_PLACE, 0.8),
        record('cow', 'cow', RIGHT_PLACE, 0.8),
    ]  # the bike is missed
    return dict(images=images, annotations=annotations, categories=categories), detections


# a wrong detection with a better score than the right one: precision .5 at every recall, until it is forgiven
EXPECTED = dict(
    #    C75  C50  Loc  Sim  Oth  BG  FN
    cat=[0.0, 0.0, 1.0, 1.0, 1.0, 1, 1],
    dog=[0.5, 0.5, 0.5, 1.0, 1.0, 1, 1],
    cow=[1.0, 1.0, 1.0, 1.0, 1.0, 1, 1],
    car=[0.5, 0.5, 0.5, 0.5, 1.0, 1, 1],
    tree=[0.5, 0.5, 0.5, 0.5, 0.5, 1, 1],
    bike=[0.0, 0.0, 0.0, 0.0, 0.0, 0, 1],
    bus=[0.0, 1.0, 1.0, 1.0, 1.0, 1, 1],
)


@pytest.mark.parametrize('backend', ['faster-coco-eval', 'pycocotools'])
def test_each_error_is_forgiven_by_the_rule_of_its_kind(planted, backend):
    curves = error_curves(*planted, backend=backend)
    assert curves.names == list(CLASSES)
    table = curves.areas_under()[:, :, 0].T  # (K, 7), all sizes
    for name, row in zip(curves.names, table, strict=True):
        np.testing.assert_allclose(row, EXPECTED[name], atol=1e-9, err_msg=name)


def test_mean_over_the_classes_and_the_table(planted):
    rows = error_rows(error_curves(*planted))
    assert rows[0][:3] == ['allclass', 'allarea', 7]
    np.testing.assert_allclose(rows[0][3:], np.mean(list(EXPECTED.values()), axis=0), atol=1e-6)
    assert len(rows) == 8 * len(AREA_NAMES) and len(rows[0]) == 3 + len(KINDS)


def test_inputs_are_left_as_they_were(planted):
    before = copy.deepcopy(planted)
    error_curves(*planted)
    assert planted == before


def test_sizes_are_told_apart_by_the_given_areas(planted):
    curves = error_curves(*planted, areas=(100, 500, 1000))  # objects of 400 square pixels are medium
    assert curves.num_objects.tolist() == [[1, 0, 1, 0]] * 7
    under = curves.areas_under()
    np.testing.assert_allclose(under[:, :, 2].T, list(EXPECTED.values()), atol=1e-9)
    assert np.isnan(under[:, :, 1]).all() and np.isnan(curves.mean_curves()[:, :, 3]).all()


def test_class_without_objects_is_left_out_of_the_mean(planted):
    truth, detections = planted
    truth['annotations'] = [ann for ann in truth['annotations'] if ann['category_id'] != IDS['bike']]
    curves = error_curves(truth, detections)
    assert np.isnan(curves.areas_under()[:, IDS['bike'] - 1]).all()
    others = [row for name, row in EXPECTED.items() if name != 'bike']
    np.testing.assert_allclose(curves.mean_curves()[:, :, 0].mean(axis=1), np.mean(others, axis=0), atol=1e-9)


@pytest.mark.parametrize('areas', [(100, 200), (300, 200, 400), (0, 1, 2)])
def test_areas_that_do_not_rise_are_refused(areas):
    with pytest.raises(ValueError, match='three rising numbers'):
        area_ranges(areas)


def test_masks_are_compared_by_their_own_shapes():
    from pycocotools import mask

    def square(x, y, side):
        return [[x, y, x + side, y, x + side, y + side, x, y + side]]

    def rle(x, y, side):
        bitmap = np.zeros((100, 100), np.uint8, order='F')
        bitmap[y : y + side, x : x + side] = 1
        return mask.encode(bitmap)

    truth = dict(
        images=[dict(id=1, width=100, height=100)],
        categories=[dict(id=1, name='a', supercategory='s'), dict(id=2, name='b', supercategory='s')],
        annotations=[
            dict(id=1, image_id=1, category_id=1, bbox=[0, 0, 20, 20], area=400, segmentation=square(0, 0, 20)),
            dict(id=2, image_id=1, category_id=2, bbox=[50, 50, 20, 20], area=400, segmentation=square(50, 50, 20)),
        ],
    )
    whole = dict(image_id=1, category_id=1, bbox=[0, 0, 20, 20])
    found = [
        dict(whole, score=0.8, segmentation=rle(0, 0, 12)),  # the mask covers 144 of 400, the box all of it
        dict(whole, score=0.9, segmentation=rle(50, 50, 20)),  # on the other class
        dict(whole, category_id=2, score=0.9, segmentation=rle(50, 50, 20)),
    ]
    under = error_curves(truth, found, 'segm').areas_under()[:, :, 0]
    np.testing.assert_allclose(under[:, 0], [0, 0, 0.5, 1, 1, 1, 1], atol=1e-9)
    np.testing.assert_allclose(under[:, 1], 1, atol=1e-9)
    assert isinstance(truth['annotations'][0]['segmentation'], list)
