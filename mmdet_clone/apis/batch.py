"""Batches on their way to the device."""

from __future__ import annotations

from typing import Any

import torch


def to_device(data: Any, device: torch.device | str) -> Any:
    """``data`` with every tensor in its dicts, lists and tuples on ``device``."""
    if torch.is_tensor(data):
        return data.to(device, non_blocking=True)
    if isinstance(data, dict):
        return {key: to_device(value, device) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return type(data)(to_device(value, device) for value in data)
    return data
