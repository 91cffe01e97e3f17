"""What the old import paths mean: by strings, resolved when a name is asked for."""

from __future__ import annotations

_OURS = 'mmdet_clone.'
_REGISTRY, _STAND_INS, _DETECTION = (_OURS + m for m in ('registry', 'aliases.stand_ins', 'aliases.detection'))
_MODELS = tuple(
    _OURS + 'models' + m
    for m in ('', '.builder', '.backbones', '.necks', '.dense_heads', '.roi_heads', '.detectors', '.losses', '.layers')
)
_ENGINE = tuple(_OURS + m for m in ('engine', 'engine.hooks', 'engine.checkpoint', 'engine.dist', 'engine.build'))
_MMENGINE = tuple('mmengine.' + m for m in ('model', 'dist', 'runner', 'hooks', 'optim', 'logging', 'utils'))
_UTILS = tuple('mmengine.' + m for m in ('utils', 'config', 'logging', 'utils.dl_utils', 'fileio'))
_BOXES = tuple(_OURS + m for m in ('boxes', 'boxes.builder', 'boxes.merge', 'boxes.postprocess', 'ops'))

# Old module -> the modules asked for its names, in order. A submodule that is not listed goes by its longest prefix.
SOURCES: dict[str, tuple[str, ...]] = {
    'mmdet': ('mmdet_clone',),
    'mmdet.apis': (_OURS + 'apis', _STAND_INS),
    'mmdet.core': (
        _REGISTRY,
        _STAND_INS,
        _OURS + 'core',
        *_BOXES,
        _OURS + 'structures',
        _OURS + 'evaluation',
        *_ENGINE,
        _OURS + 'visualization',
        _DETECTION,
    ),
    'mmdet.datasets': (_REGISTRY, _OURS + 'datasets', _OURS + 'datasets.pipelines', _OURS + 'datasets.loader'),
    'mmdet.models': (_REGISTRY, _STAND_INS, *_MODELS, _OURS + 'ops', _DETECTION, 'mmcv.cnn'),
    'mmdet.models.utils': (_OURS + 'models.layers', _DETECTION, _REGISTRY, _OURS + 'models.builder', 'mmcv.cnn'),
    'mmdet.utils': (_STAND_INS, _OURS + 'config', _OURS + 'apis', *_ENGINE, *_UTILS),
    'mmcv': (_STAND_INS, *_UTILS, 'mmcv.image', 'mmcv.visualization', 'mmengine.model'),
    'mmcv.cnn': (_STAND_INS, 'mmengine.model', 'mmengine.registry'),
    'mmcv.engine': (_OURS + 'apis', *_ENGINE, 'mmengine.dist'),
    'mmcv.fileio': ('mmengine.fileio',),
    'mmcv.ops': (_OURS + 'ops', _DETECTION),
    'mmcv.parallel': (_STAND_INS, 'mmengine.model'),
    'mmcv.runner': (_REGISTRY, _STAND_INS, *_ENGINE, *_MMENGINE),
    'mmcv.utils': (_STAND_INS, _REGISTRY, *_UTILS, 'mmengine.utils.dl_utils.parrots_wrapper', 'mmengine.dist'),
}

# Modules of the old packages that we stand for beside those above and those at the same path in ours. They are listed,
# since `from mmcv.runner import Missing` also asks whether a module mmcv.runner.Missing exists: the answer must be no.
_STOCK = {
    'mmdet.core': 'anchor anchor.anchor_generator anchor.builder anchor.point_generator anchor.utils bbox '
    'bbox.assigners bbox.assigners.assign_result bbox.assigners.base_assigner bbox.assigners.max_iou_assigner '
    'bbox.assigners.sim_ota_assigner bbox.builder bbox.coder bbox.coder.base_bbox_coder '
    'bbox.coder.delta_xywh_bbox_coder bbox.iou_calculators bbox.iou_calculators.builder '
    'bbox.iou_calculators.iou2d_calculator bbox.match_costs bbox.match_costs.builder bbox.samplers '
    'bbox.samplers.base_sampler bbox.samplers.ohem_sampler bbox.samplers.pseudo_sampler bbox.samplers.random_sampler '
    'bbox.samplers.sampling_result bbox.transforms data_structures data_structures.instance_data evaluation '
    'evaluation.bbox_overlaps evaluation.class_names evaluation.eval_hooks evaluation.mean_ap evaluation.recall hook '
    'mask mask.mask_target mask.structures mask.utils optimizers post_processing post_processing.bbox_nms '
    'post_processing.merge_augs utils utils.dist_utils utils.misc visualization visualization.image '
    'visualization.palette',
    'mmdet.datasets': 'api_wrappers builder coco custom dataset_wrappers pipelines pipelines.compose '
    'pipelines.formating pipelines.formatting pipelines.loading pipelines.test_time_aug pipelines.transforms '
    'samplers utils voc xml_style',
    'mmdet.models': 'backbones builder dense_heads dense_heads.anchor_head dense_heads.base_dense_head '
    'dense_heads.dense_test_mixins detectors losses losses.mse_loss losses.smooth_l1_loss losses.utils necks plugins '
    'roi_heads roi_heads.bbox_heads roi_heads.mask_heads roi_heads.roi_extractors roi_heads.shared_heads seg_heads '
    'utils utils.builder utils.misc utils.res_layer',
    'mmdet.utils': 'collect_env logger misc',
    'mmcv.cnn': 'bricks.registry builder utils.weight_init',
    'mmcv.engine': 'test',
    'mmcv.fileio': 'file_client handlers io parse',
    'mmcv.ops': 'deform_conv focal_loss modulated_deform_conv multi_scale_deform_attn nms roi_align roi_pool sync_bn',
    'mmcv.parallel': 'collate data_container data_parallel distributed registry utils',
    'mmcv.runner': 'base_module base_runner builder checkpoint default_constructor dist_utils epoch_based_runner '
    'fp16_utils hooks hooks.checkpoint hooks.ema hooks.evaluation hooks.hook hooks.logger hooks.logger.base '
    'hooks.logger.text hooks.lr_updater hooks.optimizer iter_based_runner log_buffer optimizer optimizer.builder '
    'optimizer.default_constructor priority utils',
    'mmcv.utils': 'config logging misc parrots_wrapper path progressbar registry seed timer version_utils',
}
STOCK = {f'{package}.{module}' for package, modules in _STOCK.items() for module in modules.split()}

