"""Running a model over a data set in one process."""

from __future__ import annotations

import numpy as np
import torch
from engine_toys import ToyDataset, ToyDetector, toy_loader
from torch import nn

from mmdet_clone.engine.testing import encode_result, run_test


def test_results_come_in_the_order_of_the_data_set_and_training_mode_is_put_back(capsys):
    model = ToyDetector().train()
    results = run_test(model, toy_loader(ToyDataset(5), shuffle=False))
    assert [result[0][0, 4] for result in results] == [0, 1, 2, 3, 4]
    assert model.training
    assert 'testing [5/5]' in capsys.readouterr().out


def test_each_result_is_handed_over_with_its_number_and_batch():
    seen = []
    loader = toy_loader(ToyDataset(3), shuffle=False)
    run_test(ToyDetector(), loader, False, lambda i, result, batch: seen.append((i, len(batch['img_metas']))))
    assert seen == [(0, 2), (1, 2), (2, 1)]


def test_a_bare_module_is_called_as_mmdetection_calls_it():
    class Bare(nn.Module):
        def forward(self, img, target, img_metas, return_loss=True, rescale=False):
            assert (return_loss, rescale, torch.is_grad_enabled()) == (False, True, False)
            return [[torch.zeros(1, 5)] for _ in img_metas]

    results = run_test(Bare(), toy_loader(ToyDataset(2), shuffle=False), progress=False)
    assert all(isinstance(result[0], np.ndarray) for result in results)


def test_masks_are_encoded_alone_and_in_panoptic_results():
    mask = np.zeros((4, 6), dtype=bool)
    mask[1:3, 2:4] = True
    boxes = [np.zeros((1, 5), dtype=np.float32)]
    _, segms = encode_result((boxes, [[mask]]))
    assert segms[0][0]['size'] == [4, 6]
    panoptic = encode_result(dict(pan_results=mask, ins_results=(boxes, [[mask]])))
    assert panoptic['ins_results'][1][0][0]['size'] == [4, 6]
    assert panoptic['pan_results'] is mask
