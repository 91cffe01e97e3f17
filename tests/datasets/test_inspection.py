"""What is odd about boxes, masks and ids, found in flat arrays."""

from __future__ import annotations

import numpy as np
import pytest

from mmdet_clone.datasets import VOCDataset, inspection
from mmdet_clone.datasets.inspection_findings import KINDS, SEVERITIES, category_differences, inspect_table
from mmdet_clone.datasets.inspection_table import table_of_coco, table_of_dataset

NAN = float('nan')


def found(content, classes=('cat', 'dog'), wants_masks=False):
    """(kind, annotation id or image id) of each finding but the notes."""
    findings = inspect_table(table_of_coco(content, 'a.json', classes), wants_masks)
    return [
        (f.kind, f.image_id if f.annotation_id is None else f.annotation_id) for f in findings if f.severity != 'note'
    ]


def test_a_sound_file_gives_counts_and_notes_only(toy):
    table = table_of_coco(toy, 'a.json', ('cat', 'dog'))
    assert table.labels.tolist() == [0, 1, 1, 0] and table.crowd.tolist() == [False, True, False, False]
    assert [f.kind for f in inspect_table(table)] == ['empty_image']
    assert table.sizes.tolist() == [[200, 100], [100, 200], [200, 100], [20, 100]]


@pytest.mark.parametrize(
    ('change', 'expected'),
    [
        (dict(bbox=[10, NAN, 30, 40]), [('nan_box', 11)]),
        (dict(bbox=[10, 20, float('inf'), 40]), [('nan_box', 11)]),
        (dict(bbox=[10, 20, 30]), [('nan_box', 11)]),
        (dict(bbox=None), [('nan_box', 11)]),
        (dict(bbox=[10, 20, 0, 40]), [('no_size_box', 11)]),
        (dict(bbox=[10, 20, 30, -4]), [('no_size_box', 11)]),
        (dict(bbox=[180, 20, 30, 40]), [('outside_box', 11)]),
        (dict(bbox=[-3, 20, 30, 40]), [('outside_box', 11)]),
        (dict(bbox=[171, 20, 30, 40]), []),  # a pixel over
        (dict(category_id=77), [('undefined_category', 11)]),
        (dict(id=13), [('duplicate_annotation_id', 13)]),
        (dict(image_id=99), [('unlisted_image', 11)]),
        (dict(image_id=2, category_id=9, bbox=[5, 5, 20, 100]), [('duplicate_box', 13)]),
    ],
)
def test_each_mistake_of_an_annotation_is_found_with_its_id(toy, change, expected):
    toy['annotations'][0].update(change)
    assert found(toy) == expected


def test_tiny_boxes_are_those_below_two_pixels_a_side_or_of_an_area_below_two(toy):
    for annotation, bbox, area in zip(toy['annotations'], ([1, 1, 1.9, 9], [1, 1, 2, 2], [1, 1, 9, 9]), (17, 4, 1)):
        annotation.update(bbox=bbox, area=area)
    table = table_of_coco(toy, 'a.json', ('cat', 'dog'))
    assert [f.annotation_id for f in inspect_table(table) if f.kind == 'tiny_box'] == [11, 13]


def test_ids_and_files_of_images_that_occur_twice(toy):
    toy['images'][1]['id'] = 1
    toy['images'][3]['file_name'] = 'empty.jpg'
    kinds = [kind for kind, _ in found(toy)]
    assert kinds.count('duplicate_image_id') == 1 and kinds.count('repeated_image') == 1


def test_classes_that_the_file_lacks_or_never_shows(toy):
    assert ('unknown_class', None) in found(toy, ('cat', 'bird'))
    toy['annotations'] = [a for a in toy['annotations'] if a['category_id'] == 5]
    assert found(toy) == [('unseen_class', None)]


def corners(content, count=6):
    """Write x1, y1, x2, y2 to most of the boxes."""
    content['annotations'] = [
        dict(id=i, image_id=1, category_id=5, bbox=[100 + i, 40, 190, 90], area=9, iscrowd=0) for i in range(count)
    ] + [dict(id=90, image_id=1, category_id=9, bbox=[1, 1, 20, 20], area=400, iscrowd=0)]
    return content


def test_boxes_in_corners_are_an_error_if_most_look_so(toy):
    findings = inspect_table(table_of_coco(corners(toy), 'a.json', ('cat', 'dog')))
    (layout,) = [f for f in findings if f.kind == 'other_layout']
    assert layout.severity == 'error' and '6 of 7 boxes' in layout.what
    assert 'looks like x1y1x2y2: the format asks for [x, y, width, height]' in layout.what
    assert not [f for f in inspect_table(table_of_coco(corners(toy, 4), 'a.json', None)) if f.kind == 'other_layout']


