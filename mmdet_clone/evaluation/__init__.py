"""Measures of detections against annotations: COCO's, LVIS', panoptic quality, Pascal VOC's, proposal recall."""

from __future__ import annotations

from ..structures.panoptic import INSTANCE_OFFSET
from .bbox_overlaps import bbox_overlaps
from .class_names import coco_classes, get_classes, voc_classes
from .recall import eval_recalls, plot_iou_recall, plot_num_recall, print_recall_summary
from .voc_map import average_precision, eval_map, print_map_summary

__all__ = [
    'INSTANCE_OFFSET',
    'average_precision',
    'bbox_overlaps',
    'coco_classes',
    'eval_map',
    'eval_recalls',
    'get_classes',
    'plot_iou_recall',
    'plot_num_recall',
    'print_map_summary',
    'print_recall_summary',
    'voc_classes',
]
