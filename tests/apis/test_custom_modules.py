"""People's own modules, as MMDetection's documentation teaches to write them, in a package outside ours.

Each is written once and tried under both import paths, ``mmdet_clone`` and MMDetection 2.x's own, trained for an
iteration by tools/train.py, and where it matters tested by tools/test.py.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from own_parts_configs import SINGLE_STAGE


def test_a_backbone_registered_without_parentheses(train):
    runner = train(
        """
        import torch.nn as nn

        from mmdet_clone.models.builder import BACKBONES


        @BACKBONES.register_module
        class MobileNet(nn.Module):
            def __init__(self, arg1, arg2):
                super().__init__()
                self.stages = nn.ModuleList(nn.Conv2d(i, o, 3, s, 1) for i, o, s in arg1)
                self.factor = arg2

            def forward(self, x):  # should return a tuple
                outs = []
                for stage in self.stages:
                    x = stage(x).relu() * self.factor
                    outs.append(x)
                return tuple(outs)

            def init_weights(self, pretrained=None):
                pass
        """,
        """
stages = [(3, 8, 4), (8, 16, 2), (16, 32, 2), (32, 64, 2)]
model['backbone'] = dict(type='MobileNet', arg1=stages, arg2=1.0)
""",
    )
    assert type(runner.model.backbone).__module__ == 'own_parts.part'
    assert runner.model.backbone.stages[0].weight.grad.abs().sum() > 0


def test_a_neck(train):
    runner = train(
        """
        import torch.nn as nn

        from mmdet_clone.models.builder import NECKS


        @NECKS.register_module()
        class FlatNeck(nn.Module):
            def __init__(self, in_channels, out_channels, num_outs):
                super().__init__()
                self.convs = nn.ModuleList(nn.Conv2d(c, out_channels, 1) for c in in_channels)
                self.num_outs = num_outs

            def forward(self, inputs):
                outs = [conv(x) for conv, x in zip(self.convs, inputs)]
                while len(outs) < self.num_outs:
                    outs.append(outs[-1][..., ::2, ::2])
                return tuple(outs)
        """,
        "\nmodel['neck']['type'] = 'FlatNeck'\n",
    )
    assert type(runner.model.neck).__name__ == 'FlatNeck' and runner.model.neck.convs[0].weight.grad is not None


def test_a_dense_head_that_changes_one_step(train):
    runner = train(
        """
        from mmdet_clone.models.builder import HEADS
        from mmdet_clone.models.dense_heads import RetinaHead


        @HEADS.register_module()
        class QuietHead(RetinaHead):
            def __init__(self, quiet=0.5, **kwargs):
                super().__init__(**kwargs)
                self.quiet = quiet

            def loss(self, *args, **kwargs):
                losses = super().loss(*args, **kwargs)
                return {name + '_quiet': value * self.quiet if not isinstance(value, list)
                        else [v * self.quiet for v in value] for name, value in losses.items()}
        """,
        SINGLE_STAGE + "\nmodel['bbox_head'].update(type='QuietHead', quiet=0.1)\n",
    )
    assert {'loss_cls_quiet', 'loss_bbox_quiet'} <= set(runner.outputs['log_vars'])


def test_a_roi_head_and_a_box_head(train):
    runner = train(
        """
        import torch.nn as nn

        from mmdet_clone.models.builder import HEADS
        from mmdet_clone.models.roi_heads import StandardRoIHead
        from mmdet_clone.models.roi_heads.bbox_heads.bbox_head import BBoxHead


        @HEADS.register_module()
        class PlainHead(BBoxHead):
            def __init__(self, width, *args, **kwargs):
                kwargs.setdefault('with_avg_pool', True)
                super().__init__(*args, **kwargs)
                self.extra = nn.Conv2d(self.in_channels, self.in_channels, 1)

            def forward(self, x):
                return super().forward(self.extra(x))


        @HEADS.register_module()
        class ScaledRoIHead(StandardRoIHead):
            def __init__(self, factor, **kwargs):
                super().__init__(**kwargs)
                self.factor = factor

            def _bbox_forward(self, x, rois):
                return super()._bbox_forward([self.factor * level for level in x], rois)
        """,
        """
head = model['roi_head']['bbox_head']
head.update(type='PlainHead', width=3)
del head['fc_out_channels']
model['roi_head'].update(type='ScaledRoIHead', factor=1.1)
""",
    )
    assert runner.model.roi_head.factor == 1.1
    assert runner.model.roi_head.bbox_head.extra.weight.grad.abs().sum() > 0


def test_a_loss_of_the_documentation(train):
    runner = train(
        """
        import torch
        import torch.nn as nn

        from mmdet_clone.models.builder import LOSSES
        from mmdet_clone.models.losses import weighted_loss


        @weighted_loss
        def my_loss(pred, target):
            assert pred.size() == target.size() and target.numel() > 0
            return torch.abs(pred - target)


        @LOSSES.register_module
        class MyLoss(nn.Module):
            calls = 0

            def __init__(self, reduction='mean', loss_weight=1.0):
                super(MyLoss, self).__init__()
                self.reduction = reduction
                self.loss_weight = loss_weight

            def forward(self, pred, target, weight=None, avg_factor=None, reduction_override=None):
                MyLoss.calls += 1
                reduction = reduction_override if reduction_override else self.reduction
                return self.loss_weight * my_loss(pred, target, weight, reduction=reduction, avg_factor=avg_factor)
        """,
        "\nmodel['rpn_head']['loss_bbox'] = dict(type='MyLoss', loss_weight=1.0)\n",
    )
    assert runner.model.rpn_head.loss_bbox.calls > 0 and runner.outputs['log_vars']['loss_rpn_bbox'] > 0


def test_a_data_set_that_sets_its_classes(train, run_tool, tmp_path):
    runner = train(
        """
        from mmdet_clone.datasets import CocoDataset
        from mmdet_clone.datasets.builder import DATASETS


        @DATASETS.register_module()
        class MyDataset(CocoDataset):
            CLASSES = ('disc', 'square')
        """,
        """
