"""Our models against the reference implementation: the names of their weights, and the figures they give.

``tests/data/parity_configs.txt`` lists the configs that agree: all that stand there must go on agreeing, and what
agrees must stand there. ``python tests/parity_report.py --new --write`` adds what agrees by now.

PARITY_THIRD=0, 1 or 2 in the environment restricts the figures to every third config, as ``.ci/run`` does by day.
"""

from __future__ import annotations

import os
from pathlib import Path

import parity_report as parity
import pytest

THIRD = os.environ.get('PARITY_THIRD', 'all')
# one of each detector: the others' figures are marked slow
QUICK = {
    'fast_rcnn/fast_rcnn_r50_fpn_1x_coco.py',
    'faster_rcnn/faster_rcnn_r50_fpn_1x_coco.py',
    'mask_rcnn/mask_rcnn_r50_caffe_fpn_1x_coco.py',
    'retinanet/retinanet_r18_fpn_1x_coco.py',
    'rpn/rpn_r50_caffe_c4_1x_coco.py',
}
SLOW = [config for config in parity.third(parity.listed('figures'), THIRD) if config not in QUICK]
FIGURES = [*sorted(QUICK), *(pytest.param(config, marks=pytest.mark.slow) for config in SLOW)]


@pytest.fixture(autouse=True)
def _reference(request: pytest.FixtureRequest) -> None:
    """Tests that carry the mark need the reference data."""
    if request.node.get_closest_marker('parity'):
        request.getfixturevalue('shared')


@pytest.mark.parity
@pytest.mark.parametrize('config', parity.listed('names'))
def test_weights_have_the_names_and_shapes_of_the_reference_and_its_order(config):
    assert parity.differing_names(config) == []
    if 'order' in parity.read_list()[config].kinds:
        assert parity.differing_order(config) == []


@pytest.mark.parity
@pytest.mark.parametrize('config', FIGURES)
def test_features_detections_losses_and_gradients_equal_those_of_the_reference(config):
    assert parity.differing_figures(config) == []


@pytest.mark.parity
@pytest.mark.slow
@pytest.mark.parametrize('shard', range(4))
def test_what_agrees_by_now_is_listed(shard):
    """If this fails, something was gained: ``python tests/parity_report.py --new --write`` adds it to the list."""
    rows = parity.read_list()
    gained = []
    for config in sorted(parity.reference().state_dicts)[shard::4]:
        if any(parity.is_unlisted(config, kind, rows) for kind in parity.KINDS):
            found = parity.compare(config, with_figures=parity.is_unlisted(config, 'figures', rows))
            equal = [kind for kind, (state, _) in found.items() if state == 'equal']
            gained += [f'{config} ({kind})' for kind in equal if parity.is_unlisted(config, kind, rows)]
    assert gained == []


@pytest.mark.parity
def test_rows_say_why_where_the_reference_is_random_or_rounding():
    rows = parity.read_list()
    expected = {config: parity.reason(config) for config in parity.listed('figures')}
    assert {config: rows[config].reason for config in expected} == expected


def test_the_days_cover_the_list_without_overlap():
    configs = parity.listed('figures')
    thirds = [parity.third(configs, str(day)) for day in range(3)]
    assert sorted(config for part in thirds for config in part) == configs == parity.third(configs, 'all')
    assert max(map(len, thirds)) - min(map(len, thirds)) <= 1
    assert set(configs) >= QUICK
    with pytest.raises(ValueError, match='PARITY_THIRD is 0, 1, 2 or all'):
        parity.third(configs, '3')


def test_the_report_adds_what_agrees_drops_what_does_not_and_keeps_the_rest(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(parity, 'reason', {'b': 'random'}.get)
    rows = {name: parity.Row(parity.KINDS) for name in ('a', 'c', 'd')}
    found = {
        'a': {'names': ('equal', []), 'order': ('equal', []), 'figures': ('differs', ['losses.loss_cls: 1'])},
        'b': {'names': ('equal', []), 'order': ('differs', ['x in the place of y']), 'figures': ('equal', [])},
        'c': {'names': ('absent', ['no such type']), 'figures': ('absent', ['no such type'])},
    }
    new = parity.updated(rows, found)
    assert new == {
        'a': parity.Row(('names', 'order')),
        'b': parity.Row(('names', 'figures'), 'random'),
        'd': parity.Row(parity.KINDS),
    }
    assert parity.changes(rows, new) == {
        'gained': ['b (figures)', 'b (names)'],
        'lost': ['a (figures)', 'c (figures)', 'c (names)', 'c (order)'],
    }
    parity.write_list(new, tmp_path / 'list.txt')
    assert parity.read_list(tmp_path / 'list.txt') == new


def test_a_type_that_we_lack_counts_as_absent_and_any_other_error_as_a_difference():
    def lacks(_):
        raise KeyError("'Nothing' is not in the detector registry")

    def fails(_):
        raise RuntimeError('shapes do not fit')

    assert parity.status(lacks, 'x')[0] == 'absent'
    assert parity.status(fails, 'x') == ('differs', ['RuntimeError: shapes do not fit'])


def test_a_gradient_is_excused_only_where_both_are_rounding():
    theirs = {'grads': {'norm': 100.0, 'params': {'zero.bias': 1e-9, 'weight': 0.5}}}
    ours = {'grads': {'norm': 100.0, 'params': {'zero.bias': 2.0, 'weight': 0.5}}}
    assert parity.rounding(theirs) == ['zero.bias']
    assert parity.rounding(ours, ['zero.bias']) == []
