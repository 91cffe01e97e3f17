"""The tools that look at saved results, run as their command lines run them."""

from __future__ import annotations

import csv
import json
import pickle
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import tiny_detector

from mmdet_clone.structures.results import encode_mask_results

TOOLS = ('eval_metric', 'analyze_results', 'confusion_matrix', 'coco_error_analysis', 'pr_curves')


def perfect_results(ann_file):
    """What a faultless detector would find: each object with its mask, at a score of .9."""
    content = json.loads(ann_file.read_text())
    results = []
    for image in content['images']:
        boxes, masks = [[], []], [[], []]
        for ann in content['annotations']:
            if ann['image_id'] == image['id']:
                x, y, w, h = ann['bbox']
                bitmap = np.zeros((image['height'], image['width']), np.uint8)
                polygon = np.array(ann['segmentation'][0], np.int32).reshape(-1, 2)
                boxes[ann['category_id'] - 1].append((x, y, x + w, y + h, 0.9))
                masks[ann['category_id'] - 1].append(cv2.fillPoly(bitmap, [polygon], 1).astype(bool))
        arrays = [np.array(of_class, np.float32).reshape(-1, 5) for of_class in boxes]
        results.append((arrays, encode_mask_results(masks)))
    return results


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    """A data set of 5 images, of which the detector finds nothing on the last and all on the others."""
    folder = tmp_path_factory.mktemp('results')
    data = tiny_detector.make_data(folder / 'data', num_train=1, num_val=5)
    results = perfect_results(data / 'val.json')
    results[-1] = ([np.zeros((0, 5), np.float32)] * 2, [[], []])
    (folder / 'results.pkl').write_bytes(pickle.dumps(results))
    config = tiny_detector.write_config(folder / 'tiny.py', data)
    return SimpleNamespace(config=config, pkl=folder / 'results.pkl', results=results, ann=data / 'val.json')


@pytest.fixture
def run(load_tool, monkeypatch):
    def call(name, *argv):
        monkeypatch.setattr(sys, 'argv', [name, *map(str, argv)])
        load_tool(f'analysis_tools/{name}').main()

    return call


def rows_of(path):
    return list(csv.reader(path.read_text().splitlines()))


def dump(folder, results):
    path = folder / 'other.pkl'
    path.write_bytes(pickle.dumps(results))
    return path


# ---------------------------------------------------------------- what they write


def test_saved_results_are_evaluated_as_the_test_evaluates_them(run, tiny, tmp_path, capsys):
    faultless = dump(tmp_path, perfect_results(tiny.ann))
    run('eval_metric', tiny.config, faultless, '--eval', 'bbox', 'segm', '--work-dir', tmp_path)
    figures = json.loads(next(tmp_path.glob('eval_*.json')).read_text())['metric']
    assert figures['bbox_mAP'] == 1 and figures['segm_mAP_50'] == 1
    run('eval_metric', tiny.config, tiny.pkl, '--eval', 'bbox', '--eval-options', 'metric_items=["mAP_50"]')
    printed = capsys.readouterr().out.splitlines()[-1]
    assert 'bbox_mAP_50' in printed and 'bbox_mAP_75' not in printed


def test_results_are_formatted_without_evaluating(run, tiny, tmp_path):
    prefix = tmp_path / 'submission'
    run('eval_metric', tiny.config, tiny.pkl, '--format-only', '--eval-options', f'jsonfile_prefix={prefix}')
    assert len(json.loads((tmp_path / 'submission.bbox.json').read_text())) == 8  # two objects on four images


