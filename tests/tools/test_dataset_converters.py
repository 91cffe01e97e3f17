from __future__ import annotations

import importlib.util
import json
import pickle
import shutil

import numpy as np
import pytest

from mmdet_clone.datasets import CocoDataset, CustomDataset, VOCDataset

BCCD = ['RBC', 'WBC', 'Platelets']


@pytest.fixture(scope='module')
def tool(root):
    def load(name):
        spec = importlib.util.spec_from_file_location(name, root / f'tools/dataset_converters/{name}.py')
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope='module')
def pascal_voc(tool):
    return tool('pascal_voc')


def test_blood_cells_become_coco(pascal_voc, shared, tmp_path, capsys):
    pascal_voc.main([str(shared / 'data/bccd'), '-o', str(tmp_path), '--out-format', 'coco', '--classes', *BCCD])
    content = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob('*.json')}
    assert sorted(content) == ['bccd_test', 'bccd_train', 'bccd_trainval', 'bccd_val']
    parts = [content[f'bccd_{split}'] for split in ('train', 'val', 'test')]
    assert [len(part['images']) for part in parts] == [205, 87, 72]
    assert sum(len(part['annotations']) for part in parts) == 4888
    assert [category['name'] for category in parts[0]['categories']] == BCCD
    out = capsys.readouterr().out
    assert '2 boxes have a width or height of zero' in out and '364 images in all' in out


def test_converted_and_xml_data_sets_hold_the_same(pascal_voc, shared, tmp_path):
    root = shared / 'data/bccd'
    pascal_voc.main([str(root), '-o', str(tmp_path), '--out-format', 'coco', '--classes', *BCCD])
    pascal_voc.main([str(root), '-o', str(tmp_path), '--out-format', 'pkl', '--classes', *BCCD])
    xml = VOCDataset(str(root / 'BCCD/ImageSets/Main/test.txt'), [], img_prefix=str(root / 'BCCD'), classes=BCCD)
    pipeline = [dict(type='LoadImageFromFile')]
    coco = CocoDataset(str(tmp_path / 'bccd_test.json'), pipeline, img_prefix=str(root), classes=BCCD)
    middle = CustomDataset(str(tmp_path / 'bccd_test.pkl'), pipeline, img_prefix=str(root), classes=BCCD)
    assert len(xml) == len(coco) == len(middle) == 72
    for i in range(0, 72, 9):
        for other in (coco, middle):
            np.testing.assert_array_equal(xml.get_ann_info(i)['bboxes'], other.get_ann_info(i)['bboxes'])
            np.testing.assert_array_equal(xml.get_ann_info(i)['labels'], other.get_ann_info(i)['labels'])
    assert coco[0]['img'].shape == (480, 640, 3)
    coco.check_images()


@pytest.mark.parametrize('out_format, suffix', [('pkl', '.pkl'), ('json', '.json'), ('coco', '.json')])
def test_a_devkit_of_two_years(pascal_voc, shared, tmp_path, out_format, suffix):
    pascal_voc.main([str(shared / 'data/formats/VOCdevkit'), '-o', str(tmp_path), '--out-format', out_format])
    names = ['voc0712_trainval', 'voc07_test', 'voc07_trainval', 'voc12_test', 'voc12_trainval']
    assert sorted(path.name for path in tmp_path.iterdir()) == [name + suffix for name in names]
    both = tmp_path / f'voc0712_trainval{suffix}'
    if out_format == 'coco':
        content = json.loads(both.read_text())
        assert [image['file_name'] for image in content['images']] == [
            'VOC2007/JPEGImages/000001.jpg',
            'VOC2012/JPEGImages/000001.jpg',
        ]
        # xmin 48, ymin 240, xmax 195, ymax 371 counted from 1
        assert content['annotations'][0]['bbox'] == [47, 239, 147, 131] and len(content['categories']) == 20
    else:
        content = json.loads(both.read_text()) if out_format == 'json' else pickle.loads(both.read_bytes())
        assert np.asarray(content[0]['ann']['bboxes']).tolist() == [[47, 239, 194, 370], [7, 11, 351, 497]]


