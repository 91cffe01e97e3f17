"""The data checker over a whole config: each kind of mistake put into a sound data set is found, and nothing else."""

from __future__ import annotations

import csv
import json
import shutil

import cv2
import numpy as np
import pytest
import tiny_detector

from mmdet_clone.apis.check_dataset import check_config
from mmdet_clone.apis.check_report import choose_pictures, summary_text, write_report
from mmdet_clone.config import load_config


@pytest.fixture(scope='module')
def sound(tmp_path_factory):
    return tiny_detector.make_data(tmp_path_factory.mktemp('sound') / 'data', 4, 3)


@pytest.fixture
def folder(sound, tmp_path):
    shutil.copytree(sound, tmp_path / 'data')
    return tmp_path / 'data'


def change(folder, split, edit):
    path = folder / f'{split}.json'
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def check(folder, extra='', **options):
    cfg = load_config(tiny_detector.write_config(folder.parent / 'c.py', folder, extra))
    return check_config(cfg, progress=False, **options)


def told(result):
    """(severity, kind, part) of each finding."""
    return [(finding.severity, finding.kind, finding.part) for finding in result.findings]


def first(**changes):
    return lambda content: content['annotations'][0].update(changes)


def test_a_sound_data_set_has_no_finding_and_its_figures_are_right(sound, tmp_path):
    cfg = load_config(tiny_detector.write_config(tmp_path / 'c.py', sound))
    result = check_config(cfg, progress=False)
    assert result.findings == []
    content = json.loads((sound / 'train.json').read_text())
    discs = sum(annotation['category_id'] == 1 for annotation in content['annotations'])
    train = result.counts['train']
    assert (train.images, train.samples, train.boxes, train.images_looked_at) == (4, 4, 8, 4)
    assert train.classes == {'disc': discs, 'square': 8 - discs}
    assert result.heads == {'roi_head.bbox_head': 2, 'roi_head.mask_head': 2}
    assert 'Nothing odd was found.' in summary_text(result)


@pytest.mark.parametrize(
    ('edit', 'kind', 'annotation_id'),
    [
        (first(bbox=[10, float('nan'), 20, 20]), 'nan_box', 0),
        (first(category_id=77), 'undefined_category', 0),
        (first(id=5), 'duplicate_annotation_id', 5),
        (first(segmentation=dict(size=[50, 80], counts=[4000])), 'mask_size', 0),
        (first(segmentation=None), 'missing_mask', 0),
    ],
)
def test_annotations_that_stop_a_training_are_errors(folder, edit, kind, annotation_id):
    change(folder, 'train', edit)
    result = check(folder)
    assert result.num_errors >= 1
    (finding,) = [finding for finding in result.findings if finding.kind == kind]
    assert (finding.severity, finding.annotation_id, finding.part) == ('error', annotation_id, 'data.train')
    assert finding.fix and finding.path.endswith(finding.file)


@pytest.mark.parametrize(
    ('edit', 'kind'),
    [
        (first(bbox=[10, 10, -5, 8]), 'no_size_box'),
        (first(bbox=[80, 10, 40, 8]), 'outside_box'),
        (first(segmentation=[[10, 10, 120, 10, 120, 30]]), 'outside_polygon'),
        (lambda content: content['annotations'].append({**content['annotations'][0], 'id': 99}), 'duplicate_box'),
    ],
)
def test_annotations_that_training_passes_over_are_warnings(folder, edit, kind):
    change(folder, 'train', edit)
    result = check(folder)
    assert told(result) == [('warning', kind, 'data.train')] and result.num_errors == 0


def corners(content):
    for annotation in content['annotations']:
        x, y, w, h = annotation['bbox']
        annotation['bbox'] = [x, y, x + w, y + h]


def test_boxes_written_as_corners(folder):
    change(folder, 'train', corners)
    kinds = told(check(folder))
    assert ('error', 'other_layout', 'data.train') in kinds and ('error', 'cannot_build', 'data.train') in kinds


def add_category(content):
    content['categories'].append(dict(id=9, name='star'))
    content['annotations'].append({**content['annotations'][0], 'id': 99, 'category_id': 9, 'bbox': [1, 1, 9, 9]})


def test_a_category_that_was_added_in_one_file(folder):
    change(folder, 'val', add_category)
    result = check(folder)
    assert told(result) == [('warning', 'added_category', 'data.val')]
    assert "only data.val has category 'star'" in result.findings[0].what


def test_class_lists_in_another_order(folder):
    (folder / 'other.txt').write_text('square\ndisc\n')  # a list in the config itself stops at its reading
    result = check(folder, f"\ndata['val']['classes'] = '{folder}/other.txt'\n", parts=['train', 'val'])
    assert [finding.what for finding in result.findings if finding.kind == 'class_lists'] == [
        "the classes of data.train and data.val hold the same names in another order: class 0 is 'disc' in one and "
        "'square' in the other. Set the same classes=(...) in data.train, val and test"
    ]


def test_heads_of_another_number_of_classes_are_listed(folder):
    result = check(folder, "\nmodel['roi_head']['mask_head']['num_classes'] = 80\n")
    (finding,) = result.findings
    assert finding.kind == 'num_classes' and 'model.roi_head.mask_head.num_classes=80' in finding.what
    assert 'bbox_head' not in finding.what


