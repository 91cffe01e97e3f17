"""tools/misc/check_dataset.py and browse_dataset.py --html, run as a user runs them."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys

import cv2
import pytest
import tiny_detector

BCCD = """
_base_ = '{root}/configs/_base_/models/faster_rcnn_r50_fpn.py'
classes = ('RBC', 'WBC', 'Platelets')
model = dict(roi_head=dict(bbox_head=dict(num_classes=3)))
folder = '{shared}/data/bccd/BCCD/'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', img_scale=(640, 480), keep_ratio=True),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels'])]
data = dict(**{{
    split: dict(type='VOCDataset', classes=classes, ann_file=folder + f'ImageSets/Main/{{split}}.txt',
                img_prefix=folder, pipeline=train_pipeline)
    for split in ('train', 'val', 'test')}})
evaluation = dict(metric='mAP', save_best='mAP')
"""
WRONG = """
classes = ('car',)
pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)]
data = dict(train=dict(
    type='CocoDataset', classes=classes, ann_file='{shared}/data/formats/coco_wrong_format_sample.json',
    img_prefix='{shared}/data/formats/', pipeline=pipeline))
"""


@pytest.fixture
def check(load_tool):
    """``check(config, ...)``: the exit status."""
    tool = load_tool('misc/check_dataset')

    def run(*argv):
        with pytest.raises(SystemExit) as ended:
            tool.main([str(part) for part in argv])
        return ended.value.code

    return run


def write(path, text, root, shared):
    path.write_text(text.format(root=root, shared=shared))
    return path


def test_the_two_boxes_of_bccd_without_a_size_are_found(check, root, shared, tmp_path, capsys):
    config = write(tmp_path / 'bccd.py', BCCD, root, shared)
    assert check(config, '--out-dir', tmp_path / 'out', '--max-images', 5) == 0
    with open(tmp_path / 'out/findings.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [(row['check'], row['part'], row['image_id']) for row in rows] == [
        ('no_size_box', 'data.train', 'BloodImage_00343'),
        ('no_size_box', 'data.val', 'BloodImage_00338'),
    ]
    assert '[181, 329, 181, 329] is 0 x 0 pixels' in rows[0]['what']
    parts = json.loads((tmp_path / 'out/summary.json').read_text())['parts']
    assert [parts[name]['images'] for name in ('train', 'val', 'test')] == [205, 87, 72]
    assert sum(part['boxes'] for part in parts.values()) == 4888
    out = capsys.readouterr().out
    assert 'In all: 0 errors, 2 warnings, 0 notes' in out and 'suspicious.jpg' in out
    assert cv2.imread(str(tmp_path / 'out/suspicious.jpg')) is not None


def test_what_is_wrong_with_the_coco_sample_is_said_in_a_sentence(check, root, shared, tmp_path, capsys):
    assert check(write(tmp_path / 'wrong.py', WRONG, root, shared)) == 1
    out = capsys.readouterr().out
    assert 'ERROR duplicate annotation id: 1 in data.train' in out
    assert 'annotation 1 of image fake1.jpg: car:' in out and '1 is the id of another annotation too' in out
    assert 'Fix: give every entry an id of its own' in out and 'Traceback' not in out


def test_it_runs_as_a_command_and_ends_with_status_one_on_errors(root, tmp_path):
    data = tiny_detector.make_data(tmp_path / 'data', 2, 1)
    config = tiny_detector.write_config(tmp_path / 'c.py', data)
    (data / 'train/train_0.png').write_bytes(b'')
    done = subprocess.run(
        [sys.executable, root / 'tools/misc/check_dataset.py', config, '--parts', 'train'],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert 'ERROR image unreadable: 1 in data.train' in done.stdout and 'the file is empty' in done.stdout


@pytest.mark.parametrize(
    'arguments', [('--max-images', '0'), ('--no-images', '--max-images', '3'), ('--parts', 'tain')]
)
def test_arguments_that_make_no_sense_are_refused(load_tool, arguments):
    with pytest.raises(SystemExit) as ended:
        load_tool('misc/check_dataset').parse_args(['config.py', *arguments])
    assert ended.value.code == 2


# ---------------------------------------------------------------- the html page


@pytest.fixture
def page(load_tool, monkeypatch, tmp_path):
    """A page of three samples, with masks, of a data set whose class has a name that html would take for a tag."""
    data = tiny_detector.make_data(tmp_path / 'data', 3, 1)
    content = (data / 'train.json').read_text().replace('"disc"', '"<disc> & co"')
    (data / 'train.json').write_text(content)
    extra = "\nfor s in ('train', 'val', 'test'):\n    data[s]['classes'] = ('<disc> & co', 'square')\n"
    config = tiny_detector.write_config(tmp_path / 'c.py', data, extra)
    out = tmp_path / 'out' / 'samples.html'
    monkeypatch.setattr(sys, 'argv', ['browse_dataset.py', str(config), '--html', str(out), '--number', '3'])
    load_tool('misc/browse_dataset').main()
    return out


def test_the_page_stands_alone_and_tells_what_each_step_did(page):
    html = page.read_text(encoding='utf-8')
    assert html.count('<article ') == 3 and html.count('src="data:image/jpeg;base64,') == 3
    assert not re.findall(r'(?:src|href)="(?!data:)', html) and '@import' not in html and 'url(' not in html
    assert html.count('class="mask"') == html.count('class="box"') == 6
    assert '&lt;disc&gt; &amp; co' in html and '<disc>' not in html
    for fragment in (
        '<b>Resize (train_0.png)</b>',
        '<code>flip=',
        'scale_factor',
        'gt_bboxes: 2',
        '<dt>img_shape</dt>',
    ):
        assert fragment in html


PROBE = """<script>
window.addEventListener('load', () => {
  const report = document.createElement('pre'), all = q => [...document.querySelectorAll(q)];
  const shown = () => all('article').filter(a => a.offsetHeight > 0).length;
  const lines = ['widths ' + all('img').map(i => i.naturalWidth).join(' '), 'shown ' + shown()];
  document.getElementById('name').value = 'train_1';
  document.getElementById('name').dispatchEvent(new Event('input'));
  lines.push('named ' + shown());
  document.getElementById('name').value = '';
  document.getElementById('class').value = '0';
  document.getElementById('class').dispatchEvent(new Event('change'));
  const visible = all('svg > g').filter(g => getComputedStyle(g).display !== 'none');
  lines.push('labels ' + [...new Set(visible.filter(g => g.closest('article').offsetHeight)
    .map(g => g.dataset.label))].join(' '));
  const ground = () => getComputedStyle(document.body).backgroundColor, light = ground();
  document.getElementById('theme').click();
  lines.push('theme ' + (ground() !== light));
  report.id = 'probe';
  report.textContent = lines.join(';');
  document.body.append(report);
});
</script></body>"""


@pytest.mark.slow
def test_the_page_works_in_a_browser(page, tmp_path):
    browser = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
    if browser is None:
        pytest.skip('needs chromium (Debian: apt-get install chromium)')
    probed = page.with_name('probed.html')
    probed.write_text(page.read_text(encoding='utf-8').replace('</body>', PROBE), encoding='utf-8')
    common = [browser, '--headless', '--no-sandbox', '--disable-gpu', '--enable-logging=stderr', '--v=0',
              '--virtual-time-budget=5000', f'--user-data-dir={tmp_path / "profile"}']  # fmt: skip
    done = subprocess.run([*common, '--dump-dom', probed.as_uri()], capture_output=True, text=True, timeout=120)
    lines = dict(
        line.split(' ', 1) for line in re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.S)[1].split(';')
    )
    assert lines['widths'] == '96 96 96' and lines['shown'] == '3' and lines['named'] == '1'
    assert lines['labels'] == '0' and lines['theme'] == 'true'
    assert 'CONSOLE' not in done.stderr, done.stderr
    shot = tmp_path / 'shot.png'
    subprocess.run([*common, f'--screenshot={shot}', '--window-size=1000,700', page.as_uri()], timeout=120, check=True)
    picture = cv2.imread(str(shot))
    assert picture.shape == (700, 1000, 3)
    assert (
        len({tuple(color) for color in picture[60:300].reshape(-1, 3)[::7].tolist()}) > 500
    )  # the noise of the samples
