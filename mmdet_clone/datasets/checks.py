"""What is checked about annotations before the first iteration. Vectorised: a second for a million boxes.

Errors stop a run that could only go wrong; single boxes that lie oddly are counted in one warning.
"""

from __future__ import annotations

import difflib
import os.path as osp
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Sequence

import numpy as np

from . import inspection
from .files import read_lines

_SHOWN = 10
_FEW = 5  # odd boxes that may be an accident


def resolve_classes(classes: Sequence[str] | str | None, default: Sequence[str] | None) -> tuple[str, ...] | None:
    """The class names that a dataset was asked for.

    Args:
        classes: a list or tuple of names, or the path of a text file with one name a line; ``None`` for ``default``.
        default: the ``CLASSES`` of the dataset's class.

    Raises:
        ValueError: ``classes`` is a string that is no file, or names a class twice.
        TypeError: it is a set or anything else without an order.
    """
    name, value = ('CLASSES', default) if classes is None else ('classes', classes)
    if value is None:
        return None
    if isinstance(value, str):
        if name == 'CLASSES' or not osp.isfile(value):
            raise ValueError(_string_message(name, value))
        value = read_lines(value)
    if not isinstance(value, list | tuple):
        hint = ': its order is not fixed, so labels would change from run to run' if isinstance(value, set) else ''
        raise TypeError(f'{name} is a {type(value).__name__}{hint}. Give a list or tuple of names, got {value!r}')
    strange = [item for item in value if not isinstance(item, str)]
    if strange:
        raise TypeError(f'{name} must hold strings, got {strange[0]!r} ({type(strange[0]).__name__})')
    repeated = sorted({item for item in value if list(value).count(item) > 1})
    if repeated:
        raise ValueError(f'{name} names {", ".join(map(repr, repeated))} more than once')
    return tuple(value)


def _string_message(name: str, value: str) -> str:
    wanted = f"{name}=('{value}',) with the comma" if value.isidentifier() else f"{name}=['first', 'second']"
    return (
        f'{name} is the string {value!r}'
        + (', and no file of that name exists' if name == 'classes' else '')
        + f'. Give a list of names: {wanted}'
        + (', or the path of a text file with one name a line' if name == 'classes' else '')
    )


def check_class_names(wanted: Sequence[str], present: Sequence[str], source: str) -> None:
    """Raise ``ValueError`` if a wanted class is not among the annotation file's categories."""
    absent = [name for name in wanted if name not in set(present)]
    if not absent:
        return
    shown = [f'{name!r}{_near(name, present)}' for name in absent[:_SHOWN]]
    more = f' and {len(absent) - _SHOWN} more' if len(absent) > _SHOWN else ''
    raise ValueError(
        f'{len(absent)} of the {len(wanted)} classes are not in {source}: {"; ".join(shown)}{more}. '
        f'Its {len(present)} categories are {_listed(present)}. '
        'Set classes=[...] of the dataset (data.train.classes and so on) to the names to use'
    )


def near_names(name: str, present: Sequence[str]) -> list[str]:
    """The names most like ``name``, whatever their case."""
    by_key = {other.lower(): other for other in present}
    return [by_key[key] for key in difflib.get_close_matches(name.lower(), by_key, n=3, cutoff=0.6)]


def _near(name: str, present: Sequence[str]) -> str:
    near = near_names(name, present)
    return f' (did you mean {" or ".join(map(repr, near))}?)' if near else ''


def _listed(names: Sequence[str], most: int = 20) -> str:
    shown = ', '.join(map(repr, names[:most]))
    return f'{shown} ...' if len(names) > most else shown


def check_unique_ids(ids: Sequence, what: str, source: str) -> None:
    """Raise ``ValueError`` if an id (or name) occurs twice: evaluation and sampling look entries up by it."""
    if len(set(ids)) == len(ids):
        return
    twice = [value for value, count in Counter(ids).items() if count > 1]
    raise ValueError(
        f'{source}: {len(twice)} duplicate {what} ids, first {twice[:_SHOWN]}: '
        f'every {what} needs an id of its own; renumber them'
    )


