"""Loading images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmdet_clone.datasets.pipelines.base import require
from mmdet_clone.datasets.pipelines.files import FileReader, check_size, decode_image, read_member
from mmdet_clone.datasets.pipelines.skipped import SkippedImages
from mmdet_clone.registry import PIPELINES


@PIPELINES.register_module()
class LoadImageFromFile:
    """Load the image ``img_prefix`` + ``img_info['filename']``.

    Sets ``filename, ori_filename, img`` (h, w, c), ``img_shape, ori_shape, img_fields``.

    Args:
        to_float32: convert the image to float32 (0 to 255 still).
        color_type: ``color``: three channels of 8 bits, whatever the file has (grey is repeated, transparency left out,
            CMYK converted, of 16 bits the upper 8 kept), turned as its EXIF orientation says.
            ``color_ignore_orientation``: the same, unturned. ``grayscale``: (h, w), turned; and
            ``grayscale_ignore_orientation``. ``unchanged``: channels and bits as in the file, unturned. Of an animation
            the first frame is taken.
        channel_order: ``bgr`` or ``rgb``.
        file_client_args: the file backend and its arguments.
        on_error: what to do with an image that is missing, empty or damaged. ``raise``: an error that names it.
            ``skip``: in training, drop the sample, so that the data set gives another one of its group, log the file's
            name, and their count at the end; in testing, where every image counts, an error all the same.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no image, is cut off, or has not the size that its annotation says.
    """

    def __init__(
        self,
        to_float32: bool = False,
        color_type: str = 'color',
        channel_order: str = 'bgr',
        file_client_args: dict | None = None,
        on_error: str = 'raise',
    ) -> None:
        if on_error not in ('raise', 'skip'):
            raise ValueError(f"{type(self).__name__}: on_error is 'raise' or 'skip', got {on_error!r}")
        self.to_float32 = to_float32
        self.color_type = color_type
        self.channel_order = channel_order
        self.on_error = on_error
        self.read = FileReader(file_client_args)
        self._skipped = SkippedImages()

    def __call__(self, results: dict) -> dict | None:
        require(results, self, 'img_info')
        name = results['img_info']['filename']
        try:
            path, data = read_member(self.read, results, name, 'img_prefix', 'image')
            img = decode_image(data, path, self.color_type, self.channel_order)
        except (OSError, ValueError) as error:
            if self.on_error == 'raise' or 'ann_info' not in results:
                raise
            self._skipped.add(str(error))
            return None
        check_size(img, results['img_info'], path)
        return set_image(results, img.astype(np.float32) if self.to_float32 else img, path, name)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(to_float32={self.to_float32}, color_type={self.color_type!r}, '
            f'channel_order={self.channel_order!r}, file_client_args={self.read!r}, on_error={self.on_error!r})'
        )


@PIPELINES.register_module()
class LoadImageFromWebcam(LoadImageFromFile):
    """Take the image that stands in ``img`` already: a frame of a camera, or an array."""

    def __call__(self, results: dict) -> dict:
        require(results, self, 'img')
        img = results['img']
        return set_image(results, img.astype(np.float32) if self.to_float32 else img, None, None)


@PIPELINES.register_module()
class LoadMultiChannelImageFromFiles:
    """Load one image from several files, each a channel: ``img_info['filename']`` is their list.

    Args:
        to_float32: convert the image to float32.
        color_type: how each file is decoded.
        file_client_args: the file backend and its arguments.
    """

    def __init__(
        self, to_float32: bool = False, color_type: str = 'unchanged', file_client_args: dict | None = None
    ) -> None:
        self.to_float32 = to_float32
        self.color_type = color_type
        self.read = FileReader(file_client_args)

    def __call__(self, results: dict) -> dict:
        require(results, self, 'img_info')
        names = results['img_info']['filename']
        if isinstance(names, str) or not names:
            raise TypeError(f'{type(self).__name__} takes img_info["filename"] as a list of files, got {names!r}')
        files = [read_member(self.read, results, name, 'img_prefix', 'image') for name in names]
        channels = [decode_image(data, path, self.color_type) for path, data in files]
        for channel, (path, _) in zip(channels, files):
            check_size(channel, results['img_info'], path)
        check_equal_shapes(channels, [path for path, _ in files])
        img = np.stack(channels, axis=-1)
        set_image(results, img.astype(np.float32) if self.to_float32 else img, [path for path, _ in files], names)
        num_channels = 1 if img.ndim < 3 else img.shape[2]
        results.update(pad_shape=img.shape, scale_factor=1.0, img_norm_cfg=no_normalisation(num_channels))
        return results


def set_image(results: dict, img: np.ndarray, filename: str | list | None, ori_filename: str | list | None) -> dict:
    """Enter a loaded image into the sample."""
    results.update(
        filename=filename,
        ori_filename=ori_filename,
        img=img,
        img_shape=img.shape,
        ori_shape=img.shape,
        img_fields=['img'],
    )
    return results


def no_normalisation(num_channels: int) -> dict:
    """``img_norm_cfg`` of an image that is left as loaded."""
    return dict(mean=np.zeros(num_channels, np.float32), std=np.ones(num_channels, np.float32), to_rgb=False)


def check_equal_shapes(channels: Sequence[np.ndarray], paths: Sequence[str]) -> None:
    shapes = {channel.shape for channel in channels}
    if len(shapes) > 1:
        listed = ', '.join(f'{path}: {channel.shape}' for path, channel in zip(paths, channels))
        raise ValueError(f'the files that make one image must have one shape, got {listed}')
