"""From a COCO json to a ``CocoTable``, without making a python object of every number."""

from __future__ import annotations

import codecs
import functools
import mmap
import operator
import warnings
from collections.abc import Iterable
from itertools import chain
from typing import Any

import numpy as np

from .coco_table import CocoTable, parse

LARGE = 16 << 20  # bytes of a file from which on it matters how it is kept
_CHUNK = 16384  # entries that are python objects at a time
_NOTHING = 8  # a segmentation of fewer characters may be null, [] or the like


def table_from_json(path: str) -> CocoTable | None:
    """The table of a file.

    ``None`` for a file that is laid out in another way: that is no valid JSON, that lacks ids or boxes, whose ids are
    texts or come twice, with a text where a number belongs. Whoever reads it then in the general way finds out, but
    keeps dicts: for a large file a warning gives the reason.
    """
    import msgspec

    with open(path, 'rb') as file:
        try:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (ValueError, OSError):  # empty, or on a file system that cannot map
            content = file.read()
    table, reason = None, 'an id comes twice, or an entry is no list'
    try:
        table = _table(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, OverflowError) as error:
        reason = str(error)
    if table is None and len(content) >= LARGE:
        warnings.warn(
            f'{path!r} is not laid out as a COCO json usually is ({reason}): its annotations are kept as dicts, '
            'which take several times the memory. Mend that entry, or write the file anew',
            stacklevel=2,
        )
    return table


def _table(content: Any) -> CocoTable | None:
    import msgspec

    raw = msgspec.Raw
    parts = msgspec.json.decode(content, type=dict[str, list[raw] | dict[str, raw] | str | int | float | bool | None])
    images, anns, categories = (parts.get(key) for key in ('images', 'annotations', 'categories'))
    if not isinstance(images, list) or not all(x is None or isinstance(x, list) for x in (anns, categories)):
        return None
    if anns is None and 'annotations' in parts:
        return None
    _check_encoding(content)
    other = {key: None if key in ('images', 'annotations') else value for key, value in parts.items()}
    rest = msgspec.json.encode(other)
    category_ids = [c.get('id') if isinstance(c, dict) else None for c in parse(rest).get('categories') or ()]
    del parts, other
    columns = _image_columns(images)
    of_anns = _annotation_columns(anns or [], columns['image_ids'], category_ids)
    if _repeat(columns['image_ids'], columns['image_order']) or _repeat(of_anns['ann_ids'], of_anns['ann_order']):
        return None
    return CocoTable(**columns, **of_anns, rest=np.frombuffer(rest, np.uint8))


def _check_encoding(content: Any) -> None:
    """Raise ``UnicodeDecodeError`` for bytes that are no UTF-8, which the parser lets through where it skips."""
    decoder = codecs.getincrementaldecoder('utf-8')()
    for start in range(0, len(content), 1 << 20):
        decoder.decode(content[start : start + (1 << 20)])
    decoder.decode(b'', final=True)


def _repeat(ids: np.ndarray, order: np.ndarray) -> bool:
    return bool((np.diff(ids[order]) == 0).any())


# ---------------------------------------------------------------------- images


@functools.cache
def _parsers() -> tuple[Any, Any]:
    """Of a list of images and of a list of annotations."""
    import msgspec

    nan = float('nan')  # valid JSON has none: it says that there is no number
    flag = int | bool | float | None
    image = msgspec.defstruct(
        'Image',
        [
            ('id', int),
            ('file_name', str | None, None),
            ('width', float, nan),
            ('height', float, nan),
        ],
        gc=False,
    )
    annotation = msgspec.defstruct(
        'Annotation',
        [
            ('id', int),
            ('image_id', int),
            ('category_id', int),
            ('bbox', tuple[float, float, float, float]),
            ('area', float, nan),
            ('iscrowd', flag, None),
            ('ignore', flag, None),
            ('segmentation', msgspec.Raw, msgspec.Raw()),
            ('keypoints', list[float] | None, None),
        ],
        gc=False,
    )
    return msgspec.json.Decoder(list[image]).decode, msgspec.json.Decoder(list[annotation]).decode


def _image_columns(images: list) -> dict[str, np.ndarray]:
    decode = _parsers()[0]
    ids, sizes, named = [np.zeros(0, np.int64)], [np.zeros((0, 2))], [np.zeros(0, bool)]
    for chunk in _chunks(images):
        entries = decode(_as_list(chunk))
        ids.append(_column(entries, 'id', np.int64))
        sizes.append(np.stack([_column(entries, 'width', float), _column(entries, 'height', float)], axis=1))
        named.append(np.array([entry.file_name is not None for entry in entries], dtype=bool))
    text, starts = _joined(images)
    image_ids = np.concatenate(ids)
    return dict(
        image_ids=image_ids,
        image_order=np.argsort(image_ids, kind='stable'),
        image_sizes=np.concatenate(sizes),
        image_named=np.concatenate(named),
        image_text=text,
        image_starts=starts,
    )


# ---------------------------------------------------------------------- annotations


