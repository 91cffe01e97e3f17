from __future__ import annotations

import importlib.util
import json
import logging

import numpy as np
import pytest

from mmdet_clone.datasets import CocoDataset
from mmdet_clone.datasets.coco_results import records
from mmdet_clone.evaluation.coco import BACKENDS, choose_backend, coco_eval

# COCOeval's published numbers for the fake results: AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100, ARs, ARm, ARl
PUBLISHED = dict(
    bbox=[0.5046, 0.6970, 0.5730, 0.5856, 0.5194, 0.5014, 0.3868, 0.5937, 0.5954, 0.6398, 0.5664, 0.5643],
    segm=[0.3195, 0.5623, 0.2989, 0.3874, 0.3102, 0.3269, 0.2682, 0.4154, 0.4168, 0.4695, 0.3768, 0.3815],
)
ITEMS = ['mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l']


@pytest.fixture(scope='module')
def parity(shared):
    folder = shared / 'data/metric_parity'

    def load(name):
        return json.loads((folder / name).read_text())

    found = {kind: load(f'instances_val2014_fake{kind}100_results.json') for kind in PUBLISHED}
    return load('instances_val2014_100.json'), found


@pytest.mark.parametrize('kind', list(PUBLISHED))
@pytest.mark.parametrize('backend', BACKENDS)
def test_the_published_numbers_come_out(parity, kind, backend):
    numbers = coco_eval(parity[0], parity[1][kind], kind, backend=backend).numbers()
    assert list(numbers.values()) == pytest.approx(PUBLISHED[kind], abs=6e-5)


@pytest.mark.parametrize('kind', list(PUBLISHED))
@pytest.mark.parametrize('use_cats', [True, False])
def test_both_libraries_agree_to_the_last_digits(parity, kind, use_cats):
    first, second = (
        coco_eval(parity[0], parity[1][kind], kind, (100, 300, 1000), use_cats=use_cats, backend=backend)
        for backend in BACKENDS
    )
    np.testing.assert_allclose(first.precision, second.precision, rtol=0, atol=1e-12)
    np.testing.assert_allclose(first.recall, second.recall, rtol=0, atol=1e-12)
    assert list(first.numbers().values()) == pytest.approx(list(second.numbers().values()), abs=1e-12)


def test_the_twelve_numbers_are_those_of_pycocotools_own_summary(parity, shared, capsys):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    folder = shared / 'data/metric_parity'
    truth = COCO(str(folder / 'instances_val2014_100.json'))
    peer = COCOeval(truth, truth.loadRes(str(folder / 'instances_val2014_fakebbox100_results.json')), 'bbox')
    peer.params.maxDets = [100, 300, 1000]
    for step in (peer.evaluate, peer.accumulate, peer.summarize):
        step()
    ours = coco_eval(parity[0], parity[1]['bbox'], max_dets=(100, 300, 1000))
    assert list(ours.numbers().values()) == pytest.approx(list(peer.stats), abs=1e-12)
    printed = [line.rpartition('= ')[0] for line in capsys.readouterr().out.splitlines() if '@[' in line]
    titles = [line.rpartition('= ')[0] for line in ours.summary().splitlines()]
    assert [title.replace(' ', '') for title in titles] == [line.replace(' ', '') for line in printed]


def test_evaluating_changes_neither_argument(parity):
    before = json.dumps([parity[0], parity[1]['segm']])
    coco_eval(parity[0], parity[1]['segm'], 'segm', backend='pycocotools')
    coco_eval(parity[0], parity[1]['segm'], 'segm')
    assert json.dumps([parity[0], parity[1]['segm']]) == before


def test_results_in_double_precision_stay_as_they_are():
    box, proposal = np.array([[10.0, 10, 50, 50, 0.9]]), np.array([[10.0, 10, 50, 50, 0.9]])
    mask = np.ones((60, 60), dtype=np.uint8)
    found = records([([box], [[mask]])], [1], [1])
    assert found['bbox'][0]['bbox'] == found['segm'][0]['bbox'] == [10, 10, 40, 40]
    assert records([proposal], [1], [1])['proposal'][0]['bbox'] == [10, 10, 40, 40]
    assert box.tolist() == proposal.tolist() == [[10, 10, 50, 50, 0.9]]


