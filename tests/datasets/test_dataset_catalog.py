from __future__ import annotations

import json
import pickle
import sys

import numpy as np
import pytest

from mmdet_clone.datasets import (
    DATASETS,
    CocoDataset,
    RepeatDataset,
    VOCDataset,
    build_dataset,
    get_dataset_dicts,
    register_coco_instances,
    register_coco_panoptic,
    register_dataset,
    register_lvis_instances,
    register_voc,
    registered_datasets,
    unregister_dataset,
)


@pytest.fixture(autouse=True)
def _forget():
    """Leave no name behind."""
    yield
    for name in registered_datasets():
        unregister_dataset(name)


@pytest.fixture
def pets(write_json, toy, tmp_path):
    """Registered as ``pets``; the folder."""
    (tmp_path / 'images').mkdir()
    register_coco_instances('pets', write_json(toy), str(tmp_path / 'images'))
    return tmp_path


def test_a_registered_name_is_a_type(pets):
    data = build_dataset(dict(type='pets', pipeline=[]))
    assert type(data).__mro__[1] is CocoDataset and data.CLASSES == ('cat', 'dog')
    assert data.img_prefix == str(pets / 'images') and len(data) == 2
    assert len(build_dataset(dict(type='pets', pipeline=[]), dict(test_mode=True))) == 4
    wrapped = build_dataset(dict(type='RepeatDataset', times=3, dataset=dict(type='pets', pipeline=[])))
    assert isinstance(wrapped, RepeatDataset) and len(wrapped) == 6
    assert len(build_dataset([dict(type='pets', pipeline=[])] * 2)) == 4


def test_other_arguments_come_from_the_config(pets):
    data = build_dataset(dict(type='pets', pipeline=[], classes=['dog'], filter_empty_gt=False))
    assert data.CLASSES == ('dog',) and len(data) == 3
    with pytest.raises(TypeError, match=r"pets does not accept 'clases'.*did you mean 'classes'"):
        build_dataset(dict(type='pets', pipeline=[], clases=['dog']))
    with pytest.raises(TypeError, match="pets needs 'pipeline'"):
        build_dataset(dict(type='pets'))


def test_the_paths_of_a_base_config_do_not_move_a_registered_name(pets, monkeypatch, caplog):
    told = []
    monkeypatch.setattr('mmdet_clone.datasets.catalog.print_log', lambda message, logger: told.append(message))
    inherited = dict(ann_file='data/coco/annotations/instances_train2017.json', img_prefix='data/coco/train2017/')
    data = build_dataset(dict(type='pets', pipeline=[], data_root='data/coco', **inherited))
    assert data.img_prefix == str(pets / 'images') and len(data) == 2
    assert "pets has its own paths; of the config are not used: ann_file='data/coco" in told[0]


def test_relative_paths_are_of_the_folder_at_registration(write_json, toy, tmp_path, monkeypatch):
    write_json(toy)
    monkeypatch.chdir(tmp_path)
    register_coco_instances('near', 'annotations.json', '.')
    monkeypatch.chdir(tmp_path.parent)
    assert len(build_dataset(dict(type='near', pipeline=[]))) == 2


def test_a_name_is_registered_once_unless_forced(pets, write_json, toy):
    with pytest.raises(KeyError, match="'pets' is a registered data set already; force=True"):
        register_coco_instances('pets', 'a.json', 'b')
    toy['images'] = toy['images'][:1]
    toy['annotations'] = toy['annotations'][:1]
    register_coco_instances('pets', write_json(toy, 'less.json'), str(pets), force=True)
    assert len(build_dataset(dict(type='pets', pipeline=[]))) == 1
    for force in (False, True):  # a class is never replaced
        with pytest.raises(KeyError, match="'CocoDataset' is a data set class already"):
            register_coco_instances('CocoDataset', 'a.json', 'b', force=force)


def test_the_classes_of_a_name_may_stand_in_a_file(pets, write_json, toy):
    names = [category['name'] for category in toy['categories']]
    (pets / 'names.txt').write_text('\n'.join(names))
    register_dataset('listed', 'CocoDataset', ann_file=write_json(toy), classes=str(pets / 'names.txt'))
    assert tuple(names) == DATASETS.get('listed').CLASSES


def test_unknown_names_come_with_near_ones(pets):
    with pytest.raises(KeyError, match=r"'pet_s' is not in the dataset registry.*pets"):
        build_dataset(dict(type='pet_s', pipeline=[]))
    with pytest.raises(KeyError, match=r"'pet' is not a registered data set; did you mean pets"):
        get_dataset_dicts('pet')
    with pytest.raises(KeyError, match='registered are: pets'):
        unregister_dataset('zzz')
    with pytest.raises(KeyError, match="'CocoDatset' is not in the dataset registry: did you mean"):
        register_dataset('x', 'CocoDatset')
    with pytest.raises(TypeError, match='does not accept img_root'):
        register_dataset('x', 'CocoDataset', img_root='a')


