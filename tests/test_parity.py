"""Our models against the reference implementation: the names of their weights, and the figures they give.

``tests/data/parity_configs.txt`` lists the configs that agree: all that stand there must go on agreeing, and what
agrees must stand there. ``python tests/test_parity.py > tests/data/parity_configs.txt`` writes it anew, in minutes.
"""

from __future__ import annotations

import importlib.util
import json
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
import torch

LIST = Path(__file__).parent / 'data' / 'parity_configs.txt'
# one of each detector: the others' figures are marked slow
QUICK = {
    'fast_rcnn/fast_rcnn_r50_fpn_1x_coco.py',
    'faster_rcnn/faster_rcnn_r50_fpn_1x_coco.py',
    'mask_rcnn/mask_rcnn_r50_caffe_fpn_1x_coco.py',
    'retinanet/retinanet_r18_fpn_1x_coco.py',
    'rpn/rpn_r50_caffe_c4_1x_coco.py',
}


def listed(kind: str) -> list[str]:
    """The configs of a kind: ``names`` agree in the names and shapes of weights, ``figures`` in what they compute."""
    rows = [line.split() for line in LIST.read_text().splitlines() if line and not line.startswith('#')]
    return [config for config, *kinds in rows if kind in kinds]


@cache
def reference(folder: Path) -> ModuleType:
    """The comparison that comes with the reference figures, as a module with its ``configs`` and ``state_dicts``."""
    spec = importlib.util.spec_from_file_location('parity_check', folder / 'check.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.configs = module.load_json_gz('configs.json.gz')
    module.state_dicts = module.load_json_gz('state_dicts.json.gz')
    return module


@pytest.fixture(scope='session')
def check(shared: Path) -> ModuleType:
    return reference(shared / 'parity')


def differing_names(check: ModuleType, config: str) -> list[str]:
    with torch.device('meta'):  # shapes alone: nothing is allocated or computed
        return check.check_state_dict(config, check.configs[config], dict(check.state_dicts[config]))


def differing_figures(check: ModuleType, config: str) -> list[tuple]:
    figures = json.loads(Path(check.HERE, 'figures', f'{config}.json').read_text())
    gradients = (figures.get('grads') or {}).get('params', {})
    # a bias before a softmax has no gradient: what is recorded for it is rounding
    rounding = {f'grads.{name}' for name, value in gradients.items() if value < 1e-9 * figures['grads']['norm']}
    found = check.differences(figures, check.measure(config, check.configs[config], figures))
    return [(what, gap) for what, gap in found if what not in rounding]


def agrees(differing: object, check: ModuleType, config: str) -> bool:
    """Whether there is no difference; a type that is not registered yet is one."""
    try:
        return not differing(check, config)
    except KeyError as error:
        if 'registry' not in str(error):
            raise
        return False


@pytest.mark.parity
@pytest.mark.parametrize('config', listed('names'))
def test_weights_have_the_names_and_shapes_of_the_reference(check, config):
    assert differing_names(check, config) == []


@pytest.mark.parity
@pytest.mark.parametrize(
    'config', [c if c in QUICK else pytest.param(c, marks=pytest.mark.slow) for c in listed('figures')]
)
def test_features_detections_losses_and_gradients_equal_those_of_the_reference(check, config):
    assert differing_figures(check, config) == []


@pytest.mark.parity
@pytest.mark.slow
def test_every_config_that_agrees_in_its_names_is_listed(check):
    others = set(check.state_dicts) - set(listed('names'))
    assert [config for config in sorted(others) if agrees(differing_names, check, config)] == []


def main() -> None:
    check = reference(Path(__file__).resolve().parents[2] / 'shared' / 'parity')
    print('# written by tests/test_parity.py: config, and in what it agrees with the reference')
    for config in sorted(check.state_dicts):
        if agrees(differing_names, check, config):
            figures = Path(check.HERE, 'figures', f'{config}.json').exists()
            same = figures and agrees(differing_figures, check, config)
            print(config, 'names', *['figures'] * same, flush=True)


if __name__ == '__main__':
    main()
