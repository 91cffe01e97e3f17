"""DeepFashion, Objects365, WIDER FACE, occluded COCO."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from pycocotools import mask as mask_api

from mmdet_clone.datasets import (
    DeepFashionDataset,
    Objects365V1Dataset,
    Objects365V2Dataset,
    OccludedSeparatedCocoDataset,
    WIDERFaceDataset,
)


def test_deepfashion_has_fifteen_classes_with_a_colour_each(write_json, toy):
    assert len(DeepFashionDataset.CLASSES) == len(DeepFashionDataset.PALETTE) == 15
    toy['categories'] = [dict(id=i + 1, name=name) for i, name in enumerate(DeepFashionDataset.CLASSES)]
    data = DeepFashionDataset(write_json(toy), [])
    assert data.get_ann_info(0)['labels'].tolist() == [4]  # category 5, outer


@pytest.mark.parametrize('kind', [Objects365V1Dataset, Objects365V2Dataset])
def test_objects365_numbers_its_classes_by_category_id(shared, write_json, kind, recwarn):
    content = json.loads((shared / 'data/formats/Objects365/unsorted_obj365_sample.json').read_text())
    content['annotations'] = [ann for ann in content['annotations'] if ann['category_id'] != 3]  # it is not defined
    data = kind(write_json(content), [])
    assert data.CLASSES == ('bus', 'car') and data.cat_ids == [1, 2]
    assert data.get_ann_info(0)['labels'].tolist() == [0]
    assert not [w for w in recwarn if 'order of classes' in str(w.message)]
    other = kind(write_json(content), [], classes=['car', 'bus'])
    assert other.get_ann_info(0)['labels'].tolist() == [1] and other.CLASSES == ('car', 'bus')


def faces(shared, **arguments):
    folder = shared / 'data/formats/WIDERFace'
    return WIDERFaceDataset(str(folder / 'train.txt'), [], img_prefix=str(folder / 'WIDER_train'), **arguments)


def test_wider_face_finds_an_image_in_the_folder_of_its_event(shared):
    data = faces(shared)
    info = data.data_infos[0]
    assert data.CLASSES == ('face',) and info['filename'] == '0--Parade/0_Parade_marchingband_1_5.jpg'
    assert (info['width'], info['height'], data.flag.tolist()) == (1024, 683, [1])
    assert data.get_ann_info(0)['bboxes'][0].tolist() == [494, 176, 531, 227]  # counted from 0


def test_small_faces_are_ignored_in_training(shared):
    whole = faces(shared).get_ann_info(0)
    sides = (whole['bboxes'][:, 2:] - whole['bboxes'][:, :2]).min(axis=1)
    ann = faces(shared, min_size=38).get_ann_info(0)
    assert len(ann['bboxes']) == (sides >= 38).sum() and len(ann['bboxes_ignore']) == (sides < 38).sum() > 0


def test_wider_images_may_lie_as_they_are_unpacked(tmp_path, shared):
    source = shared / 'data/formats/WIDERFace/WIDER_train/Annotations/0_Parade_marchingband_1_5.xml'
    (tmp_path / 'Annotations').mkdir()
    (tmp_path / 'Annotations' / source.name).write_bytes(source.read_bytes())
    (tmp_path / 'images/0--Parade').mkdir(parents=True)
    (tmp_path / 'images/0--Parade/0_Parade_marchingband_1_5.jpg').touch()
    (tmp_path / 'list.txt').write_text('0_Parade_marchingband_1_5\n')
    data = WIDERFaceDataset(str(tmp_path / 'list.txt'), [], img_prefix=str(tmp_path))
    assert data.data_infos[0]['filename'] == 'images/0--Parade/0_Parade_marchingband_1_5.jpg'


def test_wider_faces_are_evaluated_as_voc_does(shared):
    data = faces(shared, test_mode=True)
    truth = data.get_ann_info(0)['bboxes']
    found = [[np.column_stack([truth[: len(truth) // 2], np.full(len(truth) // 2, 0.9)])]]
    expected = (len(truth) // 2) / len(truth)
    assert data.evaluate(found, logger='silent')['mAP'] == pytest.approx(expected)
    with pytest.raises(FileNotFoundError, match=r'wider_easy_val.mat.*gt_dir=None'):
        data.evaluate(found, 'wider')


# ---------------------------------------------------------------------- occluded COCO


def rle(mask):
    return mask_api.encode(np.asfortranarray(mask, dtype=np.uint8))


def square(x, y, side, shape=(100, 200)):
    mask = np.zeros(shape, bool)
    mask[y : y + side, x : x + side] = True
    return mask


@pytest.fixture
def occluded(write_json, toy, tmp_path):
    """Two objects that an occluder hides in part, one that it cuts in two."""
    whole = square(10, 20, 20)
    two = square(60, 20, 10) | square(60, 40, 10)
    objects = dict(
        occluded=[('wide.jpg', 'cat', 11, [10, 20, 20, 20], rle(whole)), ('wide.jpg', 'dog', 12, [0] * 4, rle(whole))],
        separated=[('wide.jpg', 'dog', 13, [60, 20, 70, 50], rle(two))],
    )
    for name, items in objects.items():
        (tmp_path / f'{name}.pkl').write_bytes(pickle.dumps(items))
    arguments = dict(occluded_ann='occluded.pkl', separated_ann='separated.pkl', data_root=str(tmp_path))
    return OccludedSeparatedCocoDataset(write_json(toy), [], classes=['cat', 'dog'], test_mode=True, **arguments), (
        whole,
        two,
    )


def masks(cats=(), dogs=()):
    """An image's result of (mask, score)."""
    boxes = [np.array([[0, 0, 9, 9, s] for _, s in items]).reshape(-1, 5) for items in (cats, dogs)]
    return boxes, [[rle(mask) for mask, _ in items] for items in (cats, dogs)]


