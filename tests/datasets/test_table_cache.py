"""The cache of annotation tables: found by content, used only if whole, done without where it cannot be."""

from __future__ import annotations

import gc
import json
import logging
import multiprocessing
import os
import pickle
import zlib

import pytest

from mmdet_clone.datasets import CocoDataset, table_cache
from mmdet_clone.datasets.coco_index import CocoIndex


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The cache's folder; the smallest file is worth a table."""
    folder = tmp_path / 'cache' / 'inner'
    monkeypatch.setenv('MMDET_CLONE_CACHE', str(folder))
    monkeypatch.setattr(table_cache, 'LEAST_BYTES', 0)
    return folder


@pytest.fixture
def said(monkeypatch):
    """The lines that were written, with their level."""
    lines = []
    monkeypatch.setattr(table_cache, 'print_log', lambda message, logger, level: lines.append((level, message)))
    return lines


@pytest.fixture
def no_parsing(monkeypatch):
    def forbid():
        monkeypatch.setattr(table_cache, 'table_from_json', lambda path: pytest.fail('the file was parsed again'))

    return forbid


def tables(folder):
    return sorted(folder.glob('*.cocotable'))


def content(path):
    coco = CocoIndex(path)
    assert coco.table is not None
    return coco, (dict(coco.imgs), dict(coco.anns), coco.cats)


def test_the_second_start_maps_what_the_first_wrote(folder, said, no_parsing, write_json, toy):
    path = write_json(toy)
    first, expected = content(path)
    assert [level for level, _ in said] == [logging.INFO] and first.table.path == str(tables(folder)[0])
    no_parsing()
    second, found = content(path)
    assert found == expected and len(said) == 1 and not list(folder.glob('*.part'))
    assert not second.table.boxes.flags.writeable
    assert CocoDataset(path, [], classes=['cat', 'dog']).get_ann_info(0)['bboxes'].tolist() == [[10, 20, 40, 60]]


def test_the_name_and_date_of_the_file_do_not_matter(folder, said, no_parsing, write_json, toy):
    _, expected = content(write_json(toy))
    no_parsing()
    other = write_json(toy, 'other.json')
    os.utime(other, (0, 0))
    assert content(other)[1] == expected


def test_another_content_under_the_old_name_is_read_anew(folder, said, write_json, toy):
    path = write_json(toy)
    before, (old, stamp) = content(path)[0], (tables(folder), os.stat(path))
    toy['annotations'][0]['area'] = 1201  # as long a file
    assert write_json(toy) == path and os.stat(path).st_size == stamp.st_size
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert content(path)[0].anns[11]['area'] == 1201
    assert len(tables(folder)) == 2 and set(old) < set(tables(folder))  # it is mapped
    assert before.anns[11]['area'] == 1200
    del before
    gc.collect()
    toy['annotations'][0]['area'] = 1202
    write_json(toy)
    content(path)
    assert len(tables(folder)) == 1 and tables(folder) != old  # the tables of earlier contents are gone


def test_a_file_that_changes_while_it_is_read_is_not_cached(folder, said, write_json, toy, monkeypatch):
    path, key_of = write_json(toy), table_cache.content_key

    def changed_after(path):
        key = key_of(path)
        toy['annotations'][0]['area'] = 1201
        write_json(toy)
        return key

    monkeypatch.setattr(table_cache, 'content_key', changed_after)
    coco, _ = content(path)
    assert coco.anns[11]['area'] == 1201 and coco.table.path is None and tables(folder) == []


def test_a_link_where_the_table_is_to_be_written_is_not_followed(folder, said, write_json, toy, tmp_path, monkeypatch):
    monkeypatch.setattr(table_cache, '_remove_leftovers', lambda *_: None)  # as where it may not remove the link
    path, victim = write_json(toy), tmp_path / 'victim'
    victim.write_text('mine')
    folder.mkdir(parents=True)
    (folder / f'{table_cache.content_key(path)}.cocotable.{os.getpid()}.part').symlink_to(victim)
    assert content(path)[0].table.path is None and victim.read_text() == 'mine'


def damage(path, kind):
    whole = path.read_bytes()
    if kind == 'cut off':
        path.write_bytes(whole[:-10])
    elif kind == 'empty':
        path.write_bytes(b'')
    elif kind == 'of another version':
        path.write_bytes(whole.replace(b'"format": 1', b'"format": 0', 1))
    elif kind == 'of another file':
        path.write_bytes(whole.replace(path.stem.encode(), b'0' * 32, 1))
    elif kind == 'of a damaged header':
        path.write_bytes(whole.replace(b'"format"', b'\xffformat"', 1))
    else:
        place = {'start': 3, 'first array': len(whole) // 2, 'end': len(whole) - 100}[kind]
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])


