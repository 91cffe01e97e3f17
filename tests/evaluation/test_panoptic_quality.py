"""Panoptic quality beside published figures, the reference implementation and cases counted by hand."""

from __future__ import annotations

import copy
import json

import cv2
import numpy as np
import pytest

from mmdet_clone.evaluation.panoptic import (
    VOID,
    ImageTask,
    PQCounts,
    Segmentation,
    pq_numbers,
    pq_of_image,
    pq_of_tasks,
    read_id_png,
    segments_of_map,
    write_id_png,
)
from mmdet_clone.structures.panoptic import INSTANCE_OFFSET, pack_map, unpack_map

# ---------------------------------------------------------------------- three images with known PQ

_RGB = [(0, 0, 0), (0, 0, 255), (255, 0, 0), (0, 255, 0), (255, 0, 255), (0, 255, 255), (255, 255, 0)]
COLOURS = {colour: number for number, colour in enumerate(_RGB)}
TEAM = {0: 0, 198: 2, **dict.fromkeys((47, 97, 133, 150, 174, 215, 244, 255), 1)}
TRUTHS = {'team_gt_instance': TEAM, 'bird_gt': {92: 5, 176: 3, 255: 4}, 'cat_gt': {0: 0, 255: 6}}


def grey(path):
    return cv2.imread(str(path))[..., 2].astype(int)


