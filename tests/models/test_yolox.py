"""YOLOX: its parts by hand, sizes that change while training, and the real weights on real photos."""

from __future__ import annotations

import math
import random

import pytest
import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from mmdet_clone.models import build_backbone, build_detector, build_head, build_neck
from mmdet_clone.models.backbones.csp_darknet import Focus
from mmdet_clone.models.dense_heads.yolox_head import decode, encode
from mmdet_clone.models.layers import CSPLayer, DarknetBottleneck, MMSyncBN

LOG2 = math.log(2)
NO_BOXES, NO_LABELS = torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)
TEST = dict(score_thr=0.01, nms=dict(type='nms', iou_threshold=0.65))
TRAIN = dict(assigner=dict(type='SimOTAAssigner', center_radius=2.5))


def tiny(**changes: object) -> nn.Module:
    """A YOLOX of some 100 000 parameters with 3 classes."""
    cfg = dict(
        type='YOLOX',
        backbone=dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.125, use_depthwise=True),
        neck=dict(type='YOLOXPAFPN', in_channels=[32, 64, 128], out_channels=16, num_csp_blocks=1),
        bbox_head=dict(type='YOLOXHead', num_classes=3, in_channels=16, feat_channels=16),
        train_cfg=TRAIN,
        test_cfg=TEST,
        **changes,
    )
    detector = build_detector(cfg)
    detector.init_weights()
    return detector


def batch(size: int = 64) -> dict:
    shape = (size, size, 3)
    meta = dict(img_shape=shape, pad_shape=shape, ori_shape=shape, scale_factor=[1.0] * 4, flip=False)
    return dict(
        img=torch.rand(2, 3, size, size) * 255,
        img_metas=[dict(meta) for _ in range(2)],
        gt_bboxes=[torch.tensor([[4.0, 6, 40, 50], [30, 30, 44, 60]]), NO_BOXES],
        gt_labels=[torch.tensor([0, 2]), NO_LABELS],
    )


# ---------------------------------------------------------------------- backbone and neck


def test_focus_gathers_upper_left_lower_left_upper_right_lower_right():
    focus = Focus(1, 4, norm_cfg=None, act_cfg=None)
    focus.conv.conv.weight.data = torch.eye(4).view(4, 4, 1, 1)
    focus.conv.conv.bias.data.zero_()
    image = torch.tensor([[1.0, 2], [3, 4]]).view(1, 1, 2, 2)
    assert focus(image).flatten().tolist() == [1, 3, 2, 4]


def test_swish_is_computed_by_one_kernel_that_agrees_with_it():
    layer = CSPLayer(4, 4)
    assert isinstance(layer.main_conv.activate, nn.SiLU)
    plain = ConvModule(4, 2, 1, norm_cfg=dict(type='BN', momentum=0.03, eps=0.001), act_cfg=dict(type='Swish'))
    plain.load_state_dict(layer.main_conv.state_dict())
    x = torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(layer.main_conv(x), plain(x))


def test_a_bottleneck_adds_its_input_where_the_shapes_agree():
    for add_identity, out_channels, expected in [(True, 4, 1.0), (False, 4, 0.0), (True, 6, 0.0)]:
        block = DarknetBottleneck(4, out_channels, add_identity=add_identity, norm_cfg=None)
        for parameter in block.parameters():
            nn.init.zeros_(parameter)
        assert block(torch.ones(1, 4, 3, 3)).unique().tolist() == [expected]


def test_synchronised_normalisation_in_one_process_is_batch_normalisation():
    synchronised, plain = MMSyncBN(3), nn.BatchNorm2d(3)
    for x in torch.randn(2, 4, 3, 5, 2):
        torch.testing.assert_close(synchronised(x), plain(x))
    assert synchronised.state_dict().keys() == plain.state_dict().keys()
    torch.testing.assert_close(synchronised.running_var, plain.running_var)
    with pytest.raises(ValueError, match="'default' or 'N'"):
        MMSyncBN(3, stats_mode='n')


