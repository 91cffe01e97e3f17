"""Which of the assigned boxes the loss looks at."""

from mmdet_clone.boxes.samplers.base import BaseSampler
from mmdet_clone.boxes.samplers.ohem_sampler import OHEMSampler
from mmdet_clone.boxes.samplers.pseudo import PseudoSampler
from mmdet_clone.boxes.samplers.random import RandomSampler
from mmdet_clone.boxes.samplers.sampling_result import SamplingResult

__all__ = ['BaseSampler', 'OHEMSampler', 'PseudoSampler', 'RandomSampler', 'SamplingResult']
