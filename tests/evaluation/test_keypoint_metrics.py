"""Object keypoint similarity: the published numbers, and cases counted by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmdet_clone.datasets import CocoDataset
from mmdet_clone.evaluation.coco import BACKENDS, coco_eval

# COCOeval on ../shared/data/metric_parity: AP AP50 AP75 APm APl AR AR50 AR75 ARm ARl
PUBLISHED = [0.5049, 0.7227, 0.6336, 0.4663, 0.7505, 0.5182, 0.7273, 0.6364, 0.4667, 0.7500]
NAMES = ['mAP', 'mAP_50', 'mAP_75', 'mAP_m', 'mAP_l', 'AR@20', 'AR_50@20', 'AR_75@20', 'AR_m@20', 'AR_l@20']


@pytest.fixture(scope='module')
def parity(shared):
    folder = shared / 'data/metric_parity'
    return [json.loads((folder / f'keypoints_{part}.json').read_text()) for part in ('gt', 'dt')]


@pytest.mark.parametrize('backend', BACKENDS)
def test_the_published_numbers_come_out(parity, backend):
    before = json.dumps(parity)
    numbers = coco_eval(*parity, 'keypoints', backend=backend).numbers()
    assert list(numbers) == NAMES
    assert list(numbers.values()) == pytest.approx(PUBLISHED, abs=1e-4)  # published to four digits, cut
    assert json.dumps(parity) == before


def test_they_are_pycocotools_own_to_the_last_digits(parity, shared, capsys):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    folder = shared / 'data/metric_parity'
    truth = COCO(str(folder / 'keypoints_gt.json'))
    peer = COCOeval(truth, truth.loadRes(str(folder / 'keypoints_dt.json')), 'keypoints')
    for step in (peer.evaluate, peer.accumulate, peer.summarize):
        step()
    capsys.readouterr()
    for backend in BACKENDS:
        numbers = coco_eval(*parity, 'keypoints', backend=backend).numbers()
        assert list(numbers.values()) == pytest.approx(list(peer.stats), abs=1e-12)


# ---------------------------------------------------------------------- through a data set


@pytest.fixture
def content():
    """Two images with a person of 100x100 pixels, whose three keypoints (one not labelled) lie on a line."""
    keypoints = [20, 20, 2, 50, 50, 2, 0, 0, 0]
    return dict(
        images=[dict(id=i, file_name=f'{i}.jpg', width=200, height=200) for i in (1, 2)],
        annotations=[
            dict(
                id=i,
                image_id=i,
                category_id=1,
                bbox=[0, 0, 100, 100],
                area=10000,
                iscrowd=0,
                keypoints=keypoints,
                num_keypoints=2,
            )
            for i in (1, 2)
        ],
        categories=[dict(id=1, name='person', keypoints=['head', 'hip', 'foot'])],
    )


@pytest.fixture
def make(tmp_path, content):
    def build():
        (tmp_path / 'truth.json').write_text(json.dumps(content))
        return CocoDataset(str(tmp_path / 'truth.json'), [], classes=['person'], test_mode=True)

    return build


BOX = np.array([[0, 0, 100, 100, 0.9]], dtype=np.float32)
RIGHT = np.array([[[20, 20, 0.9], [50, 50, 0.9], [150, 150, 0.1]]], dtype=np.float32)


def results(*keypoints):
    return [([BOX], None, [points]) for points in keypoints]


def test_right_keypoints_score_one_wherever_the_unlabelled_lies(make):
    numbers = make().evaluate(results(RIGHT, RIGHT), 'keypoints', logger='silent', sigmas=[0.05] * 3)
    assert list(numbers) == [*(f'keypoints_{name}' for name in NAMES), 'keypoints_mAP_copypaste']
    assert [numbers[f'keypoints_{name}'] for name in NAMES] == [1, 1, 1, -1, 1, 1, 1, 1, -1, 1]


def test_similarity_falls_with_the_distance(make):
    # exp(-d^2 / (2 s^2 k^2)) with s^2 = 10000, k = 2 sigma = .1: d = 10 sqrt(2 ln 2) gives 1/2; the mean with 1 is 3/4
    near = RIGHT.copy()
    near[0, 0, 0] += 10 * np.sqrt(2 * np.log(2)) - 1e-3
    options = dict(logger='silent', sigmas=[0.05] * 3)
    for backend in BACKENDS:
        numbers = make().evaluate(results(near, near), 'keypoints', backend=backend, **options)
        assert numbers['keypoints_mAP_75'] == 1 and numbers['keypoints_mAP'] == 0.6  # of ten thresholds six
    tight = make().evaluate(results(near, near), 'keypoints', logger='silent', sigmas=[0.01] * 3)
    assert tight['keypoints_mAP_50'] == 1 and tight['keypoints_mAP_75'] == 0  # only the other point is near: 1/2


def test_boxes_and_keypoints_of_one_result(make, tmp_path, capsys):
    given = results(RIGHT, np.zeros((0, 3, 3), dtype=np.float32))
    given[1] = ([np.zeros((0, 5), dtype=np.float32)], *given[1][1:])
    numbers = make().evaluate(
        given,
        ['bbox', 'keypoints'],
        jsonfile_prefix=str(tmp_path / 'kept'),
        sigmas=[0.05] * 3,
        metric_items=['mAP_l'],
        classwise=True,
    )
    assert numbers['bbox_mAP_l'] == numbers['keypoints_mAP_l'] == round(51 / 101, 4)
    records = json.loads((tmp_path / 'kept.keypoints.json').read_text())
    assert [sorted(record) for record in records] == [['category_id', 'image_id', 'keypoints', 'score']]
    assert records[0]['keypoints'] == pytest.approx([20, 20, 0.9, 50, 50, 0.9, 150, 150, 0.1])
    assert 'Average Recall     (AR) @[ IoU=0.75      | area=   all | maxDets=  20 ] = 0.5000' in capsys.readouterr().out


def test_persons_without_keypoints_do_not_count(make, content):
    del content['annotations'][1]['keypoints'], content['annotations'][1]['num_keypoints']
    numbers = make().evaluate(results(RIGHT, RIGHT), 'keypoints', logger='silent', sigmas=[0.05] * 3)
    assert numbers['keypoints_mAP'] == 1


def test_what_does_not_fit_is_refused(make, content):
    with pytest.raises(ValueError, match=r'have 3 keypoints .*sigmas has 17, those of COCO: give sigmas=\[...\]'):
        make().evaluate(results(RIGHT, RIGHT), 'keypoints', logger='silent')
    with pytest.raises(ValueError, match="cannot evaluate 'keypoints': the results hold bbox only"):
        make().evaluate([[BOX], [BOX]], 'keypoints', logger='silent')
    with pytest.raises(ValueError, match='image 2: 2 keypoints for 1 boxes'):
        make().evaluate(results(RIGHT, np.concatenate([RIGHT, RIGHT])), 'keypoints', logger='silent')
    for ann in content['annotations']:
        del ann['keypoints']
    with pytest.raises(ValueError, match="2 of 2 annotations have no 'keypoints'"):
        make().evaluate(results(RIGHT, RIGHT), 'keypoints', logger='silent', sigmas=[0.05] * 3)


def test_real_annotations_as_results_score_one(shared):
    path = next((shared / 'data/coco_mini/annotations').glob('person_keypoints*'), None)
    if path is None:
        pytest.skip('no person_keypoints file in ../shared/data/coco_mini')
    dataset = CocoDataset(str(path), [], classes=['person'], test_mode=True)
    given = []
    for info in dataset.data_infos:
        anns = [a for a in dataset.coco.imgToAnns.get(info['id'], ()) if a['num_keypoints'] and not a['iscrowd']]
        boxes = np.array([[*a['bbox'], 1] for a in anns], dtype=np.float32).reshape(-1, 5)
        boxes[:, 2:4] += boxes[:, :2]
        given.append(([boxes], None, [np.array([a['keypoints'] for a in anns], dtype=np.float32).reshape(-1, 17, 3)]))
    numbers = dataset.evaluate(given, 'keypoints', logger='silent')
    # of more than 20 persons in an image some are not counted
    assert numbers['keypoints_mAP'] > 0.97