@pytest.mark.parametrize(('arch', 'last'), [('P5', 32), ('P6', 64)])
def test_each_stage_halves_the_resolution(arch, last):
    stages = 4 if arch == 'P5' else 5
    backbone = build_backbone(
        dict(type='CSPDarknet', arch=arch, widen_factor=0.125, deepen_factor=0.33, out_indices=range(stages + 1))
    )
    outs = backbone(torch.rand(1, 3, 64, 128))
    assert [tuple(out.shape[2:]) for out in outs] == [(64 >> i, 128 >> i) for i in range(1, stages + 2)]
    assert outs[-1].shape[2] == 64 // last and outs[-1].shape[1] == 128


def test_frozen_stages_neither_train_nor_count():
    backbone = build_backbone(dict(type='CSPDarknet', widen_factor=0.125, deepen_factor=0.33, frozen_stages=1)).train()
    frozen = {name.split('.')[0] for name, p in backbone.named_parameters() if not p.requires_grad}
    assert frozen == {'stem', 'stage1'}
    assert not backbone.stage1.training and backbone.stage2.training
    still = build_backbone(dict(type='CSPDarknet', widen_factor=0.125, deepen_factor=0.33, norm_eval=True)).train()
    assert not any(m.training for m in still.modules() if isinstance(m, nn.BatchNorm2d))


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (dict(arch='P7'), "got arch='P7'"),
        (dict(out_indices=(2, 5)), r'between 0 \(the stem\) and 4, got \(2, 5\)'),
        (dict(frozen_stages=5), 'between -1 and 4, got 5'),
    ],
)
def test_wrong_stages_of_the_backbone_are_named(args, message):
    with pytest.raises(ValueError, match=message):
        build_backbone(dict(type='CSPDarknet', **args))


def test_the_neck_keeps_resolutions_and_unifies_channels():
    neck = build_neck(dict(type='YOLOXPAFPN', in_channels=[8, 16, 32], out_channels=12, num_csp_blocks=1))
    outs = neck([torch.rand(1, 8 << i, 16 >> i, 24 >> i) for i in range(3)])
    assert [tuple(out.shape) for out in outs] == [(1, 12, 16, 24), (1, 12, 8, 12), (1, 12, 4, 6)]
    with pytest.raises(ValueError, match='in_channels for 3 levels, got 1'):
        neck([torch.rand(1, 8, 16, 16)])


# ---------------------------------------------------------------------- head


def head(**changes: object) -> nn.Module:
    """A head of one level with two classes."""
    args = dict(num_classes=2, in_channels=1, feat_channels=2, strides=[8], train_cfg=TRAIN, test_cfg=TEST)
    return build_head(dict(type='YOLOXHead', **{**args, **changes}))


def zeros(images: int = 1) -> tuple[list[Tensor], ...]:
    """Predictions of zero for 4 x 4 cells: boxes of 8 x 8 pixels around the cells' corners."""
    return tuple([torch.zeros(images, channels, 4, 4)] for channels in (2, 4, 1))


def losses_of(head: nn.Module, boxes: list[Tensor], labels: list[Tensor]) -> dict[str, float]:
    losses = head.loss(*zeros(len(boxes)), boxes, labels, [{}] * len(boxes))
    return {name: value.item() for name, value in losses.items()}


BOX, LABEL = torch.tensor([[8.0, 8, 24, 24]]), torch.tensor([1])


def test_losses_of_one_box_are_those_computed_by_hand():
    # the overlaps of the candidates sum to 0.9, so one is taken: that in the middle, whose overlap is 64 / 256
    expected = dict(loss_cls=2 * LOG2, loss_bbox=5 * (1 - 0.25**2), loss_obj=16 * LOG2)
    assert losses_of(head(), [BOX], [LABEL]) == pytest.approx(expected)
    l1 = head()
    l1.use_l1 = True
    assert losses_of(l1, [BOX], [LABEL]) == pytest.approx({**expected, 'loss_l1': 2 * LOG2}, abs=1e-6)


def test_the_class_to_predict_is_weighted_by_the_overlap():
    targets = head().get_targets(head()._flatten(*zeros()), [BOX], [LABEL])
    assert targets.positive.view(4, 4).nonzero().tolist() == [[2, 2]]
    assert targets.classes.tolist() == [[0, 0.25]]
    assert targets.boxes.tolist() == BOX.tolist()


