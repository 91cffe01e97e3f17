from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from mmdet_clone.datasets import CustomDataset, build_dataset
from mmdet_clone.registry import PIPELINES

CLASSES = ('cat', 'dog')


def middle(as_lists: bool) -> list[dict]:
    boxes = np.array([[10, 20, 40, 60], [0, 0, 30, 30]], dtype=np.float32)
    ann = dict(bboxes=boxes, labels=np.array([1, 0]), bboxes_ignore=boxes[:1], labels_ignore=np.array([0]))
    none = dict(bboxes=np.zeros((0, 4), dtype=np.float32), labels=np.zeros(0, dtype=np.int64))
    if as_lists:
        ann, none = ({key: value.tolist() for key, value in entry.items()} for entry in (ann, none))
    return [
        dict(filename='a.jpg', width=100, height=80, ann=ann),
        dict(filename='b.jpg', width=80, height=100, ann=none),
    ]


@pytest.mark.parametrize('suffix', ['json', 'pkl'])
def test_reads_the_middle_format(suffix, write_json, tmp_path):
    if suffix == 'json':
        path = write_json(middle(as_lists=True))
    else:
        path = str(tmp_path / 'a.pkl')
        with open(path, 'wb') as file:
            pickle.dump(middle(as_lists=False), file)
    dataset = CustomDataset(path, [], classes=CLASSES)
    assert len(dataset) == 1  # the image without boxes is left out
    ann = dataset.get_ann_info(0)
    assert ann['bboxes'].tolist() == [[10, 20, 40, 60], [0, 0, 30, 30]] and ann['bboxes'].dtype == np.float32
    assert ann['labels'].tolist() == [1, 0] and ann['labels'].dtype == np.int64
    assert ann['bboxes_ignore'].shape == (1, 4) and ann['labels_ignore'].tolist() == [0]
    assert dataset.get_cat_ids(0) == [1, 0]
    assert len(CustomDataset(path, [], classes=CLASSES, test_mode=True)) == 2


def test_paths_may_be_path_objects(write_json, tmp_path):
    write_json(middle(as_lists=True), 'a.json')
    dataset = CustomDataset(Path('a.json'), [], classes=CLASSES, data_root=tmp_path, img_prefix=tmp_path)
    assert len(dataset) == 1 and dataset.img_prefix == str(tmp_path)
    assert len(CustomDataset(tmp_path / 'a.json', [], classes=CLASSES)) == 1
    with pytest.raises(FileNotFoundError, match=r"ann_file='b.json', data_root='"):
        CustomDataset(Path('b.json'), [], classes=CLASSES, data_root=tmp_path)


def test_boxes_without_size_go_with_their_labels_and_masks(write_json):
    infos = middle(as_lists=True)
    infos[0]['ann'].update(bboxes=[[9, 9, 9, 20], [0, 0, 30, 30]], masks=[[[1, 1, 2, 2, 3, 3]], [[4, 4, 5, 5, 6, 6]]])
    with pytest.warns(UserWarning, match='1 have a width or height of zero or less'):
        dataset = CustomDataset(write_json(infos), [], classes=CLASSES)
    ann = dataset.get_ann_info(0)
    assert ann['bboxes'].tolist() == [[0, 0, 30, 30]] and ann['labels'].tolist() == [0]
    assert ann['masks'] == [[[4, 4, 5, 5, 6, 6]]]


def test_a_subclass_reads_its_own_format(tmp_path):
    class Lines(CustomDataset):
        CLASSES = ('thing',)

        def load_annotations(self, ann_file):
            infos = []
            for line in Path(ann_file).read_text().splitlines():
                name, *numbers = line.split()
                box = np.array([numbers], dtype=np.float32)
                infos.append(dict(filename=name, width=64, height=48, ann=dict(bboxes=box, labels=np.zeros(1, int))))
            return infos

    (tmp_path / 'list.txt').write_text('a.png 1 2 30 40\nb.png 5 5 20 20\n')
    dataset = build_dataset(dict(type=Lines, ann_file='list.txt', data_root=str(tmp_path), pipeline=[]))
    assert len(dataset) == 2 and dataset[1]['ann_info']['bboxes'].tolist() == [[5, 5, 20, 20]]


def test_a_subclass_may_keep_annotations_elsewhere(tmp_path):
    class Elsewhere(CustomDataset):
        CLASSES = ('thing',)

        def load_annotations(self, ann_file):
            return [dict(filename='a.png', width=64, height=48)]

        def get_ann_info(self, idx):
            return dict(bboxes=np.ones((1, 4), dtype=np.float32), labels=np.zeros(1, dtype=np.int64))

    dataset = Elsewhere('no file at all', [])
    assert len(dataset) == 1 and dataset.get_cat_ids(0) == [0]


