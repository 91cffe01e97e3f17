"""Objects365, both versions."""

from __future__ import annotations

from ..registry import DATASETS
from .coco import CocoDataset


class _Objects365(CocoDataset):
    """Reads the class names from the annotation file, in the order of the category ids.

    The files of one version list their categories in different orders.
    """

    CLASSES = None
    PALETTE = None

    def _categories(self) -> list[dict]:
        return sorted(super()._categories(), key=lambda category: category['id'])


@DATASETS.register_module()
class Objects365V1Dataset(_Objects365):
    """Objects365 of 2019 (Shao et al., "Objects365", ICCV 2019): 365 classes, in COCO's json.

    ``CLASSES`` are the annotation file's, by category id, unless ``classes`` is given; there is no built-in list.
    """


@DATASETS.register_module()
class Objects365V2Dataset(_Objects365):
    """Objects365 of 2020, with more images and other names; see ``Objects365V1Dataset``."""
