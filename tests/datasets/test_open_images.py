from __future__ import annotations

import json
import pickle
import shutil

import numpy as np
import pytest

from mmdet_clone.datasets import ClassAwareSampler, OpenImagesChallengeDataset, OpenImagesDataset

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, denorm_bbox=True)]
HEADER = 'ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside'
# a vehicle is above plane and car; the root is no class
TREE = dict(
    LabelName='/m/root',
    Subcategory=[
        dict(LabelName='/m/vehicle', Subcategory=[dict(LabelName='/m/plane'), dict(LabelName='/m/car')]),
        dict(LabelName='/m/cat'),
    ],
)
NAMES = {'/m/plane': 'Airplane', '/m/car': 'Car', '/m/vehicle': 'Vehicle', '/m/cat': 'Cat'}


@pytest.fixture
def stub(shared):
    return shared / 'data/formats/OpenImages'


def build(stub, kind=OpenImagesDataset, **changes):
    folder = stub / 'annotations'
    arguments = dict(
        ann_file=str(folder / 'oidv6-train-annotations-bbox.csv'),
        pipeline=[],
        label_file=str(folder / 'class-descriptions-boxable.csv'),
        hierarchy_file=str(folder / 'bbox_labels_600_hierarchy.json'),
        image_level_ann_file=str(folder / 'annotations-human-imagelabels-boxable.csv'),
        meta_file=str(folder / 'image-metas.pkl'),
    )
    return kind(**{**arguments, **changes})


def test_the_csv_files_are_read(stub):
    data = build(stub)
    assert data.CLASSES == ('Airplane',) and len(data) == 1 and data.flag.tolist() == [0]
    assert data.data_infos[0]['filename'] == '0001eeaf4aed83f9.jpg'
    ann = data.get_ann_info(0)
    assert np.allclose(ann['bboxes'], [[0.022673031, 0.07103825, 0.9642005, 0.80054647]])
    assert ann['labels'].tolist() == [0] and ann['gt_is_group_ofs'].tolist() == [False]
    assert data.get_cat_ids(0) == [0] and data.get_cat2imgs() == {0: [0]}
    assert list(ClassAwareSampler(data, num_replicas=1, rank=0)) == [0]


def test_a_perfect_detection_in_pixels_has_an_ap_of_one(stub):
    data = build(stub, test_mode=True)
    # the image is 1024x447, as meta_file says
    box = np.array([[0.022673031 * 1024, 0.07103825 * 447, 0.9642005 * 1024, 0.80054647 * 447, 0.9]])
    assert data.evaluate([[box]], logger='silent') == dict(AP50=1, mAP=1)
    assert data.evaluate([[np.zeros((0, 5))]], logger='silent')['mAP'] == 0
    two = data.evaluate([[box]], iou_thr=[0.5, 0.75], logger='silent')
    assert list(two) == ['AP50', 'AP75', 'mAP']


def test_the_challenge_files_are_read(stub):
    folder = stub / 'challenge2019'
    arguments = dict(
        ann_file=str(folder / 'challenge-2019-train-detection-bbox.txt'),
        label_file=str(folder / 'cls-label-description.csv'),
        hierarchy_file=str(folder / 'class_label_tree.np'),
        image_level_ann_file=str(folder / 'annotations-human-imagelabels-boxable.csv'),
    )
    data = build(stub, OpenImagesChallengeDataset, **arguments)
    assert data.CLASSES == ('Airplane',) and data.data_infos[0]['filename'] == 'validation/0001eeaf4aed83f9.jpg'
    ann = data.get_ann_info(0)
    assert np.allclose(ann['bboxes'], [[0.022673031, 0.07103825, 0.9642005, 0.80054647]])
    assert ann['labels'].tolist() == [0] and ann['gt_is_group_ofs'].tolist() == [False]
    box = ann['bboxes'] * [1024, 447, 1024, 447]
    result = [[np.column_stack([box, [0.9]])]]
    # the stub's matrix is of two classes, its label file of one
    with pytest.raises(ValueError, match=r'shape \(2, 2\), label_file lists 1'):
        data.evaluate(result, logger='silent')
    arguments['get_supercategory'] = False
    assert build(stub, OpenImagesChallengeDataset, **arguments).evaluate(result, logger='silent')['mAP'] == 1