# mmcv 1.x kept one registry for each kind of layer; mmengine keeps them all in MODELS, where mmcv 2.x looks
_LAYER_REGISTRIES = (
    'ACTIVATION_LAYERS ATTENTION CONV_LAYERS DROPOUT_LAYERS FEEDFORWARD_NETWORK NORM_LAYERS PADDING_LAYERS '
    'PLUGIN_LAYERS POSITIONAL_ENCODING TRANSFORMER_LAYER TRANSFORMER_LAYER_SEQUENCE UPSAMPLE_LAYERS'
)

# Old module prefix -> name -> 'module:attribute', where the sources above have the thing under another name or lack it
RENAMED: dict[str, dict[str, str]] = {
    'mmdet': {
        '__version__': _STAND_INS + ':MMDET_VERSION',
        'TRANSFORMER': _REGISTRY + ':MODELS',
        'POSITIONAL_ENCODING': 'mmengine.registry:MODELS',
        'LINEAR_LAYERS': _REGISTRY + ':MODELS',
        'version_info': _STAND_INS + ':MMDET_VERSION_INFO',
        'collect_env': 'mmengine.utils.dl_utils:collect_env',
        'get_device': 'mmengine.device:get_device',
        'InstanceData': 'mmengine.structures:InstanceData',
        'sync_random_seed': 'mmengine.dist:sync_random_seed',
        'tensor2imgs': 'mmcv.image:tensor2imgs',
    },
    'mmdet.core.evaluation.bbox_overlaps': {'bbox_overlaps': _OURS + 'evaluation.bbox_overlaps:bbox_overlaps'},
    'mmdet.datasets': {
        'COCO': _OURS + 'datasets.coco_index:CocoIndex',
        'COCOeval': 'pycocotools.cocoeval:COCOeval',
        'NumClassCheckHook': _OURS + 'engine.hooks:NumClassCheckHook',
    },
    'mmcv': {'build_from_cfg': _REGISTRY + ':build_from_cfg'},
    'mmcv.cnn': {
        'trunc_normal_': 'torch.nn.init:trunc_normal_',
        'MODELS': _REGISTRY + ':MODELS',
        **dict.fromkeys(_LAYER_REGISTRIES.split(), 'mmengine.registry:MODELS'),
    },
    'mmcv.ops': {'SyncBatchNorm': _OURS + 'models.layers.sync_bn:MMSyncBN'},
    'mmcv.parallel': {
        'collate': _OURS + 'datasets.loader:collate',
        'is_module_wrapper': 'mmengine.model:is_model_wrapper',
        'MODULE_WRAPPERS': 'mmengine.registry:MODEL_WRAPPERS',
    },
    'mmcv.runner': {
        'Hook': _OURS + 'engine.hooks:Hook',
        'LogBuffer': _OURS + 'engine.log_buffer:LogBuffer',
        'get_dist_info': 'mmengine.dist:get_dist_info',
        'master_only': 'mmengine.dist:master_only',
        'allreduce_params': 'mmengine.dist:all_reduce_params',
        'DefaultOptimizerConstructor': _OURS + 'engine.optimizer:DefaultOptimizerConstructor',
        'CheckpointLoader': _STAND_INS + ':CheckpointLoader',
        '_load_checkpoint': _STAND_INS + ':load_checkpoint_file',
        '_load_checkpoint_with_prefix': _STAND_INS + ':load_weights_below',
    },
    'mmcv.utils': {
        'TORCH_VERSION': 'mmengine.utils.dl_utils:TORCH_VERSION',
        'import_modules_from_strings': 'mmengine.utils:import_modules_from_strings',
    },
}


def parents(name: str) -> list[str]:
    """``'a.b.c'`` -> ``['a.b.c', 'a.b', 'a']``."""
    parts = name.split('.')
    return ['.'.join(parts[:n]) for n in range(len(parts), 0, -1)]


def sources_of(module: str) -> tuple[str, ...]:
    """The modules that are asked for the names of the old ``module``, by its longest listed prefix."""
    return next((SOURCES[prefix] for prefix in parents(module) if prefix in SOURCES), ())


def renamed(module: str, name: str) -> str | None:
    """``'module:attribute'`` of what the old ``module`` called ``name``, if it is listed by name."""
    return next((RENAMED[p][name] for p in parents(module) if name in RENAMED.get(p, ())), None)