# ---------------------------------------------------------------------- through a data set


@pytest.fixture
def toy_dataset(tmp_path):
    """Two images; a cat of 40x40 pixels in each, a dog of 20x20 in the first."""
    square = [[10, 10, 50, 10, 50, 50, 10, 50]]
    content = dict(
        images=[dict(id=i, file_name=f'{i}.jpg', width=100, height=100) for i in (1, 2)],
        annotations=[
            dict(id=0, image_id=1, category_id=3, bbox=[10, 10, 40, 40], area=1600, iscrowd=0, segmentation=square),
            dict(id=1, image_id=2, category_id=3, bbox=[10, 10, 40, 40], area=1600, iscrowd=0, segmentation=square),
            dict(id=2, image_id=1, category_id=7, bbox=[60, 60, 20, 20], area=400, iscrowd=0, segmentation=square),
        ],
        categories=[dict(id=3, name='cat'), dict(id=7, name='dog')],
    )
    path = tmp_path / 'toy.json'
    path.write_text(json.dumps(content))
    return CocoDataset(str(path), [], classes=['cat', 'dog'], test_mode=True)


NONE = np.zeros((0, 5), dtype=np.float32)
CAT = np.array([[10, 10, 50, 50, 0.9]], dtype=np.float32)
DOG = np.array([[60, 60, 80, 80, 0.8]], dtype=np.float32)


def test_perfect_boxes_score_one_and_half_of_the_cats_a_half(toy_dataset):
    numbers = toy_dataset.evaluate([[CAT, DOG], [CAT, NONE]], logger='silent')
    assert [numbers[f'bbox_{item}'] for item in ITEMS] == [1, 1, 1, 1, 1, -1]
    assert numbers['bbox_mAP_copypaste'] == '1.000 1.000 1.000 1.000 1.000 -1.000'
    half = toy_dataset.evaluate([[CAT, DOG], [NONE, NONE]], logger='silent')
    # 51 of 101 recall points of the cats have precision 1
    assert half['bbox_mAP'] == round((51 / 101 + 1) / 2, 4)


def test_annotation_id_zero_counts_like_any_other(toy_dataset):
    for backend in BACKENDS:
        assert toy_dataset.evaluate([[CAT, DOG], [CAT, NONE]], logger='silent', backend=backend)['bbox_mAP'] == 1


def test_labels_are_matched_by_class_name_order(toy_dataset):
    swapped = CocoDataset(toy_dataset.ann_file, [], classes=['dog', 'cat'], test_mode=True)
    assert swapped.evaluate([[DOG, CAT], [NONE, CAT]], logger='silent')['bbox_mAP'] == 1


@pytest.mark.parametrize('encoded', [False, True])
def test_masks(toy_dataset, encoded):
    from pycocotools import mask as mask_api

    right = np.zeros((100, 100), dtype=np.uint8)
    right[10:50, 10:50] = 1
    wrong = np.zeros_like(right)
    wrong[:5, :5] = 1
    if encoded:
        right, wrong = (mask_api.encode(np.asfortranarray(mask)) for mask in (right, wrong))
    results = [([CAT, NONE], [[right], []]), ([CAT, NONE], [[wrong], []])]
    numbers = toy_dataset.evaluate(results, metric=['bbox', 'segm'], logger='silent')
    assert numbers['segm_mAP_50'] == round(51 / 101 / 2, 4) and numbers['bbox_mAP_50'] == 0.5  # the dog has none
    scored = [(boxes, (masks, [[1.0], []])) for boxes, masks in results]
    assert toy_dataset.evaluate(scored, 'segm', logger='silent')['segm_mAP'] == numbers['segm_mAP']