def _annotation_columns(anns: list, image_ids: np.ndarray, category_ids: list) -> dict[str, np.ndarray]:
    """Everything of ``CocoTable`` about annotations, sorted by image."""
    found = _in_file_order(anns)
    group = _groups_of(found['ann_image_ids'], image_ids)
    order = np.argsort(group, kind='stable')
    images = np.minimum(group[order], len(image_ids))
    found = {name: column[order] for name, column in found.items()}
    text, starts = _joined([anns[i] for i in order.tolist()])
    rows = np.empty_like(order)
    rows[order] = np.arange(len(order))
    return dict(
        **found,
        ann_order=np.argsort(found['ann_ids'], kind='stable'),
        ann_rows=rows,
        ann_images=images,
        image_anns=np.searchsorted(images, np.arange(len(image_ids) + 1)),
        ann_categories=_categories_of(found['ann_category_ids'], category_ids),
        ann_text=text,
        ann_starts=starts,
    )


def _in_file_order(anns: list) -> dict[str, np.ndarray]:
    decode = _parsers()[1]
    pieces = [_columns_of_chunk(decode(_as_list(chunk))) for chunk in _chunks(anns)] or [_columns_of_chunk([])]
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def _columns_of_chunk(entries: list) -> dict[str, np.ndarray]:
    boxes = np.fromiter(chain.from_iterable(map(operator.attrgetter('bbox'), entries)), float, 4 * len(entries))
    boxes = boxes.reshape(-1, 4)
    areas = _column(entries, 'area', float)
    return dict(
        ann_ids=_column(entries, 'id', np.int64),
        ann_image_ids=_column(entries, 'image_id', np.int64),
        ann_category_ids=_column(entries, 'category_id', np.int64),
        boxes=boxes,
        areas=np.where(np.isnan(areas), boxes[:, 2] * boxes[:, 3], areas),
        crowd=_column(entries, 'iscrowd', bool),
        ignored=_column(entries, 'ignore', bool),
        masked=_are_something([entry.segmentation for entry in entries]),
        keypoint_numbers=np.array([-1 if e.keypoints is None else len(e.keypoints) for e in entries], dtype=np.int32),
    )


def _are_something(values: list) -> np.ndarray:
    """Whether pieces of JSON are true, as python takes it; absent ones are not."""
    lengths = np.fromiter(map(len, values), np.int64, len(values))
    for i in np.flatnonzero((lengths > 0) & (lengths < _NOTHING)):
        lengths[i] = bool(parse(bytes(values[i])))
    return lengths > 0


def _groups_of(ids: np.ndarray, image_ids: np.ndarray) -> np.ndarray:
    """The row in ``image_ids`` of each of ``ids``; ids that are not there get the numbers that follow."""
    order = np.argsort(image_ids, kind='stable')
    known = np.zeros(len(ids), dtype=bool)
    groups = np.zeros(len(ids), np.int64)
    if len(order):
        groups = order[np.minimum(image_ids.searchsorted(ids, sorter=order), len(order) - 1)]
        known = image_ids[groups] == ids
    groups[~known] = len(order) + np.unique(ids[~known], return_inverse=True)[1].reshape(-1)
    return groups


def _categories_of(ids: np.ndarray, category_ids: list) -> np.ndarray:
    row_of = {category_id: row for row, category_id in enumerate(category_ids)}
    present, inverse = np.unique(ids, return_inverse=True)
    rows = np.array([row_of.get(i, -1) for i in present.tolist()], dtype=np.int32)
    return rows[inverse.reshape(-1)] if len(rows) else np.zeros(0, np.int32)


# ---------------------------------------------------------------------- shared


def _chunks(items: list) -> Iterable[list]:
    return (items[i : i + _CHUNK] for i in range(0, len(items), _CHUNK))


def _as_list(chunk: list) -> bytes:
    return b'[%b]' % b','.join(chunk)


def _column(entries: list, name: str, dtype: Any) -> np.ndarray:
    return np.fromiter(map(operator.attrgetter(name), entries), dtype, len(entries))


def _joined(entries: list) -> tuple[np.ndarray, np.ndarray]:
    """The texts of all entries with a comma after each, and where each begins."""
    shrink = _shrinker(entries)
    lengths, pieces = [np.zeros(0, np.int64)], []
    for chunk in _chunks(entries):
        chunk = list(map(shrink, chunk)) if shrink else chunk
        lengths.append(np.fromiter(map(len, chunk), np.int64, len(chunk)))
        pieces.append(chunk)
    starts = np.concatenate([[0], np.cumsum(np.concatenate(lengths) + 1)]).astype(np.int64)
    text = np.empty(starts[-1], np.uint8)
    position = 0
    for chunk in pieces:
        joined = b','.join(chunk) + b','
        text[position : position + len(joined)] = np.frombuffer(joined, np.uint8)
        position += len(joined)
    return text, starts


def _shrinker(entries: list) -> Any:
    """Takes the blanks out of JSON; ``None`` where the first entries show that it would save next to nothing."""
    import msgspec

    shrink = functools.partial(msgspec.json.format, indent=-1)
    sample = [bytes(entry) for entry in entries[:: max(len(entries) // 100, 1)]]
    long, short = sum(map(len, sample)), sum(len(shrink(text)) for text in sample)
    return (lambda entry: shrink(bytes(entry))) if short < 0.9 * long else None
