"""What a user can get wrong in the annotations is told before the first iteration."""

from __future__ import annotations

import json

import pytest

from mmdet_clone.datasets import CocoDataset, CustomDataset, build_dataset

CLASSES = ('cat', 'dog')


def test_classes_as_a_set(write_json, toy):
    with pytest.raises(TypeError, match='order is not fixed'):
        CocoDataset(write_json(toy), [], classes={'cat', 'dog'})


def test_classes_as_a_string_that_is_no_file(write_json, toy):
    with pytest.raises(ValueError, match=r"string 'cat', and no file of that name exists.*classes=\('cat',\)"):
        CocoDataset(write_json(toy), [], classes='cat')


def test_classes_of_a_subclass_without_the_comma(write_json, toy):
    class Cats(CocoDataset):
        CLASSES = 'cat'

    with pytest.raises(ValueError, match=r"CLASSES=\('cat',\) with the comma"):
        Cats(write_json(toy), [])


@pytest.mark.parametrize('classes, error', [(['cat', 3], TypeError), (['cat', 'cat'], ValueError), (7, TypeError)])
def test_classes_of_other_kinds(classes, error, write_json, toy):
    with pytest.raises(error, match='classes'):
        CocoDataset(write_json(toy), [], classes=classes)


def test_a_class_that_the_file_lacks_is_shown_with_the_nearest(write_json, toy):
    with pytest.raises(ValueError, match=r"1 of the 2 classes .*'Cat' \(did you mean 'cat'\?\).*'cat', 'dog'"):
        CocoDataset(write_json(toy), [], classes=['Cat', 'dog'])


def test_the_default_classes_on_a_file_of_others(write_json, toy):
    toy['categories'] = [dict(id=5, name='kitten'), dict(id=9, name='puppy')]
    with pytest.raises(ValueError, match=r"80 of the 80 classes .* and 70 more.*'kitten', 'puppy'.*Set classes="):
        CocoDataset(write_json(toy), [])


def test_undefined_category_ids(write_json, toy):
    toy['annotations'][2]['category_id'] = 77
    with pytest.raises(ValueError, match=r'annotation 13: 77.*Defined ids: 5, 9'):
        CocoDataset(write_json(toy), [], classes=CLASSES)


def test_duplicate_annotation_ids(write_json, toy, shared):
    toy['annotations'][1]['id'] = 11
    with pytest.raises(ValueError, match=r'1 duplicate annotation ids, first \[11\]'):
        CocoDataset(write_json(toy), [], classes=CLASSES)
    with pytest.raises(ValueError, match='duplicate annotation ids'):
        CocoDataset(str(shared / 'data/formats/coco_wrong_format_sample.json'), [], classes=['car'])


def test_duplicate_image_ids(write_json, toy):
    toy['images'][1]['id'] = 1
    with pytest.raises(ValueError, match='duplicate image ids'):
        CocoDataset(write_json(toy), [], classes=CLASSES)


def test_boxes_outside_or_without_size_are_counted_in_one_warning_with_the_first_ten(write_json, toy):
    toy['annotations'] += [
        dict(id=100 + i, image_id=1, category_id=5, bbox=[150, 10, 90 + i, 20], area=9, iscrowd=0) for i in range(12)
    ]
    toy['annotations'] += [dict(id=200, image_id=2, category_id=5, bbox=[5, 5, -3, 20], area=9, iscrowd=0)]
    with pytest.warns(UserWarning) as caught:
        CocoDataset(write_json(toy), [], classes=CLASSES)
    (message,) = [str(warning.message) for warning in caught]
    assert 'of 17 boxes 12 reach outside their image and 1 have a width or height of zero or less' in message
    assert message.count('annotation 1') == 10 and 'and 3 more' in message
    assert 'annotation 100 of wide.jpg: [150.0, 10.0, 90.0, 20.0] in an image of 200x100' in message
    assert 'looks like' not in message


def test_corners_given_for_width_and_height_are_recognised(write_json, toy):
    toy['annotations'] += [
        dict(id=100 + i, image_id=1, category_id=5, bbox=[100 + i, 40, 190, 90], area=9, iscrowd=0) for i in range(5)
    ]
    told = r'of 9 boxes 5 reach outside[\s\S]*looks like x1y1x2y2: the format asks for \[x, y, width, height\]'
    with pytest.raises(ValueError, match=told):
        CocoDataset(write_json(toy), [], classes=CLASSES)
    toy['annotations'].pop()
    with pytest.warns(UserWarning, match=r'of 8 boxes 4 [\s\S]*looks like x1y1x2y2'):  # too few to be sure
        CocoDataset(write_json(toy), [], classes=CLASSES)


