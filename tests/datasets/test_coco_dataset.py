from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

from mmdet_clone.datasets import DATASETS, CocoDataset, build_dataset


def toy_dataset(write_json, toy, **kwargs):
    return CocoDataset(write_json(toy), [], **{'classes': ('cat', 'dog'), **kwargs})


def test_boxes_become_corners_and_crowds_become_ignored(write_json, toy):
    ann = toy_dataset(write_json, toy).get_ann_info(0)
    assert ann['bboxes'].tolist() == [[10, 20, 40, 60]] and ann['bboxes'].dtype == np.float32
    assert ann['bboxes_ignore'].tolist() == [[0, 0, 50, 50]]
    assert ann['labels'].tolist() == [0] and ann['labels'].dtype == np.int64
    assert ann['seg_map'] == 'wide.png' and ann['masks'] == [None]


def test_training_leaves_out_empty_and_small_images_and_testing_keeps_all(write_json, toy):
    train = toy_dataset(write_json, toy)
    assert [info['filename'] for info in train.data_infos] == ['wide.jpg', 'high.jpg'] and train.img_ids == [1, 2]
    assert train.flag.tolist() == [1, 0]
    assert len(toy_dataset(write_json, toy, filter_empty_gt=False)) == 3
    assert len(toy_dataset(write_json, toy, test_mode=True)) == 4


def test_labels_follow_the_order_of_classes_not_of_the_file(write_json, toy):
    with pytest.warns(UserWarning, match='MMDetection 2.x numbers them in the order of the categories'):
        dataset = toy_dataset(write_json, toy, classes=['dog', 'cat'])
    assert dataset.cat_ids == [9, 5] and dataset.cat2label == {9: 0, 5: 1}
    assert dataset.get_ann_info(1)['labels'].tolist() == [0]


def test_a_subset_of_the_classes_leaves_out_other_images(write_json, toy):
    dataset = toy_dataset(write_json, toy, classes=['cat'])
    assert dataset.CLASSES == ('cat',) and len(dataset) == 1
    assert dataset.get_cat_ids(0) == [5, 9]  # as in the file


def test_boxes_thinner_than_a_pixel_off_the_image_or_marked_are_left_out(write_json, toy):
    toy['annotations'] += [
        dict(id=20, image_id=1, category_id=5, bbox=[1, 1, 0.5, 9], area=4, iscrowd=0),
        dict(id=21, image_id=1, category_id=5, bbox=[300, 1, 5, 9], area=45, iscrowd=0),
        dict(id=22, image_id=1, category_id=5, bbox=[1, 1, 5, 9], area=45, iscrowd=0, ignore=1),
        dict(id=23, image_id=1, category_id=5, bbox=[1, 1, 5, 9], area=0, iscrowd=0),
    ]
    with pytest.warns(UserWarning, match='outside'):
        dataset = toy_dataset(write_json, toy)
    assert len(dataset.get_ann_info(0)['bboxes']) == 1


def test_area_and_crowd_flag_may_be_missing(write_json, toy):
    for ann in toy['annotations']:
        del ann['area'], ann['iscrowd']
    assert len(toy_dataset(write_json, toy).get_ann_info(0)['bboxes']) == 2


def test_users_subclass_with_their_classes(write_json, toy):
    class Pets(CocoDataset):
        CLASSES = ('cat', 'dog')

    dataset = build_dataset(dict(type=Pets, ann_file=write_json(toy), pipeline=[]))
    assert dataset.CLASSES == ('cat', 'dog') and len(dataset) == 2


def test_classes_from_a_text_file(write_json, toy, tmp_path):
    (tmp_path / 'names.txt').write_text('dog\n\ncat\n')
    assert toy_dataset(write_json, toy, classes=str(tmp_path / 'names.txt')).CLASSES == ('dog', 'cat')


def test_the_index_answers_as_pycocotools_does(shared):
    from pycocotools.coco import COCO

    path = str(shared / 'data/coco_mini/annotations/instances_val2017.json')
    ours = CocoDataset(path, [], test_mode=True).coco
    theirs = COCO(path)
    some = sorted(theirs.getImgIds())[:7]
    assert sorted(ours.getImgIds()) == sorted(theirs.getImgIds())
    assert sorted(ours.get_img_ids(cat_ids=[1])) == sorted(theirs.getImgIds(catIds=[1]))
    assert ours.get_cat_ids(cat_names=['dog', 'cat']) == theirs.getCatIds(catNms=['dog', 'cat'])
    for kwargs in (dict(imgIds=some), dict(catIds=[1, 3]), dict(imgIds=some, iscrowd=False), dict(areaRng=[0, 1024])):
        assert ours.getAnnIds(**kwargs) == theirs.getAnnIds(**kwargs)
    assert ours.getImgIds(imgIds=some[::-1], catIds=[1]) == [i for i in some[::-1] if i in theirs.getImgIds(catIds=[1])]
    ids = theirs.getAnnIds(imgIds=some)
    assert [a['id'] for a in ours.load_anns(ids)] == ids and ours.loadCats(3)[0]['name'] == 'car'
    for ann in theirs.loadAnns(ids[:5]):
        np.testing.assert_array_equal(ours.annToMask(ann), theirs.annToMask(ann))


