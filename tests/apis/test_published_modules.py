"""Files written for MMDetection 2.x and mmcv 1.x, with the imports and the inner steps that published ones use.

Each stands in a package of the user's own, is named by ``custom_imports`` and trains unmodified.
"""

from __future__ import annotations

import pytest
import torch
from own_parts_configs import SINGLE_STAGE


@pytest.fixture
def project(package):
    return package


def test_a_backbone_that_builds_its_layers_by_mmcv(train):
    runner = train(
        """
        import warnings

        import torch.nn as nn
        import torch.utils.checkpoint as cp
        from mmcv.cnn import (ConvModule, bias_init_with_prob, build_activation_layer, build_conv_layer,
                              build_norm_layer, build_plugin_layer, constant_init, kaiming_init, normal_init,
                              trunc_normal_init, xavier_init)
        from mmcv.cnn.bricks import DropPath
        from mmcv.cnn.utils.weight_init import trunc_normal_
        from mmcv.runner import BaseModule, ModuleList, Sequential, _load_checkpoint, auto_fp16, load_state_dict
        from mmcv.utils import to_2tuple
        from mmcv.utils.parrots_wrapper import _BatchNorm

        from mmdet.utils import get_root_logger
        from mmdet.models.builder import BACKBONES
        from mmdet.models.utils import ResLayer, make_divisible
        from mmdet.models.backbones.resnet import BasicBlock


        class Stage(BaseModule):
            def __init__(self, channels, out_channels, stride, norm_cfg, act_cfg=dict(type='ReLU'), init_cfg=None):
                super(Stage, self).__init__(init_cfg)
                self.conv1 = build_conv_layer(None, channels, out_channels, 3, stride=stride, padding=1, bias=False)
                self.norm1_name, norm1 = build_norm_layer(norm_cfg, out_channels, postfix=1)
                self.add_module(self.norm1_name, norm1)
                self.act = build_activation_layer(act_cfg)
                self.drop = DropPath(0.0)

            @property
            def norm1(self):
                return getattr(self, self.norm1_name)

            def forward(self, x):
                return self.act(self.drop(self.norm1(self.conv1(x))))


        @BACKBONES.register_module()
        class Published(BaseModule):
            def __init__(self, widths, norm_cfg=dict(type='BN', requires_grad=True), frozen_stages=-1, norm_eval=True,
                         with_cp=False, pretrained=None, init_cfg=None):
                super().__init__(init_cfg)
                assert not (init_cfg and pretrained), 'init_cfg and pretrained cannot be specified at the same time'
                if init_cfg is None:
                    self.init_cfg = [dict(type='Kaiming', layer='Conv2d'),
                                     dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm'])]
                self.stem = ConvModule(3, widths[0], 3, stride=2, padding=1, norm_cfg=norm_cfg)
                self.stages = ModuleList()
                for channels, out_channels in zip(widths, widths[1:]):
                    self.stages.append(Sequential(
                        Stage(channels, make_divisible(out_channels, 8), 2, norm_cfg),
                        ResLayer(BasicBlock, out_channels, out_channels, 1, norm_cfg=norm_cfg)))
                self.norm_eval, self.with_cp = norm_eval, with_cp
                self.logger = get_root_logger()

            @auto_fp16()
            def forward(self, x):
                x = self.stem(x)
                outs = []
                for stage in self.stages:
                    x = cp.checkpoint(stage, x, use_reentrant=False) if self.with_cp and x.requires_grad else stage(x)
                    outs.append(x)
                return tuple(outs)

            def train(self, mode=True):
                super(Published, self).train(mode)
                if mode and self.norm_eval:
                    for m in self.modules():
                        if isinstance(m, _BatchNorm):
                            m.eval()
        """,
        "\nmodel['backbone'] = dict(type='Published', widths=[8, 8, 16, 32, 64], with_cp=True)\n",
    )
    assert runner.model.backbone.stages[3][0].conv1.weight.grad.abs().sum() > 0
    assert not runner.model.backbone.stem.bn.training


