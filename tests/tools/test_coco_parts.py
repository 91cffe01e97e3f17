"""split_coco.py and subset_coco.py: parts of a COCO json."""

from __future__ import annotations

import json

import numpy as np
import pytest


@pytest.fixture
def split(load_tool):
    return load_tool('misc/split_coco').main


@pytest.fixture
def take(load_tool):
    return load_tool('misc/subset_coco').main


@pytest.fixture
def whole(tmp_path):
    """Forty images with an object each, of three categories and areas 0, 100, 200 ..."""
    content = dict(
        info=dict(year=2024),
        licenses=[],
        images=[dict(id=7 * i, file_name=f'{i}.jpg', width=20 + i, height=50, flickr_url='u') for i in range(40)],
        annotations=[
            dict(id=i, image_id=7 * i, category_id=i % 3, bbox=[0, 0, 9, 9], area=100 * i, iscrowd=0) for i in range(40)
        ],
        categories=[dict(id=i, name=name) for i, name in enumerate(('cat', 'dog', 'cow'))],
    )
    path = tmp_path / 'all.json'
    path.write_text(json.dumps(content))
    return path


def read(path):
    return json.loads(path.read_text())


def ids(path):
    content = read(path)
    images = {image['id'] for image in content['images']}
    assert images == {ann['image_id'] for ann in content['annotations']}
    return images


def test_labelled_parts_are_drawn_as_the_fold_says(split, whole, tmp_path, capsys):
    split([str(whole), '--out-dir', str(tmp_path / 'semi'), '--labeled-percent', '10', '50', '--fold', '2'])
    for fold in (1, 2):
        for percent, drawn in ((10, 4), (50, 20)):
            labeled = ids(tmp_path / f'semi/all.{fold}@{percent}.json')
            rest = ids(tmp_path / f'semi/all.{fold}@{percent}-unlabeled.json')
            np.random.seed(fold)
            assert labeled == {7 * int(i) for i in np.random.choice(range(40), size=drawn)}
            assert not labeled & rest and len(labeled | rest) == 40
    assert ids(tmp_path / 'semi/all.1@10.json') != ids(tmp_path / 'semi/all.2@10.json')
    assert '4 images, 4 annotations' in capsys.readouterr().out


def test_training_and_validation_are_exact_and_follow_from_the_seed(split, whole, tmp_path):
    for seed, folder in ((0, 'a'), (0, 'b'), (1, 'c')):
        split([str(whole), '--out-dir', str(tmp_path / folder), '--val-percent', '25', '--seed', str(seed)])
    train, val = ids(tmp_path / 'a/all_train.json'), ids(tmp_path / 'a/all_val.json')
    assert len(val) == 10 and len(train) == 30 and not train & val
    assert ids(tmp_path / 'b/all_val.json') == val != ids(tmp_path / 'c/all_val.json')
    content = read(tmp_path / 'a/all_val.json')
    assert content['info'] == dict(year=2024) and content['images'][0]['flickr_url'] == 'u'
    assert len(content['categories']) == 3


def test_every_image_is_in_the_validation_of_one_fold(split, whole, tmp_path):
    split([str(whole), '--out-dir', str(tmp_path), '--kfold', '3'])
    vals = [ids(tmp_path / f'all_fold{i}_val.json') for i in (1, 2, 3)]
    assert sorted(map(len, vals)) == [13, 13, 14] and len(set().union(*vals)) == 40
    assert all(len(ids(tmp_path / f'all_fold{i}_train.json') & vals[i - 1]) == 0 for i in (1, 2, 3))


def test_splits_that_cannot_be_are_refused(split, whole, tmp_path, capsys):
    with pytest.raises(SystemExit, match='would hold none'):
        split([str(whole), '--out-dir', str(tmp_path / 'x'), '--labeled-percent', '1'])
    assert not (tmp_path / 'x').exists()
    for options, message in (
        (['--val-percent', '0'], 'between 0 and 100'),
        (['--kfold', '1'], '2 or more'),
        (['--fold', '0'], '--fold must be 1 or more'),
    ):
        with pytest.raises(SystemExit):
            split([str(whole), *options])
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit, match='no such file'):
        split(['absent.json'])
    (tmp_path / 'list.json').write_text('[1]')
    with pytest.raises(SystemExit, match="no list 'images'"):
        split([str(tmp_path / 'list.json')])


def test_a_subset_by_class_keeps_ids_and_image_entries(take, whole, tmp_path, capsys):
    take([str(whole), '-o', str(tmp_path / 'part.json'), '--classes', 'cow', 'cat'])
    content = read(tmp_path / 'part.json')
    assert [category['id'] for category in content['categories']] == [0, 2]
    assert {ann['category_id'] for ann in content['annotations']} == {0, 2}
    assert len(content['images']) == 27  # of 40: 14 cats and 13 cows
    assert content['images'][1] == read(whole)['images'][2]
    told = capsys.readouterr().out
    assert 'images: 27 of 40 kept' in told and 'cat 14, cow 13' in told


def test_a_subset_by_size_of_objects_and_images(take, whole, tmp_path):
    out = tmp_path / 'part.json'
    take([str(whole), '-o', str(out), '--min-area', '300', '--max-area', '600'])
    assert [ann['area'] for ann in read(out)['annotations']] == [300, 400, 500]
    take([str(whole), '-o', str(out), '--max-area', '300', '--keep-empty'])
    assert (len(read(out)['images']), len(read(out)['annotations'])) == (40, 3)
    take([str(whole), '-o', str(out), '--min-side', '50'])  # widths from 50
    assert len(read(out)['images']) == 10
    take([str(whole), '-o', str(out), '--number', '5'])
    assert len(ids(out)) == 5
    content = read(whole)
    for ann in content['annotations']:
        del ann['bbox']  # masks alone
    whole.write_text(json.dumps(content))
    take([str(whole), '-o', str(out), '--max-area', '300'])
    assert len(ids(out)) == 3


def test_a_subset_that_cannot_be_is_refused(take, whole, tmp_path, capsys):
    with pytest.raises(SystemExit, match="no category 'cta'; did you mean cat"):
        take([str(whole), '-o', str(tmp_path / 'part.json'), '--classes', 'cta'])
    with pytest.raises(SystemExit, match=r'nothing of .* is left'):
        take([str(whole), '-o', str(tmp_path / 'part.json'), '--min-area', '1e9'])
    with pytest.raises(SystemExit):
        take([str(whole), '-o', str(whole)])
    assert 'is the file that is read' in capsys.readouterr().err
