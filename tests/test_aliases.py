"""Modules written for MMDetection 2.x and mmcv 1.x import unchanged, through ``custom_imports``."""

from __future__ import annotations

import importlib
import subprocess
import sys
import textwrap

import pytest
import torch

from mmdet_clone import registry
from mmdet_clone.aliases import AliasModule, aliases, turn_off
from mmdet_clone.config import load_config

PARTS = {
    'own_old/__init__.py': '',
    'own_old/backbone.py': """
        import torch.nn as nn
        from mmcv.cnn import ConvModule, constant_init, kaiming_init
        from mmcv.runner import BaseModule, auto_fp16, force_fp32
        from mmcv.utils.parrots_wrapper import _BatchNorm
        from mmdet.models.builder import BACKBONES

        @BACKBONES.register_module()
        class OldBackbone(BaseModule):
            def __init__(self, width, init_cfg=None):
                super().__init__(init_cfg)
                self.conv = ConvModule(3, width, 3, norm_cfg=dict(type='BN'))
                for m in self.modules():
                    if isinstance(m, nn.Conv2d):
                        kaiming_init(m)
                    elif isinstance(m, _BatchNorm):
                        constant_init(m, 1)

            @auto_fp16()
            def forward(self, x):
                return self.late(self.conv(x))

            @force_fp32(apply_to=('x',))
            def late(self, x):
                from mmcv.runner import get_dist_info  # an import at run time
                from mmdet.core import multi_apply
                import mmcv
                assert mmcv.is_list_of([1], int)
                return multi_apply(lambda a: (a, get_dist_info()), [x])[0]
        """,
    'own_old/loss.py': """
        import torch.nn as nn
        from mmdet.models import LOSSES
        from mmdet.models.losses.utils import weighted_loss

        @weighted_loss
        def my_loss(pred, target):
            return (pred - target) ** 2

        @LOSSES.register_module
        class OldLoss(nn.Module):
            def forward(self, pred, target, weight=None, avg_factor=None):
                return my_loss(pred, target, weight, avg_factor=avg_factor)
        """,
    'own_old/pipeline.py': """
        import mmcv
        import numpy as np
        from mmcv.parallel import DataContainer as DC
        from mmdet.datasets.builder import PIPELINES
        from mmdet.datasets.pipelines import Compose

        @PIPELINES.register_module()
        class OldStep:
            def __call__(self, results):
                results['img'] = mmcv.imflip(np.zeros((2, 2, 3), np.uint8))
                results['marked'] = DC(1, stack=False, cpu_only=True)
                return results
        """,
    'own_old/hook.py': """
        from mmcv.runner import HOOKS, Hook
        from mmcv.runner.hooks import HOOKS as SAME
        from mmdet.utils import get_root_logger

        assert SAME is HOOKS

        @HOOKS.register_module()
        class OldHook(Hook):
            def after_train_iter(self, runner):
                if self.every_n_iters(runner, 2):
                    get_root_logger()
        """,
    'own_old/dataset.py': """
        from mmcv.utils import print_log
        from mmdet.datasets import CocoDataset, DATASETS

        @DATASETS.register_module()
        class OldDataset(CocoDataset):
            CLASSES = ('a', 'b')
        """,
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Write modules below ``tmp_path``, which is on ``sys.path``; registries and imports are as before afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    tables = [getattr(registry, name)._module_dict for name in ('MODELS', 'DATASETS', 'PIPELINES', 'HOOKS')]
    copies = [dict(table) for table in tables]
    before = set(sys.modules)

    def write(files: dict[str, str]):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        importlib.invalidate_caches()
        return tmp_path

    yield write
    turn_off()
    for table, copy in zip(tables, copies, strict=True):
        for name in [n for n in table if n not in copy and n.startswith('Old')]:
            del table[name]
    for name in [n for n in sys.modules if n not in before and n.split('.')[0].startswith(('own_', 'mmdet.'))]:
        del sys.modules[name]


def import_parts(folder, *names: str):
    config = folder / 'config.py'
    config.write_text(f'custom_imports = dict(imports={[f"own_old.{name}" for name in names]})')
    load_config(config)
    return [sys.modules[f'own_old.{name}'] for name in names]


def test_a_backbone_of_old_builds_and_runs_also_what_it_imports_late(project):
    import_parts(project(PARTS), 'backbone')
    backbone = registry.BACKBONES.build(dict(type='OldBackbone', width=4))
    (out,) = backbone(torch.zeros(1, 3, 8, 8))
    assert out.shape == (1, 4, 6, 6)


def test_a_loss_of_old_computes(project):
    import_parts(project(PARTS), 'loss')
    loss = registry.LOSSES.build(dict(type='OldLoss'))
    assert loss(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 0.0]), avg_factor=5).item() == pytest.approx(2.0)