@pytest.fixture
def toy(tmp_path):
    """Images x (100x50) and y (40x40): x shows a plane and a group of cars, y a cat; in y cars are absent."""
    rows = [
        'x,a,/m/plane,1,0.1,0.3,0.2,0.6,1,0,0,0,0',
        'y,a,/m/cat,1,0,0.5,0,0.5,0,0,0,0,0',
        'x,a,/m/car,1,0.5,1,0,1,0,0,1,0,0',
    ]
    (tmp_path / 'boxes.csv').write_text('\n'.join([HEADER, *rows]))
    (tmp_path / 'labels.csv').write_text('\n'.join(','.join(item) for item in NAMES.items()))
    (tmp_path / 'tree.json').write_text(json.dumps(TREE))
    (tmp_path / 'verified.csv').write_text('ImageID,LabelName,Confidence\ny,/m/car,0\nz,/m/car,1\ny,/m/other,1\n')
    metas = [dict(filename='d/y.jpg', ori_shape=(40, 40, 3)), dict(filename='d/x.jpg', ori_shape=(50, 100, 3))]
    (tmp_path / 'metas.pkl').write_bytes(pickle.dumps(metas))
    files = dict(label_file='labels.csv', hierarchy_file='tree.json', meta_file='metas.pkl')
    return dict(
        ann_file='boxes.csv', data_root=str(tmp_path), image_level_ann_file='verified.csv', pipeline=[], **files
    )


def test_boxes_of_an_image_need_not_stand_together(toy):
    data = OpenImagesDataset(**toy)
    assert [info['img_id'] for info in data.data_infos] == ['x', 'y']
    ann = data.get_ann_info(0)
    assert ann['labels'].tolist() == [0, 1] and ann['gt_is_group_ofs'].tolist() == [False, True]
    assert ann['is_occludeds'].tolist() == [True, False]
    assert np.allclose(ann['bboxes'], [[0.1, 0.2, 0.3, 0.6], [0.5, 0, 1, 1]])
    assert [ids.tolist() for ids in data.cat_ids_by_image()] == [[0, 0, 1], [0, 1, 3]]


def test_the_hierarchy_holds_all_classes_above(toy):
    matrix = OpenImagesDataset(**toy).class_label_tree
    assert matrix.astype(int).tolist() == [[1, 0, 1, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


def results(plane, car, vehicle, cat):
    return [np.array(boxes, dtype=np.float32).reshape(-1, 5) for boxes in (plane, car, vehicle, cat)]


def test_objects_and_detections_count_for_the_classes_above(toy):
    data = OpenImagesDataset(**toy, test_mode=True)
    plane, car = [10, 10, 30, 30, 0.9], [60, 10, 70, 20, 0.8]
    found = [results([plane], [car], [], []), results([], [], [], [[0, 0, 20, 20, 0.7]])]
    # one of one plane, car (inside the group) and cat; both vehicles
    assert data.evaluate(found, logger='silent') == dict(AP50=1, mAP=1)
    # a single box for the group: the car misses it, and so one of two vehicles is missed too, after the plane
    assert data.evaluate(found, use_group_of=False, logger='silent')['mAP'] == pytest.approx((1 + 0 + 0.5 + 1) / 4)
    alone = OpenImagesDataset(**{**toy, 'get_supercategory': False}, test_mode=True)
    assert alone.evaluate(found, logger='silent')['mAP'] == 1  # no vehicle is asked for


def test_only_classes_that_were_verified_in_an_image_are_evaluated(toy):
    data = OpenImagesDataset(**toy, test_mode=True)
    in_x = results(
        [[10, 10, 30, 30, 0.9]], [[60, 10, 70, 20, 0.8]], [], [[0, 0, 9, 9, 0.95]]
    )  # cats are not known in x
    in_y = results([], [[30, 30, 39, 39, 0.95]], [], [[0, 0, 20, 20, 0.7]])  # cars are known to be absent in y
    numbers = data.evaluate([in_x, in_y], logger='silent')
    # the wrong car comes first, and is no vehicle: that class was not verified in y
    assert numbers['mAP'] == pytest.approx((1 + 0.5 + 1 + 1) / 4)
    every = OpenImagesDataset(**{**toy, 'filter_labels': False, 'load_image_level_labels': False}, test_mode=True)
    # now the wrong cat counts too, and comes before the right one
    assert every.evaluate([in_x, in_y], logger='silent')['mAP'] == pytest.approx((1 + 0.5 + 1 + 0.5) / 4)


def test_sizes_come_from_the_images_where_no_file_has_them(toy, tmp_path):
    from PIL import Image

    Image.new('RGB', (100, 50)).save(tmp_path / 'x.jpg')
    Image.new('RGB', (40, 40)).save(tmp_path / 'y.jpg')
    data = OpenImagesDataset(**{**toy, 'load_from_file': False, 'img_prefix': str(tmp_path), 'pipeline': LOAD})
    assert list(data.get_image_shapes()) == [(50, 100), (40, 40)]
    assert np.allclose(data[0]['gt_bboxes'], [[10, 10, 30, 30], [50, 0, 100, 50]])
    assert data[0]['gt_is_group_ofs'].tolist() == [False, True]
    without = OpenImagesDataset(**{**toy, 'get_metas': False}, test_mode=True)
    found = [results([[0.1, 0.2, 0.3, 0.6, 0.9]], [], [], []), results([], [], [], [])]
    assert without.evaluate(found, denorm_gt_bbox=False, logger='silent')['mAP'] > 0
    with pytest.raises(ValueError, match='get_metas=False'):
        without.evaluate(found)


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(label_file=''), 'needs label_file, a .csv file'),
        (dict(hierarchy_file=None), 'needs hierarchy_file, a .json file'),
        (dict(classes=['Cat']), 'classes are those of label_file'),
        (dict(ann_file='labels.csv'), 'first line lacks the columns ImageID'),
    ],
)
def test_wrong_arguments_are_told(toy, change, message):
    with pytest.raises(ValueError, match=message):
        OpenImagesDataset(**{**toy, **change})