def test_a_neck_that_takes_its_place_in_a_list(train):
    runner = train(
        """
        import torch.nn.functional as F
        from mmcv.cnn import ConvModule
        from mmcv.runner import BaseModule, auto_fp16, force_fp32

        from mmdet.models import NECKS, build_neck
        from mmdet.models.necks import FPN


        @NECKS.register_module()
        class BalancedNeck(BaseModule):
            def __init__(self, in_channels, num_levels, refine_level=1, conv_cfg=None, norm_cfg=None,
                         init_cfg=dict(type='Xavier', layer='Conv2d', distribution='uniform')):
                super(BalancedNeck, self).__init__(init_cfg)
                self.num_levels, self.refine_level = num_levels, refine_level
                self.refine = ConvModule(in_channels, in_channels, 3, padding=1, conv_cfg=conv_cfg, norm_cfg=norm_cfg)

            @force_fp32(apply_to=('inputs', ))
            def forward(self, inputs):
                assert len(inputs) == self.num_levels
                size = inputs[self.refine_level].size()[2:]
                gathered = [F.interpolate(x, size=size, mode='nearest') for x in inputs]
                refined = self.refine(sum(gathered) / len(gathered))
                return tuple(F.adaptive_max_pool2d(refined, x.size()[2:]) + x for x in inputs)


        @NECKS.register_module()
        class SameFPN(FPN):
            pass
        """,
        """
model['neck'] = [dict(model['neck'], type='SameFPN'), dict(type='BalancedNeck', in_channels=16, num_levels=5)]
model['neck'][1]['num_levels'] = model['neck'][0]['num_outs']
model['neck'][1]['in_channels'] = model['neck'][0]['out_channels']
""",
    )
    assert runner.model.neck[1].refine.conv.weight.grad.abs().sum() > 0