def test_a_pipeline_step_a_hook_and_a_data_set_of_old_register(project):
    _, hook, dataset = import_parts(project(PARTS), 'pipeline', 'hook', 'dataset')
    step = registry.PIPELINES.build(dict(type='OldStep'))
    assert step({})['marked'].data == 1
    from mmdet_clone.datasets import CocoDataset
    from mmdet_clone.engine.hooks import Hook

    assert registry.HOOKS.get('OldHook') is hook.OldHook and issubclass(hook.OldHook, Hook)
    assert registry.DATASETS.get('OldDataset') is dataset.OldDataset and issubclass(dataset.OldDataset, CocoDataset)


def test_a_file_that_the_user_added_to_a_checkout_of_mmdetection_is_found(project):
    folder = project(
        {
            'mmdet/__init__.py': "raise AssertionError('MMCV is incompatible')",
            'mmdet/models/__init__.py': "raise AssertionError('not to be imported')",
            'mmdet/models/builder.py': "raise AssertionError('not to be imported')",
            'mmdet/models/backbones/__init__.py': "raise AssertionError('not to be imported')",
            'mmdet/models/backbones/own_mobilenet.py': """
                import torch.nn as nn
                from ..builder import BACKBONES
                from mmdet.core.bbox import bbox2roi

                @BACKBONES.register_module
                class OldMobileNet(nn.Module):
                    pass
                """,
            'config.py': "custom_imports = dict(imports=['mmdet.models.backbones.own_mobilenet'])",
        }
    )
    load_config(folder / 'config.py')
    assert registry.BACKBONES.get('OldMobileNet').__module__ == 'mmdet.models.backbones.own_mobilenet'


def test_a_module_of_mmdetection_that_does_not_exist_is_missing(project):
    folder = project({'config.py': "custom_imports = dict(imports=['mmdet.models.backbones.own_nothing'])"})
    with pytest.raises(ImportError, match=r'mmdet/models/backbones/own_nothing.py'):
        load_config(folder / 'config.py')


def test_names_of_the_real_mmcv_win_and_missing_ones_are_served(project):
    import mmcv
    import mmcv.cnn

    imread, conv = mmcv.imread, mmcv.cnn.ConvModule
    project({'own_late.py': ''})
    with aliases():
        importlib.import_module('own_late')
    import mmengine

    assert mmcv.imread is imread and mmcv.cnn.ConvModule is conv
    assert not isinstance(sys.modules['mmcv'], AliasModule) and mmcv.__version__.startswith('2')
    assert mmcv.Config is mmengine.Config
    assert mmcv.runner.BaseModule is mmengine.model.BaseModule
    with pytest.raises(AttributeError, match='nothing_at_all'):
        mmcv.nothing_at_all  # noqa: B018


def test_a_name_without_counterpart_is_an_import_error_that_says_so(project):
    files = {
        'own_asks.py': 'from mmcv.runner import NothingAtAll',
        'config.py': "custom_imports = dict(imports=['own_asks'])",
    }
    folder = project(files)
    with pytest.raises(ImportError, match=r'NothingAtAll.*mmdet_clone has no counterpart of that name of mmcv.runner'):
        load_config(folder / 'config.py')


