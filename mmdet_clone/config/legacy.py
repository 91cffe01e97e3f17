"""MMDetection 1.x spellings, translated to 2.x's with one logged line each. The only place that knows them.

``imgs_per_gpu``, ``total_epochs``, ``train_cfg``/``test_cfg`` beside the model, and data sets described by
``img_scale, img_norm_cfg, size_divisor, flip_ratio, with_mask, ...`` instead of a pipeline. A 2.x config comes out as
it went in, and a second translation changes nothing.
"""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

# what 1.x's data sets took in the place of a pipeline; test_mode is also a 2.x argument and stays where it is
_PIPELINE_KEYS = (
    'img_scale',
    'img_norm_cfg',
    'multiscale_mode',
    'size_divisor',
    'flip_ratio',
    'resize_keep_ratio',
    'with_mask',
    'with_crowd',
    'with_label',
    'with_semantic_seg',
    'num_max_proposals',
    'extra_aug',
)
_EXTRA_AUG = {'photo_metric_distortion': 'PhotoMetricDistortion', 'expand': 'Expand', 'random_crop': 'MinIoURandomCrop'}


def translate_legacy(cfg: Config) -> Config:
    """Rewrite 1.x spellings in ``cfg`` as 2.x ones, in place, and return it."""
    rename_legacy_keys(cfg)
    data = cfg.get('data')
    if isinstance(data, dict):
        for split in ('train', 'val', 'test'):
            _move_samples_per_gpu(data, split)
            if split in data:
                data[split] = _translate_dataset(data[split], f'data.{split}', test=split != 'train')
    return cfg


def rename_legacy_keys(cfg: Config) -> None:
    """The part of the translation that moves values from old keys to new ones, in place."""
    _rename_imgs_per_gpu(cfg)
    _rename_total_epochs(cfg)
    _move_into_model(cfg, 'train_cfg')
    _move_into_model(cfg, 'test_cfg')


def rename_legacy_options(options: dict[str, Any]) -> dict[str, Any]:
    """Dotted options with 1.x keys (``total_epochs``, ``train_cfg.rcnn...``) under their 2.x keys."""
    prefixes = {
        'data.imgs_per_gpu': 'data.samples_per_gpu',
        'total_epochs': 'runner.max_epochs',
        'train_cfg': 'model.train_cfg',
        'test_cfg': 'model.test_cfg',
    }
    renamed = {}
    for key, value in options.items():
        old = next((p for p in prefixes if key == p or key.startswith(p + '.')), None)
        new = key if old is None else prefixes[old] + key[len(old) :]
        if new != key:
            _say(f'--cfg-options {key} is read as {new}')
        renamed[new] = value
    return renamed


def _say(message: str) -> None:
    print_log(f'1.x config: {message}', 'current')


def _rename_imgs_per_gpu(cfg: Config) -> None:
    data = cfg.get('data')
    if not isinstance(data, dict) or 'imgs_per_gpu' not in data:
        return
    value = data.pop('imgs_per_gpu')
    other = data.get('samples_per_gpu', value)
    data['samples_per_gpu'] = value
    _say(f'data.imgs_per_gpu={value} is read as data.samples_per_gpu' + (f', not {other}' if other != value else ''))


def _rename_total_epochs(cfg: Config) -> None:
    if 'total_epochs' not in cfg:
        return
    epochs, runner = cfg['total_epochs'], cfg.get('runner')
    if runner is None:
        cfg['runner'] = dict(type='EpochBasedRunner', max_epochs=epochs)
    elif runner.get('max_epochs') != epochs:
        has = f'max_epochs={runner["max_epochs"]}' if 'max_epochs' in runner else f'max_iters={runner.get("max_iters")}'
        raise ValueError(
            f'{getattr(cfg, "filename", None) or "the config"}: total_epochs is {epochs}, but runner (of a base file?) '
            f"has {has}. Delete total_epochs and write runner = dict(type='EpochBasedRunner', max_epochs={epochs})"
        )
    cfg.pop('total_epochs')
    _say(f'total_epochs={epochs} is read as runner.max_epochs')


def _move_into_model(cfg: Config, key: str) -> None:
    value, model = cfg.get(key), cfg.get('model')
    if key not in cfg or not isinstance(model, dict):
        return
    inner = model.get(key)
    if inner is not None and value is not None and inner != value:
        raise ValueError(
            f'{getattr(cfg, "filename", None) or "the config"} has both {key} and model.{key}: move the former into '
            f'the latter, model = dict({key}=dict(...))'
        )
    cfg.pop(key)
    if value is not None:
        model[key] = value
    _say(f'{key} is read as model.{key}')