for split in ('train', 'val', 'test'):
    data[split]['type'] = 'MyDataset'
    del data[split]['classes']
""",
    )
    assert runner.data_loader.dataset.CLASSES == ('disc', 'square')
    checkpoint = torch.load(tmp_path / 'run' / 'latest.pth', weights_only=False)
    assert tuple(checkpoint['meta']['CLASSES']) == ('disc', 'square')
    figures = run_tool('test', tmp_path / 'config.py', tmp_path / 'run' / 'latest.pth', '--eval', 'bbox')
    assert 'bbox_mAP' in figures


def test_a_data_set_of_another_format(train, run_tool, data, tmp_path):
    """The text format of MMDetection's tutorial on new data sets."""
    lines = ['#', 'train_0.png', '96 96', '2', '10 20 40 60 1', '20 10 50 60 2'] * 2
    (tmp_path / 'annotation.txt').write_text('\n'.join(lines))
    runner = train(
        """
        import mmcv
        import numpy as np

        from mmdet_clone.datasets.builder import DATASETS
        from mmdet_clone.datasets.custom import CustomDataset


        @DATASETS.register_module()
        class MyTextDataset(CustomDataset):
            CLASSES = ('person', 'bicycle')

            def load_annotations(self, ann_file):
                with open(ann_file) as file:
                    ann_list = file.read().splitlines()
                data_infos = []
                for i, ann_line in enumerate(ann_list):
                    if ann_line != '#':
                        continue
                    img_shape = ann_list[i + 2].split(' ')
                    width, height = int(img_shape[0]), int(img_shape[1])
                    bboxes, labels = [], []
                    for anns in ann_list[i + 4:i + 4 + int(ann_list[i + 3])]:
                        anns = anns.split(' ')
                        bboxes.append([float(ann) for ann in anns[:4]])
                        labels.append(int(anns[4]) - 1)
                    data_infos.append(
                        dict(filename=ann_list[i + 1], width=width, height=height,
                             ann=dict(bboxes=np.array(bboxes).astype(np.float32),
                                      labels=np.array(labels).astype(np.int64))))
                return data_infos

            def get_ann_info(self, idx):
                return self.data_infos[idx]['ann']
        """,
        SINGLE_STAGE
        + f"""
for split in ('train', 'val', 'test'):
    data[split].update(type='MyTextDataset', ann_file={str(tmp_path / 'annotation.txt')!r},
                       img_prefix={str(data / 'train')!r})
    del data[split]['classes']
evaluation['metric'] = 'mAP'
""",
    )
    assert runner.data_loader.dataset.CLASSES == ('person', 'bicycle')
    figures = run_tool('test', tmp_path / 'config.py', tmp_path / 'run' / 'latest.pth', '--eval', 'mAP')
    assert set(figures) == {'mAP', 'AP50'}


def test_a_pipeline_step(train):
    runner = train(
        """
        import random

        from mmdet_clone.datasets import PIPELINES


        @PIPELINES.register_module()
        class MyTransform:
            def __init__(self, p=0.5):
                self.p = p

            def __call__(self, results):
                if random.random() <= self.p:
                    results['dummy'] = True
                return results
        """,
        """
train_pipeline.insert(2, dict(type='MyTransform', p=1.0))
train_pipeline[-1]['meta_keys'] = ('filename', 'ori_shape', 'img_shape', 'pad_shape', 'scale_factor', 'flip', 'dummy')
""",
    )
    assert runner.data_loader.dataset[0]['img_metas']['dummy'] is True


def test_a_step_that_leaves_data_containers(train):
    """As users' own formatting steps do, which were written when mmcv collated batches."""
    runner = train(
        """
        import numpy as np
        import torch
        from mmcv.parallel import DataContainer as DC

        from mmdet_clone.datasets import PIPELINES


        @PIPELINES.register_module()
        class MyBundle:
            def __call__(self, results):
                img = np.ascontiguousarray(results['img'].transpose(2, 0, 1))
                meta_keys = ('filename', 'ori_shape', 'img_shape', 'pad_shape', 'scale_factor', 'flip')
                return dict(
                    img=DC(torch.from_numpy(img), stack=True),
                    img_metas=DC({key: results[key] for key in meta_keys}, cpu_only=True),
                    gt_bboxes=DC(torch.from_numpy(results['gt_bboxes'])),
                    gt_labels=DC(torch.from_numpy(results['gt_labels'])),
                    gt_masks=DC(results['gt_masks'], cpu_only=True))
        """,
        "\ntrain_pipeline[-2:] = [dict(type='MyBundle')]\ndata['samples_per_gpu'] = 2\n",
    )
    assert runner.outputs['num_samples'] == 2