def damage(folder):
    paths = sorted((folder / 'train').glob('*.png'))
    paths[0].unlink()
    paths[1].write_bytes(paths[1].read_bytes()[:500])
    cv2.imwrite(str(paths[2]), np.zeros((40, 50, 3), np.uint8))
    cv2.imwrite(str(paths[3]), np.zeros((96, 96, 3), np.uint16))


def test_images_missing_damaged_of_another_size_or_kind(folder):
    damage(folder)
    result = check(folder)
    found = {finding.kind: finding.file for finding in result.findings}
    assert found == dict(
        missing_image='train_0.png', unreadable_image='train_1.png', wrong_size_image='train_2.png',
        sixteen_bit_image='train_3.png',
    )  # fmt: skip
    without = check(folder, images=False)
    assert [finding.kind for finding in without.findings] == ['missing_image']
    assert check(folder, max_images=1).counts['val'].images_looked_at == 1


def test_an_image_of_train_and_val_is_found_by_its_bytes_and_by_its_path(folder):
    shutil.copy(folder / 'train/train_1.png', folder / 'val/val_0.png')
    (finding,) = check(folder).findings
    assert (finding.kind, finding.part, finding.file.endswith('val_0.png')) == ('shared_image', 'data.val', True)
    same = check(folder, "\ndata['val'] = dict(data['train'], pipeline=test_pipeline)\n", parts=['train', 'val'])
    assert told(same) == [('warning', 'shared_image', 'data.val')] * 4


@pytest.mark.parametrize(
    'wrapped',
    [
        "dict(type='RepeatDataset', times=2, dataset=data['train'])",
        "dict(type='ConcatDataset', datasets=[data['train'], data['val'] | dict(pipeline=train_pipeline)])",
        "dict(data['train'], ann_file=[data['train']['ann_file']] * 2)",
        "dict(type='ClassBalancedDataset', oversample_thr=0.5, dataset=data['train'])",
        "dict(type='MultiImageMixDataset', dataset=data['train'], pipeline=[dict(type='RandomFlip', flip_ratio=0.5)])",
        "[data['train'], data['train']]",
    ],
)
def test_data_sets_in_wrappers_are_looked_into(folder, wrapped):
    change(folder, 'train', first(bbox=[10, 10, 0, 8]))
    result = check(folder, f'\ndata["train"] = {wrapped}\n', parts=['train'])
    assert [finding.kind for finding in result.findings] == ['no_size_box']
    assert result.findings[0].part.startswith('data.train') and result.counts['train'].samples >= 4


def test_the_middle_format_and_its_labels(folder):
    ann = dict(bboxes=[[1, 1, 9, 9], [5, 5, 5, 9]], labels=[0, 1])
    entries = [dict(filename='train_0.png', width=96, height=96, ann=ann)]
    (folder / 'middle.json').write_text(json.dumps(entries))
    extra = (
        f"\ndata['train'].update(type='CustomDataset', ann_file='{folder}/middle.json')\n"
        "train_pipeline[1]['with_mask'] = False\ntrain_pipeline[-1]['keys'].remove('gt_masks')\n"
    )
    result = check(folder, extra + "model['roi_head'].pop('mask_head')\n", parts=['train'], images=False)
    kinds = {(finding.kind, finding.annotation_id) for finding in result.findings if finding.part == 'data.train'}
    assert kinds == {('no_size_box', 1)}
    entries[0]['ann']['labels'] = [0, 7]
    (folder / 'middle.json').write_text(json.dumps(entries))
    result = check(folder, extra, parts=['train'], images=False)
    assert ('error', 'undefined_category', 'data.train') in told(result)


@pytest.mark.parametrize(
    ('content', 'fragment'),
    [
        ('{"images": [', 'is not valid JSON'),
        ('[]', 'expected a COCO dict, got a list'),
        ('{"images": [{"file_name": "a.jpg"}], "annotations": [], "categories": []}', "no 'id'"),
    ],
)
def test_files_that_are_no_annotations_end_in_a_sentence(folder, content, fragment):
    (folder / 'train.json').write_text(content)
    (finding, *_) = [finding for finding in check(folder, parts=['train']).findings if finding.kind == 'cannot_build']
    assert finding.severity == 'error' and fragment in finding.what and 'train.json' in finding.what


def test_the_report_has_a_row_for_each_finding_and_a_picture_for_each_image(folder, tmp_path):
    damage(folder)
    change(folder, 'val', first(bbox=[10, 10, 0, 8]))
    result = check(folder)
    paths = {path.name: path for path in write_report(result, tmp_path / 'out')}
    with open(paths['findings.csv'], newline='') as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(result.findings) == 5
    flat = next(row for row in rows if row['check'] == 'no_size_box')
    assert (flat['part'], flat['file'], flat['image_id'], flat['annotation_id']) == ('data.val', 'val_0.png', '0', '0')
    summary = json.loads(paths['summary.json'].read_text())
    assert summary['totals'] == dict(error=3, warning=2, note=0)
    assert summary['parts']['train']['found']['missing_image'] == 1
    sheet = cv2.imread(str(paths['suspicious.jpg']))
    assert sheet is not None and sheet.shape[1] > 5 * 240


def test_pictures_are_shared_among_the_kinds(folder):
    for split in ('train', 'val'):
        change(folder, split, lambda content: [a.update(bbox=[a['id'], 9, 0, 8]) for a in content['annotations'][1:]])
    (folder / 'train/train_0.png').unlink()
    chosen = choose_pictures(check(folder).findings, 3)
    assert [finding.kind for finding in chosen] == ['missing_image', 'no_size_box', 'no_size_box']