@pytest.mark.parametrize(
    'kind, told',
    [
        ('cut off', 'belong to it'),
        ('empty', 'does not begin'),
        ('of another version', 'format 0, this version reads 1'),
        ('of another file', 'made from another annotation file'),
        ('of a damaged header', 'header is damaged'),
        ('start', 'does not begin'),
        ('first array', 'checksum'),
        ('end', 'checksum'),
    ],
)
def test_what_is_not_whole_is_not_used_and_made_anew(kind, told, folder, said, no_parsing, write_json, toy):
    path = write_json(toy)
    _, expected = content(path)
    damage(tables(folder)[0], kind)
    said.clear()
    assert content(path)[1] == expected
    (level, message), (_, made) = said
    assert level == logging.WARNING and told in message and 'made anew' in message and 'cached' in made
    no_parsing()
    assert content(path)[1] == expected


def forge(path, change):
    """Another header, with the right checksum."""
    start, whole = table_cache._START, path.read_bytes()
    magic, _, length = start.unpack(whole[: start.size])
    header = json.loads(whole[start.size : start.size + length])
    change(header)
    rest = json.dumps(header).encode().ljust(length) + whole[start.size + length :]
    path.write_bytes(start.pack(magic, zlib.crc32(rest), length) + rest)


@pytest.mark.parametrize(
    'change, told',
    [
        (lambda header: header['arrays']['boxes'].update(dtype='O', shape=[1]), 'not those of a table'),
        (lambda header: header['arrays'].pop('boxes'), 'not those of a table'),
        (lambda header: header.update(arrays=None), 'not those of a table'),
        (lambda header: header.pop('key'), 'another annotation file'),
        (lambda header: header.pop('format'), 'format None'),
    ],
)
def test_a_table_that_someone_else_put_together_is_not_used(change, told, folder, said, write_json, toy):
    path = write_json(toy)
    _, expected = content(path)
    forge(tables(folder)[0], change)
    said.clear()
    assert content(path)[1] == expected
    assert told in said[0][1] and 'made anew' in said[0][1]


def test_a_table_whose_file_was_removed_travels_whole(folder, said, write_json, toy):
    coco, (_, expected, _) = content(write_json(toy))
    assert dict(pickle.loads(pickle.dumps(coco)).anns) == expected
    tables(folder)[0].unlink()
    assert dict(pickle.loads(pickle.dumps(coco)).anns) == expected


def test_a_folder_that_cannot_be_made(folder, said, write_json, toy):
    folder.parent.parent.mkdir(exist_ok=True)
    folder.parent.write_text('a file stands where the folder should be')
    coco, _ = content(write_json(toy))
    assert coco.table.path is None
    ((level, message),) = said
    assert level == logging.WARNING and 'each process holds its own copy' in message


def test_a_full_disk(folder, said, write_json, toy, monkeypatch):
    def full(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(table_cache, '_write', full)
    coco, _ = content(write_json(toy))
    assert coco.table.path is None and list(folder.glob('*.part')) == tables(folder) == []
    ((level, message),) = said
    assert level == logging.WARNING and 'No space left on device' in message and 'own copy' in message


def test_what_a_stopped_process_left_is_removed(folder, said, write_json, toy):
    path = write_json(toy)
    content(path)
    (table,) = tables(folder)
    table.rename(f'{table}.123.part')
    content(path)
    assert [item.suffix for item in folder.iterdir() if item.suffix != '.lock'] == ['.cocotable']


def test_small_files_and_off_need_no_cache(folder, said, write_json, toy, monkeypatch):
    path = write_json(toy)
    monkeypatch.setattr(table_cache, 'LEAST_BYTES', 1 << 20)
    content(path)
    monkeypatch.setattr(table_cache, 'LEAST_BYTES', 0)
    monkeypatch.setenv('MMDET_CLONE_CACHE', 'off')
    content(path)
    assert not folder.exists() and not said


def test_the_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv('MMDET_CLONE_CACHE', raising=False)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert table_cache.cache_folder() == tmp_path / 'mmdet_clone'
    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert table_cache.cache_folder() == tmp_path / '.cache' / 'mmdet_clone'
    monkeypatch.setenv('MMDET_CLONE_CACHE', '~/mine')
    assert table_cache.cache_folder() == tmp_path / 'mine'


def test_a_file_of_another_layout_is_not_cached(folder, said, write_json, toy):
    toy['images'][0]['id'] = 'one'
    toy['annotations'] = []
    assert CocoIndex(write_json(toy)).table is None and tables(folder) == []


def _start(path, together, answers):
    parsed = []
    parse = table_cache.table_from_json
    table_cache.table_from_json = lambda path: parsed.append(path) or parse(path)
    together.wait()
    coco = CocoIndex(path)
    answers.put((len(parsed), coco.table.path, json.dumps(dict(coco.anns))))


def test_processes_that_start_together_parse_once_and_share(folder, write_json, toy):
    toy['annotations'] += [{**toy['annotations'][0], 'id': 1000 + i} for i in range(3000)]  # time to collide
    path = write_json(toy)
    context = multiprocessing.get_context('fork')
    together, answers = context.Barrier(3), context.Queue()
    processes = [context.Process(target=_start, args=(path, together, answers)) for _ in range(3)]
    for process in processes:
        process.start()
    found = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(parsed for parsed, _, _ in found) == [0, 0, 1]
    assert len({(place, anns) for _, place, anns in found}) == 1 and found[0][1] == str(tables(folder)[0])
    assert json.loads(found[0][2]).keys() == {str(ann['id']) for ann in toy['annotations']}