LEVEL_BY_LEVEL = """
    import torch
    import torch.nn as nn
    from mmcv.cnn import bias_init_with_prob, normal_init
    from mmcv.ops import batched_nms
    from mmcv.runner import force_fp32

    from mmdet.core import (anchor_inside_flags, build_assigner, build_bbox_coder, build_prior_generator, build_sampler,
                            images_to_levels, multi_apply, reduce_mean, select_single_mlvl, unmap)
    from mmdet.models.builder import HEADS, build_loss
    from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
    from mmdet.models.dense_heads.dense_test_mixins import BBoxTestMixin


    @HEADS.register_module()
    class LevelHead(BaseDenseHead, BBoxTestMixin):
        def __init__(self, num_classes, in_channels, anchor_generator, loss_cls, loss_bbox,
                     bbox_coder=dict(type='DeltaXYWHBBoxCoder'), train_cfg=None, test_cfg=None, init_cfg=None):
            super(LevelHead, self).__init__(init_cfg)
            self.num_classes = self.cls_out_channels = num_classes
            self.prior_generator = build_prior_generator(anchor_generator)
            self.num_anchors = self.prior_generator.num_base_priors[0]
            self.bbox_coder = build_bbox_coder(bbox_coder)
            self.loss_cls, self.loss_bbox = build_loss(loss_cls), build_loss(loss_bbox)
            self.use_sigmoid_cls = True
            self.train_cfg, self.test_cfg = train_cfg, test_cfg
            if self.train_cfg:
                self.assigner = build_assigner(train_cfg.assigner)
            self.sampler = build_sampler(dict(type='PseudoSampler'), context=self)
            self.cls = nn.Conv2d(in_channels, self.num_anchors * num_classes, 3, padding=1)
            self.reg = nn.Conv2d(in_channels, self.num_anchors * 4, 3, padding=1)

        def init_weights(self):
            normal_init(self.cls, std=0.01, bias=bias_init_with_prob(0.01))
            normal_init(self.reg, std=0.01)

        def forward(self, feats):
            return multi_apply(self.forward_single, feats)

        def forward_single(self, x):
            return self.cls(x), self.reg(x)

        @force_fp32(apply_to=('cls_scores', 'bbox_preds'))
        def loss(self, cls_scores, bbox_preds, gt_bboxes, gt_labels, img_metas, gt_bboxes_ignore=None):
            sizes = [score.size()[-2:] for score in cls_scores]
            device = cls_scores[0].device
            anchors = self.prior_generator.grid_priors(sizes, device=device)
            num_level_anchors = [anchor.size(0) for anchor in anchors]
            flags = [torch.cat(self.prior_generator.valid_flags(sizes, meta['pad_shape'], device))
                     for meta in img_metas]
            labels, weights, boxes, box_weights, pos, neg = multi_apply(
                self.target_single, [torch.cat(anchors)] * len(img_metas), flags, gt_bboxes,
                gt_bboxes_ignore or [None] * len(img_metas), gt_labels, img_metas)
            num_pos = max(reduce_mean(torch.tensor(float(sum(p.numel() for p in pos)), device=device)).item(), 1.0)
            losses_cls, losses_bbox = multi_apply(
                self.loss_single, cls_scores, bbox_preds, images_to_levels(labels, num_level_anchors),
                images_to_levels(weights, num_level_anchors), images_to_levels(boxes, num_level_anchors),
                images_to_levels(box_weights, num_level_anchors), num_total_samples=num_pos)
            return dict(loss_cls=losses_cls, loss_bbox=losses_bbox)

        def target_single(self, flat_anchors, valid_flags, gt_bboxes, gt_bboxes_ignore, gt_labels, img_meta):
            inside = anchor_inside_flags(flat_anchors, valid_flags, img_meta['img_shape'][:2],
                                         self.train_cfg.allowed_border)
            anchors = flat_anchors[inside, :]
            assigned = self.assigner.assign(anchors, gt_bboxes, gt_bboxes_ignore, gt_labels)
            sampled = self.sampler.sample(assigned, anchors, gt_bboxes)
            labels = anchors.new_full((anchors.shape[0], ), self.num_classes, dtype=torch.long)
            weights = anchors.new_zeros(anchors.shape[0])
            boxes, box_weights = torch.zeros_like(anchors), torch.zeros_like(anchors)
            if len(sampled.pos_inds) > 0:
                boxes[sampled.pos_inds, :] = self.bbox_coder.encode(sampled.pos_bboxes, sampled.pos_gt_bboxes)
                box_weights[sampled.pos_inds, :] = 1.0
                labels[sampled.pos_inds] = gt_labels[sampled.pos_assigned_gt_inds]
                weights[sampled.pos_inds] = 1.0
            weights[sampled.neg_inds] = 1.0
            total = flat_anchors.size(0)
            return (unmap(labels, total, inside, fill=self.num_classes), unmap(weights, total, inside),
                    unmap(boxes, total, inside), unmap(box_weights, total, inside), sampled.pos_inds, sampled.neg_inds)

        def loss_single(self, cls_score, bbox_pred, labels, weights, boxes, box_weights, num_total_samples):
            cls_score = cls_score.permute(0, 2, 3, 1).reshape(-1, self.cls_out_channels)
            bbox_pred = bbox_pred.permute(0, 2, 3, 1).reshape(-1, 4)
            loss_cls = self.loss_cls(cls_score, labels.reshape(-1), weights.reshape(-1), avg_factor=num_total_samples)
            loss_bbox = self.loss_bbox(bbox_pred, boxes.reshape(-1, 4), box_weights.reshape(-1, 4),
                                       avg_factor=num_total_samples)
            return loss_cls, loss_bbox

        def aug_test(self, feats, img_metas, rescale=False):
            return self.aug_test_bboxes(feats, img_metas, rescale=rescale)
"""
LEVEL_HEAD = """
head = model['bbox_head']
model['bbox_head'] = dict(type='LevelHead', num_classes=2, in_channels=16, anchor_generator=head['anchor_generator'],
                          loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
                          loss_bbox=head['loss_bbox'])
"""


def test_a_dense_head_that_does_everything_itself_level_by_level(train, run_tool, tmp_path):
    runner = train(LEVEL_BY_LEVEL, SINGLE_STAGE + LEVEL_HEAD, iterations=2)
    assert {'loss_cls', 'loss_bbox'} <= set(runner.outputs['log_vars'])
    figures = run_tool('test', tmp_path / 'config.py', tmp_path / 'run' / 'latest.pth', '--eval', 'bbox')
    assert 'bbox_mAP' in figures


