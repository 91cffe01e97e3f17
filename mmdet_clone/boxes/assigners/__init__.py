"""Which ground truth each prior answers for."""

from mmdet_clone.boxes.assigners.assign_result import AssignResult
from mmdet_clone.boxes.assigners.base import BaseAssigner
from mmdet_clone.boxes.assigners.max_iou import MaxIoUAssigner
from mmdet_clone.boxes.assigners.sim_ota_assigner import SimOTAAssigner

__all__ = ['AssignResult', 'BaseAssigner', 'MaxIoUAssigner', 'SimOTAAssigner']