def square(x, y, side):
    return [x, y, x + side, y, x + side, y + side, x, y + side]


@pytest.mark.parametrize(
    ('segmentation', 'kind', 'severity'),
    [
        ([square(10, 20, 30)], None, None),
        (None, 'missing_mask', 'error'),
        ([], 'missing_mask', 'error'),
        ([[10, 20, 40, 20]], 'missing_mask', 'error'),
        ([square(10, 20, 30), [1, 2, 3, 4]], 'bad_polygon', 'warning'),
        ([square(10, 20, 30), square(190, 20, 30)], 'outside_polygon', 'warning'),
        (dict(size=[100, 200], counts=[20000]), None, None),
        (dict(size=[200, 100], counts=[20000]), 'mask_size', 'error'),
        (dict(counts='nonsense'), 'mask_size', 'error'),
    ],
)
def test_masks_are_compared_with_their_image(toy, segmentation, kind, severity):
    for annotation in toy['annotations']:
        annotation['segmentation'] = [square(1, 1, 5)]
    toy['annotations'][0]['segmentation'] = segmentation
    findings = [f for f in inspect_table(table_of_coco(toy, 'a.json', ('cat', 'dog')), True) if f.severity != 'note']
    assert [(f.kind, f.severity, f.annotation_id) for f in findings] == ([(kind, severity, 11)] if kind else [])


def test_a_mask_of_another_size_is_a_warning_where_masks_are_not_loaded(toy):
    toy['annotations'][0]['segmentation'] = dict(size=[7, 7], counts=[49])
    findings = inspect_table(table_of_coco(toy, 'a.json', ('cat', 'dog')))
    assert [(f.kind, f.severity) for f in findings if f.kind == 'mask_size'] == [('mask_size', 'warning')]


def test_repeated_boxes_are_of_one_image_and_class_and_the_first_is_spared():
    boxes = np.array([[0, 0, 5, 5], [1, 1, 2, 2], [0, 0, 5, 5], [0, 0, 5, 5], [0, 0, 5, 5]], float)
    owner, labels = np.array([0, 0, 0, 1, 0]), np.array([3, 3, 3, 3, 4])
    assert inspection.repeated_boxes(boxes, owner, labels).tolist() == [False, False, True, False, False]


def test_panoptic_segments_are_annotations(toy):
    segments = [dict(id=7, category_id=5, bbox=[180, 0, 90, 9], iscrowd=0, area=9)]
    toy['annotations'] = [dict(image_id=1, file_name='wide.png', segments_info=segments)]
    assert ('outside_box', 7) in found(toy)


def test_objects_of_xml_files_are_looked_at_before_they_are_filtered(shared):
    root = str(shared / 'data/bccd/BCCD') + '/'
    flat = []
    for split in ('train', 'val', 'test'):
        dataset = VOCDataset(
            f'{root}ImageSets/Main/{split}.txt', [], ('RBC', 'WBC', 'Platelets'), img_prefix=root, test_mode=True
        )
        table = table_of_dataset(dataset, split)
        flat += [(f.image_id, f.kind, f.box) for f in inspect_table(table) if f.severity != 'note']
    # the only two of 4888 boxes, read off the xml files by hand
    assert flat == [
        ('BloodImage_00343', 'no_size_box', (181, 329, 181, 329)),
        ('BloodImage_00338', 'no_size_box', (504, 337, 504, 337)),
    ]


def test_categories_that_differ_between_files():
    train, val = dict(cat=1, dog=2, cow=3), dict(cat=1, dog=7, bird=4)
    only_train, only_val, moved = category_differences(train, val, ('data.train', 'data.val'))
    assert only_train == "only data.train has category 'cow'; data.val has not"
    assert only_val == "only data.val has category 'bird'; data.train has not"
    assert "'dog' is 2 and 7" in moved
    assert category_differences(train, dict(train)) == []


def test_every_kind_has_a_severity_and_a_fix():
    assert all(kind.severity in SEVERITIES and kind.title and kind.fix for kind in KINDS.values())


def test_a_million_boxes_take_about_a_second(rng):
    import time

    count = 1_000_000
    boxes = rng.uniform(0, 300, (count, 4))
    sizes, owner = np.full((count, 2), 640.0), np.sort(rng.integers(0, 100_000, count))
    start = time.process_time()
    corners_ = inspection.corners_of(boxes, 'xywh')
    for check in (inspection.not_finite(boxes), inspection.without_size(corners_), inspection.is_tiny(corners_)):
        assert check.shape == (count,)
    inspection.reaches_outside(corners_, sizes)
    inspection.repeated_boxes(boxes, owner, np.zeros(count, int))
    assert time.process_time() - start < 8  # about 1.5 on a free core
