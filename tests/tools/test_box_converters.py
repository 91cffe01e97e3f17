"""yolo2coco.py, csv2coco.py: boxes of other formats as COCO json."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from mmdet_clone.datasets import CocoDataset


@pytest.fixture
def yolo(load_tool):
    return load_tool('dataset_converters/yolo2coco').main


@pytest.fixture
def csv2coco(load_tool):
    return load_tool('dataset_converters/csv2coco').main


@pytest.fixture
def site(tmp_path):
    """Two splits of 100x50 images; of train only a.png has a txt."""
    for split in ('train', 'val'):
        for kind in ('images', 'labels'):
            (tmp_path / 'site' / kind / split).mkdir(parents=True)
        for name in ('a', 'b'):
            Image.new('RGB', (100, 50)).save(tmp_path / 'site/images' / split / f'{name}.png')
        (tmp_path / f'site/labels/{split}/a.txt').write_text('0 0.5 0.5 0.2 0.4\n\n1 0.1 0.1 0.3 0.1 0.3 0.3\n')
    (tmp_path / 'site/data.yaml').write_text('train: images/train\nval: images/val\nnames: {0: cat, 1: dog}\n')
    return tmp_path / 'site'


def read(path):
    return json.loads(path.read_text())


def test_yolo_boxes_and_polygons_become_pixels(yolo, site, capsys):
    yolo([str(site)])
    content = read(site / 'annotations/train.json')
    assert [image['file_name'] for image in content['images']] == ['images/train/a.png', 'images/train/b.png']
    box, polygon = content['annotations']
    # a center of (50, 25) and a size of 20x20; a triangle of 20x10
    assert (box['category_id'], box['bbox'], box['area'], 'segmentation' in box) == (1, [40, 15, 20, 20], 400, False)
    assert (polygon['category_id'], polygon['bbox'], polygon['area']) == (2, [10, 5, 20, 10], 100)
    assert polygon['segmentation'] == [[10, 5, 30, 5, 30, 15]]
    assert [category['name'] for category in content['categories']] == ['cat', 'dog']
    told = capsys.readouterr().out
    assert 'train: 1 of 2 images have no txt' in told and '2 images, 2 objects, 2 classes' in told
    data = CocoDataset(str(site / 'annotations/val.json'), [], img_prefix=str(site), classes=['cat', 'dog'])
    assert data.get_ann_info(0)['bboxes'].tolist() == [[40, 15, 60, 35], [10, 5, 30, 15]]


def test_yolo_splits_come_from_the_folders_where_classes_are_given(yolo, site, tmp_path):
    (tmp_path / 'classes.txt').write_text('cat\ndog\n')
    yolo([str(site), '--classes', str(tmp_path / 'classes.txt'), '-o', str(tmp_path / 'out')])
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['train.json', 'val.json']


def test_yolo_txt_may_lie_beside_the_images(yolo, tmp_path):
    (tmp_path / 'flat').mkdir()
    Image.new('RGB', (10, 10)).save(tmp_path / 'flat/a.jpg')
    (tmp_path / 'flat/a.txt').write_text('0 0.5 0.5 1 1.005')  # rounded by half a pixel beyond the image
    (tmp_path / 'names').write_text('cat')
    yolo([str(tmp_path / 'flat'), '--classes', str(tmp_path / 'names')])
    (annotation,) = read(tmp_path / 'flat/annotations/flat.json')['annotations']
    assert annotation['bbox'] == [0, 0, 10, 10]


def test_yolo_lists_of_images_and_paths_beside_the_yaml_are_followed(yolo, site):
    (site / 'list.txt').write_text('images/val/a.png\n')
    (site / 'data.yaml').write_text('train: ../images/train\nval: list.txt\nnames: [cat, dog]\n')
    yolo([str(site)])
    assert len(read(site / 'annotations/train.json')['images']) == 2
    assert [i['file_name'] for i in read(site / 'annotations/val.json')['images']] == ['images/val/a.png']


@pytest.mark.parametrize(
    'line, message',
    [
        ('2 0.5 0.5 0.1 0.1', 'line 1: class 2, but the classes are 0 to 1'),
        ('0 0.5 0.5', 'line 1: expected "class x y width height"'),
        ('0 0.5 half 0.1 0.1', 'line 1: could not convert'),
        ('0 50 25 20 20', 'are these pixels'),
        ('0 nan 0.5 0.1 0.1', 'line 1: .* a number that is not finite'),
    ],
)
def test_a_wrong_yolo_line_is_named_and_nothing_is_written(yolo, site, line, message):
    (site / 'labels/val/b.txt').write_text(line)
    with pytest.raises(SystemExit, match=message) as error:
        yolo([str(site)])
    assert 'b.txt' in str(error.value) and not (site / 'annotations').exists()


def test_a_yaml_without_names_or_with_absent_folders_is_refused(yolo, site, tmp_path):
    (site / 'data.yaml').write_text('train: images/train\nnc: 2\n')
    with pytest.raises(SystemExit, match='has no "names"'):
        yolo([str(site)])
    (site / 'data.yaml').write_text('train: pictures\nnames: [a]\n')
    with pytest.raises(SystemExit, match="names 'pictures', which is not in"):
        yolo([str(site)])
    for path in (site / 'labels').rglob('*.txt'):
        path.unlink()
    (site / 'data.yaml').write_text('train: images/train\nnames: [a]\n')
    with pytest.raises(SystemExit, match='none of 2 images has a txt; looked for'):
        yolo([str(site)])


def write_csv(folder, text):
    (folder / 'boxes.csv').write_text(text)
    return str(folder / 'boxes.csv')


def test_csv_columns_are_found_by_name_and_sizes_read_from_the_images(csv2coco, tmp_path, capsys):
    for name in ('a.png', 'b.png'):
        Image.new('RGB', (40, 30)).save(tmp_path / name)
    path = write_csv(
        tmp_path, 'label,image,xmin,ymin,xmax,ymax\ndog,a.png,1,2,11,22\n,b.png,,,,\ncat,a.png,30,0,50,9\n'
    )
    csv2coco([path, '-o', str(tmp_path / 'out/train.json'), '--img-dir', str(tmp_path)])
    content = read(tmp_path / 'out/train.json')
    assert [(i['file_name'], i['width'], i['height']) for i in content['images']] == [
        ('a.png', 40, 30),
        ('b.png', 40, 30),
    ]
    assert [(a['category_id'], a['bbox'], a['image_id']) for a in content['annotations']] == [
        (2, [1, 2, 10, 20], 1),
        (1, [30, 0, 10, 9], 1),
    ]
    assert 'reached outside their image and were cut: lines [4]' in capsys.readouterr().out


def test_csv_without_a_first_line_of_names_is_read_in_order(csv2coco, tmp_path, capsys):
    path = write_csv(tmp_path, 'a.jpg,1,2,11,22,dog,40,30\na.jpg,5,5,5,9,dog,40,30\na.jpg,0,0,4,4,cow,40,30\n')
    csv2coco([path, '-o', str(tmp_path / 'train.json'), '--classes', 'cat', 'dog'])
    content = read(tmp_path / 'train.json')
    assert [(a['category_id'], a['bbox']) for a in content['annotations']] == [(2, [1, 2, 10, 20])]
    told = capsys.readouterr().out
    assert 'not among --classes: cow' in told and 'Left out 1 boxes without a width' in told


@pytest.mark.parametrize(
    'text, message',
    [
        ('', 'is empty'),
        ('a.jpg,1,2,3,x,dog,9,9', 'line 1: could not convert'),
        ('a.jpg,1,2,3,4,dog', 'does not give the size of a.jpg'),
        ('a.jpg,1,2,3,4,,9,9', 'the box has no class'),
        ('a.jpg,1,2,nan,4,dog,9,9', 'line 1: the box has a number that is not finite'),
        ('x1,y1,x2,y2\n1,2,3,4', 'lacks the columns filename, class'),
        ('a.jpg,1,2,3,4,dog,9,9\na.jpg,1,2,3,4,dog,8,9', 'line 2: a.jpg is .8, 9. here and .9, 9. before'),
    ],
)
def test_a_wrong_csv_is_refused_by_line(csv2coco, tmp_path, text, message):
    path = write_csv(tmp_path, text)
    with pytest.raises(SystemExit, match=message):
        csv2coco([path, '-o', str(tmp_path / 'train.json')])
    assert not (tmp_path / 'train.json').exists()


def test_a_json_that_was_there_survives_a_failed_run(load_tool, tmp_path, monkeypatch):
    writing = load_tool('_coco_json')
    (tmp_path / 'out.json').write_text('before')
    monkeypatch.setattr(writing.os, 'replace', lambda *_: (_ for _ in ()).throw(OSError('disk full')))
    with pytest.raises(OSError, match='disk full'):
        writing.write_json(tmp_path / 'out.json', [1])
    assert (tmp_path / 'out.json').read_text() == 'before' and len(list(tmp_path.iterdir())) == 1
