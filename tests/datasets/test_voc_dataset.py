from __future__ import annotations

import numpy as np
import pytest

from mmdet_clone.datasets import VOCDataset, XMLDataset

BCCD = ('RBC', 'WBC', 'Platelets')


def voc_folder(tmp_path, objects: str, size='<size><width>100</width><height>80</height></size>'):
    for folder in ('Annotations', 'JPEGImages', 'ImageSets'):
        (tmp_path / folder).mkdir()
    (tmp_path / 'ImageSets' / 'train.txt').write_text('one\n')
    (tmp_path / 'Annotations' / 'one.xml').write_text(f'<annotation>{size}{objects}</annotation>')
    return dict(ann_file=str(tmp_path / 'ImageSets/train.txt'), img_prefix=str(tmp_path), pipeline=[])


def an_object(name: str, box: tuple, difficult: int = 0) -> str:
    sides = ''.join(f'<{k}>{v}</{k}>' for k, v in zip(('xmin', 'ymin', 'xmax', 'ymax'), box, strict=True))
    return f'<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{sides}</bndbox></object>'


def test_boxes_count_from_zero_and_difficult_ones_are_ignored(tmp_path):
    objects = an_object('dog', (11, 21, 50, 60)) + an_object('cat', (1, 1, 30, 30), 1) + an_object('lamp', (1, 1, 9, 9))
    dataset = VOCDataset(**voc_folder(tmp_path, objects))
    ann = dataset.get_ann_info(0)
    assert ann['bboxes'].tolist() == [[10, 20, 49, 59]] and ann['bboxes'].dtype == np.float32
    assert ann['labels'].tolist() == [VOCDataset.CLASSES.index('dog')]
    assert ann['bboxes_ignore'].tolist() == [[0, 0, 29, 29]]
    assert ann['labels_ignore'].tolist() == [VOCDataset.CLASSES.index('cat')]
    info = dataset.data_infos[0]
    assert (info['filename'], info['width'], info['height']) == ('JPEGImages/one.jpg', 100, 80)
    assert sorted(dataset.get_cat_ids(0)) == [VOCDataset.CLASSES.index('cat'), VOCDataset.CLASSES.index('dog')]


def test_small_boxes_can_be_ignored(tmp_path):
    folder = voc_folder(tmp_path, an_object('dog', (1, 1, 50, 60)) + an_object('dog', (1, 1, 9, 60)))
    ann = VOCDataset(**folder, min_size=20).get_ann_info(0)
    assert len(ann['bboxes']) == len(ann['bboxes_ignore']) == 1
    with pytest.raises(ValueError, match='min_size'):
        VOCDataset(**folder, min_size=20, test_mode=True)


def test_size_is_read_from_the_image_where_the_xml_has_none(tmp_path):
    from PIL import Image

    folder = voc_folder(tmp_path, an_object('dog', (1, 1, 50, 60)), size='')
    Image.new('RGB', (120, 90)).save(tmp_path / 'JPEGImages/one.jpg')
    info = VOCDataset(**folder).data_infos[0]
    assert (info['width'], info['height']) == (120, 90)


def test_images_of_another_suffix_are_found_by_the_name_in_the_xml(tmp_path):
    folder = voc_folder(tmp_path, '<filename>x.png</filename>' + an_object('dog', (1, 1, 50, 60)))
    assert VOCDataset(**folder).data_infos[0]['filename'] == 'JPEGImages/one.jpg'
    (tmp_path / 'JPEGImages/one.png').touch()
    assert VOCDataset(**folder).data_infos[0]['filename'] == 'JPEGImages/one.png'


def test_other_folder_names(tmp_path):
    folder = voc_folder(tmp_path, an_object('dog', (1, 1, 50, 60)))
    (tmp_path / 'Annotations').rename(tmp_path / 'xml')
    dataset = XMLDataset(**folder, classes=['dog'], img_subdir='pictures', ann_subdir='xml')
    assert dataset.data_infos[0]['filename'] == 'pictures/one.jpg'


def test_xml_dataset_needs_classes(tmp_path):
    with pytest.raises(ValueError, match=r'set classes=\[...\]'):
        XMLDataset(**voc_folder(tmp_path, an_object('dog', (1, 1, 50, 60))))


