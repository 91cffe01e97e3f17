"""Colours. Palettes are lists of ``(r, g, b)`` in 0..255, as data sets hold them; drawing turns them into BGR."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

Color = tuple[int, int, int]

NAMED = {
    'red': (255, 0, 0),
    'green': (0, 255, 0),
    'blue': (0, 0, 255),
    'cyan': (0, 255, 255),
    'yellow': (255, 255, 0),
    'magenta': (255, 0, 255),
    'orange': (255, 128, 0),
    'white': (255, 255, 255),
    'black': (0, 0, 0),
}
GOLDEN_RATIO = 0.618033988749895


def palette_for(n: int) -> list[Color]:
    """``n`` colours, neighbours far apart: hues step by the golden ratio, lightness and saturation alternate."""
    colors = []
    for i in range(n):
        hue = (0.02 + i * GOLDEN_RATIO) % 1
        lightness, saturation = ((0.52, 0.95), (0.40, 0.80), (0.66, 0.90))[i % 3]
        colors.append(tuple(round(255 * c) for c in colorsys.hls_to_rgb(hue, lightness, saturation)))
    return colors


def color_of(color: str | int | Sequence[int]) -> Color:
    """A colour given by name, by one grey value or as ``(r, g, b)``, as ``(r, g, b)``."""
    if isinstance(color, str):
        if color.lower() not in NAMED:
            raise ValueError(f'unknown colour {color!r}: use one of {", ".join(NAMED)} or a tuple (r, g, b)')
        return NAMED[color.lower()]
    if isinstance(color, int):
        return (color, color, color)
    rgb = tuple(int(c) for c in color)
    if len(rgb) != 3 or not all(0 <= c <= 255 for c in rgb):
        raise ValueError(f'a colour is (r, g, b) with values in 0..255, got {color!r}')
    return rgb


def as_palette(palette: str | Sequence | None, n: int) -> list[Color]:
    """A list of at least ``n`` colours from what users write.

    Args:
        palette: None or ``'random'`` (colours of our choice), one colour (name or ``(r, g, b)``: all classes alike), or
            a list of colours, one a class. A list that is too short is completed with colours of our choice.
        n: how many classes there are.
    """
    if palette is None or (isinstance(palette, str) and palette == 'random'):
        return palette_for(n)
    if isinstance(palette, str) or (len(palette) == 3 and all(_is_number(c) for c in palette)):
        return [color_of(palette)] * max(n, 1)
    colors = [color_of(color) for color in palette]
    return colors + palette_for(n)[len(colors) :]


def _is_number(value: object) -> bool:
    return not isinstance(value, str) and not hasattr(value, '__len__')