def segmentation(classes, instances, name):
    """Class 0 is void."""
    ids = np.where(classes == 0, VOID, classes * 256 + instances)
    return Segmentation(ids, [dict(id=int(i), category_id=int(i) // 256) for i in np.unique(ids) if i != VOID], name)


def pair(folder, name):
    instances = grey(folder / f'{name}.png')
    stem = name.split('_')[0]
    colours = cv2.imread(str(folder / f'{stem}_pred_class.png'))[..., ::-1]
    predicted = sum(number * (colours == colour).all(axis=-1) for colour, number in COLOURS.items())
    return (
        segmentation(np.vectorize(TRUTHS[name].get)(instances), instances, name),
        segmentation(predicted, grey(folder / f'{stem}_pred_instance.png'), f'{stem} prediction'),
    )


@pytest.mark.parametrize(('names', 'num_classes', 'published'), [
    (['team_gt_instance'], 2, 0.62156284),
    (['bird_gt', 'cat_gt', 'team_gt_instance'], 6, 0.76855499),
])  # fmt: skip
def test_the_published_quality_comes_out(shared, names, num_classes, published):
    counts = PQCounts.zeros(num_classes)
    for name in names:
        counts.add(pq_of_image(*pair(shared / 'data/panoptic_pq', name), range(1, num_classes + 1)))
    # the published figures were computed in single precision
    assert pq_numbers(counts, [True] * num_classes)['PQ'] / 100 == pytest.approx(published, abs=1e-7)


# ---------------------------------------------------------------------- the reference implementation


@pytest.fixture(scope='module')
def coco20(shared):
    root = shared / 'data/coco_panoptic20'
    return json.loads((root / 'panoptic_val2017.json').read_text()), root / 'panoptic_val2017'


def read(path):
    with open(path, 'rb') as file:
        return file.read()


def disturbed(ids, segments, categories, rng):
    """A prediction: the truth, shifted, with some segments lost, merged, of another class, and some added."""
    shift = rng.integers(-12, 13, 2)
    ids = np.roll(ids, shift, axis=(0, 1))
    height, width = ids.shape
    for _ in range(3):  # void, which the reference excuses, and blocks of new segments
        top, left = rng.integers(0, height - 60), rng.integers(0, width - 60)
        ids[top : top + 60, left : left + 60] = rng.choice([VOID, 16_000_000 + rng.integers(1000)])
    category_of = {s['id']: s['category_id'] for s in segments}
    found = []
    for i in np.unique(ids).tolist():
        if i == VOID:
            continue
        if rng.random() < 0.1:
            ids[ids == i] = VOID
        else:
            keep = i in category_of and rng.random() < 0.9
            found.append(dict(id=i, category_id=category_of[i] if keep else int(rng.choice(categories))))
    return ids, found


def test_all_numbers_are_those_of_the_reference(coco20, tmp_path):
    evaluation = pytest.importorskip(
        'panopticapi.evaluation', reason='the reference: pip install --no-deps panopticapi-lite'
    )
    truth, folder = coco20
    rng = np.random.default_rng(3)
    categories = {category['id']: category for category in truth['categories']}
    ours, pairs = PQCounts.zeros(len(categories)), []
    assert any(s['iscrowd'] for annotation in truth['annotations'] for s in annotation['segments_info'])
    for annotation in truth['annotations']:
        path = str(folder / annotation['file_name'])
        ids, segments = disturbed(read_id_png(read, path), annotation['segments_info'], list(categories), rng)
        write_id_png(ids, str(tmp_path / annotation['file_name']))
        assert (read_id_png(read, str(tmp_path / annotation['file_name'])) == ids).all()
        pairs.append((annotation, dict(annotation, segments_info=copy.deepcopy(segments))))
        first = Segmentation(read_id_png(read, path), annotation['segments_info'], 'truth')
        ours.add(pq_of_image(first, Segmentation(ids, segments, 'found'), list(categories)))
    theirs = evaluation.pq_compute_single_core(0, pairs, str(folder), str(tmp_path), categories)
    numbers = pq_numbers(ours, [category['isthing'] for category in categories.values()])
    for suffix, is_thing in (('', None), ('_th', True), ('_st', False)):
        expected, _ = theirs.pq_average(categories, is_thing)
        for name in ('pq', 'sq', 'rq'):
            assert numbers[name.upper() + suffix] / 100 == pytest.approx(expected[name], abs=1e-12)
    assert 20 < numbers['PQ'] < 80
    for label, cat_id in enumerate(categories):
        stat = theirs[cat_id]
        assert [ours.matched[label], ours.wrong[label], ours.missed[label]] == [stat.tp, stat.fp, stat.fn]


# ---------------------------------------------------------------------- by hand

CATS, GRASS = 5, 9


def image(rows, segments, name='x'):
    return Segmentation(np.array(rows), [dict(id=i, category_id=c, **more) for i, c, more in segments], name)


def counts_of(truth, found):
    counts = pq_of_image(truth, found, [CATS, GRASS])
    return counts.matched.tolist(), counts.wrong.tolist(), counts.missed.tolist(), counts.iou.tolist()


def test_a_match_needs_more_than_half():
    truth = image([[1, 1, 1, 2]], [(1, CATS, {}), (2, GRASS, {})])
    found = image([[7, 7, 8, 8]], [(7, CATS, {}), (8, GRASS, {})])
    # cats: 2 of 3 pixels; grass: 1 of 2, which is not more than half
    assert counts_of(truth, found) == ([1, 0], [0, 1], [0, 1], [pytest.approx(2 / 3), 0])


def test_void_is_no_part_of_the_union_and_excuses_a_prediction():
    truth = image([[1, 1, 0, 0, 0]], [(1, CATS, {})])
    found = image([[7, 7, 7, 8, 8]], [(7, CATS, {}), (8, GRASS, {})])
    assert counts_of(truth, found) == ([1, 0], [0, 0], [0, 0], [1, 0])


def test_a_crowd_is_neither_matched_nor_missed_and_excuses_its_class():
    truth = image([[1, 1, 1, 1, 2]], [(1, CATS, dict(iscrowd=1)), (2, GRASS, {})])
    found = image([[7, 7, 8, 8, 9]], [(7, CATS, {}), (8, GRASS, {}), (9, GRASS, {})])
    assert counts_of(truth, found) == ([0, 1], [0, 1], [0, 0], [0, 1])


def test_objects_of_other_classes_are_not_void():
    truth = image([[1, 1, 3, 3]], [(1, CATS, {}), (3, 77, {})])
    found = image([[7, 7, 8, 8]], [(7, CATS, {}), (8, GRASS, {})])
    assert counts_of(truth, found) == ([1, 0], [0, 1], [0, 0], [1, 0])


def test_classes_that_do_not_occur_are_left_out_of_the_mean():
    counts = PQCounts(np.array([0.8, 0.0, 0.0]), *map(np.array, ([1, 0, 0], [1, 0, 2], [1, 0, 0])))
    numbers = pq_numbers(counts, [True, True, True])
    # PQ .8 / 2, SQ .8, RQ .5; and 0, 0, 0 for the third
    assert [numbers[name] for name in ('PQ', 'SQ', 'RQ')] == [pytest.approx(20), pytest.approx(40), pytest.approx(25)]
    assert np.isnan(numbers['PQ_st']) and numbers['PQ_copypaste'].startswith('20.000 40.000 25.000 20.000')


CAT = (1, CATS, {})
FOUND = image([[7, 7]], [(7, CATS, {})], 'the result')


@pytest.mark.parametrize(
    ('truth', 'found', 'message'),
    [
        (image([[1]], [CAT], 'gt.png'), FOUND, r'the result is \(1, 2\) pixels .*gt.png is \(1, 1\)'),
        (image([[1, 1]], [CAT, (2, CATS, {})], 'gt.png'), FOUND, r'gt.png: the segments \[2\] are listed, but'),
        (image([[1, 3]], [CAT], 'gt.png'), FOUND, r'gt.png: pixels have the ids \[3\]'),
        (image([[1, 1]], [CAT]), image([[7, 7]], [(7, 4, {})], 'the result'), r'the result: the categories \[4\]'),
    ],
)
def test_maps_that_contradict_their_lists_are_named(truth, found, message):
    with pytest.raises(ValueError, match=message):
        pq_of_image(truth, found, [CATS, GRASS])


def test_a_result_s_map_becomes_segments():
    ids = np.array([[1, 0 + INSTANCE_OFFSET, 0 + 2 * INSTANCE_OFFSET, 2, 2]])
    written, segments = segments_of_map(ids, [CATS, GRASS], 'x')
    assert written.tolist() == [[1, 1000, 2000, VOID, VOID]]  # 2 classes: label 2 is void
    assert segments == [
        dict(id=1, category_id=GRASS, area=1),
        dict(id=1000, category_id=CATS, area=1),
        dict(id=2000, category_id=CATS, area=1),
    ]
    stuff_first, segments = segments_of_map(np.array([[0, 0, 1001]]), [GRASS, CATS], 'x')
    assert stuff_first.tolist() == [[1000, 1000, 1001]]  # label 0 without instance would be void's id
    assert [s['category_id'] for s in segments] == [GRASS, CATS]
    with pytest.raises(ValueError, match=r'the labels \[3\], the data set has 2 classes'):
        segments_of_map(np.array([[3]]), [CATS, GRASS], 'x')
    with pytest.raises(ValueError, match='map of integers, got float64'):
        segments_of_map(np.array([[1.0]]), [CATS], 'x')


def test_packing_a_map_keeps_it(tmp_path):
    ids = np.random.default_rng(0).integers(0, 5, (40, 30)).astype(np.int32) * INSTANCE_OFFSET
    packed = pack_map(np.asfortranarray(ids))
    assert (unpack_map(packed) == ids).all() and unpack_map(ids) is ids and pack_map(packed) is packed
    assert unpack_map(packed).dtype == ids.dtype
    with pytest.raises(ValueError, match='a packed map holds integers'):
        unpack_map(dict(packed, dtype='object'))


def test_the_sum_does_not_depend_on_the_number_of_processes(tmp_path, monkeypatch):
    monkeypatch.setattr('os.sched_getaffinity', lambda pid: range(3), raising=False)
    rng = np.random.default_rng(0)
    tasks = []
    for i in range(80):
        ids = rng.integers(1, 5, (6, 8)).repeat(4, axis=0).repeat(4, axis=1)
        path = str(tmp_path / f'{i}.png')
        write_id_png(ids, path)
        segments = [dict(id=int(s), category_id=int(s)) for s in np.unique(ids)]
        tasks.append(ImageTask(path, segments, pack_map(np.roll(ids, 1, axis=1) - 1), path))
    one, three = (pq_of_tasks(iter(tasks), read, [1, 2, 3, 4], nproc) for nproc in (1, 3))
    assert one.iou.tolist() == three.iou.tolist() and one.matched.tolist() == three.matched.tolist()
    assert one.matched.sum() > 80


def test_a_file_that_is_no_panoptic_map_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no panoptic map .*none.png.*seg_prefix'):
        read_id_png(read, str(tmp_path / 'none.png'))
    cv2.imwrite(str(tmp_path / 'grey.png'), np.zeros((4, 4), np.uint8))
    with pytest.raises(ValueError, match=r'grey.png. holds uint8 of shape \(4, 4\): expected an 8-bit RGB PNG'):
        read_id_png(read, str(tmp_path / 'grey.png'))
    (tmp_path / 'empty.png').write_bytes(b'')
    with pytest.raises(ValueError, match=r'empty.png. cannot be decoded'):
        read_id_png(read, str(tmp_path / 'empty.png'))
    with pytest.raises(ValueError, match='ids lie in 0'):
        write_id_png(np.array([[256**3]]), str(tmp_path / 'large.png'))
