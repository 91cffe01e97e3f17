"""Panoptic results: a map of ids in the original image's size.

The id of a segment is its label for stuff, and its label + k * INSTANCE_OFFSET for the k-th instance of a thing, k from
1; a pixel without a segment has ``num_classes``, or the id 0 of ``VOID`` in the files of the COCO panoptic format.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

INSTANCE_OFFSET = 1000  # room for as many labels


def pack_map(ids: np.ndarray) -> dict[str, Any]:
    """A map of integers as a small dict of plain data; see :func:`unpack_map`.

    Args:
        ids: (h, w) of integers. A dict, taken to be packed already, is returned as it is.
    """
    if isinstance(ids, dict):
        return ids
    ids = np.ascontiguousarray(ids)
    return dict(size=list(ids.shape), dtype=ids.dtype.str, zlib=zlib.compress(ids.tobytes(), level=1))


def unpack_map(packed: dict[str, Any] | np.ndarray) -> np.ndarray:
    """The (h, w) map of :func:`pack_map`; an array is returned as it is."""
    if not isinstance(packed, dict):
        return np.asarray(packed)
    dtype = np.dtype(packed['dtype'])
    if dtype.kind not in 'biu':
        raise ValueError(f'a packed map holds integers, got dtype {packed["dtype"]!r}')
    return np.frombuffer(zlib.decompress(packed['zlib']), dtype=dtype).reshape(packed['size'])