def test_anchor_heads_that_change_steps_of_2x_train_to_the_same_losses(train):
    """One calls the inherited steps, one overrides ``loss_single``; both do what RetinaHead does."""
    runner = train(
        """
        import torch
        from mmcv.runner import force_fp32
        from mmdet.core import images_to_levels, multi_apply
        from mmdet.models import HEADS, RetinaHead


        @HEADS.register_module()
        class CallingHead(RetinaHead):
            @force_fp32(apply_to=('cls_scores', 'bbox_preds'))
            def loss(self, cls_scores, bbox_preds, gt_bboxes, gt_labels, img_metas, gt_bboxes_ignore=None):
                featmap_sizes = [featmap.size()[-2:] for featmap in cls_scores]
                assert len(featmap_sizes) == self.prior_generator.num_levels
                anchor_list, valid_flag_list = self.get_anchors(
                    featmap_sizes, img_metas, device=cls_scores[0].device)
                label_channels = self.cls_out_channels if self.use_sigmoid_cls else 1
                cls_reg_targets = self.get_targets(
                    anchor_list, valid_flag_list, gt_bboxes, img_metas, gt_bboxes_ignore_list=gt_bboxes_ignore,
                    gt_labels_list=gt_labels, label_channels=label_channels)
                if cls_reg_targets is None:
                    return None
                (labels_list, label_weights_list, bbox_targets_list, bbox_weights_list,
                 num_total_pos, num_total_neg) = cls_reg_targets
                num_total_samples = num_total_pos + num_total_neg if self.sampling else num_total_pos
                num_level_anchors = [anchors.size(0) for anchors in anchor_list[0]]
                all_anchor_list = images_to_levels([torch.cat(anchors) for anchors in anchor_list], num_level_anchors)
                losses_cls, losses_bbox = multi_apply(
                    self.loss_single, cls_scores, bbox_preds, all_anchor_list, labels_list, label_weights_list,
                    bbox_targets_list, bbox_weights_list, num_total_samples=num_total_samples)
                return dict(loss_cls=losses_cls, loss_bbox=losses_bbox)


        @HEADS.register_module()
        class SingleHead(RetinaHead):
            levels = 0

            def loss_single(self, cls_score, bbox_pred, anchors, labels, label_weights, bbox_targets, bbox_weights,
                            num_total_samples):
                self.levels += 1
                return super().loss_single(cls_score, bbox_pred, anchors, labels, label_weights, bbox_targets,
                                           bbox_weights, num_total_samples=num_total_samples)
        """,
        SINGLE_STAGE + "\nmodel['bbox_head']['type'] = 'SingleHead'\n",
    )
    from mmdet_clone.models import build_head

    ours, single = runner.model.eval().bbox_head, runner.model.bbox_head.levels
    assert single == 3
    batch = next(iter(runner.data_loader))
    heads = [
        build_head(dict(runner.cfg.model.bbox_head, type=name, train_cfg=runner.cfg.model.train_cfg))
        for name in ('RetinaHead', 'CallingHead', 'SingleHead')
    ]
    feats = runner.model.extract_feat(batch['img'])
    totals = []
    for head in heads:
        head.load_state_dict(ours.state_dict())
        losses = head.forward_train(feats, batch['img_metas'], batch['gt_bboxes'], batch['gt_labels'])
        totals.append([sum(v) if isinstance(v, list) else v for v in (losses['loss_cls'], losses['loss_bbox'])])
    for other in totals[1:]:
        torch.testing.assert_close(torch.stack(other), torch.stack(totals[0]), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ('method', 'arguments', 'message'),
    [
        ('_get_bboxes_single', 'self, cls_score_list', 'overrides _get_bboxes_single .* get_bboxes does not'),
        ('_get_targets_single', 'self, flat_anchors', 'overrides _get_targets_single .* get_targets does not'),
        (
            'get_targets',
            'self, anchor_list',
            'overrides get_targets .* override classification_loss or box_loss of',
        ),
    ],
)
def test_a_step_of_2x_that_would_never_be_called_is_refused(package, method, arguments, message, run_tool):
    config = package(
        f"""
        from mmdet.models import HEADS, RetinaHead


        @HEADS.register_module()
        class QuietHead(RetinaHead):
            def {method}({arguments}, *args, **kwargs):
                raise AssertionError('never called')
        """,
        "\ncustom_imports = dict(imports=['own_parts.part'])\n"
        + SINGLE_STAGE
        + "\nmodel['bbox_head']['type'] = 'QuietHead'\n",
    )
    with pytest.raises(TypeError, match=message):
        run_tool('train', config, '--no-validate')