def test_wrong_lines_are_named(toy, tmp_path):
    boxes = tmp_path / 'boxes.csv'
    whole = boxes.read_text()
    boxes.write_text(whole + '\nz,a,/m/dog,1,0,1,0,1,0,0,0,0,0')
    with pytest.raises(ValueError, match="line 5: label_file has no class '/m/dog'"):
        OpenImagesDataset(**toy)
    boxes.write_text(whole + '\nz,a,/m/cat,1,0,one,0,1,0,0,0,0,0')
    with pytest.raises(ValueError, match=r'line 5: could not convert.*z,a,/m/cat'):
        OpenImagesDataset(**toy)
    boxes.write_text(whole + '\nz,a,/m/cat')
    with pytest.raises(ValueError, match=r'line 5: .*the line is .z,a,/m/cat'):
        OpenImagesDataset(**toy)
    boxes.write_text(HEADER + '\nx,a,/m/cat,1,10,30,20,60,0,0,0,0,0')
    with pytest.raises(ValueError, match='seems to give pixels'):
        OpenImagesDataset(**toy)
    (tmp_path / 'boxes.txt').write_text('x.jpg\n-1\n2\n1 0 0 1 1 0\n')
    (tmp_path / 'numbers.csv').write_text('/m/cat,Cat,1\n')
    challenge = dict(ann_file='boxes.txt', label_file='numbers.csv', get_supercategory=False, hierarchy_file=None)
    with pytest.raises(ValueError, match=r"the entry of 'x.jpg', from line 1"):
        OpenImagesChallengeDataset(**{**toy, **challenge})


def test_metas_of_other_images_are_refused(toy, tmp_path):
    (tmp_path / 'metas.pkl').write_bytes(pickle.dumps([dict(filename='q.jpg', ori_shape=(1, 1))]))
    with pytest.raises(ValueError, match=r"does not have the image 'x.jpg'"):
        OpenImagesDataset(**toy, test_mode=True).evaluate([results([], [], [], [])] * 2)
    with pytest.raises(ValueError, match='one for each'):
        OpenImagesDataset(**toy, test_mode=True).evaluate([[]] * 2, iou_thr=[0.5, 0.6, 0.7], ioa_thr=[0.5, 0.6])


def test_a_forgotten_denorm_bbox_is_told(toy):
    with pytest.warns(UserWarning, match='set denorm_bbox=True of LoadAnnotations'):
        OpenImagesDataset(**{**toy, 'pipeline': [dict(type='LoadAnnotations', with_bbox=True)]})


def test_a_hostile_hierarchy_matrix_is_not_unpickled(toy, tmp_path, stub):
    np.save(tmp_path / 'tree', np.array([{'a': 1}], dtype=object), allow_pickle=True)
    shutil.move(tmp_path / 'tree.npy', tmp_path / 'tree.np')
    (tmp_path / 'boxes.txt').write_text('x.jpg\n-1\n0\n')
    (tmp_path / 'numbers.csv').write_text('/m/cat,Cat,1\n')
    challenge = dict(ann_file='boxes.txt', label_file='numbers.csv', hierarchy_file='tree.np')
    with pytest.raises(ValueError, match='allow_pickle'):
        OpenImagesChallengeDataset(**{**toy, **challenge})


def test_joined_data_sets_are_evaluated_apart(toy):
    from mmdet_clone.datasets import ConcatDataset

    parts = [OpenImagesDataset(**toy, test_mode=True) for _ in range(2)]
    nothing = [results([], [], [], [])] * 4
    assert ConcatDataset(parts).evaluate(nothing, logger='silent') == {'0_AP50': 0, '0_mAP': 0, '1_AP50': 0, '1_mAP': 0}
    with pytest.raises(NotImplementedError, match='separate_eval=True'):
        ConcatDataset(parts, separate_eval=False).evaluate(nothing)
