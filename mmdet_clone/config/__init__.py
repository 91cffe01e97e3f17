"""Reading a config: file -> ``Config`` -> checked. Older dialects are translated here and nowhere else."""

from mmdet_clone.config.checks import check_classes, check_trainable, loader_args
from mmdet_clone.config.custom_imports import import_custom_modules
from mmdet_clone.config.dialect import MMENGINE_KEYS, refuse_mmengine_keys
from mmdet_clone.config.legacy import translate_legacy
from mmdet_clone.config.loading import ConfigError, load_config
from mmdet_clone.config.options import DictAction, merge_options
from mmdet_clone.config.variables import replace_cfg_vals, update_data_root
from mmdet_clone.config.writing import config_text, dump_config

__all__ = [
    'MMENGINE_KEYS',
    'ConfigError',
    'DictAction',
    'check_classes',
    'check_trainable',
    'config_text',
    'dump_config',
    'import_custom_modules',
    'load_config',
    'loader_args',
    'merge_options',
    'refuse_mmengine_keys',
    'replace_cfg_vals',
    'translate_legacy',
    'update_data_root',
]
