"""A detector for use: from a config and a checkpoint to results on images and pictures of them."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from torch import nn

from mmdet_clone.apis.batch import to_device
from mmdet_clone.apis.class_names import class_names_of, innermost_dataset, palette_of
from mmdet_clone.registry import type_name
from mmdet_clone.visualization import draw_detections, flatten_result, show_image

Image = str | os.PathLike | np.ndarray


def init_detector(
    config: str | os.PathLike | Config,
    checkpoint: str | os.PathLike | None = None,
    device: str | torch.device | None = None,
    cfg_options: dict | None = None,
    trust: bool = False,
) -> nn.Module:
    """Build a detector, ready for :func:`inference_detector`.

    Args:
        config: a config file, or a loaded config.
        checkpoint: file or URL of the weights; None for random weights.
        device: ``'cuda:0'`` where there is CUDA and ``'cpu'`` elsewhere by default.
        cfg_options: entries of the config to change: ``{'model.test_cfg.rcnn.score_thr': 0.5}``.
        trust: run the code that an unusual checkpoint asks for.

    Returns:
        the detector in eval mode, with ``cfg``, ``CLASSES`` and ``PALETTE``.
    """
    cfg = _as_config(config, cfg_options)
    device = choose_device(device)
    model, meta = _load_model(cfg, checkpoint, trust)
    model.CLASSES = class_names_of(meta, cfg, model)
    model.PALETTE = palette_of(meta, cfg, len(model.CLASSES))
    model.cfg = cfg
    return model.to(device).eval()


def inference_detector(model: nn.Module, imgs: Image | Sequence[Image]) -> Any:
    """Detect objects on images.

    Args:
        model: what :func:`init_detector` returned.
        imgs: an image or a list of them; each a path or an array (h, w, 3) in BGR, 0..255.

    Returns:
        the result of the image, or the list of results of a list of images. A result is a list over classes of (n, 5)
        float32 arrays ``x1, y1, x2, y2, score`` in pixels of the image, or with masks a pair of that list and a list
        over classes of lists of (h, w) bool arrays.
    """
    from mmdet_clone.datasets.loader import collate
    from mmdet_clone.datasets.pipelines import Compose

    single = not isinstance(imgs, list | tuple)
    images = [imgs] if single else list(imgs)
    if not images:
        return []
    cfg = getattr(model, 'cfg', None)
    if cfg is None:
        raise ValueError('this model has no config: build it with init_detector, or set model.cfg')
    pipelines = {kind: Compose(inference_pipeline(cfg, kind)) for kind in {_is_array(img) for img in images}}
    device = next(model.parameters()).device
    size = test_batch_size(cfg)
    results = []
    was_training = model.training
    model.eval()
    with torch.no_grad():
        for start in range(0, len(images), size):
            samples = [pipelines[_is_array(img)](_sample(img)) for img in images[start : start + size]]
            results.extend(model(return_loss=False, rescale=True, **to_device(collate(samples), device)))
    model.train(was_training)
    return results[0] if single else results


def show_result(
    img: Image,
    result: list | tuple,
    class_names: Sequence[str] | None = None,
    score_thr: float = 0.3,
    out_file: str | os.PathLike | None = None,
    palette: Any = None,
    thickness: float = 2,
    font_size: float = 13,
    show: bool = False,
    win_name: str = '',
    wait_time: float = 0,
) -> np.ndarray:
    """Draw the result of an image, as :func:`inference_detector` gives it.

    Args:
        img: path or BGR array.
        result: the result of that image.
        class_names: names by class index.
        score_thr: detections with a lower score are left out.
        out_file: where to write the picture.
        palette: colours by class (RGB), one colour, or ``'random'``.
        thickness, font_size: in pixels, for an image of about 640x480; they grow with the image.
        show: also show it in a window, for ``wait_time`` seconds (0: until a key).

    Returns:
        the picture, uint8 BGR.
    """
    bboxes, labels, segms = flatten_result(result)
    drawn = draw_detections(
        img,
        bboxes,
        labels,
        segms=segms,
        class_names=class_names,
        score_thr=score_thr,
        palette=palette,
        thickness=thickness,
        font_size=font_size,
        out_file=out_file,
    )
    if show:
        show_image(drawn, win_name, wait_time)
    return drawn


def show_result_pyplot(
    model: nn.Module,
    img: Image,
    result: list | tuple,
    score_thr: float = 0.3,
    title: str = 'result',
    wait_time: float = 0,
    palette: Any = None,
    out_file: str | os.PathLike | None = None,
) -> None:
    """Draw the result of an image and show it by matplotlib, as in a notebook.

    Args:
        title: title of the figure.
        wait_time: seconds that a window stays open; 0 leaves it to the user.
        palette: as in :func:`show_result`; the model's own by default.
        out_file: where to write the picture too.
    """
    import matplotlib.pyplot as plt

    drawn = show_result(
        img, result, model.CLASSES, score_thr, out_file=out_file, palette=named_palette(palette) or model.PALETTE
    )
    height, width = drawn.shape[:2]
    figure = plt.figure(title, figsize=(width / 100, height / 100), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(drawn[..., ::-1])
    axes.axis('off')
    plt.show(block=wait_time == 0)
    if wait_time:
        plt.pause(wait_time)


def named_palette(palette: Any) -> Any:
    """The colours of the data set that ``palette`` names (``'coco'``, ``'voc'``, ``'citys'``), else ``palette``."""
    types = dict(coco='CocoDataset', voc='VOCDataset', citys='CityscapesDataset')
    if not isinstance(palette, str) or palette not in types:
        return palette
    from mmdet_clone.registry import DATASETS

    return getattr(DATASETS.get(types[palette]), 'PALETTE', None)


def choose_device(device: str | torch.device | None) -> torch.device:
    """The device asked for; without a wish CUDA's first where there is one, else the CPU."""
    available = torch.cuda.is_available()
    device = torch.device(device if device is not None else ('cuda:0' if available else 'cpu'))
    if device.type == 'cuda' and not available:
        raise ValueError(f"device {str(device)!r} was asked for, but torch finds no CUDA here: use device='cpu'")
    return device