def test_a_loss_with_marks_of_mmcv(train):
    runner = train(
        """
        import mmcv
        import torch
        import torch.nn as nn
        import torch.nn.functional as F
        from mmcv.ops import sigmoid_focal_loss as _sigmoid_focal_loss

        from mmdet.models.builder import LOSSES
        from mmdet.models.losses.smooth_l1_loss import l1_loss
        from mmdet.models.losses.utils import weight_reduce_loss, weighted_loss


        @mmcv.jit(derivate=True, coderize=True)
        @weighted_loss
        def charbonnier_loss(pred, target, eps=1e-6):
            return torch.sqrt((pred - target)**2 + eps)


        @mmcv.jit(coderize=True)
        def focal(pred, target, weight=None, reduction='mean', avg_factor=None):
            loss = _sigmoid_focal_loss(pred.contiguous(), target.contiguous(), 2.0, 0.25, None, 'none')
            if weight is not None and weight.shape != loss.shape:
                weight = weight.view(-1, 1)
            return weight_reduce_loss(loss, weight, reduction, avg_factor)


        @LOSSES.register_module()
        class CharbonnierLoss(nn.Module):
            def __init__(self, reduction='mean', loss_weight=1.0):
                super().__init__()
                self.reduction, self.loss_weight = reduction, loss_weight

            def forward(self, pred, target, weight=None, avg_factor=None, reduction_override=None):
                assert reduction_override in (None, 'none', 'mean', 'sum')
                reduction = reduction_override if reduction_override else self.reduction
                return self.loss_weight * charbonnier_loss(
                    pred, target, weight, reduction=reduction, avg_factor=avg_factor)


        @LOSSES.register_module()
        class PublishedFocal(nn.Module):
            def __init__(self, use_sigmoid=True, loss_weight=1.0):
                super().__init__()
                self.use_sigmoid, self.loss_weight = use_sigmoid, loss_weight

            def forward(self, pred, target, weight=None, avg_factor=None, reduction_override=None):
                return self.loss_weight * focal(pred, target, weight, avg_factor=avg_factor)
        """,
        SINGLE_STAGE
        + "\nmodel['bbox_head'].update(loss_bbox=dict(type='CharbonnierLoss'),"
        + " loss_cls=dict(type='PublishedFocal', use_sigmoid=True))\n",
    )
    assert runner.outputs['log_vars']['loss_cls'] > 0 and runner.outputs['log_vars']['loss_bbox'] > 0