def test_an_image_without_objects_counts_in_the_objectness_alone():
    losses = losses_of(head(), [BOX, NO_BOXES], [LABEL, NO_LABELS])
    assert losses == pytest.approx(dict(loss_cls=2 * LOG2, loss_bbox=5 * (1 - 0.25**2), loss_obj=32 * LOG2))


@pytest.mark.parametrize('use_l1', [False, True])
def test_every_parameter_has_a_finite_gradient_without_any_object(use_l1):
    yolox = head(strides=[8, 16])
    yolox.use_l1 = use_l1
    losses = yolox.forward_train(
        [torch.rand(2, 1, 4, 4), torch.rand(2, 1, 2, 2)], [{}] * 2, [NO_BOXES] * 2, [NO_LABELS] * 2
    )
    assert losses['loss_cls'] == losses['loss_bbox'] == losses.get('loss_l1', 0) == 0
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in yolox.parameters())


def test_decoding_undoes_encoding():
    priors = torch.tensor([[16.0, 8, 8, 8], [0, 32, 16, 16]])
    boxes = torch.tensor([[10.0, 4, 30, 20], [3, 20, 9, 60]])
    torch.testing.assert_close(decode(priors, encode(priors, boxes)), boxes)
    assert encode(priors[:1], torch.tensor([[12.0, 4, 20, 12]])).abs().max() < 1e-6


def test_a_cell_gives_one_detection_of_its_best_class():
    scores, deltas, objectness = zeros()
    scores[0][0, :, 1, 2] = torch.tensor([2.0, 3.0])
    objectness[0][:] = -20
    objectness[0][0, 0, 1, 2] = 1.0
    deltas[0][0, :, 1, 2] = torch.tensor([0.5, 0.25, LOG2, 0])
    meta = dict(img_shape=(32, 32, 3), scale_factor=[2.0, 2.0, 2.0, 2.0])
    (dets, labels), *_ = head().get_bboxes(scores, deltas, objectness, [meta])
    score = torch.sigmoid(torch.tensor(3.0)) * torch.sigmoid(torch.tensor(1.0))
    torch.testing.assert_close(dets, torch.tensor([[12.0, 6, 28, 14, score.item()]]))
    assert labels.tolist() == [1]
    (dets, _), *_ = head().get_bboxes(scores, deltas, objectness, [meta], rescale=True)
    assert dets[0, :4].tolist() == [6, 3, 14, 7]


def test_detections_below_the_threshold_are_dropped_and_duplicates_suppressed():
    yolox = head(test_cfg=dict(score_thr=0.25, nms=dict(type='nms', iou_threshold=0.5)))
    meta = [dict(img_shape=(32, 32, 3), scale_factor=[1.0] * 4)]
    scores, deltas, objectness = zeros()
    assert len(yolox.get_bboxes(scores, deltas, objectness, meta)[0][0]) == 16  # at the threshold
    deltas[0][0, :2] = torch.stack(torch.meshgrid(-torch.arange(4.0), -torch.arange(4.0), indexing='xy'))  # all at 0, 0
    assert len(yolox.get_bboxes(scores, deltas, objectness, meta)[0][0]) == 1
    boxes, all_scores, labels = yolox.get_bboxes(scores, deltas, objectness, meta, with_nms=False)[0]
    assert len(boxes) == len(all_scores) == len(labels) == 16
    objectness[0] -= 0.01
    dets, labels = yolox.get_bboxes(scores, deltas, objectness, meta)[0]
    assert dets.shape == (0, 5) and labels.shape == (0,)


def test_objects_are_rare_at_the_start():
    yolox = head()
    yolox.init_weights()
    for predictor in (*yolox.multi_level_conv_cls, *yolox.multi_level_conv_obj):
        assert predictor.bias.sigmoid().allclose(torch.tensor(0.01))
    assert all(p.bias.abs().max() < 1 for p in yolox.multi_level_conv_reg)


# ---------------------------------------------------------------------- detector


