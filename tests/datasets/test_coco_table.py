"""A COCO file as arrays says what the file says."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest

from mmdet_clone.datasets import CocoDataset, build_dataset
from mmdet_clone.datasets.coco_index import CocoIndex
from mmdet_clone.datasets.coco_parse import table_from_json

AWKWARD = """{"info": {"year": 2017, "who": "caf\\u00e9"}, "videos": [1, 2.50, null],
"images": [{"id": 7, "file_name": "b.jpg", "width": 640, "height": 480, "tags": ["x", {"y": []}]},
  {"width": 10.5, "id": -3, "height": 20, "file_name": "日本.jpg", "license": null}],
"annotations": [
  {"id": 30, "image_id": -3, "category_id": 2, "bbox": [1, 2.0, 3.10, 4e0], "area": 12, "iscrowd": 0,
   "segmentation": [[1, 2.0, 3, 4, 5.25, 6]], "score": 0.10, "attributes": {"b": true, "a": -0.0}},
  {"bbox": [0, 0, 1, 1], "id": 4, "image_id": 7, "category_id": 1, "iscrowd": 1,
   "segmentation": {"counts": "a\\"b\\\\", "size": [4, 5]}},
  {"id": 5, "image_id": 99, "category_id": 1, "bbox": [0, 0, 1, 1], "big": 123456789012345678901234567890},
  {"id": 6, "image_id": 7, "category_id": 9, "bbox": [0, 0, 1, 1], "far": 1e999, "segmentation": []},
  {"id": 8, "image_id": 98, "category_id": 1, "bbox": [0, 0, 1, 1], "lone": "\\ud83d\\ude00"}],
"categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog", "supercategory": "pet"}]}"""


@pytest.fixture
def awkward(tmp_path):
    path = tmp_path / 'awkward.json'
    path.write_text(AWKWARD, encoding='utf-8')
    return str(path)


def same(ours, theirs):
    """Equal in value, in type (1 is not 1.0) and in the order of keys."""
    return repr(ours) == repr(theirs)


def test_every_value_comes_back_as_the_file_writes_it(awkward):
    ours, plain = CocoIndex(awkward), CocoIndex(json.loads(AWKWARD))
    assert ours.table is not None and plain.table is None
    for name in ('imgs', 'anns', 'imgToAnns', 'catToImgs'):
        found, expected = getattr(ours, name), getattr(plain, name)
        assert same({key: found[key] for key in found}, dict(expected)) and len(found) == len(expected)
    assert same(ours.cats, plain.cats)
    assert same(ours.dataset, plain.dataset) and ours.table is None


def test_look_ups_of_what_is_not_there(awkward):
    coco = CocoIndex(awkward)
    assert coco.imgToAnns[12345] == [] and coco.catToImgs[3] == [] and coco.imgToAnns.get(12345) is None
    assert 12345 not in coco.imgs and '7' not in coco.imgs and None not in coco.imgs and 7.0 in coco.imgs
    assert 10**30 not in coco.anns and np.int64(30) in coco.anns
    with pytest.raises(KeyError):
        coco.imgs[12345]
    with pytest.raises(TypeError, match=r'change coco.dataset, then call coco.createIndex'):
        coco.imgs[1] = {}


def test_annotation_ids_are_filtered_as_from_dicts(awkward):
    ours, plain = CocoIndex(awkward), CocoIndex(json.loads(AWKWARD))
    for kwargs in (
        *({}, dict(imgIds=7), dict(imgIds=[7, -3, 12345]), dict(catIds=[1]), dict(iscrowd=True), dict(iscrowd=False)),
        *(dict(imgIds=[99, 7]), dict(imgIds=[12345])),  # 99 has an annotation and is not listed
        *(dict(imgIds=[7], catIds=[9]), dict(catIds=[12345])),
    ):
        assert ours.getAnnIds(**kwargs) == plain.getAnnIds(**kwargs), kwargs
    assert ours.getAnnIds(areaRng=[0.5, 2]) == [4, 5, 6, 8]  # width times height, where no area is given


def test_what_is_set_in_an_entry_stays(awkward):
    coco = CocoIndex(awkward)
    first, second = coco.anns[4], coco.imgToAnns[7][0]
    first['area'] = 1
    second.update(seen=True)
    second.pop('iscrowd')
    assert coco.table is None  # the arrays do not say it
    assert coco.anns[4]['area'] == 1 and coco.anns[4]['seen'] and 'iscrowd' not in coco.imgToAnns[7][0]
    assert coco.dataset['annotations'][1]['area'] == 1 and type(coco.dataset['annotations'][1]) is dict
    assert coco.anns[4] is coco.dataset['annotations'][1]


def test_a_note_in_an_entry_leaves_the_arrays_in_use(awkward):
    coco = CocoIndex(awkward)
    coco.loadImgs([7])[0]['filename'] = 'seen.jpg'
    coco.anns[4]['note'] = 'mine'
    for other in (coco, pickle.loads(pickle.dumps(coco)), copy.deepcopy(coco)):
        assert other.table is not None and other.imgs[7]['filename'] == 'seen.jpg' and other.anns[4]['note'] == 'mine'
        other.imgs[7]['width'] = 1
        assert other.table is None and other.imgs[7] == {**coco.imgs[7], 'width': 1}


def test_a_changed_dataset_is_indexed_anew(awkward):
    coco = CocoIndex(awkward)
    coco.dataset['annotations'].pop()
    coco.createIndex()
    assert len(coco.anns) == 4 and coco.imgToAnns[98] == []


def test_copies_say_the_same(awkward):
    coco = CocoIndex(awkward)
    for other in (pickle.loads(pickle.dumps(coco)), copy.deepcopy(coco)):
        assert same(dict(other.anns), dict(coco.anns)) and other.table is not None
    assert type(copy.copy(coco.anns[4])) is dict and type(pickle.loads(pickle.dumps(coco.anns[4]))) is dict


@pytest.mark.parametrize(
    'old, new',
    [
        ('"id": 7,', '"id": "seven",'),
        ('"id": 4,', '"id": 30,'),
        ('"bbox": [1, 2.0, 3.10, 4e0]', '"bbox": [1, 2.0, 3.10, NaN]'),
        ('"bbox": [1, 2.0, 3.10, 4e0]', '"bbox": [1, 2.0, 3.10]'),
        ('"area": 12', '"area": null'),
        ('"iscrowd": 1', '"iscrowd": "1"'),
        ('"category_id": 9,', ''),
        ('"width": 640', '"width": "640"'),
        ('"images"', '"pictures"'),
        ('"id": 8', f'"id": {10**25}'),
        ('"categories"', '"categories": 5, "others"'),
        (']}', ']'),
    ],
)
def test_files_of_another_layout_are_left_to_the_general_way(old, new, tmp_path):
    assert old in AWKWARD
    path = tmp_path / 'other.json'
    path.write_text(AWKWARD.replace(old, new), encoding='utf-8')
    assert table_from_json(str(path)) is None


def test_a_large_file_of_another_layout_is_told_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr('mmdet_clone.datasets.coco_parse.LARGE', 100)
    path = tmp_path / 'other.json'
    path.write_text(AWKWARD.replace('"area": 12', '"area": null'), encoding='utf-8')
    with pytest.warns(UserWarning, match=r"other\.json' is not laid out .*area.* several times the memory"):
        assert table_from_json(str(path)) is None


@pytest.mark.parametrize(
    'content', [b'', b'\xff\xfe{', AWKWARD.encode('utf-16'), AWKWARD.encode().replace(b'cat', b'c\xe9')]
)
def test_files_of_another_encoding_are_left_to_the_general_way(content, tmp_path):
    path = tmp_path / 'other.json'
    path.write_bytes(content)
    assert table_from_json(str(path)) is None


def test_blanks_take_no_memory(tmp_path):
    for name, layout in (('wide', dict(indent=4)), ('narrow', dict(separators=(',', ':')))):
        (tmp_path / name).write_text(json.dumps(json.loads(AWKWARD.replace('1e999', '1')), **layout))
    wide, narrow = (table_from_json(str(tmp_path / name)) for name in ('wide', 'narrow'))
    assert wide.ann_text.nbytes == narrow.ann_text.nbytes
    assert [wide.annotation(i) for i in range(5)] == [narrow.annotation(i) for i in range(5)]


# ---------------------------------------------------------------------- the data set over it


@pytest.fixture
def many(rng):
    """Annotations of every kind at random, in random order, some of images that are not listed."""
    images = [
        dict(id=int(i), file_name=f'{i}.jpg', width=int(w), height=100) for i, w in enumerate(rng.integers(20, 200, 40))
    ]
    anns = []
    for i in rng.permutation(400).tolist():
        x, y, w, h = (rng.random(4) * [220, 120, 80, 60] - [20, 20, 2, 2]).round(1).tolist()
        ann = dict(id=i, image_id=int(rng.integers(44)), category_id=int(rng.choice([3, 5, 8])), bbox=[x, y, w, h])
        optional = dict(area=float(rng.integers(0, 4)), iscrowd=int(rng.integers(2)), ignore=int(rng.integers(2)))
        optional['segmentation'] = [[x, y, x + w, y, x, y + h]]
        optional['keypoints'] = rng.integers(0, 99, 6).tolist()
        anns.append({**ann, **{key: value for key, value in optional.items() if rng.random() < 0.6}})
    categories = [dict(id=8, name='emu'), dict(id=3, name='cat'), dict(id=5, name='dog')]
    return dict(images=images, annotations=anns, categories=categories)


@pytest.mark.filterwarnings('ignore::UserWarning')
@pytest.mark.parametrize(
    'kwargs', [{}, dict(classes=['emu', 'dog']), dict(test_mode=True), dict(filter_empty_gt=False)]
)
def test_the_data_set_is_the_same_over_arrays_and_over_dicts(many, write_json, kwargs, monkeypatch):
    import mmdet_clone.datasets.coco_index as module

    kwargs = {'classes': ['emu', 'cat', 'dog'], **kwargs}
    ours = CocoDataset(write_json(many), [], **kwargs)
    monkeypatch.setattr(module, 'load_table', lambda path: None)
    plain = CocoDataset(write_json(many), [], **kwargs)
    assert ours.coco.table is not None and plain.coco.table is None
    assert list(ours.data_infos) == plain.data_infos and ours.img_ids == plain.img_ids
    assert ours.get_cat2imgs() == plain.get_cat2imgs() and repr(ours) == repr(plain)
    if not ours.test_mode:
        assert ours.flag.tolist() == plain.flag.tolist()
    for a, b in zip(ours.cat_ids_by_image(), plain.cat_ids_by_image(), strict=True):
        assert a.tolist() == b.tolist()
    for i in range(len(ours)):
        found, expected = ours.get_ann_info(i), plain.get_ann_info(i)
        assert found.keys() == expected.keys() and ours.get_cat_ids(i) == plain.get_cat_ids(i)
        for key, value in expected.items():
            np.testing.assert_array_equal(found[key], value) if key not in ('masks', 'seg_map') else None
            assert getattr(found[key], 'dtype', None) == getattr(value, 'dtype', None)
        assert found['masks'] == expected['masks'] and found['keypoints'].shape == (len(found['labels']), 2, 3)


def test_users_may_sort_cut_and_change_the_entries(many, write_json):
    with pytest.warns(UserWarning):
        dataset = CocoDataset(write_json(many), [], classes=['emu', 'cat', 'dog'], test_mode=True)
    first = dataset.data_infos[0]
    first['note'] = 'mine'
    assert dataset.data_infos[0]['note'] == 'mine' and dataset[0]['img_info']['note'] == 'mine'
    assert [info['id'] for info in dataset.data_infos[2:4]] == [2, 3] and dataset.data_infos[-1]['id'] == 39
    dataset.data_infos.sort(key=lambda info: -info['id'])
    del dataset.data_infos[1:]
    assert len(dataset) == 1 and dataset[0]['img_info']['id'] == 39
    assert type(dataset.data_infos.copy()) is list
    assert len(['one'] + dataset.data_infos + ['last']) == 3 and dataset.data_infos == list(dataset.data_infos)  # noqa: RUF005
    dataset.data_infos = [info for info in dataset.data_infos if info['id'] == 39]
    assert len(dataset.get_ann_info(0)['bboxes']) == len(dataset.get_ann_info(0)['labels'])


def test_a_step_that_writes_into_img_info_leaves_the_data_set_alone(toy, write_json):
    dataset = CocoDataset(write_json(toy), [], classes=['cat', 'dog'])
    dataset[0]['img_info']['seen'] = True
    assert 'seen' not in dataset.data_infos[0] and 'seen' not in dataset[0]['img_info']


def test_a_users_own_reading_of_annotations_is_used(toy, write_json):
    class Mine(CocoDataset):
        CLASSES = ('cat', 'dog')

        def load_annotations(self, ann_file):
            infos = super().load_annotations(ann_file)
            for info in infos:
                info['filename'] = 'mine/' + info['filename']
            return infos

        def _parse_ann_info(self, img_info, ann_info):
            return {**super()._parse_ann_info(img_info, ann_info), 'count': len(ann_info)}

    dataset = build_dataset(dict(type=Mine, ann_file=write_json(toy), pipeline=[]))
    assert dataset.data_infos[0]['filename'] == 'mine/wide.jpg' and dataset.get_ann_info(0)['count'] == 2
    assert dataset.get_ann_info(0)['seg_map'] == 'mine/wide.png'


def test_a_users_own_index_is_used(toy, write_json):
    class Mine(CocoDataset):
        CLASSES = ('cat', 'dog')

        def load_annotations(self, ann_file):
            from pycocotools.coco import COCO

            self.coco = COCO(ann_file)
            self.cat_ids = self.coco.getCatIds(catNms=self.CLASSES)
            self.cat2label = {cat_id: label for label, cat_id in enumerate(self.cat_ids)}
            self.img_ids = self.coco.getImgIds()
            return [{**self.coco.loadImgs([i])[0], 'filename': 'a.jpg'} for i in self.img_ids]

    dataset = Mine(write_json(toy), [])
    assert len(dataset) == 2 and dataset.get_ann_info(0)['bboxes'].tolist() == [[10, 20, 40, 60]]
    assert dataset.get_cat2imgs() == {0: [0], 1: [0, 1]} and dataset.flag.tolist() == [1, 0]


def test_mmdetections_own_loop_over_the_images_keeps_the_arrays(toy, write_json):
    class Mine(CocoDataset):
        CLASSES = ('cat', 'dog')

        def load_annotations(self, ann_file):
            self.coco = CocoIndex(ann_file)
            self.cat_ids = self.coco.get_cat_ids(cat_names=self.CLASSES)
            self.cat2label = {cat_id: label for label, cat_id in enumerate(self.cat_ids)}
            self.img_ids = self.coco.get_img_ids()
            infos = []
            for i in self.img_ids:
                info = self.coco.load_imgs([i])[0]
                info['filename'] = info['file_name']
                infos.append(info)
            return infos

    dataset = Mine(write_json(toy), [])
    assert dataset.coco.table is not None and dataset.img_ids == [1, 2]
    assert dataset.get_ann_info(0)['bboxes'].tolist() == [[10, 20, 40, 60]]


def test_where_images_are_found_may_be_overridden(toy, write_json):
    class Elsewhere(CocoDataset):
        CLASSES = ('cat', 'dog')

        def image_info(self, image):
            return {**image, 'filename': image['url'].rpartition('/')[2]}

    for image in toy['images']:
        image['url'] = 'http://host/' + image.pop('file_name')
    dataset = Elsewhere(write_json(toy), [])
    assert dataset.coco.table is not None and dataset.data_infos[1]['filename'] == 'high.jpg'
    del toy['images'][2]['url']
    with pytest.raises(KeyError):  # at once, not in the middle of an epoch
        Elsewhere(write_json(toy), [])


# ---------------------------------------------------------------------- keypoints


def with_keypoints(toy):
    toy['categories'][0]['keypoints'] = ['nose', 'tail']
    toy['annotations'][0]['keypoints'] = [1, 2, 2, 3.5, 4, 1]
    return toy


def test_keypoints_come_with_the_boxes(toy, write_json):
    dataset = CocoDataset(write_json(with_keypoints(toy)), [], classes=['cat', 'dog'])
    found = dataset.get_ann_info(0)['keypoints']
    assert found.tolist() == [[[1, 2, 2], [3.5, 4, 1]]] and found.dtype == np.float32
    assert dataset.get_ann_info(1)['keypoints'].tolist() == [[[0, 0, 0], [0, 0, 0]]]  # a dog, which has none
    del toy['annotations'][0]['keypoints']
    assert 'keypoints' not in CocoDataset(write_json(toy), [], classes=['cat', 'dog']).get_ann_info(0)


def test_real_keypoints_are_those_of_the_file(shared):
    path = next((shared / 'data/coco_mini/annotations').glob('person_keypoints_*.json'))
    dataset = CocoDataset(str(path), [], classes=['person'], test_mode=True)
    content = json.loads(path.read_text())
    expected = {ann['id']: ann['keypoints'] for ann in content['annotations']}
    some = [dataset.get_ann_info(i) for i in range(len(dataset))]
    assert sum(len(info['keypoints']) for info in some) > 50
    for info in some:
        assert info['keypoints'].shape == (len(info['bboxes']), 17, 3)
        for ann_id, points in zip(info['ann_ids'], info['keypoints'], strict=True):
            assert points.reshape(-1).tolist() == expected[ann_id]


@pytest.mark.parametrize('points', [[1, 2], [1, 2, 2]])
def test_keypoints_of_another_number_are_refused(points, toy, write_json):
    with_keypoints(toy)['annotations'][0]['keypoints'] = points
    with pytest.raises(ValueError, match=rf'annotation 11: {len(points)} for 2 points.*correct them'):
        CocoDataset(write_json(toy), [], classes=['cat', 'dog'])
