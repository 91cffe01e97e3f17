"""What flows through the toolbox: instance masks and detection results."""

from mmdet_clone.structures.masks import BaseInstanceMasks, BitmapMasks, PolygonMasks, polygon_to_bitmap
from mmdet_clone.structures.results import bbox2result, encode_mask_results, results_to_cpu

__all__ = [
    'BaseInstanceMasks',
    'BitmapMasks',
    'PolygonMasks',
    'bbox2result',
    'encode_mask_results',
    'polygon_to_bitmap',
    'results_to_cpu',
]