def test_a_hook_of_mmcv_1(train):
    runner = train(
        """
        from mmcv.runner import HOOKS, Hook


        @HOOKS.register_module()
        class MyHook(Hook):
            def __init__(self, a, b):
                self.seen = [(a, b)]

            def before_run(self, runner):
                self.seen.append('run')

            def before_epoch(self, runner):
                self.seen.append('epoch')

            def after_iter(self, runner):
                if self.every_n_iters(runner, 1):
                    self.seen.append((runner.iter, runner.epoch, runner.inner_iter, float(runner.outputs['loss']) > 0,
                                      type(runner.optimizer).__name__, type(runner.model.module).__name__))

            def after_run(self, runner):
                self.seen.append('end')
        """,
        "\ncustom_hooks = [dict(type='MyHook', a=1, b='x', priority='ABOVE_NORMAL')]\n",
    )
    (hook,) = [hook for hook in runner.hooks if type(hook).__name__ == 'MyHook']
    assert hook.seen == [(1, 'x'), 'run', 'epoch', (0, 0, 0, True, 'SGD', 'MaskRCNN'), 'end']


def test_a_hook_of_mmengine_beside_it(train):
    runner = train(
        """
        from mmengine.hooks import Hook

        from mmdet_clone.core import HOOKS


        @HOOKS.register_module
        class TheirHook(Hook):
            batches = []

            def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
                self.batches.append((batch_idx, len(data_batch['img_metas']), sorted(outputs)[:1]))
        """,
        "\ncustom_hooks = [dict(type='TheirHook')]\n",
    )
    (hook,) = [hook for hook in runner.hooks if type(hook).__name__ == 'TheirHook']
    assert hook.batches == [(0, 1, ['acc'])]


def test_a_detector_of_four_methods(train, run_tool, data, tmp_path):
    runner = train(
        """
        import numpy as np
        import torch
        import torch.nn as nn

        from mmdet_clone.models.builder import DETECTORS, build_backbone
        from mmdet_clone.models.detectors import BaseDetector


        @DETECTORS.register_module()
        class CenterNetOfMine(BaseDetector):
            def __init__(self, backbone, num_classes, train_cfg=None, test_cfg=None, pretrained=None, init_cfg=None):
                super().__init__(init_cfg)
                self.backbone = build_backbone(backbone)
                self.head = nn.Linear(64, num_classes + 4)

            def extract_feat(self, img):
                return self.backbone(img)[-1].mean((2, 3))

            def forward_train(self, img, img_metas, gt_bboxes, gt_labels, gt_bboxes_ignore=None, **kwargs):
                out = self.head(self.extract_feat(img))
                boxes = torch.stack([b.mean(0) for b in gt_bboxes])
                labels = torch.stack([l[0] for l in gt_labels])
                return dict(loss_cls=nn.functional.cross_entropy(out[:, 4:], labels),
                            loss_bbox=(out[:, :4] - boxes / 96).abs().mean())

            def simple_test(self, img, img_metas, rescale=False):
                out = self.head(self.extract_feat(img))
                return [self._result(row) for row in out]

            def aug_test(self, imgs, img_metas, rescale=False):
                return [self._result(sum(self.head(self.extract_feat(img))[0] for img in imgs) / len(imgs))]

            def _result(self, row):
                box = np.array([[0, 0, 50, 50, float(row[4:].sigmoid().max())]], dtype=np.float32)
                empty = np.zeros((0, 5), dtype=np.float32)
                return [box if c == int(row[4:].argmax()) else empty for c in range(len(row) - 4)]
        """,
        SINGLE_STAGE + "\nmodel = dict(type='CenterNetOfMine', backbone=model['backbone'], num_classes=2)\n",
    )
    assert set(runner.outputs['log_vars']) == {'loss_cls', 'loss_bbox', 'loss'}
    config, latest = tmp_path / 'config.py', tmp_path / 'run' / 'latest.pth'
    shown = tmp_path / 'shown'
    assert 'bbox_mAP' in run_tool('test', config, latest, '--eval', 'bbox', '--show-dir', shown)
    assert cv2.imread(str(shown / 'val_0.png')) is not None
    flips = ['--cfg-options', 'data.test.pipeline.1.flip=True']
    assert 'bbox_mAP' in run_tool('test', config, latest, '--eval', 'bbox', *flips)

    from mmdet_clone.apis import inference_detector, init_detector

    model = init_detector(config, latest, device='cpu')
    result = inference_detector(model, np.zeros((96, 96, 3), dtype=np.uint8))
    assert [box.shape for box in sorted(result, key=len)] == [(0, 5), (1, 5)]