def test_registered_names_are_listed_and_forgotten(pets):
    (entry,) = registered_datasets().values()
    assert list(registered_datasets()) == ['pets'] and entry.arguments['img_prefix'] == str(pets / 'images')
    assert 'pets' in DATASETS.names()
    unregister_dataset('pets')
    assert not registered_datasets() and DATASETS.get('pets') is None and 'pets' not in DATASETS.names()


def test_detectron2s_metadata_is_told_to_be_left_out():
    with pytest.raises(TypeError, match='leave the metadata of detectron2 out'):
        register_coco_instances('name', {}, 'a.json', 'images')


def test_the_dicts_of_a_registered_data_set(pets):
    dicts = get_dataset_dicts('pets')
    assert [d['image_id'] for d in dicts] == [1, 2, 3, 4] and dicts[2]['annotations'] == []
    assert dicts[0]['file_name'] == str(pets / 'images/wide.jpg') and (dicts[0]['height'], dicts[0]['width']) == (
        100,
        200,
    )
    cat, crowd = dicts[0]['annotations']
    assert (cat['bbox'], cat['category_id'], cat['iscrowd']) == ([10, 20, 40, 60], 0, 0)
    assert (crowd['bbox'], crowd['iscrowd']) == ([0, 0, 50, 50], 1)


def test_a_data_set_of_a_name_travels_to_worker_processes(pets):
    data = pickle.loads(pickle.dumps(build_dataset(dict(type='pets', pipeline=[]))))
    assert len(data) == 2 and data.CLASSES == ('cat', 'dog')


def test_voc_is_registered_by_list_or_split(shared):
    folder = shared / 'data/formats/VOCdevkit/VOC2007'
    register_voc('voc_a', 'trainval', str(folder))
    register_voc('voc_b', str(folder / 'ImageSets/Main/test.txt'), str(folder), classes=('dog',))
    one, two = (build_dataset(dict(type=name, pipeline=[])) for name in ('voc_a', 'voc_b'))
    assert type(one) is VOCDataset and one.year == 2007 and len(one.CLASSES) == 20
    assert two.CLASSES == ('dog',) and two.get_ann_info(0)['labels'].tolist() == [0]
    (entry,) = get_dataset_dicts('voc_a')
    assert [a['category_id'] for a in entry['annotations']] == [11, 14] and entry['image_id'] == '000001'


def test_lvis_is_registered(shared):
    path = next((shared / 'data/lvis100').rglob('*.json'))
    register_lvis_instances('lvis_mini', str(path), 'images')
    data = build_dataset(dict(type='lvis_mini', pipeline=[], test_mode=True))
    assert type(data).__name__ == 'LVISV1Dataset' and len(data) == 100
    with pytest.raises(ValueError, match=r'v1, v0.5'):
        register_lvis_instances('other', str(path), 'images', version='2')


def test_panoptic_segmentation_is_registered(shared):
    folder = shared / 'data/panoptic_sample/sample_data'
    images, masks = folder / 'input_images', folder / 'panoptic_examples'
    register_coco_panoptic('stuff', str(folder / 'panoptic_examples.json'), str(images), str(masks))
    data = build_dataset(dict(type='stuff', pipeline=[], test_mode=True))
    assert type(data).__name__ == 'CocoPanopticDataset' and len(data) == 2
    content = json.loads((folder / 'panoptic_examples.json').read_text())
    entry, truth = get_dataset_dicts('stuff')[0], content['annotations'][0]
    assert entry['pan_seg_file_name'] == str(masks / truth['file_name'])
    assert [s['id'] for s in entry['segments_info']] == [s['id'] for s in truth['segments_info']]
    assert all('segmentation' not in item for item in entry['annotations'])


def test_a_config_registers_by_custom_imports(write_json, toy, tmp_path, monkeypatch):
    from mmdet_clone.config import load_config

    write_json(toy)
    (tmp_path / 'my_pets_data.py').write_text(
        'from mmdet_clone.datasets import register_coco_instances\n'
        f"register_coco_instances('my_pets', {str(tmp_path / 'annotations.json')!r}, {str(tmp_path)!r})\n"
    )
    (tmp_path / 'config.py').write_text(
        "custom_imports = dict(imports=['my_pets_data'], allow_failed_imports=False)\n"
        "data = dict(train=dict(type='RepeatDataset', times=2, dataset=dict(type='my_pets', pipeline=[])))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        cfg = load_config(tmp_path / 'config.py')
        from mmdet_clone.config.custom_imports import import_custom_modules

        import_custom_modules(cfg)
        assert len(build_dataset(cfg.data.train)) == 4
    finally:
        sys.modules.pop('my_pets_data', None)


def test_evaluation_works_by_name(pets):
    data = build_dataset(dict(type='pets', pipeline=[], test_mode=True))
    cat = np.array([[10, 20, 40, 60, 0.9]])
    none = [np.zeros((0, 5))] * 2
    numbers = data.evaluate([[cat, none[1]], none, none, none], logger='silent', iou_thrs=[0.5])
    assert numbers['bbox_mAP_50'] > 0
    assert json.loads(json.dumps(numbers))
