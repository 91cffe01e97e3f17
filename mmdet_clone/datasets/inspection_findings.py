"""What is wrong with a data set, one finding an image, annotation or file, each kind with its fix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from . import inspection
from .inspection_table import OTHER_CLASS, UNDEFINED_CLASS, AnnotationTable

SEVERITIES = ('error', 'warning', 'note')
_FEW = 5  # odd boxes that may be an accident


class Kind(NamedTuple):
    """A kind of finding: ``severity`` is one of ``SEVERITIES``; ``error`` stops or spoils a training."""

    severity: str
    title: str
    fix: str


_RENUMBER = 'give every entry an id of its own'
KINDS: dict[str, Kind] = {
    'config': Kind('error', 'config', 'change the config as the message says'),
    'cannot_build': Kind('error', 'data set cannot be built', 'training would stop with this message: do as it says'),
    'num_classes': Kind('error', 'num_classes of a head', 'set it to the number of classes'),
    'class_lists': Kind('error', 'class lists differ', 'set the same classes=(...) in data.train, val and test'),
    'unknown_class': Kind('error', 'class unknown to the file', 'correct classes=(...), or the categories of the file'),
    'undefined_category': Kind('error', 'undefined category', 'correct category_id (label), or define the category'),
    'duplicate_image_id': Kind('error', 'duplicate image id', _RENUMBER),
    'duplicate_annotation_id': Kind('error', 'duplicate annotation id', _RENUMBER),
    'nan_box': Kind('error', 'box that is not four numbers', 'correct or delete it: one NaN makes the loss NaN'),
    'other_layout': Kind('error', 'boxes in another layout', 'rewrite the boxes in the layout of the format'),
    'missing_mask': Kind('error', 'mask missing', 'add its polygons, or train without masks (with_mask=False)'),
    'mask_size': Kind('error', 'mask of another size', "correct size of the RLE, or width and height of the image"),
    'missing_image': Kind('error', 'image missing', 'correct img_prefix or the file name, or take the image out'),
    'unreadable_image': Kind('error', 'image unreadable', 'copy it again, or take it out of the annotation file'),
    'wrong_size_image': Kind('error', 'image of another size', 'restore the image, or correct width and height'),
    'remark': Kind('warning', 'said while building', 'see the message'),
    'added_category': Kind('warning', 'categories differ between files', 'annotate it in both, or in neither'),
    'unseen_class': Kind('warning', 'class without a box', 'it cannot be learnt or measured: add boxes or take it out'),
    'shared_image': Kind('warning', 'image in train and val', 'take it out of one: figures on it are too good'),
    'unlisted_image': Kind('warning', 'annotation without image', 'list its image, or delete the annotation'),
    'repeated_image': Kind('warning', 'image listed twice', 'list it once, with all its annotations'),
    'no_size_box': Kind('warning', 'box without width or height', 'correct it: it is left out of training'),
    'outside_box': Kind('warning', 'box outside its image', 'cut it at the border, or correct it'),
    'duplicate_box': Kind('warning', 'same box and class twice', 'delete one of them'),
    'bad_polygon': Kind('warning', 'polygon of less than 3 points', 'delete the part: it is left out'),
    'outside_polygon': Kind('warning', 'mask outside its image', 'cut it at the border, or correct it'),
    'sixteen_bit_image': Kind('warning', '16-bit image', 'scale it to 8 bits: loading keeps the upper 8 bits only'),
    'cmyk_image': Kind('warning', 'CMYK image', 'save it as RGB: the conversion depends on the decoder'),
    'animated_image': Kind('warning', 'animated image', 'save the annotated frame: at most the first one is loaded'),
    'alpha_image': Kind('note', 'image with transparency', 'nothing, if the colours below alpha 0 are fit to be seen'),
    'grey_image': Kind('note', 'grey image', 'nothing: it is loaded as three equal channels'),
    'rotated_image': Kind('note', 'image turned by EXIF', 'nothing, if the boxes fit the image as it is displayed'),
    'tiny_box': Kind('note', 'box below 2 pixels', 'look at it; boxes below a pixel are left out'),
    'empty_image': Kind('note', 'image without a box', 'nothing; filter_empty_gt=False trains on it as background'),
}  # fmt: skip


@dataclass(slots=True)
class Finding:
    """One thing found.

    Attributes:
        kind: a key of ``KINDS``.
        what: the sentence for this one.
        file, image_id, annotation_id: where; empty or ``None`` where it is about more than one.
        box: x1, y1, x2, y2 in pixels, to be drawn.
        path: where the image lies, empty if unknown.
        part: where the data set stands in the config (``data.train``).
        severity: of ``SEVERITIES``; that of the kind by default.
    """

    kind: str
    what: str
    file: str = ''
    image_id: Any = None
    annotation_id: Any = None
    box: tuple[float, ...] | None = None
    path: str = ''
    part: str = ''
    severity: str = ''

    def __post_init__(self) -> None:
        self.severity = self.severity or KINDS[self.kind].severity

    @property
    def fix(self) -> str:
        return KINDS[self.kind].fix


def inspect_table(table: AnnotationTable, wants_masks: bool = False) -> list[Finding]:
    """Everything that the annotations alone tell; ``wants_masks``: the pipeline loads masks."""
    found = [*_ids(table), *_classes(table), *_boxes(table), *_empty_images(table)]
    if table.masks is not None or wants_masks:
        found += _masks(table, wants_masks)
    return found


# ---------------------------------------------------------------------- ids and classes


def _ids(table: AnnotationTable) -> Iterator[Finding]:
    for i in inspection.repeated(table.image_ids):
        what = f'{table.source}: image id {table.image_ids[i]!r} occurs more than once'
        yield Finding('duplicate_image_id', what, table.filenames[i], table.image_ids[i])
    for i in inspection.repeated(table.filenames):
        yield Finding(
            'repeated_image', f'{table.source} lists it more than once', table.filenames[i], table.image_ids[i]
        )
    if table.defines_categories:
        again = inspection.repeated(table.ids)
        what = f'{table.source}: {{}} is the id of another annotation too'
        yield from (_of_box(table, i, 'duplicate_annotation_id', what.format(repr(table.ids[i]))) for i in again)
    for annotation_id, image_id in table.orphans:
        what = f'{table.source} lists no image of id {image_id!r}'
        yield Finding('unlisted_image', what, '', image_id, annotation_id)


def _classes(table: AnnotationTable) -> Iterator[Finding]:
    defined = ', '.join(map(repr, list(table.categories.values())[:20])) if table.defines_categories else ''
    allowed = f'defined are {defined}' if defined else f'labels are 0 to {len(table.class_names) - 1}'
    for i in np.flatnonzero(table.labels == UNDEFINED_CLASS):
        yield _of_box(table, i, 'undefined_category', f'category {table.category_ids[i]!r} is not defined: {allowed}')
    absent = [name for name in table.class_names if name not in table.categories] if table.defines_categories else []
    for name in absent:
        names = ', '.join(map(repr, list(table.categories)[:20]))
        yield Finding('unknown_class', f'{table.source} has no category {name!r}; it has {names}')
    counts = class_counts(table)
    if counts.sum():
        for label in np.flatnonzero(counts == 0):
            if table.class_names[label] not in absent:
                yield Finding('unseen_class', f'{table.source} has no box of class {table.class_names[label]!r}')


def class_counts(table: AnnotationTable) -> np.ndarray:
    """(C,) boxes of each class, without those that are not learnt."""
    labels = table.labels[(table.labels >= 0) & ~table.crowd]
    return np.bincount(labels, minlength=len(table.class_names))


# ---------------------------------------------------------------------- boxes


def _boxes(table: AnnotationTable) -> Iterator[Finding]:
    boxes, sizes = table.boxes, table.box_sizes
    corners = inspection.corners_of(boxes, table.layout)
    broken = inspection.not_finite(boxes)
    flat = inspection.without_size(corners) & ~broken
    outside = inspection.reaches_outside(corners, sizes) & ~broken & ~flat
    for i in np.flatnonzero(broken):
        yield _of_box(table, i, 'nan_box', f'its box is {_shown(boxes[i])}')
    yield from _layout(table, flat | outside)
    for i in np.flatnonzero(flat):
        yield _of_box(table, i, 'no_size_box', f'box {_shown(boxes[i])} is {_side(corners[i])}')
    for i in np.flatnonzero(outside):
        of = f'an image of {sizes[i][0]:g}x{sizes[i][1]:g}' if np.isfinite(sizes[i]).all() else 'its image'
        yield _of_box(table, i, 'outside_box', f'box {_shown(boxes[i])} reaches out of {of}')
    if table.in_pixels:
        for i in np.flatnonzero(inspection.is_tiny(corners, table.areas)):
            yield _of_box(table, i, 'tiny_box', f'box {_shown(boxes[i])} is {_side(corners[i])}')
    for i in np.flatnonzero(inspection.repeated_boxes(boxes, table.owner, table.labels) & ~broken):
        yield _of_box(table, i, 'duplicate_box', f'box {_shown(boxes[i])} stands there more than once')


def _layout(table: AnnotationTable, odd: np.ndarray) -> Iterator[Finding]:
    """Whether most odd boxes make sense in the other layout; certain enough for an error if most boxes are odd."""
    rows = np.flatnonzero(odd)
    if len(rows) < _FEW:
        return
    fits = inspection.fits_other_layout(table.boxes[rows], table.box_sizes[rows], table.layout)
    if fits.mean() >= 0.9:
        hint = inspection.other_layout_hint(table.layout)
        what = (
            f'{table.source}: {int(fits.sum())} of {len(odd)} boxes lie in their image only in another layout. {hint}'
        )
        yield Finding('other_layout', what, severity='error' if 2 * len(rows) > len(odd) else 'warning')


def _side(corners: np.ndarray) -> str:
    width, height = corners[2:] - corners[:2]
    return f'{width:.4g} x {height:.4g} pixels'


def _shown(box: np.ndarray) -> str:
    return '[' + ', '.join(f'{value:.6g}' for value in box) + ']'


def _empty_images(table: AnnotationTable) -> Iterator[Finding]:
    learnt = np.bincount(table.owner[(table.labels >= 0) & ~table.crowd], minlength=len(table.image_ids))
    annotated = np.bincount(table.owner, minlength=len(table.image_ids))
    for i in np.flatnonzero(learnt == 0):
        what = 'only boxes that are not learnt' if annotated[i] else 'no box'
        yield Finding('empty_image', f'it has {what}', table.filenames[i], table.image_ids[i])


# ---------------------------------------------------------------------- masks


def _masks(table: AnnotationTable, wanted: bool) -> Iterator[Finding]:
    masks = table.masks if table.masks is not None else [None] * len(table.boxes)
    sizes = table.box_sizes
    used = (table.labels >= 0) & ~table.crowd
    for i, mask in enumerate(masks):
        if wanted and used[i] and not inspection.has_mask(mask):
            yield _of_box(table, i, 'missing_mask', f'{table.source}: the pipeline loads masks (with_mask=True)')
        elif inspection.rle_of_other_size(mask, *sizes[i]):
            shown = list(mask.get('size') or ()) if isinstance(mask, dict) else list(mask.shape)
            what = f'the mask is {shown} (height, width), the image {[_int(edge) for edge in sizes[i][::-1]]}'
            yield _of_box(table, i, 'mask_size', what, 'error' if wanted and used[i] else 'warning')
        elif mask is not None and inspection.bad_parts(mask):
            yield _of_box(table, i, 'bad_polygon', f'{len(inspection.bad_parts(mask))} of its {len(mask)} polygons')
    for i in np.flatnonzero(inspection.polygons_outside(masks, sizes)) if table.in_pixels else ():
        yield _of_box(table, i, 'outside_polygon', f'a polygon reaches out of an image of {_times(sizes[i])}')


def _int(value: float) -> Any:
    return int(value) if np.isfinite(value) else None


def _times(size: np.ndarray) -> str:
    return f'{size[0]:g}x{size[1]:g}'


def _of_box(table: AnnotationTable, i: int, kind: str, what: str, severity: str = '') -> Finding:
    image = int(table.owner[i])
    category = table.category_ids[i]
    name = table.class_names[table.labels[i]] if table.labels[i] >= 0 else category
    corners = inspection.corners_of(table.boxes[i : i + 1], table.layout)[0]
    box = tuple(corners.tolist()) if np.isfinite(corners).all() and table.in_pixels else None
    where = f'{name}: {what}' if table.labels[i] >= OTHER_CLASS else what
    return Finding(kind, where, table.filenames[image], table.image_ids[image], table.ids[i], box, severity=severity)


# ---------------------------------------------------------------------- between annotation files


def category_differences(first: dict[str, Any], second: dict[str, Any], names: Sequence[str] = ('', '')) -> list[str]:
    """Sentences on the categories that one annotation file has and another lacks, or numbers otherwise.

    Args:
        first, second: name -> id (``None`` in formats without ids).
        names: what to call the two.
    """
    found = []
    for here, there, (mine, other) in ((first, second, names), (second, first, tuple(names)[::-1])):
        only = [name for name in here if name not in there]
        if only:
            shown = ', '.join(map(repr, only[:10])) + (' ...' if len(only) > 10 else '')
            found.append(f'only {mine} has {"category" if len(only) == 1 else "categories"} {shown}; {other} has not')
    moved = [name for name in first if name in second and None not in (first[name], second[name])]
    moved = [name for name in moved if first[name] != second[name]]
    if moved:
        shown = ', '.join(f'{name!r} is {first[name]!r} and {second[name]!r}' for name in moved[:5])
        found.append(
            f'{len(moved)} categories have another id in {names[0]} than in {names[1]}: {shown}. '
            'Labels go by name, so training is right; result files carry the ids of the file that is evaluated'
        )
    return found


def shared_paths(first: Iterable[str], second: Iterable[str]) -> list[str]:
    """The paths that occur in both."""
    known = set(first)
    return sorted({path for path in second if path in known})
