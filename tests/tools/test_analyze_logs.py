"""Curves and times from json logs."""

from __future__ import annotations

import json

import pytest


@pytest.fixture(scope='module')
def tool(load_tool):
    return load_tool('analysis_tools/analyze_logs')


@pytest.fixture
def log(tmp_path):
    """Two epochs of 4 iterations, logged every second one, each followed by an evaluation."""
    lines = [dict(env_info='...', seed=0)]
    for epoch in (1, 2):
        lines += [
            dict(mode='train', epoch=epoch, iter=i, lr=0.01, time=t * epoch, loss=10 / epoch - i)
            for i, t in ((2, 5.0), (4, 1.0))
        ]
        lines.append(dict(mode='val', epoch=epoch, iter=3, lr=0.01, bbox_mAP=0.1 * epoch))
    path = tmp_path / 'run.log.json'
    path.write_text('\n'.join(map(json.dumps, lines)))
    return path


def test_losses_are_placed_by_iteration_over_all_epochs(tool, log):
    assert tool.curve(tool.read_log(str(log)), 'loss') == [(2, 8), (4, 6), (6, 3), (8, 1)]
    assert tool.curve(tool.read_log(str(log)), 'loss', start_epoch=2) == [(6, 3), (8, 1)]


def test_evaluations_are_placed_by_epoch(tool, log):
    assert tool.curve(tool.read_log(str(log)), 'bbox_mAP') == [(1, 0.1), (2, 0.2)]


def test_iterations_that_count_through_are_kept(tool):
    entries = [dict(mode='train', epoch=e, iter=i, loss=i) for e, i in ((1, 10), (1, 20), (2, 30), (2, 40))]
    assert tool.curve(entries, 'loss') == [(10, 10), (20, 20), (30, 30), (40, 40)]


def test_first_entry_of_an_epoch_is_an_outlier(tool, log):
    assert tool.epoch_times(tool.read_log(str(log)), include_outliers=False) == {1: 1, 2: 2}
    assert tool.epoch_times(tool.read_log(str(log)), include_outliers=True) == {1: 3, 2: 6}


def test_train_time_names_slowest_and_fastest_epoch(tool, log, capsys):
    tool.cal_train_time(tool.parse_args(['cal_train_time', str(log)]))
    out = capsys.readouterr().out
    assert 'slowest epoch 2, average time is 2.0000' in out and 'fastest epoch 1, average time is 1.0000' in out
    assert 'average iter time: 1.5000' in out


def test_curves_are_written_to_a_file(tool, log, tmp_path):
    out = tmp_path / 'figures' / 'loss.png'
    tool.plot_curve(
        tool.parse_args(['plot_curve', str(log), '--keys', 'loss', 'lr', '--legend', 'a', 'b', '--out', str(out)])
    )
    assert out.stat().st_size > 1000


def test_unknown_key_lists_those_in_the_log(tool, log, tmp_path):
    args = tool.parse_args(['plot_curve', str(log), '--keys', 'loss_clss', '--out', str(tmp_path / 'x.png')])
    with pytest.raises(SystemExit, match='bbox_mAP, loss, lr, time'):
        tool.plot_curve(args)


def test_text_log_is_refused_with_the_name_of_the_json_one(tool, tmp_path, capsys):
    (tmp_path / 'run.log').write_text('')
    with pytest.raises(SystemExit):
        tool.parse_args(['cal_train_time', str(tmp_path / 'run.log')])
    assert '.log.json' in capsys.readouterr().err
