"""Learning rates by hand from the formulas of mmcv 1.x."""

from __future__ import annotations

from math import cos, pi

import pytest

from mmdet_clone.engine.schedules import Moment, Schedule, lr_at

EPOCH = 100  # iterations


def at(iteration: int, epochs: int = 12) -> Moment:
    return Moment(iteration // EPOCH, iteration, epochs, epochs * EPOCH, EPOCH)


def test_step_drops_at_the_first_iteration_of_each_milestone_epoch():
    config = dict(policy='step', step=[8, 11])
    lrs = [lr_at(0.02, config, at(i)) for i in (0, 799, 800, 1099, 1100)]
    assert lrs == pytest.approx([0.02, 0.02, 0.002, 0.002, 0.0002])


def test_step_as_a_number_drops_every_so_many_epochs_down_to_min_lr():
    config = dict(policy='step', step=4, gamma=0.5, min_lr=0.3)
    assert [lr_at(1.0, config, at(i)) for i in (399, 400, 800)] == pytest.approx([1.0, 0.5, 0.3])


@pytest.mark.parametrize(
    ('iteration', 'expected'),
    # linear: lr * (1 - (1 - i / 500) * (1 - 0.001)); the published 1x schedule
    [(0, 0.02 * 0.001), (250, 0.02 * 0.5005), (499, 0.02 * (1 - 0.002 * 0.999)), (500, 0.02), (501, 0.02)],
)
def test_linear_warmup_reaches_the_regular_rate_at_warmup_iters(iteration, expected):
    config = dict(policy='step', step=[8, 11], warmup='linear', warmup_iters=500, warmup_ratio=0.001)
    assert lr_at(0.02, config, at(iteration)) == pytest.approx(expected, rel=1e-12)


def test_constant_and_exponential_warmup():
    constant = dict(policy='fixed', warmup='constant', warmup_iters=10, warmup_ratio=0.1)
    assert [lr_at(1.0, constant, at(i)) for i in (0, 9, 10)] == pytest.approx([0.1, 0.1, 1.0])
    exponential = dict(policy='fixed', warmup='exp', warmup_iters=10, warmup_ratio=0.01)
    assert [lr_at(1.0, exponential, at(i)) for i in (0, 5, 10)] == pytest.approx([0.01, 0.1, 1.0])


def test_warmup_by_epoch_counts_epochs():
    config = dict(policy='fixed', warmup='linear', warmup_iters=2, warmup_ratio=0.5, warmup_by_epoch=True)
    assert [lr_at(1.0, config, at(i)) for i in (0, 100, 200)] == pytest.approx([0.5, 0.75, 1.0])


def test_warmup_of_a_schedule_by_iteration_follows_the_regular_value():
    config = dict(policy='poly', power=1.0, by_epoch=False, warmup='constant', warmup_iters=600, warmup_ratio=0.5)
    assert lr_at(1.0, config, at(300)) == pytest.approx(0.5 * (1 - 300 / 1200))


@pytest.mark.parametrize(
    ('config', 'iteration', 'expected'),
    [
        (dict(policy='exp', gamma=0.9), 350, 0.9**3),
        (dict(policy='inv', gamma=0.5, power=2), 400, (1 + 0.5 * 4) ** -2),
        (dict(policy='poly', power=0.9, min_lr=0.1), 600, 0.9 * 0.5**0.9 + 0.1),
        (dict(policy='CosineAnnealing', min_lr=0.2), 600, 0.6),
        (dict(policy='CosineAnnealing', min_lr_ratio=0.0, by_epoch=False), 300, 0.5 * (1 + cos(pi / 4))),
        (dict(policy='FlatCosineAnnealing', min_lr=0.0, start_percent=0.5), 500, 1.0),
        (dict(policy='FlatCosineAnnealing', min_lr=0.0, start_percent=0.5), 900, 0.5),
        (dict(policy='CosineRestart', periods=[4, 8], restart_weights=[1, 0.5], min_lr=0.0), 200, 0.5),
        (dict(policy='CosineRestart', periods=[4, 8], restart_weights=[1, 0.5], min_lr=0.0), 400, 0.5),
        (dict(policy='cyclic', target_ratio=(10, 1e-4), step_ratio_up=0.5, anneal_strategy='linear'), 300, 5.5),
        (dict(policy='cyclic', target_ratio=(10, 1e-4), step_ratio_up=0.5), 600, 10.0),
        (dict(policy='OneCycle', max_lr=2.5, pct_start=0.5, anneal_strategy='linear'), 0, 0.1),
        (dict(policy='OneCycle', max_lr=2.5, pct_start=0.5, anneal_strategy='linear'), 599, 2.5),
        (dict(policy='OneCycle', max_lr=2.5, pct_start=0.5, anneal_strategy='linear'), 1199, 1e-5),
    ],
)
def test_policies_at_points_where_the_formula_is_easy(config, iteration, expected):
    assert lr_at(1.0, config, at(iteration)) == pytest.approx(expected)


def test_yolox_warms_up_by_a_square_then_anneals_until_the_last_epochs():
    config = dict(
        policy='YOLOX', warmup='exp', by_epoch=False, warmup_by_epoch=True, warmup_ratio=1, warmup_iters=1,
        num_last_epochs=2, min_lr_ratio=0.05,
    )  # fmt: skip
    # the cosine runs from iteration 100 to 1000; it is taken one iteration ahead
    assert lr_at(1.0, config, at(49)) == pytest.approx((50 / 100) ** 2)
    assert lr_at(1.0, config, at(99)) == pytest.approx(1)
    assert lr_at(1.0, config, at(549)) == pytest.approx(0.05 + 0.95 * 0.5)
    assert lr_at(1.0, config, at(999)) == lr_at(1.0, config, at(1199)) == pytest.approx(0.05)


def test_momentum_warmup_divides():
    schedule = Schedule(
        policy='step', step=[4], momentum=True, warmup='linear', warmup_iters=10, warmup_ratio=0.5
    )  # gamma of a momentum is 0.5
    assert schedule.at(0.9, at(0)) == pytest.approx(1.8)
    assert [schedule.at(0.9, at(i)) for i in (10, 400)] == pytest.approx([0.9, 0.45])


def test_one_cycle_momentum_goes_down_while_the_rate_goes_up():
    schedule = Schedule(policy='OneCycle', momentum=True, pct_start=0.5)
    assert [schedule.at(0.0, at(i)) for i in (0, 599, 1199)] == pytest.approx([0.95, 0.85, 0.95])


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(policy='CosineAnealing', min_lr=0), 'did you mean cosineannealing'),
        (dict(policy='step', steps=[8]), 'does not take steps; it takes step, gamma, min_lr'),
        (dict(policy='fixed', warmup='lin', warmup_iters=1), "'constant', 'linear', 'exp'"),
        (dict(policy='fixed', warmup='linear'), 'warmup_iters > 0'),
    ],
)
def test_mistakes_in_lr_config_are_named(config, message):
    with pytest.raises(ValueError, match=message):
        Schedule(**config)