def test_a_data_set_that_reads_coco_by_the_api_wrapper(train, run_tool, tmp_path):
    runner = train(
        """
        import itertools
        import logging
        import os.path as osp
        from collections import OrderedDict

        import mmcv
        import numpy as np
        from mmcv.utils import print_log
        from terminaltables import AsciiTable

        from mmdet.core import eval_recalls
        from mmdet.datasets.api_wrappers import COCO, COCOeval
        from mmdet.datasets.builder import DATASETS
        from mmdet.datasets.custom import CustomDataset


        @DATASETS.register_module()
        class ShapesDataset(CustomDataset):
            CLASSES = ('disc', 'square')

            def load_annotations(self, ann_file):
                self.coco = COCO(ann_file)
                self.cat_ids = self.coco.get_cat_ids(cat_names=self.CLASSES)
                self.cat2label = {cat_id: i for i, cat_id in enumerate(self.cat_ids)}
                self.img_ids = self.coco.get_img_ids()
                data_infos = []
                for i in self.img_ids:
                    info = self.coco.load_imgs([i])[0]
                    info['filename'] = info['file_name']
                    data_infos.append(info)
                return data_infos

            def get_ann_info(self, idx):
                ann_ids = self.coco.get_ann_ids(img_ids=[self.data_infos[idx]['id']])
                anns = [ann for ann in self.coco.load_anns(ann_ids) if ann['category_id'] in self.cat2label]
                boxes = np.array([ann['bbox'] for ann in anns], dtype=np.float32).reshape(-1, 4)
                boxes[:, 2:] += boxes[:, :2]
                labels = np.array([self.cat2label[ann['category_id']] for ann in anns], dtype=np.int64)
                return dict(bboxes=boxes, labels=labels, bboxes_ignore=np.zeros((0, 4), dtype=np.float32))

            def _filter_imgs(self, min_size=32):
                return [i for i, info in enumerate(self.data_infos) if min(info['width'], info['height']) >= min_size]

            def evaluate(self, results, metric='recall', logger=None, **kwargs):
                if not isinstance(metric, str):
                    assert len(metric) == 1
                    metric = metric[0]
                truths = [self.get_ann_info(i)['bboxes'] for i in range(len(self))]
                proposals = [np.concatenate(result) for result in mmcv.track_iter_progress(results)]
                recalls = eval_recalls(truths, proposals, [100], [0.5], logger=logger)
                print_log(AsciiTable([['recall'], [f'{recalls[0, 0]:.3f}']]).table, logger=logger)
                return OrderedDict(recall=float(recalls[0, 0]))
        """,
        SINGLE_STAGE
        + """
for split in ('train', 'val', 'test'):
    data[split]['type'] = 'ShapesDataset'
    del data[split]['classes']
evaluation['metric'] = 'recall'
""",
    )
    assert runner.data_loader.dataset.CLASSES == ('disc', 'square')
    figures = run_tool('test', tmp_path / 'config.py', tmp_path / 'run' / 'latest.pth', '--eval', 'recall')
    assert 0 <= figures['recall'] <= 1


def test_pipeline_steps_that_work_on_images_boxes_and_masks(train):
    runner = train(
        """
        import copy
        import inspect

        import mmcv
        import numpy as np
        from mmcv.parallel import DataContainer as DC
        from mmcv.utils import build_from_cfg
        from numpy import random

        from mmdet.core import BitmapMasks, PolygonMasks, find_inside_bboxes
        from mmdet.core.evaluation.bbox_overlaps import bbox_overlaps
        from mmdet.datasets.builder import PIPELINES
        from mmdet.datasets.pipelines.compose import Compose
        from mmdet.datasets.pipelines.formatting import to_tensor
        from mmdet.datasets.pipelines.transforms import Resize


        @PIPELINES.register_module()
        class LoadByClient:
            def __init__(self, to_float32=False, color_type='color', file_client_args=dict(backend='disk')):
                self.to_float32, self.color_type = to_float32, color_type
                self.file_client_args = file_client_args.copy()
                self.file_client = None

            def __call__(self, results):
                if self.file_client is None:
                    self.file_client = mmcv.FileClient(**self.file_client_args)
                filename = results['img_prefix'] + '/' + results['img_info']['filename']
                img = mmcv.imfrombytes(self.file_client.get(filename), flag=self.color_type)
                results.update(filename=filename, ori_filename=results['img_info']['filename'], img=img,
                               img_shape=img.shape, ori_shape=img.shape, img_fields=['img'])
                return results


        @PIPELINES.register_module()
        class Turn:
            def __init__(self, transforms=()):
                self.compose = Compose(transforms)

            def __call__(self, results):
                results = self.compose(copy.deepcopy(results))
                if results is None:
                    return None
                for key in results.get('img_fields', ['img']):
                    results[key] = mmcv.imflip(mmcv.bgr2rgb(results[key]), direction='vertical')
                h = results['img_shape'][0]
                for key in results.get('bbox_fields', []):
                    results[key] = results[key][:, [0, 3, 2, 1]] * [1, -1, 1, -1] + np.float32([0, h, 0, h])
                    results[key] = results[key].astype(np.float32)
                for key in results.get('mask_fields', []):
                    results[key] = results[key].flip('vertical')
                keep = bbox_overlaps(results['gt_bboxes'], results['gt_bboxes']).max(1) > 0.5
                assert keep.all() and isinstance(results['gt_masks'], (BitmapMasks, PolygonMasks))
                return results
        """,
        """
train_pipeline[0] = dict(type='LoadByClient')
train_pipeline.insert(2, dict(type='Turn', transforms=[dict(type='RandomFlip', flip_ratio=1.0)]))
""",
    )
    assert runner.outputs['log_vars']['loss_mask'] > 0


