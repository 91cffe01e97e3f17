"""What predicts the mask of a region."""

from __future__ import annotations

from .fcn_mask_head import FCNMaskHead

__all__ = ['FCNMaskHead']
