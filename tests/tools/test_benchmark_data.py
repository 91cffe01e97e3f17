from __future__ import annotations

import contextlib
import io
import json
import math
import sys

import pytest


@pytest.fixture(scope='module')
def output(load_tool, tmp_path_factory):
    """What the tool printed, with its measurements made in this process, and its folder."""
    folder = tmp_path_factory.mktemp('benchmark')
    tool = load_tool('analysis_tools/benchmark_data')
    tool.in_own_process = lambda kind, args: tool.measure(kind, str(tool.annotation_file(args)), args.workers)
    argv = ['benchmark_data.py', str(folder), '--images', '60', '--workers', '1', '--samples', '2']
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(sys, 'argv', [*argv, '--skip', 'cached', 'off'])
        tool.main()
    return printed.getvalue(), folder


def test_both_ways_are_measured_and_compared(output):
    text, folder = output
    assert 'beside pycocotools' in text and 'CocoDataset, first start' in text and 'images a second' in text
    report = json.loads((folder / 'benchmark_data.json').read_text())
    assert set(report['annotations']) == {'cold', 'pycocotools'}
    assert all(found['load_s'] > 0 and found['first_batch_s'] > 0 for found in report['annotations'].values())
    assert sum(report['pipeline']['shares'].values()) == pytest.approx(1)


def test_what_is_too_small_to_be_measured_has_no_ratio(load_tool):
    tool = load_tool('analysis_tools/benchmark_data')
    assert tool.ratio(3, 2) == 1.5 and math.isnan(tool.ratio(1, 0)) and math.isnan(tool.ratio(1, -0.1))


def test_the_generated_file_is_of_cocos_kind(output):
    content = json.loads((output[1] / 'generated_60.json').read_text())
    anns = content['annotations']
    assert len(content['images']) == 60 and len(anns) == 437 and len(content['categories']) == 80
    assert {len(ann['segmentation'][0]) % 2 for ann in anns} == {0}
    size = (output[1] / 'generated_60.json').stat().st_size / len(anns)
    assert 400 < size < 700  # train2017: 520 bytes an annotation
    assert all(ann['bbox'][0] >= 0 and ann['bbox'][0] + ann['bbox'][2] <= 640.01 for ann in anns)