def test_the_area_of_a_detected_mask_is_the_masks_not_its_boxes(toy_dataset):
    frame = np.zeros((100, 100), dtype=np.uint8)
    frame[0:60, 0:2] = 1  # 120 pixels in a box of 60x60
    box = np.array([[0, 0, 60, 60, 0.9]], dtype=np.float32)
    records = toy_dataset._records([([box, NONE], [[frame], []]), ([NONE, NONE], [[], []])])
    scores = coco_eval(toy_dataset._ground_truth(), records['segm'], 'segm', backend='pycocotools')
    # unmatched and small: it counts as false among small objects only where it is small itself
    assert scores.ap(area='small') == 0


def test_no_detection_at_all_scores_zero_and_says_so(toy_dataset, capsys):
    none = [([NONE, NONE], [[], []])] * 2
    for backend in BACKENDS:
        numbers = toy_dataset.evaluate(none, ['bbox', 'segm', 'proposal'], backend=backend)
        assert numbers['bbox_mAP'] == numbers['segm_mAP'] == numbers['AR@100'] == 0
    assert 'hold no detection at all' in capsys.readouterr().out


def test_proposals_are_scored_whatever_their_class(toy_dataset):
    proposals = [np.concatenate([DOG, CAT]), CAT[:, :5]]
    numbers = toy_dataset.evaluate(proposals, 'proposal', logger='silent')
    assert list(numbers) == ['AR@100', 'AR@300', 'AR@1000', 'AR_s@1000', 'AR_m@1000', 'AR_l@1000']
    assert [*numbers.values()] == [1, 1, 1, 1, 1, -1]
    fast = toy_dataset.evaluate(proposals, 'proposal_fast', logger='silent', proposal_nums=(1, 10))
    assert fast == {'AR@1': pytest.approx(2 / 3), 'AR@10': 1}
    by_class = toy_dataset.evaluate([[CAT, DOG], [CAT, NONE]], 'proposal_fast', logger='silent', proposal_nums=(1, 10))
    assert by_class == fast
    with pytest.raises(ValueError, match="cannot evaluate 'bbox': the results hold proposal only"):
        toy_dataset.evaluate(proposals, 'bbox', logger='silent')


def test_all_measures_in_one_call(toy_dataset, capsys):
    mask = np.zeros((100, 100), dtype=np.uint8)
    mask[10:50, 10:50] = 1  # the polygons of the cats, and of the dog
    results = [([CAT, DOG], [[mask], [mask]]), ([CAT, NONE], [[mask], []])]
    numbers = toy_dataset.evaluate(results, metric=['bbox', 'segm', 'proposal', 'proposal_fast'], classwise=True)
    assert all(numbers[name] == 1 for name in ('bbox_mAP', 'segm_mAP_50', 'AR@100', 'AR_m@1000'))
    out = capsys.readouterr().out
    assert out.count('Average') == 3 * 12 and out.count('| category | AP ') == 2 * 2  # two classes beside each other


def test_two_measures_of_proposals_in_one_call_are_both_written(toy_dataset, capsys):
    results = [[CAT, NONE], [CAT, NONE]]  # the dog is missed
    numbers = toy_dataset.evaluate(results, ['proposal', 'proposal_fast'])
    out = capsys.readouterr().out
    assert numbers['AR@100'] == pytest.approx(2 / 3) and 'those of proposal_fast returned' in out
    assert out.count('0.6667') == 3 + 3 and 'Evaluating proposal...' in out and 'Evaluating proposal_fast...' in out
    assert 'those of' not in (toy_dataset.evaluate(results, 'proposal') and capsys.readouterr().out)


def test_annotations_without_an_object_are_told(toy_dataset, capsys):
    toy_dataset.coco.imgToAnns = {}
    assert toy_dataset.evaluate([[CAT, DOG], [CAT, NONE]])['bbox_mAP'] == -1
    assert 'The annotations hold no object of the classes: every bbox number is -1' in capsys.readouterr().out