def test_checkpoints_are_read_without_running_what_they_hold(project, tmp_path):
    class Hostile:
        def __reduce__(self):
            return (open, (str(tmp_path / 'ran'), 'w'))

    torch.save({'backbone.weight': torch.ones(2), 'head.weight': torch.zeros(1)}, tmp_path / 'good.pth')
    torch.save({'state_dict': {}, 'meta': Hostile()}, tmp_path / 'hostile.pth')
    text = 'from mmcv.runner import CheckpointLoader, _load_checkpoint, _load_checkpoint_with_prefix'
    project({'own_reader.py': text})
    with aliases():
        module = importlib.import_module('own_reader')
    assert module._load_checkpoint_with_prefix('backbone.', str(tmp_path / 'good.pth')).keys() == {'weight'}
    assert module._load_checkpoint(str(tmp_path / 'good.pth'), 'cpu', None).keys() == {'backbone.weight', 'head.weight'}
    for read in (module._load_checkpoint, module.CheckpointLoader.load_checkpoint):
        with pytest.raises(ValueError, match=r'asks for .*open'):
            read(str(tmp_path / 'hostile.pth'), map_location='cpu', logger='a logger')
    assert not (tmp_path / 'ran').exists()


def test_a_constructor_of_optimizers_derives_from_the_old_name(project):
    text = 'from mmcv.runner import DefaultOptimizerConstructor'
    project({'own_constructor.py': text})
    with aliases():
        module = importlib.import_module('own_constructor')
    optimizer = module.DefaultOptimizerConstructor(dict(type='SGD', lr=0.5))(torch.nn.Linear(1, 1))
    assert isinstance(optimizer, torch.optim.SGD) and optimizer.defaults['lr'] == 0.5


def test_operators_are_ours(project):
    project({'own_ops.py': 'from mmcv.ops import RoIAlign, batched_nms, nms\nfrom mmcv.ops.nms import nms as same'})
    with aliases():
        module = importlib.import_module('own_ops')
    from mmdet_clone import ops

    assert module.nms is module.same is ops.nms
    assert module.RoIAlign is ops.RoIAlign and module.batched_nms is ops.batched_nms


