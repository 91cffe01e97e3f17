"""What is said before there is a log file stands in it all the same."""

from __future__ import annotations

from mmdet_clone.apis.entry import records_said, root_logger, write_to_files
from mmdet_clone.config import load_config


def test_the_translation_of_an_older_config_reaches_the_log_file(tmp_path, capfd):
    (tmp_path / 'old.py').write_text('data = dict(imgs_per_gpu=2)\ntotal_epochs = 12\n')
    with records_said() as early:
        load_config(tmp_path / 'old.py')
    logger = root_logger(tmp_path / 'run.log', 'INFO')
    write_to_files(logger, early)
    logger.info('the next line')
    lines = (tmp_path / 'run.log').read_text().splitlines()
    assert ['imgs_per_gpu=2' in lines[0], 'total_epochs=12' in lines[1], 'the next line' in lines[2]] == [True] * 3
    assert capfd.readouterr().out.count('total_epochs=12') <= 1  # not shown a second time