def test_best_and_worst_images_are_drawn_and_all_are_listed(run, tiny, tmp_path):
    run('analyze_results', tiny.config, tiny.pkl, tmp_path, '--topk', 1)
    assert [p.name for p in (tmp_path / 'bad').iterdir()] == ['val_4_0.000.png']
    (good,) = (tmp_path / 'good').iterdir()
    assert good.name.endswith('_1.000.png')
    picture = cv2.imread(str(good))
    assert picture.shape[1] > 2 * 480 and picture.shape[0] > 480  # 96 pixels enlarged, ground truth beside detections
    header, *rows = rows_of(tmp_path / 'image_scores.csv')
    assert header == ['image', 'mAP', 'objects', 'detections']
    assert rows[0] == ['val_4.png', '0.0', '2', '0'] and [row[1:] for row in rows[1:]] == [['1.0', '2', '2']] * 4


def test_no_image_is_both_among_the_best_and_the_worst(run, tiny, tmp_path):
    run('analyze_results', tiny.config, tiny.pkl, tmp_path, '--topk', 20, '--overlay-gt')
    names = [{p.name.rpartition('_')[0] for p in (tmp_path / part).iterdir()} for part in ('good', 'bad')]
    assert len(names[0]) == len(names[1]) == 2 and not names[0] & names[1]


def test_confusion_matrix_is_drawn_and_written_as_numbers(run, tiny, tmp_path):
    run('confusion_matrix', tiny.config, tiny.pkl, tmp_path, '--color-theme', 'viridis')
    header, *rows = rows_of(tmp_path / 'confusion_counts.csv')
    assert header[1:] == ['disc', 'square', 'background']
    counts = np.array([row[1:] for row in rows], int)
    assert counts[0, 0] + counts[1, 1] == 8 and counts[:2, 2].sum() == 2 and counts.sum() == 10
    percent = rows_of(tmp_path / 'confusion_matrix.csv')
    assert percent[3][1:] == ['', '', '']  # no false alarm: nothing to take a share of
    assert cv2.imread(str(tmp_path / 'confusion_matrix.png')).shape[0] > 300


def test_thresholds_and_curves_are_written(run, tiny, tmp_path, capsys):
    run('pr_curves', tiny.config, tiny.pkl, tmp_path)
    header, *rows = rows_of(tmp_path / 'best_thresholds.csv')
    assert header[0] == 'class' and [row[0] for row in rows] == ['disc', 'square', 'mean']
    assert [row[3:5] for row in rows[:2]] == [['0.9', '1.0']] * 2  # one score, nothing wrong
    assert len(rows_of(tmp_path / 'curves.csv')) == 1 + 2 * 101
    assert all((tmp_path / name).stat().st_size > 5000 for name in ('pr_curves.png', 'f1_curves.png'))
    assert 'score threshold' in capsys.readouterr().out


def test_curves_of_chosen_classes(run, tiny, tmp_path):
    run('pr_curves', tiny.config, tiny.pkl, tmp_path, '--classes', 'square')
    assert [row[0] for row in rows_of(tmp_path / 'best_thresholds.csv')] == ['class', 'square', 'mean']
    with pytest.raises(SystemExit, match="'cube'; the classes are disc, square"):
        run('pr_curves', tiny.config, tiny.pkl, tmp_path, '--classes', 'cube')


@pytest.fixture(scope='module')
def result_file(tiny, tmp_path_factory):
    """A result file in which all objects but those of the last image are found."""
    content = json.loads(tiny.ann.read_text())
    path = tmp_path_factory.mktemp('json') / 'results.bbox.json'
    found = [ann for ann in content['annotations'] if ann['image_id'] != 4]
    keys = ('image_id', 'category_id', 'bbox')
    path.write_text(json.dumps([{key: ann[key] for key in keys} | dict(score=0.9) for ann in found]))
    return path


