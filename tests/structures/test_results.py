from __future__ import annotations

import numpy as np
import torch
from pycocotools import mask as mask_utils

from mmdet_clone.structures import bbox2result, encode_mask_results, results_to_cpu


def test_detections_are_sorted_into_classes_in_order():
    boxes = torch.tensor([[0, 0, 1, 1, 0.9], [1, 1, 2, 2, 0.8], [2, 2, 3, 3, 0.7]])
    result = bbox2result(boxes, torch.tensor([2, 0, 2]), 4)
    assert [r.shape for r in result] == [(1, 5), (0, 5), (2, 5), (0, 5)]
    assert all(r.dtype == np.float32 for r in result)
    assert result[2][:, 0].tolist() == [0, 2]


def test_no_detection_gives_an_empty_array_per_class():
    for empty in (torch.zeros(0, 5), np.zeros((0, 5), np.float64), torch.zeros(0, 5, dtype=torch.bfloat16)):
        result = bbox2result(empty, np.zeros(0, int), 3)
        assert [r.shape for r in result] == [(0, 5)] * 3 and result[0].dtype == np.float32


def test_detections_with_gradient_or_low_precision_become_float32():
    boxes = torch.ones(1, 5, dtype=torch.bfloat16, requires_grad=True)
    assert bbox2result(boxes, torch.tensor([0]), 1)[0].dtype == np.float32


def test_encoded_masks_decode_to_the_same_pixels():
    mask = np.zeros((6, 9), dtype=bool)
    mask[2:4, 3:8] = True
    encoded = encode_mask_results([[mask], [], [torch.from_numpy(mask).T]])
    assert [len(masks) for masks in encoded] == [1, 0, 1]
    assert encoded[0][0]['size'] == [6, 9]
    assert (mask_utils.decode(encoded[0][0]) == mask).all()
    assert (mask_utils.decode(encoded[2][0]) == mask.T).all()
    assert encode_mask_results(encoded) == encoded


def test_mask_scores_stay_beside_the_encoded_masks():
    encoded, scores = encode_mask_results(([[np.ones((2, 2), bool)]], [[0.5]]))
    assert scores == [[0.5]] and encoded[0][0]['size'] == [2, 2]


def test_nested_results_become_arrays():
    results = results_to_cpu([([torch.ones(1, 5)], [[np.ones(2)]]), dict(pan_results=torch.zeros(2, 2))])
    assert isinstance(results[0], tuple) and isinstance(results[0][0][0], np.ndarray)
    assert isinstance(results[1]['pan_results'], np.ndarray)
