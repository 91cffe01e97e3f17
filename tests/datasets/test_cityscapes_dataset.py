from __future__ import annotations

import json
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_api

from mmdet_clone.datasets import CityscapesDataset

STEMS = ('aachen_000000_000019', 'aachen_000001_000019')
CAR, PERSON, BUS = 2, 0, 4


def city_ids():
    """Ids of two 60x80 images: a car, a person, a group of persons and some of a caravan; a bus."""
    first, second = np.full((60, 80), 7, np.uint16), np.full((60, 80), 7, np.uint16)  # on a road
    first[5:25, 5:45] = 26000
    first[30:55, 5:20] = 24000
    first[30:55, 40:70] = 24
    first[:5, 60:] = 29000
    second[10:50, 10:60] = 28000
    return first, second


@pytest.fixture
def cities(tmp_path, load_tool):
    """A converted data set; its folder."""
    for stem, ids in zip(STEMS, city_ids()):
        for kind in ('leftImg8bit', 'gtFine'):
            (tmp_path / kind / 'val' / 'aachen').mkdir(parents=True, exist_ok=True)
        Image.fromarray(ids).save(tmp_path / f'gtFine/val/aachen/{stem}_gtFine_instanceIds.png')
        Image.new('RGB', (80, 60)).save(tmp_path / f'leftImg8bit/val/aachen/{stem}_leftImg8bit.png')
    load_tool('dataset_converters/cityscapes').main([str(tmp_path)])
    return tmp_path


def build(folder, pipeline=(), **arguments):
    return CityscapesDataset(
        'annotations/instancesonly_filtered_gtFine_val.json',
        list(pipeline),
        data_root=str(folder),
        img_prefix='leftImg8bit/val/',
        **arguments,
    )


def result(*objects):
    """An image's result of (label, (h, w) mask, score)."""
    boxes, masks = [np.zeros((0, 5))] * 8, [[] for _ in range(8)]
    for label, mask, score in objects:
        boxes[label] = np.concatenate([boxes[label], [[0, 0, 80, 60, score]]])
        masks[label].append(mask_api.encode(np.asfortranarray(mask, dtype=np.uint8)))
    return boxes, masks


def detections():
    first, second = city_ids()
    part = first == 24000
    part[30:40] = False  # 15 of 25 rows are left: an overlap of .6
    wrong = np.zeros((60, 80), bool)
    wrong[40:60, 60:] = True
    group = first == 24
    return [
        result((CAR, first == 26000, 0.9), (PERSON, part, 0.8), (PERSON, group, 0.95), (BUS, wrong, 0.97)),
        result((BUS, second == 28000, 0.6)),
    ]


def test_labels_follow_the_eight_classes_and_groups_are_ignored(cities):
    data = build(cities)
    assert len(data.CLASSES) == len(data.PALETTE) == 8
    ann = data.get_ann_info(0)
    assert ann['labels'].tolist() == [PERSON, CAR] and ann['bboxes'].tolist() == [[5, 30, 20, 55], [5, 5, 45, 25]]
    assert ann['bboxes_ignore'].tolist() == [[40, 30, 70, 55]]
    assert ann['seg_map'] == f'aachen/{STEMS[0]}_gtFine_labelIds.png'


def test_an_image_with_groups_only_is_not_trained_on(cities):
    path = cities / 'annotations/instancesonly_filtered_gtFine_val.json'
    content = json.loads(path.read_text())
    content['annotations'] = [a for a in content['annotations'] if a['image_id'] == 1 or a['iscrowd']]
    path.write_text(json.dumps(content))
    data = build(cities)
    assert len(data) == 1 and data.img_ids == [1] and len(data.flag) == 1
    assert len(build(cities, filter_empty_gt=False)) == 2 and len(build(cities, test_mode=True)) == 2


def test_results_are_written_as_the_benchmark_takes_them(cities, tmp_path):
    data = build(cities, test_mode=True)
    files, folder = data.format_results(detections(), str(tmp_path / 'out'))
    assert folder is None and [f.rpartition('/')[2] for f in files] == [f'{s}_leftImg8bit_pred.txt' for s in STEMS]
    lines = [line.split() for line in Path(files[0]).read_text().splitlines()]
    assert [(line[1], float(line[2])) for line in lines] == [('24', 0.8), ('24', 0.95), ('26', 0.9), ('28', 0.97)]
    mask = np.array(Image.open(tmp_path / 'out' / lines[2][0]))
    assert np.array_equal(mask > 0, city_ids()[0] == 26000)
    _, folder = data.format_results(detections())
    assert folder is not None
    folder.cleanup()