def test_errors_are_analysed_alike_from_a_result_file_and_from_a_config(run, tiny, result_file, tmp_path):
    run('coco_error_analysis', result_file, tmp_path / 'a', '--ann', tiny.ann, '--extraplots')
    run('coco_error_analysis', tiny.config, tiny.pkl, tmp_path / 'b', '--types', 'bbox', 'segm')
    tables = [rows_of(tmp_path / part / 'bbox' / 'error_analysis.csv') for part in 'ab']
    assert tables[0] == tables[1]
    assert tables[0][1][:3] == ['allclass', 'allarea', '10'] and float(tables[0][1][-1]) == 1
    drawn = {p.name for p in (tmp_path / 'a' / 'bbox').iterdir()}
    assert {'bbox-allclass-allarea.png', 'bbox-disc-allarea.png', 'bbox-square-ap-bar.png'} <= drawn
    assert {'gt_area_group_numbers.png', 'gt_area_histogram.png'} <= drawn
    assert not any('large' in name for name in drawn)  # there is no large object
    assert (tmp_path / 'b' / 'segm' / 'segm-allclass-allarea.png').is_file()


# ---------------------------------------------------------------- what they say to wrong input


@pytest.mark.parametrize('name', ['analyze_results', 'confusion_matrix', 'pr_curves', 'coco_error_analysis'])
def test_results_of_another_data_set_are_refused(run, tiny, tmp_path, name):
    with pytest.raises(SystemExit, match=r'results of 4 images, data.test of .* has 5: were they made from another'):
        run(name, tiny.config, dump(tmp_path, tiny.results[:4]), tmp_path)
    three = [([*boxes, np.zeros((0, 5), np.float32)], [*masks, []]) for boxes, masks in tiny.results]
    with pytest.raises(SystemExit, match=r'results have 3 classes, data.test has 2 \(disc, square'):
        run(name, tiny.config, dump(tmp_path, three), tmp_path)


@pytest.mark.parametrize(
    ('results', 'message'),
    [
        ([], 'an empty list: no image was tested'),
        (dict(a=1), 'holds a dict: expected a list'),
        ([np.zeros((3, 5), np.float32)] * 5, 'expected boxes by class, .* got proposals'),
    ],
)
def test_pickles_of_something_else_are_refused(run, tiny, tmp_path, results, message):
    with pytest.raises(SystemExit, match=message):
        run('confusion_matrix', tiny.config, dump(tmp_path, results), tmp_path)


def test_nothing_in_a_pickle_is_run(run, tiny, tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ('ran',)

    with pytest.raises(SystemExit, match=r'refers to builtins\.print'):
        run('eval_metric', tiny.config, dump(tmp_path, [Evil()]), '--eval', 'bbox')


def test_absent_and_misnamed_files_are_told(run, tiny, tmp_path):
    with pytest.raises(SystemExit, match=r'no such results: .*none.pkl. tools/test.py'):
        run('pr_curves', tiny.config, tmp_path / 'none.pkl', tmp_path)
    with pytest.raises(SystemExit, match=r"got the suffix '\.json'"):
        run('pr_curves', tiny.config, tiny.ann, tmp_path)


def test_config_without_test_data_is_told(run, tiny, tmp_path):
    config = tmp_path / 'no_test.py'
    config.write_text(tiny.config.read_text() + "\ndata.pop('test')\n")
    with pytest.raises(SystemExit, match=r'has no data.test: add the data set that the results were made on'):
        run('confusion_matrix', config, tiny.pkl, tmp_path)


def test_results_without_any_detection(run, tiny, tmp_path, capsys):
    nothing = dump(tmp_path, [[np.zeros((0, 5), np.float32)] * 2] * 5)
    run('confusion_matrix', tiny.config, nothing, tmp_path)
    assert 'every object counts as missed' in capsys.readouterr().out
    for name in ('pr_curves', 'coco_error_analysis'):
        with pytest.raises(SystemExit, match='results of all 5 images are empty'):
            run(name, tiny.config, nothing, tmp_path)


def test_unknown_colour_map_and_metric_are_told_before_the_work(run, tiny, tmp_path):
    with pytest.raises(SystemExit, match="no colour map 'plasmas': use plasma"):
        run('confusion_matrix', tiny.config, tiny.pkl, tmp_path, '--color-theme', 'plasmas')
    with pytest.raises(SystemExit, match='mAP'):
        run('eval_metric', tiny.config, tiny.pkl, '--eval', 'mAP')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda rows: [], 'holds no detection'),
        (lambda rows: dict(annotations=rows), 'no COCO result file'),
        (lambda rows: [{**rows[0], 'image_id': 99}], '1 image_id that the annotations lack, such as 99'),
        (lambda rows: [{**rows[0], 'category_id': 7}], '1 category_id that the annotations lack, such as 7'),
    ],
)
def test_result_files_that_do_not_fit_are_refused(run, tiny, result_file, tmp_path, change, message):
    path = tmp_path / 'wrong.json'
    path.write_text(json.dumps(change(json.loads(result_file.read_text()))))
    with pytest.raises(SystemExit, match=message):
        run('coco_error_analysis', path, tmp_path, '--ann', tiny.ann)


