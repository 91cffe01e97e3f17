"""Showing an image in a window, where there is a screen."""

from __future__ import annotations

import os
import sys

import cv2
import numpy as np


def show_image(img: np.ndarray, win_name: str = '', wait_time: float = 0) -> bool:
    """Show a BGR image; ``wait_time`` in seconds, 0 waits for a key.

    Returns:
        False when the user asked to stop (Escape or ``q``).

    Raises:
        RuntimeError: there is no screen, or OpenCV was built without windows.
    """
    advice = (
        'write files instead, with --show-dir / --out-file / --output-dir on the command line or out_file=... in Python'
    )
    if sys.platform.startswith('linux') and not (os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY')):
        raise RuntimeError(f'cannot open a window, there is no screen (DISPLAY is not set): {advice}')
    try:
        cv2.imshow(win_name or 'image', img)
        key = cv2.waitKey(max(round(wait_time * 1000), 1) if wait_time else 0)
    except cv2.error as error:
        raise RuntimeError(f'cannot open a window (is this the headless OpenCV?): {advice}') from error
    return key not in (27, ord('q'))