def test_width_and_height_given_for_corners_are_recognised(write_json):
    ann = dict(bboxes=[[50, 40, 30, 20], [60, 50, 20, 20]], labels=[0, 1])
    with pytest.warns(UserWarning, match=r'looks like xywh: the format asks for \[x1, y1, x2, y2\]'):
        CustomDataset(
            write_json([dict(filename='a.jpg', width=100, height=80, ann=ann)]),
            [],
            classes=CLASSES,
            filter_empty_gt=False,
        )


def test_boxes_not_of_four_numbers(write_json, toy):
    toy['annotations'][0]['bbox'] = [1, 2, 3]
    with pytest.raises(ValueError, match=r'1 annotations have no bbox of four numbers .* \[11\]'):
        CocoDataset(write_json(toy), [], classes=CLASSES)


def test_masks_asked_for_where_segmentation_is_missing(write_json, toy):
    pipeline = [dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]
    toy['annotations'][0]['segmentation'] = [[10, 20, 40, 20, 40, 60]]
    with pytest.raises(ValueError, match=r"2 of 3 annotations have no 'segmentation', first annotations \[13, 14\]"):
        CocoDataset(write_json(toy), pipeline, classes=CLASSES)


def test_no_usable_image_is_told_with_the_counts_by_reason(write_json, toy):
    toy['images'].append(dict(id=5, file_name='crowd.jpg', width=99, height=99))
    toy['images'].append(dict(id=6, file_name='thin.jpg', width=99, height=99))
    toy['annotations'] = [
        dict(id=1, image_id=1, category_id=9, bbox=[1, 1, 9, 9], area=81, iscrowd=0),
        dict(id=2, image_id=5, category_id=5, bbox=[1, 1, 9, 9], area=81, iscrowd=1),
        dict(id=3, image_id=6, category_id=5, bbox=[1, 1, 0.2, 9], area=1, iscrowd=0),
    ]
    with pytest.raises(ValueError, match='none of its 6 images can be used for training') as error:
        CocoDataset(write_json(toy), [], classes=['cat'])
    for reason in (
        '1 smaller than 32 pixels',
        '2 without annotation;',
        '1 without annotation of the wanted classes',
        '1 with crowd or ignored regions only',
        '1 with boxes of no usable size only',
    ):
        assert reason in str(error.value)


def test_a_file_that_lists_no_image(write_json, toy):
    with pytest.raises(ValueError, match='lists no image'):
        CocoDataset(write_json({**toy, 'images': [], 'annotations': []}), [], classes=CLASSES)
    with pytest.raises(ValueError, match='lists no image'):
        CustomDataset(write_json([]), [], classes=CLASSES)


def test_a_missing_annotation_file_is_shown_with_its_parts(tmp_path):
    (tmp_path / 'annotations').mkdir()
    with pytest.raises(FileNotFoundError) as error:
        CocoDataset('annotations/train.jsn', [], data_root=str(tmp_path))
    message = str(error.value)
    assert "ann_file='annotations/train.jsn', data_root=" in message
    assert f'The part that exists is {str(tmp_path / "annotations")!r}' in message


def test_a_missing_image_folder_is_shown_with_its_parts(write_json, toy, tmp_path):
    pipeline = [dict(type='LoadImageFromFile')]
    path = write_json(toy)
    with pytest.raises(FileNotFoundError, match=r"img_prefix: no such folder: .*img_prefix='imgs', data_root="):
        CocoDataset(path, pipeline, classes=CLASSES, data_root=str(tmp_path), img_prefix='imgs')
    (tmp_path / 'imgs').mkdir()
    CocoDataset(path, pipeline, classes=CLASSES, data_root=str(tmp_path), img_prefix='imgs')
    CocoDataset(path, [], classes=CLASSES, img_prefix='nowhere')  # nothing reads images


def test_a_file_of_the_other_format(write_json, toy):
    with pytest.raises(ValueError, match="COCO's format, use type='CocoDataset'"):
        CustomDataset(write_json(toy), [], classes=CLASSES)
    with pytest.raises(ValueError, match='middle format'):
        CocoDataset(write_json([toy]), [], classes=CLASSES)
    with pytest.raises(ValueError, match="has a list 'images'"):
        CocoDataset(write_json(dict(pictures=[])), [], classes=CLASSES)


def test_a_file_that_was_cut_short(tmp_path, toy):
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(toy)[:100])
    with pytest.raises(ValueError, match=r'a.json.* is not valid JSON.*cut short'):
        CocoDataset(str(path), [], classes=CLASSES)


def test_images_without_size_cannot_be_trained_on(write_json, toy):
    del toy['images'][1]['width']
    with pytest.raises(ValueError, match=r"image 1 .'high.jpg'. has no 'width' and 'height'"):
        CocoDataset(write_json(toy), [], classes=CLASSES)
    CocoDataset(write_json(toy), [], classes=CLASSES, test_mode=True)