def test_masks_are_asked_of_a_result_file_only_if_it_has_them(run, tiny, result_file, tmp_path):
    with pytest.raises(SystemExit, match=r'record 0 \(from 0\) lacks segmentation, which --types segm needs'):
        run('coco_error_analysis', result_file, tmp_path, '--ann', tiny.ann, '--types', 'segm')


@pytest.mark.parametrize(
    ('argv', 'message'),
    [
        (('a.json',), 'expected RESULT.json OUT_DIR or CONFIG RESULTS.pkl OUT_DIR, got 1 paths'),
        (('results.pkl', 'out'), 'needs its config'),
        (('c.py', 'r.pkl', 'out', '--ann', 'a.json'), '--ann goes with a result file'),
    ],
)
def test_error_analysis_takes_one_of_two_forms(parse, capsys, argv, message):
    with pytest.raises(SystemExit):
        parse('analysis_tools/coco_error_analysis', *argv)
    assert message in capsys.readouterr().err


def test_evaluation_needs_something_to_do(parse, capsys):
    with pytest.raises(SystemExit):
        parse('analysis_tools/eval_metric', 'c.py', 'r.pkl')
    assert '--eval bbox' in capsys.readouterr().err


def test_showing_without_a_screen_says_so_after_the_files_are_written(run, tiny, tmp_path, monkeypatch):
    monkeypatch.delenv('DISPLAY', raising=False)
    monkeypatch.delenv('WAYLAND_DISPLAY', raising=False)
    with pytest.raises(SystemExit, match='there is no screen'):
        run('confusion_matrix', tiny.config, tiny.pkl, tmp_path, '--show')
    assert (tmp_path / 'confusion_matrix.png').is_file()


def test_data_sets_whose_boxes_are_shares_of_the_image_are_refused():
    from mmdet_clone.apis.saved_results import SavedResults

    class Shares:
        CLASSES = ('disc', 'square')

        def evaluate(self, results, denorm_gt_bbox=True):
            raise NotImplementedError

    with pytest.raises(ValueError, match='Shares gives boxes as shares of the image'):
        SavedResults(None, Shares(), []).check_boxes()


def test_boxes_beyond_the_images_are_warned_of(run, tiny, tmp_path, capsys):
    run('confusion_matrix', tiny.config, tiny.pkl, tmp_path)
    assert 'warning' not in capsys.readouterr().err
    moved = [([np.concatenate([b[:, :4] + 500, b[:, 4:]], axis=1) for b in boxes], m) for boxes, m in tiny.results]
    run('confusion_matrix', tiny.config, dump(tmp_path, moved), tmp_path)
    assert '4 of 5 images have detections beyond' in capsys.readouterr().err


def test_images_of_joined_data_sets_are_found_in_their_part(run, tiny, tmp_path):
    config = tmp_path / 'joined.py'
    extra = "\ndata['test'] = [dict(data['test']), dict(data['test'], samples_per_gpu=2)]\n"
    config.write_text(tiny.config.read_text() + extra)
    twice = dump(tmp_path, tiny.results * 2)
    run('analyze_results', config, twice, tmp_path, '--topk', 2)
    assert {p.name for p in (tmp_path / 'bad').iterdir()} == {'val_4_0.000.png', 'val_4_0.000_2.png'}
    with pytest.raises(SystemExit, match='ConcatDataset'):
        run('coco_error_analysis', config, twice, tmp_path)