def _move_samples_per_gpu(data: dict, split: str) -> None:
    """``data.test.samples_per_gpu`` (2.x before ``test_dataloader``) is a loader's argument, not the data set's."""
    entry = data.get(split)
    entries = [e for e in (entry if isinstance(entry, list | tuple) else [entry]) if isinstance(e, dict)]
    values = [e.pop('samples_per_gpu') for e in entries if 'samples_per_gpu' in e]
    if not values:
        return
    loader = dict(data.get(f'{split}_dataloader') or {})
    loader.setdefault('samples_per_gpu', max(values))
    data[f'{split}_dataloader'] = loader
    _say(f'data.{split}.samples_per_gpu is read as data.{split}_dataloader.samples_per_gpu={loader["samples_per_gpu"]}')


def _translate_dataset(entry: Any, path: str, test: bool) -> Any:
    """A data set entry, or list of entries, or wrapper around one, with its 1.x keys as a pipeline."""
    if isinstance(entry, list | tuple):
        return type(entry)(_translate_dataset(item, f'{path}.{i}', test) for i, item in enumerate(entry))
    if not isinstance(entry, dict):
        return entry
    for key in ('dataset', 'datasets'):
        if key in entry:
            entry[key] = _translate_dataset(entry[key], f'{path}.{key}', test)
    old = {key: entry[key] for key in _PIPELINE_KEYS if key in entry}
    if 'pipeline' in entry or 'img_scale' not in old:
        return entry
    for key in old:
        entry.pop(key)
    with_proposals = entry.get('proposal_file') is not None
    build = _test_pipeline if test or entry.get('test_mode') else _train_pipeline
    entry['pipeline'] = build(old, with_proposals)
    _say(f'{path}: {", ".join(old)} became a pipeline: ' + ', '.join(step['type'] for step in entry['pipeline']))
    return entry


def _train_pipeline(old: dict, with_proposals: bool) -> list[dict]:
    label, mask, seg = old.get('with_label', True), old.get('with_mask', True), old.get('with_semantic_seg', False)
    keys = {
        'img': True,
        'proposals': with_proposals,
        'gt_bboxes': True,
        'gt_labels': label,
        'gt_bboxes_ignore': old.get('with_crowd', True),
        'gt_masks': mask,
        'gt_semantic_seg': seg,
    }
    return [
        *_loading(old, with_proposals),
        _step('LoadAnnotations', with_bbox=True, with_label=label, with_mask=mask, with_seg=seg),
        *(_step(_EXTRA_AUG[name], **args) for name, args in (old.get('extra_aug') or {}).items()),
        _step('Resize', img_scale=old['img_scale'], keep_ratio=old.get('resize_keep_ratio', True), **_multiscale(old)),
        _step('RandomFlip', flip_ratio=old.get('flip_ratio', 0)),
        *_normalize_and_pad(old),
        _step('DefaultFormatBundle'),
        _step('Collect', keys=[key for key, wanted in keys.items() if wanted]),
    ]


def _test_pipeline(old: dict, with_proposals: bool) -> list[dict]:
    keys = ['img', 'proposals'] if with_proposals else ['img']
    transforms = [
        _step('Resize', keep_ratio=old.get('resize_keep_ratio', True)),
        _step('RandomFlip'),
        *_normalize_and_pad(old),
        _step('ImageToTensor', keys=['img']),
        *([_step('ToTensor', keys=['proposals'])] if with_proposals else []),
        _step('Collect', keys=keys),
    ]
    flip = bool(old.get('flip_ratio', 0))
    augmented = _step('MultiScaleFlipAug', img_scale=old['img_scale'], flip=flip, transforms=transforms)
    return [*_loading(dict(num_max_proposals=old.get('num_max_proposals')), with_proposals), augmented]


def _loading(old: dict, with_proposals: bool) -> list[dict]:
    image = _step('LoadImageFromFile', **(dict(to_float32=True) if old.get('extra_aug') else {}))
    proposals = _step('LoadProposals', num_max_proposals=old.get('num_max_proposals') or 1000)
    return [image, proposals] if with_proposals else [image]


def _multiscale(old: dict) -> dict:
    return dict(multiscale_mode=old.get('multiscale_mode', 'value')) if isinstance(old['img_scale'], list) else {}


def _normalize_and_pad(old: dict) -> list[dict]:
    steps = []
    if old.get('img_norm_cfg'):
        steps.append(_step('Normalize', **old['img_norm_cfg']))
    if old.get('size_divisor'):
        steps.append(_step('Pad', size_divisor=old['size_divisor']))
    return steps


def _step(type: str, **arguments: Any) -> dict:  # named as the config's key
    return dict(type=type, **arguments)