@pytest.mark.parametrize(
    'labels, message', [([0, 2], 'outside 0..1'), ([0, -1], 'outside 0..1'), ([0], '2 bboxes and 1')]
)
def test_labels_that_do_not_fit(labels, message, write_json):
    ann = dict(bboxes=[[1, 1, 9, 9], [2, 2, 9, 9]], labels=labels)
    with pytest.raises(ValueError, match=message):
        CustomDataset(write_json([dict(filename='a.jpg', width=64, height=64, ann=ann)]), [], classes=CLASSES)


@pytest.mark.parametrize('key', ['bboxes', 'bboxes_ignore'])
@pytest.mark.parametrize('boxes', [[1, 2, 9, 9], [[1, 1, 9, 9, 0.5]] * 4])
def test_boxes_of_another_shape_than_four_columns(key, boxes, write_json):
    ann = {'bboxes': [[1, 1, 9, 9]], 'labels': [0], key: boxes}
    with pytest.raises(ValueError, match=rf"image 0 .'a.jpg'. has {key} of shape .*: expected .n, 4."):
        CustomDataset(write_json([dict(filename='a.jpg', width=64, height=64, ann=ann)]), [], classes=CLASSES)


@pytest.mark.parametrize(
    'name, key', [('images', 'id'), ('annotations', 'id'), ('annotations', 'image_id'), ('categories', 'name')]
)
def test_entries_that_lack_what_they_are_found_by(name, key, write_json, toy):
    del toy[name][1][key]
    with pytest.raises(ValueError, match=rf"'{name}': entry 1 .from 0. has no '{key}', it has \["):
        CocoDataset(write_json(toy), [], classes=CLASSES)


def test_lists_of_the_file_that_are_no_lists(write_json, toy):
    with pytest.raises(ValueError, match="'categories' is a list of dicts, got a dict"):
        CocoDataset(write_json(dict(toy, categories=dict(cat=1))), [], classes=CLASSES)
    with pytest.raises(ValueError, match="has no 'annotations' to train on"):
        CocoDataset(write_json(dict(toy, annotations=None)), [], classes=CLASSES)
    toy['annotations'][0]['bbox'] = None
    with pytest.raises(ValueError, match='1 annotations have no bbox of four numbers'):
        CocoDataset(write_json(toy), [], classes=CLASSES)


def test_annotations_of_unlisted_images_are_counted(write_json, toy):
    toy['annotations'].append(dict(id=50, image_id=99, category_id=5, bbox=[1, 1, 2, 2], area=4, iscrowd=0))
    with pytest.warns(UserWarning, match='1 annotations belong to images it does not list'):
        CocoDataset(write_json(toy), [], classes=CLASSES)


def test_parts_of_a_joined_data_set_with_other_classes(write_json, toy):
    part = dict(type='CocoDataset', ann_file=write_json(toy), pipeline=[])
    with pytest.raises(ValueError, match='label numbers would mean different things'):
        build_dataset([dict(part, classes=['cat', 'dog']), dict(part, classes=['dog', 'cat'])])


def test_lists_of_paths_of_unequal_length(write_json, toy):
    cfg = dict(type='CocoDataset', ann_file=[write_json(toy)] * 2, img_prefix=['a', 'b', 'c'], pipeline=[])
    with pytest.raises(ValueError, match=r'data.train.img_prefix has 3 entries, ann_file has 2'):
        build_dataset(cfg, path='data.train')


@pytest.mark.parametrize(
    'name, key, value, told',
    [
        ('annotations', 'area', None, "'area' of 1 annotations is no number .*annotation 11: null.*width times height"),
        ('annotations', 'area', '1200', "annotation 11: '1200'.*without quotes"),
        ('annotations', 'bbox', [1, 2, '3', 4], r"annotation 11: \[1, 2, '3', 4\].*\[x, y, width, height\]"),
        ('annotations', 'bbox', [1, 2, None, 4], r'annotation 11: \[1, 2, None, 4\]'),
        ('annotations', 'bbox', 'none', r'no bbox of four numbers .* \[11\]'),
        ('annotations', 'iscrowd', '0', "annotation 11: '0'.*0 for an object"),
        ('images', 'width', '200', r"'width' of 1 images is no number .*image 1 \(wide.jpg\): '200'.*in pixels"),
        ('images', 'height', [100], r'image 1 \(wide.jpg\): \[100\]'),
        ('images', 'width', None, r"image 0 \('wide.jpg'\) has no 'width' and 'height'"),
    ],
)
def test_texts_and_nulls_for_numbers_are_named(name, key, value, told, write_json, toy):
    toy[name][0][key] = value
    with pytest.raises(ValueError, match=told):
        CocoDataset(write_json(toy), [], classes=CLASSES)


def test_an_unknown_size_does_for_testing(write_json, toy):
    toy['images'][0]['width'] = None
    assert len(CocoDataset(write_json(toy), [], classes=CLASSES, test_mode=True)) == 4