@pytest.mark.parametrize('images, categories', [(('a', 'b'), (1, 2)), (('012', '12'), (1, 2)), ((1, 2), ('x', 'y'))])
def test_ids_may_be_names(images, categories):
    """Image 1 and its box are right, image 2 is missed: half of the recall."""
    truth = dict(
        images=[dict(id=i, width=100, height=100) for i in images],
        annotations=[dict(id=1, image_id=i, category_id=categories[0], bbox=[10, 10, 40, 40]) for i in images],
        categories=[dict(id=i, name=str(i)) for i in categories],
    )
    found = [dict(image_id=images[0], category_id=categories[0], bbox=[10, 10, 40, 40], score=0.9)]
    for backend in BACKENDS:
        scores = coco_eval(truth, found, backend=backend)
        assert scores.ar() == 0.5 and scores.ap_of_category(categories[0]) == pytest.approx(51 / 101)


def test_items_thresholds_and_limits_can_be_chosen(toy_dataset):
    near = np.array([[10, 10, 50, 40, 0.9]], dtype=np.float32)  # overlap .75
    results = [[near, DOG], [near, NONE]]
    numbers = toy_dataset.evaluate(
        results, logger='silent', iou_thrs=[0.5, 0.6], metric_items=['mAP', 'mAP_75', 'AR@10'], proposal_nums=(1, 10)
    )
    assert list(numbers) == ['bbox_mAP', 'bbox_mAP_75', 'bbox_AR@10', 'bbox_mAP_copypaste']
    assert [*numbers.values()][:3] == [1, -1, 1]  # .75 was not among the thresholds
    # at .5, .55, ... .75 of ten thresholds the cats are found
    assert toy_dataset.evaluate(results, logger='silent', metric_items='mAP')['bbox_mAP'] == 0.8


@pytest.mark.parametrize('kwargs', [dict(metric='mAP'), dict(metric=['bbox', 'sgm']), dict(metric_items=['mAP_60'])])
def test_unknown_measures_are_refused_before_any_work(toy_dataset, kwargs):
    with pytest.raises(KeyError, match=r'unknown metric.*known: '):
        toy_dataset.evaluate([[CAT, DOG], [CAT, NONE]], **kwargs)


def test_results_that_do_not_fit_the_data_set(toy_dataset):
    with pytest.raises(ValueError, match='1 results for the 2 images'):
        toy_dataset.evaluate([[CAT, DOG]])
    with pytest.raises(ValueError, match='the results have 1 classes, the data set has 2'):
        toy_dataset.evaluate([[CAT], [CAT]])
    with pytest.raises(TypeError, match='must be a list'):
        toy_dataset.evaluate({})
    with pytest.raises(ValueError, match="'segm': the results hold bbox only"):
        toy_dataset.evaluate([[CAT, DOG], [CAT, NONE]], 'segm', logger='silent')


def test_limits_above_a_hundred_are_those_of_the_summary(toy_dataset, capsys):
    toy_dataset.evaluate([[CAT, DOG], [CAT, NONE]], proposal_nums=(10, 1, 300))
    out = capsys.readouterr().out
    assert '@[ IoU=0.50:0.95 | area=   all | maxDets= 300 ] = 1.0000' in out and 'maxDets= 100' not in out
    assert [out.count(f'maxDets={limit:>4} ]') for limit in (1, 10, 300)] == [1, 1, 10]


def test_only_the_limit_s_best_detections_count(toy_dataset):
    wrong = np.array([[0, 0, 9, 9, 0.95]] * 120, dtype=np.float32)
    results = [[np.concatenate([wrong, CAT]), DOG], [CAT, NONE]]
    numbers = toy_dataset.evaluate(
        results, logger='silent', metric_items=['AR@100', 'AR@300'], proposal_nums=(100, 300)
    )
    assert [numbers['bbox_AR@100'], numbers['bbox_AR@300']] == [0.75, 1]  # one of two cats, the dog


def test_detections_of_other_images_and_nan_are_refused(toy_dataset):
    record = dict(image_id=9, category_id=3, bbox=[0, 0, 1, 1], score=1)
    with pytest.raises(ValueError, match=r'1 images that the annotations do not list, first image ids \[9\]'):
        coco_eval(toy_dataset._ground_truth(), [record])
    broken = CAT * np.float32('nan')
    with pytest.raises(ValueError, match='1 of 2 detections of image 1 hold NaN or infinity'):
        toy_dataset.evaluate([[broken, DOG], [CAT, NONE]], logger='silent')
    with pytest.raises(ValueError, match='iou_type must be one of'):
        coco_eval(toy_dataset._ground_truth(), [], 'boxes')


