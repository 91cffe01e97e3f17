"""Results of many images: what they take in memory, and that none is changed or lost on the way."""

from __future__ import annotations

import pickle
import tracemalloc

import numpy as np
import pytest
import torch
from torch import nn

from mmdet_clone.datasets.safe_pickle import loads_plain
from mmdet_clone.engine.result_store import ResultStore, compact_result
from mmdet_clone.engine.testing import run_test
from mmdet_clone.structures.panoptic import unpack_map

SIZE = 1000


class MaskDetector(nn.Module):
    """Full-size bitmaps of ten objects and a panoptic map for each image."""

    def test_step(self, batch):
        boxes = [torch.rand(5000, 5)[:10], torch.zeros(0, 5)]
        masks = torch.zeros(10, SIZE, SIZE, dtype=torch.bool)
        masks[:, 100:200, 100:200] = True
        ids = torch.full((SIZE, SIZE), 80)
        ids[:300] = 1000
        return [dict(pan_results=ids, ins_results=(boxes, [list(masks), []])) for _ in batch]


class Loader:
    def __init__(self, count):
        self.dataset = range(count)

    def __iter__(self):
        return iter([[i] for i in self.dataset])


def peak_of(count):
    tracemalloc.start()
    results = run_test(MaskDetector(), Loader(count), progress=False)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return results, kept, peak


def test_memory_does_not_grow_with_full_size_bitmaps():
    one_image = 10 * SIZE**2 + 8 * SIZE**2  # bytes of bitmaps and of the map of ids
    run_test(MaskDetector(), Loader(1), progress=False)  # imports
    results, kept, peak = peak_of(6)
    assert kept < 0.02 * 6 * one_image
    assert peak < 2.5 * one_image  # of the image at hand
    boxes, masks = results[5]['ins_results']
    assert boxes[0].shape == (10, 5) and boxes[0].base is None  # no view of the 5000
    assert masks[0][9]['size'] == [SIZE, SIZE]
    assert (unpack_map(results[5]['pan_results'])[:, 0] == [1000] * 300 + [80] * 700).all()


def test_a_thousand_empty_classes_take_little():
    boxes = [torch.zeros(0, 5).numpy() for _ in range(1203)]
    result = compact_result(boxes)
    assert len({id(of_class) for of_class in result}) == 1 and result[7].shape == (0, 5)
    assert len(pickle.dumps(result)) < 4000
    assert result[7].dtype == np.float32


def test_boxes_are_single_precision_and_other_results_stay_as_they_are():
    assert compact_result([np.ones((2, 5))])[0].dtype == np.float32
    proposals = np.ones((3, 5), dtype=np.float32)
    assert compact_result(proposals) is proposals
    keypoints = [np.ones((1, 17, 3), dtype=np.float32)]
    boxes, masks, points = compact_result(([np.ones((1, 5), dtype=np.float32)], None, keypoints))
    assert masks is None and points is keypoints and boxes[0].shape == (1, 5)
    scored = compact_result(([proposals], ([[np.ones((2, 2), dtype=bool)] * 3], [np.ones(3)])))
    assert isinstance(scored[1], tuple) and scored[1][0][0][0]['size'] == [2, 2]
    assert compact_result('anything') == 'anything'


@pytest.fixture
def results():
    rng = np.random.default_rng(0)
    return [[rng.random((int(n), 5)).astype(np.float32) for n in rng.integers(0, 4, 3)] for _ in range(20)]


def same(first, second):
    return all(np.array_equal(a, b) for x, y in zip(first, second, strict=True) for a, b in zip(x, y, strict=True))


def test_a_store_on_disk_reads_like_a_list(results):
    store = ResultStore(limit=3000)
    store.extend(results)
    assert store.on_disk and store.finished() is store and len(store) == 20
    assert same(store, results) and same(store[3:7], results[3:7]) and same([store[-1]], [results[-1]])
    with pytest.raises(IndexError, match='result 20 of 20'):
        store[20]
    assert same(loads_plain(pickle.dumps(store)), results)  # what --out writes is a list
    assert same(store.drain(), results)


def test_a_small_store_is_a_list(results):
    store = ResultStore(limit=10**6)
    store.extend(results)
    assert not store.on_disk and isinstance(store.finished(), list) and same(store.finished(), results)
    assert same(store.drain(), results) and len(store) == 0


def test_the_limit_is_read_from_the_environment(monkeypatch, results):
    monkeypatch.setenv('MMDET_CLONE_RESULT_MEMORY', '0.001')
    found = run_test(TwoBoxes(), Loader(40), progress=False)
    assert isinstance(found, ResultStore) and found.on_disk and [r[0][0, 4] for r in found] == list(range(40))
    monkeypatch.setenv('MMDET_CLONE_RESULT_MEMORY', 'much')
    with pytest.raises(ValueError, match="MMDET_CLONE_RESULT_MEMORY='much': expected a number of MiB"):
        run_test(TwoBoxes(), Loader(1), progress=False)


class TwoBoxes(nn.Module):
    def test_step(self, batch):
        return [[np.full((2, 5), i, dtype=np.float32)] for i in batch]


def test_a_data_set_evaluates_results_on_disk(tmp_path):
    import json

    from mmdet_clone.datasets import CocoDataset

    content = dict(
        images=[dict(id=i, file_name=f'{i}.jpg', width=100, height=100) for i in range(4)],
        annotations=[dict(id=i, image_id=i, category_id=1, bbox=[0, 0, 50, 50], area=2500) for i in range(4)],
        categories=[dict(id=1, name='cat')],
    )
    (tmp_path / 'truth.json').write_text(json.dumps(content))
    dataset = CocoDataset(str(tmp_path / 'truth.json'), [], classes=['cat'], test_mode=True)
    store = ResultStore(limit=0)
    store.extend([[np.array([[0, 0, 50, 50, 0.5]], dtype=np.float32)]] * 4)
    numbers = dataset.evaluate(store, ['bbox', 'proposal', 'proposal_fast'], logger='silent')
    assert store.on_disk and numbers['bbox_mAP'] == numbers['AR@100'] == 1
