"""Testing: the results of a data set's images, with pictures of them if wanted."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from torch import nn

from mmdet_clone.engine import run_test
from mmdet_clone.engine.checkpoint import unwrap_model

__all__ = ['multi_gpu_test', 'picture_writer', 'single_gpu_test']


def single_gpu_test(
    model: nn.Module,
    data_loader: Any,
    show: bool = False,
    out_dir: str | os.PathLike | None = None,
    show_score_thr: float = 0.3,
) -> list:
    """The results of all images of ``data_loader``, in the data set's order, masks RLE-encoded.

    Args:
        model: on the device to use.
        data_loader: of a data set in test mode.
        show: show each image with its detections in a window.
        out_dir: write these pictures under their images' names to this folder.
        show_score_thr: lowest score of a detection that is drawn.
    """
    drawn = picture_writer(unwrap_model(model), data_loader, show, out_dir, show_score_thr)
    return run_test(model, data_loader, progress=True, on_result=drawn)


def multi_gpu_test(
    model: nn.Module,
    data_loader: Any,
    tmpdir: str | None = None,
    gpu_collect: bool = False,
    out_dir: str | os.PathLike | None = None,
    show_score_thr: float = 0.3,
) -> list | None:
    """The same with several processes, each of which tests its share; on the CPU too.

    Args:
        tmpdir: gather the results through files in this folder, which all processes see.
        gpu_collect: gather them over the GPUs; by default they travel over the network between the CPUs.
        out_dir, show_score_thr: as in :func:`single_gpu_test`; each process writes its share.

    Returns:
        the results on rank 0, None on the others.
    """
    drawn = picture_writer(unwrap_model(model), data_loader, False, out_dir, show_score_thr)
    return run_test(model, data_loader, progress=True, on_result=drawn, tmpdir=tmpdir, gpu_collect=gpu_collect)


def picture_writer(
    model: nn.Module, data_loader: Any, show: bool, out_dir: str | os.PathLike | None, score_thr: float
) -> Callable[[int, Any, dict], None] | None:
    """A function for ``run_test`` that draws each result on its image; None where nothing is to be drawn."""
    if not show and out_dir is None:
        return None
    size = getattr(data_loader, 'batch_size', None) or getattr(data_loader.batch_sampler, 'batch_size', 1)

    def draw(index: int, result: Any, batch: dict) -> None:
        image, meta = _image_in(batch, index % size)
        target = None if out_dir is None else Path(out_dir) / picture_name(meta)
        model.show_result(image, result, score_thr=score_thr, show=show, out_file=target)

    return draw


def picture_name(meta: dict) -> Path:
    """The name of an image's picture: its own, relative, with a suffix that can be written."""
    name = Path(str(meta.get('ori_filename') or meta['filename']))
    name = Path(name.name) if name.is_absolute() or '..' in name.parts else name
    return name if name.suffix.lower() in ('.jpg', '.jpeg', '.png', '.bmp') else name.with_suffix('.png')


def _image_in(batch: dict, position: int) -> tuple[np.ndarray, dict]:
    """The ``position``-th image of a test batch, BGR in its original size, and its meta."""
    img, metas = batch['img'], batch['img_metas']
    if isinstance(img, list | tuple):  # one entry an augmentation: the first is shown
        img, metas = img[0], metas[0]
    meta = metas[position]
    original = cv2.imread(str(meta['filename'])) if Path(str(meta.get('filename'))).is_file() else None
    if original is not None and original.shape[:2] == tuple(meta['ori_shape'][:2]):
        return original, meta
    return denormalised(img[position], meta), meta


def denormalised(img: Any, meta: dict) -> np.ndarray:
    """The image (BGR, uint8, in its original size) that a normalised, padded tensor (3, H, W) was made of."""
    norm = meta.get('img_norm_cfg') or dict(mean=[0, 0, 0], std=[1, 1, 1], to_rgb=False)
    pixels = img.cpu().float().numpy().transpose(1, 2, 0)
    height, width = meta['img_shape'][:2]
    pixels = pixels[:height, :width] * np.asarray(norm['std'], np.float32) + np.asarray(norm['mean'], np.float32)
    if norm.get('to_rgb', True):
        pixels = pixels[..., ::-1]
    pixels = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    if meta.get('flip'):
        axis = dict(horizontal=1, vertical=0, diagonal=(0, 1))[meta.get('flip_direction') or 'horizontal']
        pixels = np.flip(pixels, axis)
    ori_height, ori_width = meta['ori_shape'][:2]
    return cv2.resize(np.ascontiguousarray(pixels), (ori_width, ori_height))
