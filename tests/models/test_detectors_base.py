"""What every detector inherits, seen from a detector that a user would write."""

from __future__ import annotations

import copy
import multiprocessing
import os
import socket

import numpy as np
import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from torch import nn

from mmdet_clone.models.builder import DETECTORS, build_detector
from mmdet_clone.models.detectors.base import BaseDetector


@DETECTORS.register_module(force=True)
class BrightSpotDetector(BaseDetector):
    """A user's detector: one box of one class around the whole image, scored by its mean brightness."""

    def __init__(self, start=0.0, train_cfg=None, test_cfg=None):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([float(start)]))
        self.CLASSES = ('spot',)

    def extract_feat(self, img):
        return img.mean((1, 2, 3)) * self.weight

    def forward_train(self, img, img_metas, gt_bboxes, gt_labels):
        feat = self.extract_feat(img)
        target = torch.tensor([float(len(b)) for b in gt_bboxes])
        return dict(loss_score=(feat - target) ** 2, loss_parts=[feat * 0, feat * 0], acc=torch.ones(1))

    def simple_test(self, img, img_metas, rescale=False):
        boxes = []
        for feat, meta in zip(self.extract_feat(img), img_metas):
            height, width = meta['ori_shape' if rescale else 'img_shape'][:2]
            boxes.append([np.array([[0, 0, width, height, feat.item()]], np.float32)])
        return boxes

    def aug_test(self, imgs, img_metas, rescale=False):
        views = [self.simple_test(img, metas, rescale)[0][0] for img, metas in zip(imgs, img_metas)]
        return [[np.mean(views, axis=0)]]


def batch(num_images=2):
    return dict(
        img=torch.ones(num_images, 3, 8, 10),
        img_metas=[dict(img_shape=(8, 9, 3), ori_shape=(16, 18, 3), flip=False) for _ in range(num_images)],
        gt_bboxes=[torch.zeros(i + 1, 4) for i in range(num_images)],
        gt_labels=[torch.zeros(i + 1, dtype=torch.long) for i in range(num_images)],
    )


def test_set(num_views=1, num_images=2):
    one = batch(num_images)
    return dict(img=[one['img']] * num_views, img_metas=[copy.deepcopy(one['img_metas']) for _ in range(num_views)])


test_set.__test__ = False


def build(**args):
    return build_detector(dict(type='BrightSpotDetector', **args))


class TestForward:
    def test_nothing_is_added_to_the_state_dict(self):
        assert list(build().state_dict()) == ['weight']

    @pytest.mark.parametrize('how', [dict(), dict(return_loss=True), dict(mode='loss')])
    def test_training_gives_losses_and_records_the_padded_shape(self, how):
        given = batch()
        losses = build()(**given, **how)
        assert set(losses) == {'loss_score', 'loss_parts', 'acc'}
        assert given['img_metas'][0]['batch_input_shape'] == (8, 10)

    def test_a_view_or_a_list_of_one_view_can_be_tested(self):
        model, one = build(start=1), batch()
        bare = model(one['img'], one['img_metas'], return_loss=False, rescale=True)
        listed = model(**test_set(), return_loss=False, rescale=True)
        assert len(bare) == len(listed) == 2
        np.testing.assert_array_equal(bare[0][0], [[0, 0, 18, 16, 1]])
        np.testing.assert_array_equal(listed[0][0], bare[0][0])

    def test_prediction_mode_gives_original_pixels_and_return_loss_the_inputs(self):
        model = build(start=1)
        assert model(**test_set(), mode='predict')[0][0][0, 2] == 18
        assert model(**test_set(), return_loss=False)[0][0][0, 2] == 9

    def test_several_views_go_to_aug_test_image_by_image(self):
        results = build(start=2)(**test_set(num_views=3), mode='predict')
        assert len(results) == 2
        np.testing.assert_array_equal(results[1][0], [[0, 0, 18, 16, 2]])

    def test_tensor_mode_gives_features(self):
        torch.testing.assert_close(build(start=2)(batch()['img'], mode='tensor'), torch.full((2,), 2.0))

    def test_a_detector_without_aug_test_says_so(self):
        class OneView(BrightSpotDetector):
            aug_test = BaseDetector.aug_test

        with pytest.raises(NotImplementedError, match='OneView does not define aug_test'):
            OneView()(**test_set(num_views=2), mode='predict')

    def test_a_batch_that_lacks_a_key_names_it_and_the_pipeline_step(self):
        given = batch()
        del given['gt_labels']
        with pytest.raises(ValueError, match=r"needs gt_labels, .*'keys' of Collect"):
            build()(**given)
        with pytest.raises(ValueError, match='needs gt_bboxes'):
            build()(**dict(batch(), gt_bboxes=None))

    def test_a_batch_with_a_key_too_many_names_it(self):
        with pytest.raises(ValueError, match=r'does not take gt_masks .*: img, img_metas, gt_bboxes, gt_labels'):
            build()(**batch(), gt_masks=[])
        with pytest.raises(ValueError, match='simple_test does not take gt_bboxes'):
            build()(**test_set(), gt_bboxes=[[]], mode='predict')

    def test_an_unknown_mode_is_refused(self):
        with pytest.raises(ValueError, match="'loss', 'predict' or 'tensor'"):
            build()(**batch(), mode='train')

    def test_views_and_metas_must_agree(self):
        with pytest.raises(ValueError, match='each of the 1 views, got 2'):
            build()(test_set()['img'], test_set(2)['img_metas'], return_loss=False)


