"""Object detection from MMDetection 2.x configs and checkpoints, on the PyTorch of today."""

from mmdet_clone.environment import check_opencv, check_torchvision
from mmdet_clone.version import __version__

check_torchvision()
check_opencv()

__all__ = ['__version__']
