"""COCO's panoptic format as a data set: what it loads, evaluates, writes and refuses."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from mmdet_clone.datasets import CocoPanopticDataset
from mmdet_clone.structures.panoptic import INSTANCE_OFFSET, pack_map

CLASSES = ['cat', 'dog', 'grass']


def write_map(path, ids):
    ids = np.asarray(ids)
    cv2.imwrite(str(path), np.stack([ids // 256**2, ids // 256 % 256, ids % 256], axis=-1).astype(np.uint8))


TRUTH = np.zeros((40, 40), dtype=int)
TRUTH[:20, :20], TRUTH[:20, 20:], TRUTH[20:] = 70001, 300, 9  # a cat, a crowd of dogs, grass


@pytest.fixture
def content():
    segments = [
        dict(id=70001, category_id=3, iscrowd=0, bbox=[0, 0, 20, 20], area=400),
        dict(id=300, category_id=7, iscrowd=1, bbox=[20, 0, 20, 20], area=400),
        dict(id=9, category_id=8, iscrowd=0, bbox=[0, 20, 40, 20], area=800),
    ]
    return dict(
        images=[dict(id=i, file_name=f'{i}.jpg', width=40, height=40) for i in (1, 2)],
        annotations=[
            dict(image_id=1, file_name='1.png', segments_info=segments),
            dict(image_id=2, file_name='2.png', segments_info=segments[:1]),
        ],
        categories=[dict(id=i, name=name, isthing=int(i < 8)) for i, name in zip((3, 7, 8), CLASSES, strict=True)],
    )


@pytest.fixture
def make(tmp_path, content):
    """A data set of what ``content`` holds by then; image 2 is the cat alone."""
    write_map(tmp_path / '1.png', TRUTH)
    write_map(tmp_path / '2.png', np.where(TRUTH == 70001, TRUTH, 0))

    def build(**kwargs):
        (tmp_path / 'panoptic.json').write_text(json.dumps(content))
        given = dict(classes=CLASSES, seg_prefix='', data_root=str(tmp_path), test_mode=True, **kwargs)
        return CocoPanopticDataset('panoptic.json', [], **given)

    return build


# cat, dog, grass, void have the labels 0, 1, 2, 3
RIGHT = np.full((40, 40), 3)
RIGHT[:20, :20], RIGHT[20:] = 0 + INSTANCE_OFFSET, 2
CAT_ONLY = np.where(RIGHT == INSTANCE_OFFSET, RIGHT, 3)


def results(first=RIGHT, second=CAT_ONLY):
    return [dict(pan_results=first), dict(pan_results=second)]


def test_things_become_boxes_and_segments_masks(make):
    info = make().get_ann_info(0)
    assert info['bboxes'].tolist() == [[0, 0, 20, 20]] and info['labels'].tolist() == [0]
    assert info['bboxes_ignore'].tolist() == [[20, 0, 40, 20]]
    assert info['masks'] == [
        dict(id=70001, category=0, is_thing=True),
        dict(id=300, category=1, is_thing=False),  # a crowd is no object to learn
        dict(id=9, category=2, is_thing=False),
    ]
    assert info['seg_map'] == '1.png'


def test_the_classes_and_colours_are_those_of_coco(shared):
    with open(shared / 'data/panoptic_sample/panoptic_coco_categories.json') as file:
        categories = json.load(file)
    assert list(CocoPanopticDataset.CLASSES) == [category['name'] for category in categories]
    assert [list(colour) for colour in CocoPanopticDataset.PALETTE] == [category['color'] for category in categories]
    assert len(CocoPanopticDataset.THING_CLASSES) == 80 and len(CocoPanopticDataset.STUFF_CLASSES) == 53


def test_a_perfect_result_has_quality_one_hundred(make, capsys):
    for given in (results(), [dict(pan_results=pack_map(r['pan_results'])) for r in results()]):
        numbers = make().evaluate(given, classwise=True)
        names = ['PQ', 'SQ', 'RQ', 'PQ_th', 'SQ_th', 'RQ_th', 'PQ_st', 'SQ_st', 'RQ_st']
        assert list(numbers) == [*names, 'PQ_copypaste']
        assert [numbers[name] for name in names] == [100] * 9
        assert numbers['PQ_copypaste'] == ' '.join(['100.000'] * 9)
    out = capsys.readouterr().out
    assert '| All    | 100.000 | 100.000 | 100.000 | 2          |' in out  # nothing but a crowd shows dogs
    assert '| grass    | 100.000 | 100.000 | 100.000 |' in out and '| dog      | nan     |' in out
    assert make().evaluate(results(), metric='pq', logger='silent')['PQ'] == 100 and capsys.readouterr().out == ''


def test_quality_counted_by_hand(make):
    half_cat = RIGHT.copy()
    half_cat[:5, :20] = 3  # 300 of 400 pixels: IoU .75
    wrong = np.full((40, 40), 3)
    wrong[20:] = 2  # where image 2 is void: excused; its cat is missed
    numbers = make().evaluate(results(half_cat, wrong), logger='silent')
    # cat: .75 / (1 + .5), grass 1
    assert (numbers['PQ_th'], numbers['PQ_st']) == (pytest.approx(50), 100)
    assert (numbers['SQ_th'], numbers['RQ_th']) == (pytest.approx(75), pytest.approx(100 / 1.5))
    assert numbers['PQ'] == pytest.approx(75)


def test_classes_left_out_are_not_evaluated_but_are_not_void(make):
    dataset = make()
    some = CocoPanopticDataset(dataset.ann_file, [], classes=['cat'], seg_prefix=dataset.seg_prefix, test_mode=True)
    void_but_cat = np.where(RIGHT == INSTANCE_OFFSET, RIGHT, 1)
    assert some.evaluate(results(void_but_cat, void_but_cat), logger='silent')['PQ'] == 100
    on_grass = void_but_cat.copy()
    on_grass[20:] = 2 * INSTANCE_OFFSET  # a cat that is grass: a false positive in image 1, excused in image 2
    numbers = some.evaluate(results(on_grass, on_grass), logger='silent')
    assert numbers['RQ'] == pytest.approx(100 * 2 / 2.5)


def test_results_are_written_as_png_and_json(make, tmp_path):
    dataset = make()
    written, folder = dataset.format_results(results(), jsonfile_prefix=str(tmp_path / 'out/x'))
    assert folder is None and written == {'panoptic': str(tmp_path / 'out/x.panoptic.json')}
    with open(written['panoptic']) as file:
        first = json.load(file)['annotations'][0]
    assert first == dict(
        image_id=1,
        file_name='1.png',
        segments_info=[
            dict(id=2, category_id=8, isthing=0, area=800),
            dict(id=1000, category_id=3, isthing=1, area=400),
        ],
    )
    image = cv2.imread(str(tmp_path / 'out/panoptic/1.png')).astype(int)
    assert (image[..., 2] + 256 * image[..., 1] == np.where(RIGHT == 3, 0, RIGHT)).all()


def test_real_annotations_as_results_have_full_quality(shared):
    root = shared / 'data/coco_panoptic20'
    dataset = CocoPanopticDataset(
        str(root / 'panoptic_val2017.json'), [], seg_prefix=str(root / 'panoptic_val2017'), test_mode=True
    )
    found = []
    for i in range(len(dataset)):
        info = dataset.get_ann_info(i)
        image = cv2.imread(str(root / 'panoptic_val2017' / info['seg_map'])).astype(int)
        ids = image[..., 2] + 256 * image[..., 1] + 256**2 * image[..., 0]
        result = np.full(ids.shape, 133)
        crowds = {s['id'] for s in dataset.coco.imgToAnns[dataset.data_infos[i]['id']] if s['iscrowd']}
        for number, segment in enumerate(info['masks'], 1):
            if segment['id'] not in crowds:
                instance = number * INSTANCE_OFFSET if segment['is_thing'] else 0
                result[ids == segment['id']] = segment['category'] + instance
        found.append(dict(pan_results=result))
    numbers = dataset.evaluate(found, logger='silent', nproc=2)
    assert numbers['PQ'] == numbers['RQ'] == 100


# ---------------------------------------------------------------------- instances


@pytest.fixture
def instances(content, tmp_path):
    square = [[0, 0, 20, 0, 20, 20, 0, 20]]
    things = dict(
        images=content['images'][::-1],
        annotations=[
            dict(id=i, image_id=i, category_id=3, bbox=[0, 0, 20, 20], area=400, iscrowd=0, segmentation=square)
            for i in (1, 2)
        ],
        categories=[dict(id=3, name='cat'), dict(id=7, name='dog')],
    )
    (tmp_path / 'instances.json').write_text(json.dumps(things))


CAT, NONE = np.array([[0, 0, 20, 20, 0.9]], dtype=np.float32), np.zeros((0, 5), dtype=np.float32)


def test_instances_are_evaluated_beside_the_quality(make, instances, tmp_path):
    mask = np.zeros((40, 40), dtype=bool)
    mask[:20, :20] = True
    given = [dict(r, ins_results=([CAT, NONE], [[mask], []])) for r in results()]
    given[1]['ins_results'] = ([NONE, NONE], [[], []])
    dataset = make(ins_ann_file='instances.json')
    numbers = dataset.evaluate(given, ['PQ', 'bbox', 'segm'], logger='silent', jsonfile_prefix=str(tmp_path / 'x'))
    assert numbers['PQ'] == 100
    assert numbers['bbox_mAP'] == numbers['segm_mAP'] == round(51 / 101, 4)  # one of two cats
    assert len(json.loads((tmp_path / 'x.segm.json').read_text())) == 1
    with pytest.raises(ValueError, match='needs ins_ann_file'):
        make().evaluate(given, ['PQ', 'bbox'], logger='silent')
    with pytest.raises(ValueError, match='cannot evaluate boxes: the results hold pan_results'):
        dataset.evaluate(results(), 'bbox', logger='silent')
    (tmp_path / 'instances.json').write_text(json.dumps(dict(images=[], annotations=[], categories=[])))
    with pytest.raises(ValueError, match=r'instances\.json'):
        dataset.evaluate(given, 'bbox', logger='silent')


# ---------------------------------------------------------------------- training


def test_training_images_show_a_thing(content, tmp_path, make):
    content['annotations'][1]['segments_info'] = [dict(content['annotations'][0]['segments_info'][2], id=1)]
    make()
    dataset = CocoPanopticDataset('panoptic.json', [], classes=CLASSES, seg_prefix='', data_root=str(tmp_path))
    assert [info['id'] for info in dataset.data_infos] == [1] == dataset.img_ids
    everything = CocoPanopticDataset(
        'panoptic.json', [], classes=CLASSES, seg_prefix='', data_root=str(tmp_path), filter_empty_gt=False
    )
    assert len(everything) == 2 and everything.get_cat_ids(0) == [3, 7, 8]
    assert everything.get_cat2imgs() == {0: [0], 1: [0], 2: [0, 1]}


# ---------------------------------------------------------------------- wrong data


def test_an_instance_file_is_told_from_a_panoptic_one(make, content):
    content['annotations'] = [dict(id=1, image_id=1, category_id=3, bbox=[0, 0, 5, 5])]
    with pytest.raises(ValueError, match=r"annotation 0 .* no 'file_name' and 'segments_info'"):
        make()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda c: c['categories'][0].pop('isthing'), "1 categories have no 'isthing'"),
        (lambda c: c['annotations'].append(c['annotations'][0]), r'several annotations of the images \[1\]'),
        (lambda c: c['annotations'][0]['segments_info'][2].update(category_id=99), r'does not define, ids \[99\]'),
        (lambda c: c['annotations'][0]['segments_info'][2].update(id=300), 'ids that come twice'),
        (lambda c: c['annotations'][0]['segments_info'][2].pop('bbox'), 'a segment of image 1 has no bbox'),
        (lambda c: c['images'][0].pop('file_name'), "image 1 has no 'file_name'"),
        (lambda c: c.pop('annotations'), "a list 'annotations'"),
    ],
)
def test_a_damaged_file_is_refused(make, content, tmp_path, change, message):
    make()
    change(content)
    (tmp_path / 'damaged.json').write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        CocoPanopticDataset(str(tmp_path / 'damaged.json'), [], classes=CLASSES, test_mode=True)


def test_evaluating_against_damaged_maps_names_them(make, tmp_path):
    dataset = make()
    write_map(tmp_path / '2.png', np.where(TRUTH == 70001, 70002, 0))
    with pytest.raises(ValueError, match=r"2.png': the segments \[70001\] are listed, but no pixel"):
        dataset.evaluate(results(), logger='silent')
    (tmp_path / '2.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'no panoptic map .*2.png'):
        dataset.evaluate(results(), logger='silent')


def test_an_image_without_annotation_is_named_before_matching(make, content):
    content['annotations'].pop()
    with pytest.warns(UserWarning, match='1 of 2 images have no annotation'):
        dataset = make()
    with pytest.raises(ValueError, match="cannot evaluate 'PQ': 1 of 2 images have no annotation"):
        dataset.evaluate(results(), logger='silent')


def test_results_that_do_not_fit_are_refused(make):
    dataset = make()
    with pytest.raises(ValueError, match=r"the result of '1.jpg' is \(20, 40\) pixels"):
        dataset.evaluate(results(RIGHT[:20]), logger='silent')
    with pytest.raises(ValueError, match=r'the labels \[50\], the data set has 3 classes'):
        dataset.evaluate(results(np.full((40, 40), 50)), logger='silent')
    with pytest.raises(ValueError, match='1 results for the 2 images'):
        dataset.evaluate(results()[:1], logger='silent')
    with pytest.raises(TypeError, match="a dict with 'pan_results' or 'ins_results', got list"):
        dataset.evaluate([[CAT], [CAT]], logger='silent')
    with pytest.raises(KeyError, match="unknown metric 'mAP'; known: PQ"):
        dataset.evaluate(results(), 'mAP')