def test_hooks_that_read_and_change_the_run(train, tmp_path):
    runner = train(
        """
        import os.path as osp

        import mmcv
        import torch
        from mmcv.parallel import is_module_wrapper
        from mmcv.runner import (EvalHook, LoggerHook, OptimizerHook, get_dist_info, get_priority, master_only,
                                 save_checkpoint)
        from mmcv.runner.dist_utils import allreduce_grads
        from mmcv.runner.hooks import HOOKS, Hook
        from mmcv.utils import get_logger, print_log


        @HOOKS.register_module()
        class WeightsHook(Hook):
            def before_run(self, runner):
                self.out_dir = osp.join(runner.work_dir, 'weights')
                mmcv.mkdir_or_exist(self.out_dir)
                runner.logger.info('weights go to %s', self.out_dir)

            @master_only
            def after_train_iter(self, runner):
                model = runner.model.module if is_module_wrapper(runner.model) else runner.model
                path = osp.join(self.out_dir, f'{runner.iter + 1}.pth')
                save_checkpoint(model, path, meta=dict(iter=runner.iter + 1))
                runner.log_buffer.update({'weight': float(next(model.parameters()).abs().sum())}, 1)
                print_log(f'lr {runner.current_lr()[0]} of {runner.max_iters}', logger=runner.logger)


        @HOOKS.register_module()
        class SignHook(OptimizerHook):
            def after_train_iter(self, runner):
                runner.optimizer.zero_grad()
                runner.outputs['loss'].backward()
                allreduce_grads(runner.model.parameters())
                for p in runner.model.parameters():
                    if p.grad is not None:
                        p.grad.sign_()
                if self.grad_clip is not None:
                    norm = self.clip_grads(runner.model.parameters())
                    if norm is not None:
                        runner.log_buffer.update({'grad_norm': float(norm)}, runner.outputs['num_samples'])
                runner.optimizer.step()
        """,
        """
custom_hooks = [dict(type='WeightsHook', priority='LOW')]
optimizer_config = dict(type='SignHook', grad_clip=dict(max_norm=1.0, norm_type=2))
""",
        iterations=2,
    )
    assert sorted(p.name for p in (tmp_path / 'run' / 'weights').iterdir()) == ['1.pth', '2.pth']
    assert len(runner.log_buffer.val_history['grad_norm']) == 2
    grads = torch.cat([p.grad.flatten() for p in runner.model.parameters() if p.grad is not None])
    assert grads.norm() == pytest.approx(1.0, abs=1e-3)  # signs, clipped


def test_a_registry_of_the_users_own_inside_a_head(train):
    runner = train(
        """
        import torch.nn as nn
        from mmcv.cnn import MODELS as MMCV_MODELS
        from mmcv.cnn.bricks.registry import PLUGIN_LAYERS
        from mmcv.utils import Registry, build_from_cfg

        from mmdet.models.builder import HEADS
        from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead
        from mmdet.models.utils import build_linear_layer

        GATES = Registry('gates')


        @GATES.register_module()
        class Gate(nn.Module):
            def __init__(self, channels):
                super().__init__()
                self.fc = build_linear_layer(dict(type='Linear'), in_features=channels, out_features=channels)

            def forward(self, x):
                return x * self.fc(x).sigmoid()


        @HEADS.register_module()
        class GatedHead(Shared2FCBBoxHead):
            def __init__(self, gate, *args, **kwargs):
                super(GatedHead, self).__init__(*args, **kwargs)
                self.gate = build_from_cfg(dict(gate, channels=self.cls_last_dim), GATES)

            def forward(self, x):
                x = x.flatten(1)
                for fc in self.shared_fcs:
                    x = self.relu(fc(x))
                x = self.gate(x)
                return self.fc_cls(x), self.fc_reg(x)
        """,
        "\nmodel['roi_head']['bbox_head'].update(type='GatedHead', gate=dict(type='Gate'))\n",
    )
    assert runner.model.roi_head.bbox_head.gate.fc.weight.grad.abs().sum() > 0