def test_difficult_objects_are_marked_and_classes_are_found(pascal_voc, tmp_path, capsys):
    for folder in ('Annotations', 'ImageSets/Main'):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / 'ImageSets/Main/train.txt').write_text('one 1\n')
    sides = '<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>'
    objects = (
        f'<object><name>zebu</name>{sides}</object><object><name>emu</name><difficult>1</difficult>{sides}</object>'
    )
    xml = f'<annotation><size><width>20</width><height>10</height></size>{objects}</annotation>'
    (tmp_path / 'Annotations/one.xml').write_text(xml)
    pascal_voc.main([str(tmp_path), '--out-format', 'coco'])
    (path,) = tmp_path.glob('*_train.json')
    content = json.loads(path.read_text())
    assert [(a['category_id'], a['ignore'], a['bbox']) for a in content['annotations']] == [
        (2, 0, [0, 0, 8, 8]),
        (1, 1, [0, 0, 8, 8]),
    ]
    assert 'Classes found: emu, zebu' in capsys.readouterr().out
    pascal_voc.main([str(tmp_path), '--out-format', 'pkl', '--classes', 'emu'])
    (entry,) = pickle.loads(path.with_suffix('.pkl').read_bytes())
    assert len(entry['ann']['bboxes']) == 0 and entry['ann']['labels_ignore'].tolist() == [0]
    assert 'Left out, as not among --classes: zebu' in capsys.readouterr().out


def test_a_folder_of_another_layout_is_refused(pascal_voc, tmp_path):
    with pytest.raises(SystemExit, match='no ImageSets/Main'):
        pascal_voc.main([str(tmp_path)])
    (tmp_path / 'ImageSets/Main').mkdir(parents=True)
    with pytest.raises(SystemExit, match='none of train, val, trainval, test'):
        pascal_voc.main([str(tmp_path)])
    (tmp_path / 'ImageSets/Main/val.txt').write_text('one\n')
    with pytest.raises(SystemExit, match="lists 'one', but there is no"):
        pascal_voc.main([str(tmp_path)])


@pytest.fixture
def pictures(shared, tmp_path):
    folder = tmp_path / 'pictures'
    (folder / 'deep').mkdir(parents=True)
    shutil.copy(shared / 'data/formats/color.jpg', folder / 'b.jpg')
    shutil.copy(shared / 'data/formats/gray.jpg', folder / 'deep' / 'a.jpg')
    (folder / 'notes.txt').write_text('no image')
    (tmp_path / 'classes.txt').write_text('cat\ndog\n')
    return folder


def test_a_folder_of_images_becomes_a_list_to_test_on(tool, pictures, tmp_path, capsys):
    from PIL import Image

    turned = Image.new('RGB', (30, 20))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(pictures / 'c.png', exif=exif)
    tool('images2coco').main([str(pictures), str(tmp_path / 'classes.txt'), 'test.json'])
    content = json.loads((tmp_path / 'annotations' / 'test.json').read_text())
    with Image.open(pictures / 'b.jpg') as image:
        size = image.size
    assert content['images'][0] == dict(id=0, file_name='b.jpg', width=size[0], height=size[1])
    assert [image['file_name'] for image in content['images']] == ['b.jpg', 'c.png', 'deep/a.jpg']
    assert (content['images'][1]['width'], content['images'][1]['height']) == (20, 30)
    assert [category['name'] for category in content['categories']] == ['cat', 'dog']
    assert 'Left out 1 files that are no images' in capsys.readouterr().out
    dataset = CocoDataset(
        str(tmp_path / 'annotations/test.json'),
        [dict(type='LoadImageFromFile')],
        img_prefix=str(pictures),
        classes=['cat', 'dog'],
        test_mode=True,
    )
    assert dataset[1]['img'].shape[:2] == (30, 20)


def test_suffixes_can_be_excluded(tool, pictures, tmp_path):
    shutil.copy(pictures / 'b.jpg', pictures / 'b.JPEG')
    out = tmp_path / 'elsewhere' / 'test.json'
    tool('images2coco').main([str(pictures), str(tmp_path / 'classes.txt'), str(out), '-e', 'jpg', '.txt'])
    assert [image['file_name'] for image in json.loads(out.read_text())['images']] == ['b.JPEG']


def test_wrong_arguments_of_images2coco(tool, pictures, tmp_path, capsys):
    module = tool('images2coco')
    for arguments, message in (
        ([str(pictures), str(tmp_path / 'classes.txt'), 'test.txt'], 'must end in .json'),
        ([str(pictures / 'no'), str(tmp_path / 'classes.txt'), 'test.json'], 'no such folder'),
        ([str(pictures), str(tmp_path / 'no.txt'), 'test.json'], 'no such file'),
    ):
        with pytest.raises(SystemExit):
            module.main(arguments)
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit, match='no image found'):
        module.main([str(pictures / 'deep'), str(tmp_path / 'classes.txt'), 'test.json', '-e', 'jpg'])


def test_the_list_is_written_beside_a_link_and_not_beside_what_it_points_to(tool, pictures, tmp_path):
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data' / 'linked').symlink_to(pictures)
    tool('images2coco').main([str(tmp_path / 'data' / 'linked'), str(tmp_path / 'classes.txt'), 'test.json'])
    assert (tmp_path / 'data' / 'annotations' / 'test.json').is_file() and not (tmp_path / 'annotations').exists()