def check_category_ids(anns: Sequence[dict], defined: Collection, source: str) -> None:
    """Raise ``ValueError`` if an annotation has no category id, or one that ``categories`` does not define."""
    undefined = [ann for ann in anns if ann.get('category_id') not in defined]
    if undefined:
        shown = [f'annotation {ann["id"]}: {ann.get("category_id")}' for ann in undefined[:_SHOWN]]
        raise ValueError(
            f'{source}: {len(undefined)} annotations have a category_id that "categories" does not define '
            f'({"; ".join(shown)}). Defined ids: {_listed(list(defined))}'
        )


def check_boxes(boxes: np.ndarray, sizes: np.ndarray, layout: str, describe: Callable[[int], str], source: str) -> None:
    """Warn once of the boxes outside their image or of no size.

    Args:
        boxes: (n, 4) as annotated, in pixels.
        sizes: (n, 2) width and height of each box's image; NaN where unknown.
        layout: what the four numbers should be, ``'xywh'`` or ``'xyxy'``.
        describe: names the box of an index (``'annotation 7 of a.jpg'``).
        source: the annotation file.

    Raises:
        ValueError: a number is NaN or infinite; or most boxes are odd, and make sense when they are read in the other
            layout.
    """
    _check_numbers(boxes, describe, source)
    corners = inspection.corners_of(boxes, layout)
    flat = inspection.without_size(corners)
    outside = inspection.reaches_outside(corners, sizes)
    odd = np.flatnonzero(flat | outside)
    if not len(odd):
        return
    shown = [f'{describe(i)}: {np.round(boxes[i], 2).tolist()}{_in_image(sizes[i])}' for i in odd[:_SHOWN]]
    more = f'\n  ... and {len(odd) - _SHOWN} more' if len(odd) > _SHOWN else ''
    message = (
        f'{source}: of {len(boxes)} boxes {int((outside & ~flat).sum())} reach outside their image and '
        f'{int(flat.sum())} have a width or height of zero or less:\n  ' + '\n  '.join(shown) + more
    )
    hint = _other_layout(boxes[odd], sizes[odd], layout)
    if hint and len(odd) >= _FEW and 2 * len(odd) > len(boxes):
        raise ValueError(message + hint)
    warnings.warn(message + hint, stacklevel=3)


def odd_boxes(boxes: np.ndarray, sizes: np.ndarray, layout: str) -> np.ndarray:
    """(n,) bool: the boxes that :func:`check_boxes` would speak of; arguments as there."""
    corners = inspection.corners_of(boxes, layout)
    odd = inspection.without_size(corners) | inspection.reaches_outside(corners, sizes)
    return odd | inspection.not_finite(boxes)


def _check_numbers(boxes: np.ndarray, describe: Callable[[int], str], source: str) -> None:
    wrong = np.flatnonzero(inspection.not_finite(boxes))
    if len(wrong):
        shown = '; '.join(f'{describe(i)}: {boxes[i].tolist()}' for i in wrong[:_SHOWN])
        raise ValueError(
            f'{source}: {len(wrong)} of {len(boxes)} boxes are not four finite numbers ({shown}): correct or delete '
            'them, a single one makes the loss NaN'
        )


def _in_image(size: np.ndarray) -> str:
    return '' if np.isnan(size).any() else f' in an image of {size[0]:g}x{size[1]:g}'


def _other_layout(boxes: np.ndarray, sizes: np.ndarray, layout: str) -> str:
    """A hint, if nearly all odd boxes make sense when their numbers are read the other way."""
    fits = inspection.fits_other_layout(boxes, sizes, layout)
    return '\n' + inspection.other_layout_hint(layout) if fits.mean() >= 0.9 else ''


def no_images_message(source: str, total: int, reasons: dict[str, int], hint: str = '') -> str:
    """The message for a dataset that has nothing to train on: how many images were removed, and why."""
    if not total:
        return f'{source} lists no image'
    counts = '; '.join(f'{count} {reason}' for reason, count in reasons.items() if count)
    return f'{source}: none of its {total} images can be used for training: {counts}.{hint}'