# ---------------------------------------------------------------- panoptic results


@pytest.fixture
def panoptic(tmp_path):
    """Three images of a cat (label 0, a thing) before a wall (label 1): found wholly, but for the cat, not at all."""
    boxes = dict(cat=[8, 8, 16, 16], wall=[0, 0, 64, 48])
    ids = np.full((48, 64), 2, np.uint8)
    ids[8:24, 8:24] = 1
    images, annotations = [], []
    for folder in ('images', 'maps'):
        (tmp_path / folder).mkdir()
    for i in range(3):
        images.append(dict(id=i, file_name=f'{i}.png', width=64, height=48))
        segments = [
            dict(id=k, category_id=k, bbox=boxes[name], area=int((ids == k).sum()), iscrowd=0)
            for k, name in enumerate(boxes, 1)
        ]
        annotations.append(dict(image_id=i, file_name=f'{i}.png', segments_info=segments))
        cv2.imwrite(str(tmp_path / 'images' / f'{i}.png'), np.full((48, 64, 3), 90, np.uint8))
        cv2.imwrite(str(tmp_path / 'maps' / f'{i}.png'), np.dstack([ids * 0, ids * 0, ids]))
    categories = [dict(id=1, name='cat', isthing=1), dict(id=2, name='wall', isthing=0)]
    (tmp_path / 'ann.json').write_text(json.dumps(dict(images=images, annotations=annotations, categories=categories)))
    config = tmp_path / 'panoptic.py'
    config.write_text(
        "data = dict(test=dict(type='CocoPanopticDataset', classes=('cat', 'wall'), pipeline=[dict("
        f"type='LoadImageFromFile')], ann_file='{tmp_path}/ann.json', img_prefix='{tmp_path}/images/', "
        f"seg_prefix='{tmp_path}/maps/'))\n"
    )
    whole = np.where(ids == 1, 1000, 1)  # label + instance * 1000
    results = [np.ones_like(whole), whole, np.full_like(whole, 2)]  # 2: no segment
    return config, dump(tmp_path, [dict(pan_results=found) for found in results])


def test_panoptic_images_are_ranked_by_their_quality(run, panoptic, tmp_path):
    run('analyze_results', *panoptic, tmp_path / 'out', '--topk', 1)
    header, *rows = rows_of(tmp_path / 'out' / 'image_scores.csv')
    assert header == ['image', 'PQ', 'objects', 'detections']
    assert rows[0] == ['2.png', '0.0', '2', '0'] and rows[2] == ['1.png', '1.0', '2', '2']
    # image 0: the cat is missed (0); the wall is found with an overlap of 48 * 64 - 256 in 48 * 64 pixels
    assert rows[1] == ['0.png', str(round((0 + 1 - 256 / 3072) / 2, 6)), '2', '1']
    assert [p.name for p in (tmp_path / 'out' / 'good').iterdir()] == ['1_1.000.png']
    assert (tmp_path / 'out' / 'bad' / '2_0.000.png').is_file()


def test_panoptic_results_fit_panoptic_data_only(run, panoptic, tiny, tmp_path):
    _, results = panoptic
    few = tmp_path / 'few.json'
    content = json.loads(tiny.ann.read_text())
    few.write_text(json.dumps({**content, 'images': content['images'][:3]}))
    options = ('--cfg-options', f'data.test.ann_file={few}')
    with pytest.raises(SystemExit, match=r'the results are panoptic, data\.test is a CocoDataset'):
        run('analyze_results', tiny.config, results, tmp_path, *options)
    with pytest.raises(SystemExit, match='--overlay-gt and --show-score-thr are for boxes'):
        run('analyze_results', *panoptic, tmp_path / 'out', '--overlay-gt')