class TestSteps:
    def test_a_training_step_moves_the_weights_and_logs_every_entry(self):
        model = build()
        optim = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
        logged = model.train_step(batch(), optim)
        # (0 - 1)^2 and (0 - 2)^2; the gradient is 2 * (0 - 1.5)
        assert {k: v.item() for k, v in logged.items()} == dict(loss_score=2.5, loss_parts=0, acc=1, loss=2.5)
        assert not any(v.requires_grad for v in logged.values())
        assert model.weight.item() == pytest.approx(0.3)

    def test_val_and_test_steps_give_results_in_original_pixels(self):
        model = build(start=1)
        for step in (model.val_step, model.test_step):
            assert step(test_set())[0][0][0, 2] == 18


class TestLossParsing:
    def test_lists_are_summed_and_only_losses_are_minimised(self):
        total, logged = build().parse_losses(
            dict(
                loss_a=torch.tensor([1.0, 3.0]), my_loss=[torch.tensor(1.0), torch.tensor(4.0)], acc=torch.tensor(50.0)
            )
        )
        assert total == 7
        assert {k: v.item() for k, v in logged.items()} == dict(loss_a=2, my_loss=5, acc=50, loss=7)
        assert list(logged)[-1] == 'loss'

    def test_what_is_no_tensor_is_named(self):
        with pytest.raises(TypeError, match="'loss_a' must be a tensor"):
            build().parse_losses(dict(loss_a=1.0))

    def test_no_loss_at_all_is_an_error(self):
        with pytest.raises(ValueError, match=r"'loss' in its name: \['acc'\]"):
            build().parse_losses(dict(acc=torch.ones(1)))


def _in_process(rank, port, queue):
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    torch.distributed.init_process_group('gloo', rank=rank, world_size=2)
    model = MMDistributedDataParallel(BrightSpotDetector())
    complaint = ''
    try:
        model.module.parse_losses({f'loss_{rank}': torch.ones(1)})
    except RuntimeError as error:
        complaint = str(error)
    many = {f'loss_{i}': torch.tensor(float(i + 2 * rank)) for i in range(300)}  # more than are reduced at once
    means = [model.module.parse_losses(many)[1] for _ in range(2)][-1]
    assert [means[f'loss_{i}'].item() for i in range(300)] == [i + 1.0 for i in range(300)]
    given = {key: value[rank : rank + 1] for key, value in batch().items()}
    logged = model.train_step(given, OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1)))
    queue.put((rank, complaint, logged['loss'].item(), model.module.weight.item()))
    torch.distributed.destroy_process_group()


def test_two_processes_log_their_mean_and_must_agree_on_the_entries():
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context('spawn')
    queue = context.Queue()
    processes = [context.Process(target=_in_process, args=(rank, port, queue)) for rank in range(2)]
    for process in processes:
        process.start()
    results = sorted(queue.get(timeout=120) for _ in processes)
    for process in processes:
        process.join()
    for rank, complaint, loss, weight in results:
        assert f'differ between processes; those of rank {rank}: loss_{rank}' in complaint
        # losses 1 and 4, gradients -2 and -4: both log the mean loss and step by the mean gradient
        assert (loss, weight) == (2.5, pytest.approx(0.3))


class TestDrawing:
    def test_a_result_is_drawn_and_written(self, tmp_path):
        img = np.full((60, 80, 3), 127, np.uint8)
        result = [np.array([[10, 10, 50, 40, 0.9], [0, 0, 70, 50, 0.1]], np.float32)]
        file = tmp_path / 'deep' / 'drawn.png'
        drawn = build().show_result(img, result, score_thr=0.3, bbox_color=(255, 0, 0), out_file=str(file))
        assert drawn.shape == img.shape and file.exists()
        assert (img == 127).all()  # the image given is left alone
        assert drawn[39:42, 30].tolist().count([0, 0, 255]) > 0  # red, in BGR
        assert (drawn[51:, 60:] == 127).all()  # the weak box is not drawn

    def test_masks_are_drawn(self):
        img = np.full((60, 80, 3), 127, np.uint8)
        mask = np.zeros((60, 80), bool)
        mask[20:30, 20:40] = True
        result = ([np.array([[20, 20, 40, 30, 0.9]], np.float32)], [[mask]])
        assert (build().show_result(img, result)[25, 30] != 127).any()