def test_class_names_that_no_file_has_are_an_error_with_the_nearest(tmp_path):
    folder = voc_folder(tmp_path, an_object('Dog', (1, 1, 50, 60)) + an_object('cat', (1, 1, 9, 9)))
    with pytest.raises(ValueError, match=r"'dog' \(did you mean 'Dog'\?\)"):
        VOCDataset(**folder, classes=['dog'])
    with pytest.warns(UserWarning, match="no object is named 'dog', but some are 'Dog'"):
        VOCDataset(**folder, classes=['dog', 'cat'])


@pytest.mark.parametrize(
    'content, message',
    [('<annotation><object/></annotation>', 'needs a <name>'), ('<annotation>', 'not a Pascal VOC annotation')],
)
def test_a_broken_xml_is_named(tmp_path, content, message):
    folder = voc_folder(tmp_path, '')
    (tmp_path / 'Annotations' / 'one.xml').write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        VOCDataset(**folder)
    assert 'one.xml' in str(error.value)


def test_a_missing_xml_is_named_with_its_parts(tmp_path):
    folder = voc_folder(tmp_path, '')
    (tmp_path / 'Annotations' / 'one.xml').unlink()
    with pytest.raises(FileNotFoundError, match=r"lists 'one', but there is no .*one.xml.*img_prefix=.*ann_subdir="):
        VOCDataset(**folder)


def test_masks_asked_of_boxes_are_an_error(tmp_path):
    folder = voc_folder(tmp_path, an_object('dog', (1, 1, 50, 60)))
    folder['pipeline'] = [dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]
    with pytest.raises(ValueError, match='with_mask=False'):
        VOCDataset(**folder)


def test_real_blood_cells(shared):
    root = shared / 'data/bccd/BCCD'
    counts = {}
    with pytest.warns(UserWarning, match='2 have a width or height of zero'):
        for split in ('trainval', 'test'):
            dataset = VOCDataset(str(root / f'ImageSets/Main/{split}.txt'), [], img_prefix=str(root), classes=BCCD)
            counts[split] = len(dataset), sum(len(dataset.get_ann_info(i)['bboxes']) for i in range(len(dataset)))
    assert counts == dict(trainval=(292, 3941), test=(72, 945))  # 4888 less the two boxes without size


@pytest.mark.parametrize('year, ap', [('VOC2007', 0.5455), ('VOC2012', 0.5)])
def test_the_year_selects_the_rule_of_average_precision(tmp_path, year, ap):
    (tmp_path / year).mkdir()
    folder = voc_folder(tmp_path / year, an_object('dog', (1, 1, 50, 60)) + an_object('dog', (60, 1, 90, 60)))
    dataset = VOCDataset(**folder, test_mode=True)
    assert dataset.year == int(year[3:])
    none = np.zeros((0, 5))
    results = [[none] * len(dataset.CLASSES)]
    results[0][dataset.CLASSES.index('dog')] = np.array([[0, 0, 49, 59, 0.9]])
    # one of two found: 6 of 11 recall points (0 ... 0.5) have precision 1; the area is 0.5
    numbers = dataset.evaluate(results, logger='silent')
    assert numbers['AP50'] == ap and numbers['mAP'] == pytest.approx(ap, abs=1e-4)


def test_recall_of_proposals(tmp_path):
    folder = voc_folder(tmp_path, an_object('dog', (1, 1, 50, 60)) + an_object('cat', (60, 1, 90, 60)))
    dataset = VOCDataset(**folder)
    proposals = np.array([[0, 0, 49, 59, 0.9], [0, 0, 5, 5, 0.8], [59, 0, 89, 59, 0.7]])
    numbers = dataset.evaluate([proposals], 'recall', logger='silent', proposal_nums=(1, 3), iou_thr=[0.5, 0.9])
    assert numbers == {
        'recall@1@0.5': 0.5, 'recall@1@0.9': 0.5, 'AR@1': 0.5, 'recall@3@0.5': 1, 'recall@3@0.9': 1, 'AR@3': 1,
    }  # fmt: skip


def test_voc_layout_samples(shared):
    root = shared / 'data/formats/VOCdevkit/VOC2007'
    dataset = VOCDataset(str(root / 'ImageSets/Main/trainval.txt'), [], img_prefix=str(root))
    assert dataset.get_ann_info(0)['bboxes'].tolist() == [[47, 239, 194, 370], [7, 11, 351, 497]]
