"""Corrupting images to measure robustness ("Benchmarking Robustness in Object Detection", arXiv 1907.07484)."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from mmdet_clone.datasets.pipelines.base import Transform, img_fields
from mmdet_clone.datasets.pipelines.optional import import_optional
from mmdet_clone.registry import PIPELINES


@PIPELINES.register_module()
class Corrupt(Transform):
    """Corrupt the image by the package ``imagecorruptions``; it becomes uint8.

    Args:
        corruption: the corruption's name, ``gaussian_noise``, ``motion_blur``, ``snow`` ...
        severity: 1 to 5.

    Raises:
        ImportError: the package is not installed, or does not work with the numpy that is.
    """

    def __init__(self, corruption: str, severity: int = 1) -> None:
        known = _package().get_corruption_names('all')
        if corruption not in known:
            raise ValueError(f'Corrupt: corruption is one of {", ".join(known)}, got {corruption!r}')
        if severity not in range(1, 6):
            raise ValueError(f'Corrupt: severity is a whole number from 1 to 5, got {severity!r}')
        self.corruption = corruption
        self.severity = severity

    def apply(self, results: dict, params: None) -> dict:
        corrupt = _package().corrupt
        for key in img_fields(results):
            img = results[key].astype(np.uint8)
            results[key] = corrupt(img, corruption_name=self.corruption, severity=self.severity)
        return results


def _package() -> ModuleType:
    command = 'pip install imagecorruptions-imaug (the same package made fit for numpy 2)'
    return import_optional('imagecorruptions', 'Corrupt', command)