@pytest.mark.parametrize(
    'line',
    [
        'from mmcv import Config, mkdir_or_exist, is_str, list_from_file, track_iter_progress, ProgressBar, FileClient',
        'from mmcv import check_file_exist, scandir, load, dump, is_list_of, is_tuple_of, is_seq_of, DictAction',
        'from mmcv.utils import Registry, build_from_cfg, get_logger, print_log, ConfigDict, is_list_of, TORCH_VERSION',
        'from mmcv.utils import collect_env, digit_version, deprecated_api_warning, to_2tuple, _BatchNorm',
        'from mmcv.utils.logging import print_log',
        'from mmcv.cnn import xavier_init, normal_init, bias_init_with_prob, trunc_normal_init, build_norm_layer',
        'from mmcv.cnn import MODELS, CONV_LAYERS, NORM_LAYERS, ACTIVATION_LAYERS, PLUGIN_LAYERS, initialize',
        'from mmcv.cnn.bricks.registry import ATTENTION, TRANSFORMER_LAYER',
        'from mmcv.cnn.utils.weight_init import constant_init',
        'from mmcv.runner import ModuleList, Sequential, ModuleDict, get_dist_info, master_only, init_dist, OPTIMIZERS',
        'from mmcv.runner import load_checkpoint, save_checkpoint, load_state_dict, _load_checkpoint, build_optimizer',
        'from mmcv.runner import OPTIMIZER_BUILDERS, DefaultOptimizerConstructor, wrap_fp16_model, OptimizerHook',
        'from mmcv.runner.hooks.hook import HOOKS, Hook',
        'from mmcv.runner.base_module import BaseModule',
        'from mmcv.parallel import collate, MMDataParallel, MMDistributedDataParallel, is_module_wrapper',
        'from mmcv.fileio import FileClient',
        'from mmdet.apis import init_detector, inference_detector, set_random_seed, single_gpu_test',
        'from mmdet.core import bbox2result, bbox2roi, multiclass_nms, build_assigner, build_sampler, unmap',
        'from mmdet.core import BitmapMasks, PolygonMasks, encode_mask_results, bbox_overlaps, reduce_mean, EvalHook',
        'from mmdet.core.bbox.builder import BBOX_ASSIGNERS, BBOX_SAMPLERS, BBOX_CODERS',
        'from mmdet.core.bbox.iou_calculators.builder import IOU_CALCULATORS',
        'from mmdet.core.bbox.assigners import AssignResult, BaseAssigner, MaxIoUAssigner',
        'from mmdet.core.bbox.coder.base_bbox_coder import BaseBBoxCoder',
        'from mmdet.core.anchor import AnchorGenerator, build_anchor_generator, images_to_levels',
        'from mmdet.core.anchor.builder import ANCHOR_GENERATORS, PRIOR_GENERATORS',
        'from mmdet.core.mask.structures import BitmapMasks',
        'from mmdet.core.evaluation import eval_map',
        'from mmdet.datasets import DATASETS, PIPELINES, build_dataset, build_dataloader, CustomDataset, VOCDataset',
        'from mmdet.datasets.pipelines import Compose, LoadImageFromFile, Resize',
        'from mmdet.datasets.coco import CocoDataset',
        'from mmdet.models import build_detector, build_backbone, HEADS, NECKS, ROI_EXTRACTORS, DETECTORS',
        'from mmdet.models.builder import build_loss, build_head, SHARED_HEADS',
        'from mmdet.models.backbones import ResNet',
        'from mmdet.models.backbones.resnet import ResNet, BasicBlock, Bottleneck',
        'from mmdet.models.dense_heads import RetinaHead, AnchorHead',
        'from mmdet.models.roi_heads.bbox_heads import ConvFCBBoxHead',
        'from mmdet.models.roi_heads.standard_roi_head import StandardRoIHead',
        'from mmdet.models.detectors import BaseDetector, TwoStageDetector, SingleStageDetector',
        'from mmdet.models.detectors.base import BaseDetector',
        'from mmdet.models.losses import CrossEntropyLoss, weight_reduce_loss, accuracy',
        'from mmdet.models.utils import ResLayer',
        'from mmdet.utils import get_root_logger, collect_env',
        'from mmdet import __version__, version_info',
        'from mmcv import build_from_cfg, jit, imread, imresize, tensor2imgs, symlink, Timer, concat_list',
        'from mmcv.runner import LogBuffer, obj_from_dict, get_time_str, get_host_info, get_priority, EMAHook, RUNNERS',
        'from mmcv.runner.dist_utils import allreduce_grads, get_dist_info',
        'from mmcv.parallel import scatter, DataContainer',
        'from mmcv.cnn.utils.weight_init import trunc_normal_, kaiming_init',
        'from mmcv.ops import roi_align, roi_pool, soft_nms, DeformConv2dPack, ModulatedDeformConv2dPack',
        'from mmdet.core import select_single_mlvl, flip_tensor, mask_target, InstanceData, MlvlPointGenerator',
        'from mmdet.core.bbox.assigners.sim_ota_assigner import SimOTAAssigner',
        'from mmdet.core.data_structures import InstanceData',
        'from mmdet.datasets.api_wrappers import COCO, COCOeval',
        'from mmdet.datasets import NumClassCheckHook, replace_ImageToTensor, get_loading_pipeline',
        'from mmdet.models import ResNet, FPN, RPNHead, RetinaHead, BBoxHead, SingleStageDetector, FocalLoss',
        'from mmdet.models.dense_heads.base_dense_head import BaseDenseHead',
        'from mmdet.models.dense_heads.dense_test_mixins import BBoxTestMixin',
        'from mmdet.models.losses.smooth_l1_loss import l1_loss, smooth_l1_loss, SmoothL1Loss',
        'from mmdet.models.utils import build_linear_layer, make_divisible, InvertedResidual',
    ],
)
def test_the_imports_that_modules_of_old_begin_with(project, line):
    number = sum(map(ord, line))
    project({f'own_line_{number}.py': line})
    with aliases():
        importlib.import_module(f'own_line_{number}')


def test_names_that_several_modules_have_lead_to_the_one_meant():
    import numpy as np

    from mmdet_clone.models.backbones import ResNet
    from mmdet_clone.models.layers import ResLayer
    from mmdet_clone.models.layers.sync_bn import MMSyncBN
    from mmdet_clone.ops import bbox_overlaps

    with aliases():
        import mmcv.ops
        import mmdet.core
        import mmdet.models.utils
        from mmdet.core.evaluation.bbox_overlaps import bbox_overlaps as of_arrays

        assert mmdet.models.ResNet is ResNet  # not mmcv's
        assert mmdet.models.utils.ResLayer is ResLayer  # not the shared head
        assert mmcv.ops.SyncBatchNorm is MMSyncBN
        assert mmdet.core.bbox_overlaps is bbox_overlaps
    assert of_arrays(np.array([[0, 0, 2, 2]]), np.array([[0, 0, 2, 1]])).tolist() == [[0.5]]
    turn_off()