def test_batch_size(cfg: dict) -> int:
    """Images in a batch at test time: of ``data.test_dataloader``, else of ``data.test``, else 1."""
    data = cfg.get('data') or {}
    tests = data.get('test') or {}
    of_sets = [s.get('samples_per_gpu', 1) for s in (tests if isinstance(tests, list | tuple) else [tests])]
    return max(int((data.get('test_dataloader') or {}).get('samples_per_gpu', max(of_sets))), 1)


def inference_pipeline(cfg: Config, from_array: bool) -> list[dict]:
    """The steps of the config's test pipeline, with a first step that takes an array where images are arrays."""
    data = cfg.get('data') or {}
    dataset = innermost_dataset(data.get('test') or data.get('val') or {})
    if not dataset.get('pipeline'):
        raise KeyError('the config has no data.test.pipeline, which says how images are prepared for this model')
    pipeline = list(dataset['pipeline'])
    if from_array:
        pipeline[0] = dict(type='LoadImageFromWebcam')
    return pipeline


def _as_config(config: str | os.PathLike | Config, cfg_options: dict | None) -> Config:
    from mmdet_clone.config import load_config

    if isinstance(config, str | os.PathLike):
        return load_config(config, cfg_options)
    if not isinstance(config, Config):
        raise TypeError(f'config must be a file or a mmengine Config, got {type(config).__name__}')
    config = copy.deepcopy(config)
    if cfg_options:
        config.merge_from_dict(cfg_options)
    return config


def _load_model(cfg: Config, checkpoint: str | os.PathLike | None, trust: bool) -> tuple[nn.Module, dict | None]:
    """The detector, and the meta of its checkpoint (None without a checkpoint)."""
    from mmdet_clone.models import build_detector

    model_cfg = without_pretrained(cfg.model)
    model_cfg.pop('train_cfg', None)
    model = build_detector(model_cfg)
    if checkpoint is None:
        warnings.warn('no checkpoint was given: the weights are random', stacklevel=3)
        return model, None
    from mmdet_clone.engine import load_checkpoint

    loaded = load_checkpoint(model, str(checkpoint), map_location='cpu', trust=trust)
    return model, loaded.get('meta') or {}


def without_pretrained(model_cfg: dict) -> dict:
    """A copy of a model's config that loads no weights of parts: those come with the whole model's checkpoint."""

    def strip(node: Any) -> Any:
        if isinstance(node, list | tuple):
            return type(node)(strip(child) for child in node if not _is_pretrained(child))
        if not isinstance(node, dict):
            return node
        kept = {key: strip(value) for key, value in node.items() if not _is_pretrained(value)}
        if 'init_cfg' in node and 'init_cfg' not in kept:
            kept['init_cfg'] = None
        if isinstance(kept.get('pretrained'), str):
            kept['pretrained'] = None
        return kept

    return strip(model_cfg)


def _is_pretrained(node: Any) -> bool:
    return type_name(node) == 'Pretrained'


def _is_array(img: Image) -> bool:
    return isinstance(img, np.ndarray)


def _sample(img: Image) -> dict:
    """What the pipeline starts from."""
    if isinstance(img, np.ndarray):
        if img.ndim == 2:
            img = np.repeat(img[..., None], 3, axis=2)
        if img.ndim != 3 or img.shape[2] not in (1, 3, 4) or img.size == 0:
            raise ValueError(f'expected an image (h, w, 3) in BGR, got an array of shape {img.shape}')
        img = np.repeat(img, 3, axis=2) if img.shape[2] == 1 else img[..., :3]
        return dict(img=np.ascontiguousarray(img))
    if not isinstance(img, str | os.PathLike):
        raise TypeError(f'expected a path or a BGR array for each image, got {type(img).__name__}')
    if '://' not in str(img) and not Path(img).is_file():
        raise FileNotFoundError(f'no such image: {Path(img).absolute()}')
    return dict(img_info=dict(filename=str(img)), img_prefix=None)
