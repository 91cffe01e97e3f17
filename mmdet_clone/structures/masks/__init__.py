"""The instance masks of one image, as bitmaps or as polygons."""

from mmdet_clone.structures.masks.base import BaseInstanceMasks
from mmdet_clone.structures.masks.bitmap import BitmapMasks
from mmdet_clone.structures.masks.polygon import PolygonMasks, polygon_to_bitmap

__all__ = ['BaseInstanceMasks', 'BitmapMasks', 'PolygonMasks', 'polygon_to_bitmap']