def test_real_annotations_pass_the_checks_without_a_warning(shared):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for split, count in (('train', 80), ('val', 79)):
            path = str(shared / f'data/coco_mini/annotations/instances_{split}2017.json')
            dataset = CocoDataset(path, [])
            assert len(dataset) == count and len(dataset.CLASSES) == len(dataset.PALETTE) == 80


def test_a_real_sample_goes_through_the_training_pipeline(shared):
    root = shared / 'data/coco_mini'
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
        dict(type='Resize', img_scale=(160, 100), keep_ratio=True),
        dict(type='RandomFlip', flip_ratio=0.5),
        dict(type='DefaultFormatBundle'),
        dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels', 'gt_bboxes_ignore', 'gt_masks']),
    ]
    dataset = CocoDataset(
        'annotations/instances_train2017.json', pipeline, data_root=str(root), img_prefix='train2017/'
    )
    sample = dataset[3]
    assert len(sample['gt_bboxes']) == len(sample['gt_labels']) == len(sample['gt_masks'])
    assert sample['img_metas']['filename'] == str(root / 'train2017' / sample['img_metas']['ori_filename'])


def test_the_repr_counts_boxes_by_class(write_json, toy):
    text = repr(toy_dataset(write_json, toy))
    assert 'CocoDataset for training with 2 images' in text and '| cat      | 1     |' in text


def test_class_aware_sampling_finds_the_images_of_each_class(write_json, toy):
    assert toy_dataset(write_json, toy).get_cat2imgs() == {0: [0], 1: [0, 1]}


def test_list_of_test_images_without_annotations_is_fit_for_testing(write_json, toy):
    del toy['annotations']
    assert len(toy_dataset(write_json, toy, test_mode=True)) == 4
    with pytest.raises(ValueError, match="no 'annotations' to train on"):
        toy_dataset(write_json, toy)


def test_registered_by_name():
    assert DATASETS.get('CocoDataset') is CocoDataset and DATASETS.get('mmdet.CocoDataset') is CocoDataset


def test_check_images_names_missing_and_resized_files(write_json, toy, tmp_path):
    from PIL import Image

    Image.new('RGB', (200, 100)).save(tmp_path / 'wide.jpg')
    Image.new('RGB', (90, 200)).save(tmp_path / 'high.jpg')
    dataset = toy_dataset(write_json, toy, img_prefix=str(tmp_path))
    dataset.check_images(limit=1)
    with pytest.raises(ValueError, match=r'high.jpg is 90 x 200 pixels .*annotation says 100 x 200'):
        dataset.check_images()
    (tmp_path / 'wide.jpg').unlink()
    told = r'2 images .*\n  image not found: .*wide.jpg.*\n.*high.jpg is 90 x 200'
    with pytest.raises(FileNotFoundError, match=told):
        dataset.check_images()


@pytest.mark.parametrize('suffix', ['jpg', 'png'])
def test_check_images_finds_files_that_were_cut_off(write_json, toy, tmp_path, suffix, rng):
    from PIL import Image

    for info in toy['images'][:2]:
        info['file_name'] = info['file_name'].replace('jpg', suffix)
        noise = rng.integers(0, 255, (info['height'], info['width'], 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / info['file_name'])
    dataset = toy_dataset(write_json, toy, img_prefix=str(tmp_path))
    dataset.check_images()
    path = tmp_path / f'high.{suffix}'
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ValueError, match=rf'cannot read the image .*high.{suffix} .*truncated'):
        dataset.check_images()


def test_check_images_leaves_alone_what_only_looks_odd(write_json, toy, tmp_path):
    from PIL import Image

    Image.new('RGB', (200, 100)).save(tmp_path / 'wide.jpg')
    Image.new('RGB', (100, 200)).save(tmp_path / 'high.jpg')
    with open(tmp_path / 'high.jpg', 'ab') as file:
        file.write(b'appended by a camera' * 10)
    toy_dataset(write_json, toy, img_prefix=str(tmp_path)).check_images()


def test_format_results_writes_submission_files(write_json, toy, tmp_path):
    dataset = toy_dataset(write_json, toy)
    box = np.array([[10, 20, 40, 60, 0.5]], dtype=np.float32)
    none = np.zeros((0, 5), dtype=np.float32)
    mask = np.zeros((100, 200), dtype=bool)
    mask[20:60, 10:40] = True
    results = [([box, none], [[mask], []]), ([none, none], [[], []])]
    files, folder = dataset.format_results(results, str(tmp_path / 'out' / 'run'))
    assert folder is None
    assert files == {
        'bbox': str(tmp_path / 'out' / 'run.bbox.json'),
        'segm': str(tmp_path / 'out' / 'run.segm.json'),
        'proposal': str(tmp_path / 'out' / 'run.bbox.json'),
    }
    with open(files['bbox']) as file:
        assert json.load(file) == [dict(image_id=1, category_id=5, bbox=[10, 20, 30, 40], score=0.5)]
    with open(files['segm']) as file:
        (record,) = json.load(file)
    from pycocotools import mask as mask_api

    assert mask_api.area(record['segmentation']) == 1200
    files, folder = dataset.format_results([none, none])
    assert files['proposal'].endswith('results.proposal.json') and folder is not None
    folder.cleanup()