def test_segm_needs_polygons_in_the_annotations(toy_dataset):
    for ann in toy_dataset.coco.anns.values():
        ann.pop('segmentation')
    mask = np.ones((100, 100), dtype=np.uint8)
    with pytest.raises(ValueError, match="3 of 3 annotations have no 'segmentation'"):
        toy_dataset.evaluate([([CAT, NONE], [[mask], []])] * 2, 'segm', logger='silent')


def test_twelve_lines_and_the_class_table_are_written(toy_dataset, capsys, caplog):
    toy_dataset.evaluate([[CAT, NONE], [CAT, NONE]], classwise=True)
    out = capsys.readouterr().out
    assert ' Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets= 100 ] = 0.5000' in out
    assert out.count('Average') == 12
    assert '| cat      | 1.000 | dog      | 0.000 |' in out
    with caplog.at_level(logging.INFO):
        toy_dataset.evaluate([[CAT, NONE], [CAT, NONE]], logger=logging.getLogger('run'))
    assert 'Average Recall' in caplog.text and capsys.readouterr().out == ''


def test_a_class_without_ground_truth_is_nan_in_the_table(toy_dataset, capsys):
    with open(toy_dataset.ann_file) as file:
        content = json.load(file)
    content['categories'].append(dict(id=8, name='emu'))
    with open(toy_dataset.ann_file, 'w') as file:
        json.dump(content, file)
    dataset = CocoDataset(toy_dataset.ann_file, [], classes=['cat', 'dog', 'emu'], test_mode=True)
    numbers = dataset.evaluate([[CAT, DOG, NONE], [CAT, NONE, NONE]], classwise=True)
    assert numbers['bbox_mAP'] == 1 and '| emu      | nan' in capsys.readouterr().out


def test_result_files_are_kept_on_request(toy_dataset, tmp_path):
    toy_dataset.evaluate([[CAT, DOG], [CAT, NONE]], logger='silent', jsonfile_prefix=str(tmp_path / 'kept'))
    assert len(json.loads((tmp_path / 'kept.bbox.json').read_text())) == 3


def test_the_library_is_chosen_by_argument_then_environment_then_speed(monkeypatch, capsys):
    monkeypatch.delenv('MMDET_CLONE_COCO_BACKEND', raising=False)
    assert choose_backend() == 'faster-coco-eval'
    monkeypatch.setenv('MMDET_CLONE_COCO_BACKEND', 'pycocotools')
    assert choose_backend() == 'pycocotools' and choose_backend('faster-coco-eval') == 'faster-coco-eval'
    with pytest.raises(ValueError, match="unknown COCO backend 'cocoapi'"):
        choose_backend('cocoapi')
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None if name == 'faster_coco_eval' else find(name))
    assert choose_backend('faster-coco-eval') == 'pycocotools'
    assert 'faster-coco-eval is not installed: evaluating with pycocotools' in capsys.readouterr().out


def test_real_ground_truth_as_detections_scores_one(shared):
    root = shared / 'data/coco_mini/annotations/instances_val2017.json'
    dataset = CocoDataset(str(root), [], test_mode=True)
    results = []
    for i in range(len(dataset)):
        ann = dataset.get_ann_info(i)
        boxes = np.concatenate([ann['bboxes'], np.full((len(ann['bboxes']), 1), 0.9, dtype=np.float32)], axis=1)
        rows = dataset.coco.loadAnns(ann['ann_ids'])
        boxes_of = [boxes[ann['labels'] == label] for label in range(80)]
        masks_of = [
            [dataset.coco.annToMask(a) for a, x in zip(rows, ann['labels'], strict=True) if x == k] for k in range(80)
        ]
        results.append((boxes_of, masks_of))
    numbers = dataset.evaluate(results, ['bbox', 'segm'], logger='silent')
    assert numbers['bbox_mAP'] == pytest.approx(1, abs=2e-3) and numbers['segm_mAP'] == pytest.approx(1, abs=2e-3)
