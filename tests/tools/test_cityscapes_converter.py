from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_api

NAME = 'aachen_000000_000019'
POLYGONS = [
    dict(label='road', polygon=[[0, 0], [63, 0], [63, 31], [0, 31]]),
    dict(label='car', polygon=[[2, 2], [20, 2], [20, 12], [2, 12]]),
    dict(label='car', polygon=[[15, 5], [30, 5], [30, 20], [15, 20]]),  # hides a corner of the first
    dict(label='persongroup', polygon=[[40, 10], [60, 10], [60, 25], [40, 25]]),
    dict(label='license plate', polygon=[[4, 4], [8, 4], [8, 6], [4, 6]]),
    dict(label='caravan', polygon=[[33, 1], [38, 1], [38, 6], [33, 6]]),
    dict(label='car', polygon=[[50, 2], [55, 2], [55, 6]], deleted=1),
    dict(label='pole', polygon=[[5, 0], [6, 0], [6, 31], [5, 31]]),
]


@pytest.fixture
def convert(load_tool):
    return load_tool('dataset_converters/cityscapes').main


@pytest.fixture
def streets(tmp_path):
    """An image of 64x32 with polygons."""
    for kind in ('leftImg8bit', 'gtFine'):
        (tmp_path / kind / 'train' / 'aachen').mkdir(parents=True)
    Image.new('RGB', (64, 32)).save(tmp_path / f'leftImg8bit/train/aachen/{NAME}_leftImg8bit.png')
    annotation = dict(imgWidth=64, imgHeight=32, objects=POLYGONS)
    (tmp_path / f'gtFine/train/aachen/{NAME}_gtFine_polygons.json').write_text(json.dumps(annotation))
    return tmp_path


def result(folder):
    return json.loads((folder / 'annotations/instancesonly_filtered_gtFine_train.json').read_text())


def test_objects_of_an_id_image_become_masks(convert, streets, capsys):
    ids = np.zeros((32, 64), dtype=np.uint16)
    ids[2:6, 3:13] = 26001
    ids[10:20, 30:40] = 24  # a group of persons
    ids[0, 0] = 33000  # a bicycle of one pixel
    ids[25:, :] = 7  # road
    ids[20:22, :5] = 29000  # a caravan, which the benchmark leaves out
    Image.fromarray(ids).save(streets / f'gtFine/train/aachen/{NAME}_gtFine_instanceIds.png')
    convert([str(streets)])
    content = result(streets)
    assert content['images'] == [
        dict(
            id=0,
            file_name=f'aachen/{NAME}_leftImg8bit.png',
            width=64,
            height=32,
            segm_file=f'aachen/{NAME}_gtFine_labelIds.png',
        )
    ]
    rows = [(a['category_id'], a['iscrowd'], a['area'], a['bbox']) for a in content['annotations']]
    assert rows == [(24, 1, 100, [30, 10, 10, 10]), (26, 0, 40, [3, 2, 10, 4]), (33, 0, 1, [0, 0, 1, 1])]
    assert np.array_equal(mask_api.decode(content['annotations'][1]['segmentation']), ids == 26001)
    assert [(c['id'], c['name']) for c in content['categories']][:2] == [(24, 'person'), (25, 'rider')]
    assert '1 images, 3 objects, 1 of them groups' in capsys.readouterr().out


def test_polygons_are_painted_as_cityscapes_paints_them(convert, streets):
    preparation = pytest.importorskip('cityscapesscripts.preparation.json2instanceImg')
    annotation = preparation.Annotation()
    annotation.fromJsonFile(str(streets / f'gtFine/train/aachen/{NAME}_gtFine_polygons.json'))
    ids = np.array(preparation.createInstanceImage(annotation, 'ids'))
    convert([str(streets)])
    anns = result(streets)['annotations']
    assert [(a['category_id'], a['iscrowd']) for a in anns] == [(24, 1), (26, 0), (26, 0)]
    for ann, value in zip(anns, (24, 26000, 26001)):
        assert np.array_equal(mask_api.decode(ann['segmentation']), ids == value)


def test_what_is_missing_is_named(convert, streets):
    (streets / f'gtFine/train/aachen/{NAME}_gtFine_polygons.json').unlink()
    with pytest.raises(SystemExit, match=r'neither .*instanceIds.png nor .*polygons.json'):
        convert([str(streets)])
    Image.fromarray(np.zeros((10, 10), dtype=np.uint16)).save(
        streets / f'gtFine/train/aachen/{NAME}_gtFine_instanceIds.png'
    )
    with pytest.raises(SystemExit, match='is 64x32, its annotation 10x10'):
        convert([str(streets)])
    (streets / f'leftImg8bit/train/aachen/{NAME}_leftImg8bit.png').unlink()
    with pytest.raises(SystemExit, match=r'no .*_leftImg8bit.png in'):
        convert([str(streets)])
    assert not (streets / 'annotations').exists()


def test_what_is_missing_ends_several_processes_too(load_tool, monkeypatch, streets):
    tool = load_tool('dataset_converters/cityscapes')
    monkeypatch.setitem(sys.modules, tool.__name__, tool)  # as the processes look for it
    tool.main([str(streets), '--nproc', '2'])
    assert len(result(streets)['annotations']) == 3
    (streets / f'gtFine/train/aachen/{NAME}_gtFine_polygons.json').write_text('{')
    with pytest.raises(SystemExit, match=r'polygons.json is not valid JSON'):
        tool.main([str(streets), '--nproc', '2'])