def test_samples_start_from_what_2x_pipelines_expect(write_json):
    dataset = CustomDataset(write_json(middle(True)), [], classes=CLASSES, img_prefix='imgs', seg_prefix='segs')
    sample = dataset[0]
    assert sample['img_info']['filename'] == 'a.jpg' and sample['img_prefix'] == 'imgs'
    assert sample['seg_prefix'] == 'segs' and sample['proposal_file'] is None
    assert sample['bbox_fields'] == sample['mask_fields'] == sample['seg_fields'] == []
    test = CustomDataset(write_json(middle(True)), [], classes=CLASSES, test_mode=True)
    assert 'ann_info' not in test[0]


def test_an_image_that_the_pipeline_drops_is_replaced_by_another_of_its_group(write_json):
    @PIPELINES.register_module(name='DropFirstForTest', force=True)
    class DropFirst:
        def __call__(self, results):
            return None if results['img_info']['filename'] == 'a.jpg' else results

    infos = middle(True)[:1] * 3 + middle(True)[:1]
    infos = [dict(info, filename=name) for info, name in zip(infos, ['a.jpg', 'b.jpg', 'c.jpg', 'd.jpg'], strict=True)]
    infos[3].update(width=80, height=100)
    dataset = CustomDataset(write_json(infos), [dict(type='DropFirstForTest')], classes=CLASSES)
    assert {dataset[0]['img_info']['filename'] for _ in range(30)} == {'b.jpg', 'c.jpg'}


def test_a_pipeline_that_drops_everything_is_an_error_not_an_endless_loop(write_json):
    @PIPELINES.register_module(name='DropAllForTest', force=True)
    class DropAll:
        def __call__(self, results):
            return None

    dataset = CustomDataset(write_json(middle(True)), [dict(type='DropAllForTest')], classes=CLASSES)
    with pytest.raises(RuntimeError, match='dropped 1000 images in a row'):
        dataset[0]


def test_proposals_follow_the_filtering(write_json, tmp_path):
    proposals = [np.full((2, 5), i, dtype=np.float32) for i in range(2)]
    infos = middle(True)[::-1]  # the first image is left out
    path = tmp_path / 'proposals.pkl'
    path.write_bytes(pickle.dumps(proposals))
    dataset = CustomDataset(write_json(infos), [], classes=CLASSES, proposal_file=str(path))
    assert len(dataset) == 1 and dataset[0]['proposals'][0, 0] == 1
    path.write_bytes(pickle.dumps(proposals[:1]))
    with pytest.raises(ValueError, match=r'proposals for 1 images, .* lists 2'):
        CustomDataset(write_json(infos), [], classes=CLASSES, proposal_file=str(path))


def test_paths_are_joined_to_the_data_root(write_json, tmp_path):
    write_json(middle(True))
    dataset = CustomDataset(
        'annotations.json', [], classes=CLASSES, data_root=str(tmp_path), img_prefix='imgs', seg_prefix='/else'
    )
    assert dataset.img_prefix == str(tmp_path / 'imgs') and dataset.seg_prefix == '/else'
    remote = CustomDataset(
        'annotations.json', [], classes=CLASSES, data_root=str(tmp_path), img_prefix='s3://bucket/imgs'
    )
    assert remote.img_prefix == 's3://bucket/imgs'


def test_evaluate_gives_voc_numbers(write_json):
    dataset = CustomDataset(write_json(middle(True)), [], classes=CLASSES)
    cat, dog = np.array([[0, 0, 30, 30, 0.9]]), np.array([[50, 50, 60, 60, 0.8], [10, 20, 40, 60, 0.7]])
    numbers = dataset.evaluate([[cat, dog]], logger='silent', iou_thr=[0.5, 0.75])
    # cats 1; dogs: a miss before the hit, so precision 1/2 at recall 1
    assert numbers == dict(mAP=0.75, AP50=0.75, AP75=0.75) and list(numbers) == ['mAP', 'AP50', 'AP75']
    with pytest.raises(KeyError, match="unknown metric 'bbox'"):
        dataset.evaluate([[cat, dog]], metric='bbox')
    with pytest.raises(ValueError, match='2 results for the 1 images'):
        dataset.evaluate([[cat, dog]] * 2)
