"""The instance masks of one image, as bitmaps or as polygons."""

from mmdet_clone.structures.masks.base import BaseInstanceMasks
from mmdet_clone.structures.masks.bitmap import BitmapMasks
from mmdet_clone.structures.masks.polygon import PolygonMasks, decode_rles, polygon_to_bitmap, polygons_to_rle

__all__ = ['BaseInstanceMasks', 'BitmapMasks', 'PolygonMasks', 'decode_rles', 'polygon_to_bitmap', 'polygons_to_rle']