def test_the_benchmarks_numbers(cities, tmp_path, monkeypatch, capsys):
    pytest.importorskip('cityscapesscripts')
    monkeypatch.chdir(tmp_path)
    before = {path.name for path in tmp_path.iterdir()}
    data = build(cities, test_mode=True)
    numbers = data.evaluate(detections(), 'cityscapes')
    # car: 1. person: an overlap of .6 exceeds the thresholds of .5 and .55, and the group does not count: 2/10.
    # bus: a wrong one, then the right one: precisions of 0 and .5 at recalls of 0 and 1. The benchmark gives each point
    # half of the steps beside it: (0 + .5) / 2
    table = capsys.readouterr().out
    rows = {line.split('|')[1].strip(): line.split('|')[2:4] for line in table.splitlines() if line.count('|') == 4}
    assert [float(v) for v in rows['car']] == [1, 1]
    assert float(rows['person'][1]) == 1 and float(rows['person'][0]) == pytest.approx(0.2)
    assert rows['rider'][0].strip() == 'nan'
    assert float(rows['bus'][0]) == pytest.approx(0.25)
    assert numbers == {'mAP': pytest.approx((1 + 0.2 + 0.25) / 3), 'AP@50': pytest.approx(2.25 / 3)}
    assert {path.name for path in tmp_path.iterdir()} == before  # the package's own entry leaves files behind


def test_cocos_measures_too(cities, tmp_path):
    data = build(cities, test_mode=True)
    numbers = data.evaluate(detections(), ['segm', 'bbox'], logger='silent', outfile_prefix=str(tmp_path / 'r'))
    assert numbers['segm_mAP_50'] == pytest.approx((1 + 1 + 0.5) / 3, abs=1e-3)  # car, person, bus
    assert (tmp_path / 'r.segm.json').is_file()


def test_what_the_benchmark_lacks_is_told(cities, monkeypatch):
    data = build(cities, test_mode=True)
    boxes_only = [boxes for boxes, _ in detections()]
    with pytest.raises(ValueError, match='evaluates masks'):
        data.evaluate(boxes_only, 'cityscapes')
    pytest.importorskip('cityscapesscripts')
    (cities / f'gtFine/val/aachen/{STEMS[0]}_gtFine_instanceIds.png').unlink()
    with pytest.raises(FileNotFoundError, match='1 of 2 ground truth images do not exist'):
        data.evaluate(detections(), 'cityscapes')
    monkeypatch.setitem(__import__('sys').modules, 'cityscapesscripts', None)
    monkeypatch.delitem(__import__('sys').modules, 'cityscapesscripts.evaluation', raising=False)
    name = 'cityscapesscripts.evaluation.evalInstanceLevelSemanticLabeling'
    monkeypatch.setitem(__import__('sys').modules, name, None)
    with pytest.raises(ImportError, match='pip install cityscapesscripts'):
        data.evaluate(detections(), 'cityscapes')


def test_files_for_the_benchmark_stay_where_no_place_is_given(cities, tmp_path, capsys):
    from mmdet_clone.apis.entry import format_results

    args = SimpleNamespace(eval_options=[], work_dir=str(tmp_path / 'run'), config='c.py')
    format_results(build(cities, test_mode=True), detections(), args)
    written = tmp_path / 'run/results'
    assert f'formatted results: {written}\n' in capsys.readouterr().out
    assert len(list(written.glob('*_pred.txt'))) == 2 and len(list(written.glob('*.png'))) == 5


def test_the_error_analysis_takes_boxes_and_masks_of_cityscapes(cities, tmp_path):
    from mmdet_clone.apis.coco_records import from_config

    root, ann = str(cities), 'annotations/instancesonly_filtered_gtFine_val.json'
    test = dict(
        type='CityscapesDataset',
        ann_file=ann,
        data_root=root,
        img_prefix='leftImg8bit/val/',
        pipeline=[],
        test_mode=True,
    )
    (tmp_path / 'c.py').write_text(f'data = dict(test={test!r})')
    (tmp_path / 'r.pkl').write_bytes(pickle.dumps(detections()))
    _, found = from_config(str(tmp_path / 'c.py'), str(tmp_path / 'r.pkl'), ['bbox', 'segm'])
    assert len(found['bbox']) == len(found['segm']) == 5