def test_recall_counts_masks_of_the_class_with_overlap_and_score(occluded, capsys):
    data, (whole, two) = occluded
    nothing = [masks()] * 3
    assert data.evaluate([masks(), *nothing]) == dict(occluded_recall=0, separated_recall=0)
    both = masks(cats=[(whole, 0.31)], dogs=[(two, 0.9)])
    assert data.evaluate([both, *nothing]) == dict(occluded_recall=50, separated_recall=100)
    assert '1 of 2' in capsys.readouterr().out
    low = masks(cats=[(whole, 0.29)], dogs=[(two, 0.9)])
    assert data.evaluate([low, *nothing], logger='silent')['occluded_recall'] == 0
    assert data.evaluate([low, *nothing], score_thr=0.2, logger='silent')['occluded_recall'] == 50
    half = masks(dogs=[(square(60, 20, 10), 0.9)])  # one of two parts: .5
    assert data.evaluate([half, *nothing], logger='silent')['separated_recall'] == 0
    assert data.evaluate([half, *nothing], iou_thr=0.5, logger='silent')['separated_recall'] == 100


def test_cocos_measures_stand_beside_the_recalls(occluded):
    data, _ = occluded
    numbers = data.evaluate([masks()] * 4, metric='bbox', logger='silent')
    assert numbers['bbox_mAP'] == 0 and numbers['occluded_recall'] == 0


def test_occluded_objects_of_other_images_or_formats_are_refused(occluded, write_json, toy, tmp_path):
    data, _ = occluded
    data.separated_ann = [('else.jpg', 'dog', 1, [0] * 4, rle(square(0, 0, 5)))]
    with pytest.raises(ValueError, match=r"does not have, first 'else.jpg'"):
        data.evaluate([masks()] * 4)
    with pytest.raises(ValueError, match='boxes only'):
        data.evaluate([masks()[0]] * 4)
    (tmp_path / 'bad.pkl').write_bytes(pickle.dumps([(1, 2)]))
    arguments = dict(classes=['cat'], data_root=str(tmp_path), separated_ann='separated.pkl')
    with pytest.raises(ValueError, match='not a list of'):
        OccludedSeparatedCocoDataset(write_json(toy), [], occluded_ann='bad.pkl', **arguments)
    with pytest.raises(FileNotFoundError, match='occluded_ann: no such file'):
        OccludedSeparatedCocoDataset(write_json(toy), [], occluded_ann='absent.pkl', **arguments)
    (tmp_path / 'evil.pkl').write_bytes(pickle.dumps(print))
    with pytest.raises(pickle.UnpicklingError, match=r'builtins.print'):
        OccludedSeparatedCocoDataset(write_json(toy), [], occluded_ann='evil.pkl', **arguments)