def test_marks_of_mmcvs_compiler_leave_functions_alone():
    from mmdet_clone.aliases.stand_ins import jit

    def double(x):
        return 2 * x

    assert jit(double) is double and jit(coderize=True, derivate=True)(double) is double


def test_a_batch_is_scattered_to_the_one_device_of_a_process():
    from mmdet_clone.aliases.stand_ins import scatter

    (batch,) = scatter(dict(img=[torch.ones(1)], img_metas=[[dict(a=1)]]), [-1])
    assert batch['img'][0].device.type == 'cpu' and batch['img_metas'] == [[dict(a=1)]]
    with pytest.raises(ValueError, match=r'a process has one device here, not \[0, 1\]'):
        scatter(batch, [0, 1])


def test_mask_targets_are_the_masks_inside_the_boxes():
    import numpy as np

    from mmdet_clone.aliases.detection import flip_tensor, mask_target, select_single_mlvl
    from mmdet_clone.structures import BitmapMasks

    left = np.zeros((1, 8, 8), np.uint8)
    left[:, :, :4] = 1
    boxes, inds = torch.tensor([[0.0, 0, 8, 8], [4, 0, 8, 8]]), torch.tensor([0, 0])
    targets = mask_target([boxes], [inds], [BitmapMasks(left, 8, 8)], dict(mask_size=2))
    assert targets.tolist() == [[[1, 0], [1, 0]], [[0, 0], [0, 0]]]

    level = torch.arange(4.0).reshape(1, 1, 2, 2)
    assert flip_tensor(level, 'diagonal').flatten().tolist() == [3, 2, 1, 0]
    assert select_single_mlvl([level, level + 4], 0)[1].tolist() == [[[4, 5], [6, 7]]]


def test_star_imports_bring_the_public_names(project):
    project({'own_star.py': 'from mmdet.core import *\nfrom mmcv.runner import *'})
    with aliases():
        module = importlib.import_module('own_star')
    assert {'bbox2roi', 'build_assigner', 'BaseModule', 'force_fp32'} <= set(vars(module))


def test_without_custom_imports_nothing_is_served_and_nothing_of_mmcv_changes(root):
    code = """
        import importlib, sys
        import mmcv
        from mmdet_clone.config import load_config
        load_config(sys.argv[1])
        assert not hasattr(mmcv, 'Config')
        for name in ('mmdet', 'mmcv.runner'):
            try:
                importlib.import_module(name)
            except ModuleNotFoundError:
                continue
            raise SystemExit(f'{name} was served')
        """
    config = str(root / 'configs/rpn/rpn_r50_fpn_1x_coco.py')
    command = [sys.executable, '-c', textwrap.dedent(code), config]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr


def test_a_registry_of_the_users_own_takes_the_constructor_of_mmcv(project):
    project(
        {
            'own_registry.py': """
                from mmcv.utils import Registry, build_from_cfg
                THINGS = Registry('thing')
                PAIRS = Registry('pair', build_func=lambda cfg, registry: (cfg['type'], registry))

                @THINGS.register_module()
                class Thing:
                    def __init__(self, size): self.size = size

                thing = build_from_cfg(dict(type='Thing', size=3), THINGS)
                """
        }
    )
    with aliases():
        module = importlib.import_module('own_registry')
    assert module.thing.size == 3
    assert module.PAIRS.build(dict(type='x')) == ('x', module.PAIRS)


def test_force_fp32_casts_the_named_arguments_under_autocast():
    from mmdet_clone.aliases.stand_ins import force_fp32

    @force_fp32(apply_to=('a',))
    def dtypes(a, b):
        return a[0].dtype, b.dtype, (torch.ones(2, 2) @ torch.ones(2, 2)).dtype

    half = torch.ones(1, dtype=torch.bfloat16)
    assert dtypes([half], b=half) == (torch.bfloat16, torch.bfloat16, torch.float32)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert dtypes([half], b=half) == (torch.float32, torch.bfloat16, torch.float32)