def test_it_trains_tests_and_gives_a_number_of_boxes_for_each_class():
    detector = tiny().train()
    losses = detector(**batch())
    assert set(losses) == {'loss_cls', 'loss_bbox', 'loss_obj'}
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in detector.parameters())
    detector.eval()
    with torch.no_grad():
        results = detector(batch()['img'], batch()['img_metas'], return_loss=False, rescale=True)
        views = detector([batch()['img'][:1]] * 2, [batch()['img_metas'][:1]] * 2, return_loss=False, rescale=True)
    assert [len(result) for result in results] == [3, 3] and len(views) == 1
    assert all(boxes.shape[1] == 5 for result in results for boxes in result)


def test_every_so_many_iterations_the_images_get_another_size(monkeypatch):
    detector = tiny(input_size=(64, 64), random_size_range=(1, 4), random_size_interval=2).train()
    seen = []
    monkeypatch.setattr(
        type(detector).__mro__[1], 'forward_train', lambda self, img, metas, boxes, *_: seen.append((img, boxes)) or {}
    )
    monkeypatch.setattr(random, 'randint', lambda low, high: {1: 3}.get(low, low))
    for _ in range(3):
        given = batch()
        detector.forward_train(**given)
    assert [tuple(img.shape[2:]) for img, _ in seen] == [(64, 64), (64, 64), (96, 96)]
    torch.testing.assert_close(seen[2][1][0], given['gt_bboxes'][0] * 1.5)
    assert given['gt_bboxes'][0].tolist() == batch()['gt_bboxes'][0].tolist()  # not in place
    expected = nn.functional.interpolate(given['img'], size=(96, 96), mode='bilinear', align_corners=False)
    assert torch.equal(seen[2][0], expected)
    detector.eval()
    detector.forward_train(**batch())
    assert seen[3][0].shape[2:] == (64, 64)


def test_sizes_keep_the_aspect_ratio_in_whole_multiples():
    detector = tiny(input_size=(320, 480), random_size_range=(5, 9))
    sizes = {detector._draw_input_size(torch.device('cpu')) for _ in range(100)}
    assert sizes == {(160, 224), (192, 288), (224, 320), (256, 384), (288, 416)}


def test_the_state_of_the_sizes_goes_with_a_checkpoint():
    detector, resumed = (tiny(input_size=(64, 64), random_size_interval=3).train() for _ in range(2))
    detector._input_size, detector._progress_in_iter = (96, 96), 5
    resumed.load_training_state(detector.training_state())
    assert resumed.training_state() == dict(input_size=[96, 96], progress_in_iter=5)
    assert not any('size' in key for key in detector.state_dict())


def test_a_range_of_sizes_the_wrong_way_round_is_refused():
    with pytest.raises(ValueError, match=r'random_size_range=\(smallest, largest\)'):
        tiny(random_size_range=(25, 15))


# ---------------------------------------------------------------------- real weights


def test_real_weights_find_what_is_on_the_photos(shared, root):
    from mmdet_clone.apis import inference_detector, init_detector

    config = root / 'configs/yolox/yolox_nano_8x8_300e_coco_legacy.py'
    with pytest.warns(UserWarning, match='no class names'):
        detector = init_detector(str(config), str(shared / 'weights/yolox_nano_coco_mmdet_keys.pth'), device='cpu')
    # scores as the photos' README has them; it resized to whole pixels rounded down, MMDetection rounds to the nearest
    expected = {
        'street_bench.jpg': [('bench', 0.94), ('car', 0.77), ('car', 0.69)],
        'dog_bicycle.jpg': [('dog', 0.85), ('bicycle', 0.83), ('car', 0.68), ('truck', 0.37)],
        'skimage_astronaut.png': [('person', 0.92)],
        'skimage_chelsea.png': [('cat', 0.82)],
        'skimage_coffee.png': [('cup', 0.82), ('dining table', 0.69)],
    }
    for name, wanted in expected.items():
        result = inference_detector(detector, str(shared / 'photos' / name))
        found = sorted(((box[4], detector.CLASSES[c]) for c, boxes in enumerate(result) for box in boxes), reverse=True)
        assert [label for _, label in found[: len(wanted)]] == [label for label, _ in wanted], name
        for (score, _), (_, published) in zip(found, wanted):
            assert score == pytest.approx(published, abs=0.02), name
