"""Learning rates and momenta as functions of the training's progress: the formulas of mmcv 1.x in closed form.

now, end: epochs or iterations done and in total; what a policy counts is chosen by ``by_epoch``.
"""

from __future__ import annotations

import bisect
import difflib
import inspect
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, pi
from typing import Any

__all__ = ['POLICIES', 'Moment', 'Schedule', 'lr_at']


@dataclass(frozen=True)
class Moment:
    """Where training stands: epochs and iterations done, both from 0, and how many there will be."""

    epoch: int
    iter: int
    max_epochs: int | None
    max_iters: int
    epoch_len: int


def fixed(base: float, now: int, end: int) -> float:
    return base


def step(base: float, now: int, end: int, step: int | Sequence[int], gamma: float = 0.1, min_lr: float | None = None):
    """Times ``gamma`` at each milestone, or every ``step``."""
    passed = now // step if isinstance(step, int) else bisect.bisect_right(list(step), now)
    value = base * gamma**passed
    return value if min_lr is None else max(value, min_lr)


def exp(base: float, now: int, end: int, gamma: float) -> float:
    return base * gamma**now


def poly(base: float, now: int, end: int, power: float = 1.0, min_lr: float = 0.0) -> float:
    return (base - min_lr) * (1 - now / end) ** power + min_lr


def inv(base: float, now: int, end: int, gamma: float, power: float = 1.0) -> float:
    return base * (1 + gamma * now) ** -power


def cosine_annealing(
    base: float, now: int, end: int, min_lr: float | None = None, min_lr_ratio: float | None = None
) -> float:
    return _cosine(base, _target(base, min_lr, min_lr_ratio), now / end)


def flat_cosine_annealing(
    base: float,
    now: int,
    end: int,
    start_percent: float = 0.75,
    min_lr: float | None = None,
    min_lr_ratio: float | None = None,
) -> float:
    """``base`` for the first ``start_percent`` of training, then a cosine down to the target."""
    start = round(end * start_percent)
    return base if now < start else _cosine(base, _target(base, min_lr, min_lr_ratio), (now - start) / (end - start))


def cosine_restart(
    base: float,
    now: int,
    end: int,
    periods: Sequence[int],
    restart_weights: Sequence[float] = (1,),
    min_lr: float | None = None,
    min_lr_ratio: float | None = None,
) -> float:
    """Cosines one after the other (arXiv 1608.03983), the i-th ``periods[i]`` long from ``restart_weights[i]``."""
    if len(periods) != len(restart_weights):
        raise ValueError(f'periods {list(periods)} and restart_weights {list(restart_weights)} differ in length')
    ends = list(itertools.accumulate(periods))
    i = bisect.bisect_right(ends, now)
    if i == len(ends):
        raise ValueError(f'the periods of the CosineRestart schedule end at {ends[-1]}, before the training at {end}')
    start = ends[i] - periods[i]
    factor = min((now - start) / periods[i], 1)
    return _cosine(base, _target(base, min_lr, min_lr_ratio), factor, restart_weights[i])


def cyclic(
    base: float,
    now: int,
    end: int,
    target_ratio: float | Sequence[float] = (10, 1e-4),
    cyclic_times: int = 1,
    step_ratio_up: float = 0.4,
    anneal_strategy: str = 'cos',
    gamma: float = 1.0,
) -> float:
    """``cyclic_times`` cycles of ``base`` -> ``base * target_ratio[0]`` -> ``base * target_ratio[1]``.

    ``gamma`` shrinks the peak's distance from ``base`` from cycle to cycle.
    """
    ratios = list(target_ratio) if isinstance(target_ratio, Sequence) else [target_ratio]
    up, down = ratios if len(ratios) == 2 else (ratios[0], ratios[0] / 1e5)
    length = end // cyclic_times
    cycle, now = divmod(now, length)
    peak = 1 + gamma**cycle * (up - 1)
    turn = int(step_ratio_up * length)
    if now < turn:
        return _anneal(anneal_strategy)(base, base * peak, now / turn)
    return _anneal(anneal_strategy)(base * peak, base * down, (now - turn) / (length - turn))


def one_cycle(
    base: float,
    now: int,
    end: int,
    max_lr: float,
    total_steps: int | None = None,
    pct_start: float = 0.3,
    anneal_strategy: str = 'cos',
    div_factor: float = 25,
    final_div_factor: float = 1e4,
    three_phase: bool = False,
) -> float:
    """Up from ``max_lr / div_factor`` and down to ``max_lr / div_factor / final_div_factor`` (arXiv 1708.07120)."""
    total = total_steps or end
    low, last = max_lr / div_factor, max_lr / div_factor / final_div_factor
    peak = pct_start * total - 1
    if three_phase:
        knots = [(0, low), (peak, max_lr), (2 * pct_start * total - 2, low), (total - 1, last)]
    else:
        knots = [(0, low), (peak, max_lr), (total - 1, last)]
    return _through(knots, now, anneal_strategy)


def one_cycle_momentum(
    base: float,
    now: int,
    end: int,
    base_momentum: float = 0.85,
    max_momentum: float = 0.95,
    pct_start: float = 0.3,
    anneal_strategy: str = 'cos',
    three_phase: bool = False,
) -> float:
    """Down from ``max_momentum`` to ``base_momentum`` while the learning rate rises, then back."""
    peak = pct_start * end - 1
    knots = [(0, max_momentum), (peak, base_momentum)]
    knots += [(2 * pct_start * end - 2, max_momentum)] if three_phase else []
    return _through([*knots, (end - 1, max_momentum)], now, anneal_strategy)


def yolox(
    base: float,
    now: int,
    end: int,
    num_last_epochs: int,
    warmup_end: float,
    last_start: int,
    min_lr: float | None = None,
    min_lr_ratio: float | None = None,
) -> float:
    """A cosine between the warm-up's end and the last epochs, which run at the lowest rate (arXiv 2107.08430)."""
    target = _target(base, min_lr, min_lr_ratio)
    now += 1
    if now >= last_start or warmup_end >= last_start:
        return target
    return _cosine(base, target, (now - warmup_end) / (last_start - warmup_end))


POLICIES: dict[str, Callable] = {
    'fixed': fixed,
    'step': step,
    'exp': exp,
    'poly': poly,
    'inv': inv,
    'cosineannealing': cosine_annealing,
    'flatcosineannealing': flat_cosine_annealing,
    'cosinerestart': cosine_restart,
    'cyclic': cyclic,
    'onecycle': one_cycle,
    'yolox': yolox,
}
# The defaults of the same policies where they drive a momentum
MOMENTUM_POLICIES: dict[str, tuple[Callable, dict]] = {
    'step': (step, dict(gamma=0.5)),
    'cosineannealing': (cosine_annealing, {}),
    'cyclic': (cyclic, dict(target_ratio=(0.85 / 0.95, 1))),
    'onecycle': (one_cycle_momentum, {}),
}
BY_ITERATION = ('cyclic', 'onecycle')


class Schedule:
    """What an ``lr_config`` or ``momentum_config`` describes.

    Args:
        policy: one of ``POLICIES``, upper and lower case alike.
        by_epoch: whether the policy counts epochs or iterations.
        warmup: ``'constant'``, ``'linear'``, ``'exp'`` or ``None``.
        warmup_iters: its length in iterations, in epochs if ``warmup_by_epoch``.
        warmup_ratio: where it begins, as a part of the regular value.
        momentum: the values are momenta, which a warm-up divides.
        options: the policy's own.
    """

    def __init__(
        self,
        policy: str,
        by_epoch: bool = True,
        warmup: str | None = None,
        warmup_iters: int = 0,
        warmup_ratio: float = 0.1,
        warmup_by_epoch: bool = False,
        momentum: bool = False,
        **options: Any,
    ) -> None:
        self.kind = 'momentum_config' if momentum else 'lr_config'
        self.policy = policy.lower().removesuffix('lrupdaterhook').removesuffix('momentumupdaterhook')
        self.function, self.options = self._find_policy(momentum, options)
        self.by_epoch = by_epoch and self.policy not in BY_ITERATION
        if warmup not in (None, 'constant', 'linear', 'exp'):
            raise ValueError(f"{self.kind}.warmup must be 'constant', 'linear', 'exp' or None, got {warmup!r}")
        if warmup is not None and (warmup_iters <= 0 or not 0 < warmup_ratio <= 1):
            raise ValueError(
                f'{self.kind} with a warm-up needs warmup_iters > 0 and 0 < warmup_ratio <= 1, '
                f'got {warmup_iters} and {warmup_ratio}'
            )
        self.warmup, self.warmup_iters = warmup, warmup_iters
        self.warmup_ratio, self.warmup_by_epoch, self.momentum = warmup_ratio, warmup_by_epoch, momentum

    def _find_policy(self, momentum: bool, options: dict) -> tuple[Callable, dict]:
        known = MOMENTUM_POLICIES if momentum else POLICIES
        if self.policy not in known:
            near = difflib.get_close_matches(self.policy, known, n=2)
            raise ValueError(
                f'{self.kind}.policy {self.policy!r} is unknown'
                + (f'; did you mean {" or ".join(near)}?' if near else '')
                + f' Known: {", ".join(known)}'
            )
        function, defaults = known[self.policy] if momentum else (known[self.policy], {})
        options = {**defaults, **{key.replace('min_momentum', 'min_lr'): value for key, value in options.items()}}
        accepted = list(inspect.signature(function).parameters)[3:]
        unknown = sorted(set(options) - set(accepted))
        if unknown:
            raise ValueError(
                f'{self.kind} with policy {self.policy!r} does not take {", ".join(unknown)}; it takes '
                f'{", ".join(accepted) or "nothing more"}, and by_epoch, warmup, warmup_iters, warmup_ratio, '
                'warmup_by_epoch'
            )
        return function, options

    def warmup_end(self, moment: Moment) -> int:
        """The iteration at which the warm-up is over, 0 without one."""
        if self.warmup is None:
            return 0
        return self.warmup_iters * moment.epoch_len if self.warmup_by_epoch else self.warmup_iters

    def regular(self, base: float, moment: Moment) -> float:
        """The value after the warm-up."""
        now, end = (moment.epoch, moment.max_epochs) if self.by_epoch else (moment.iter, moment.max_iters)
        options = self.options
        if self.function is yolox:
            epoch, iteration = (
                (1, 1 / moment.epoch_len) if self.by_epoch else (moment.epoch_len, 1)
            )  # as policies count
            last_start = end - options['num_last_epochs'] * epoch
            options = {**options, 'warmup_end': self.warmup_end(moment) * iteration, 'last_start': last_start}
        return self.function(base, now, end, **options)

    def warming(self, base: float, moment: Moment) -> float:
        """The value during the warm-up."""
        if self.function is yolox:  # by its own curve, to the initial value
            return base * self.warmup_ratio * ((moment.iter + 1) / self.warmup_end(moment)) ** 2
        regular = self.regular(base, moment)
        done = moment.iter / self.warmup_end(moment)
        if self.warmup == 'constant':
            factor = self.warmup_ratio
        elif self.warmup == 'linear':
            factor = 1 - (1 - done) * (1 - self.warmup_ratio)
        else:
            factor = self.warmup_ratio ** (1 - done)
        return regular / factor if self.momentum else regular * factor

    def at(self, base: float, moment: Moment) -> float:
        """The value in effect during the iteration that ``moment`` stands before."""
        return (self.warming if moment.iter < self.warmup_end(moment) else self.regular)(base, moment)


def lr_at(base_lr: float, lr_config: dict, moment: Moment) -> float:
    """The learning rate in iteration ``moment.iter`` under a config's ``lr_config``."""
    return Schedule(**lr_config).at(base_lr, moment)


def _target(base: float, min_lr: float | None, min_lr_ratio: float | None) -> float:
    if (min_lr is None) == (min_lr_ratio is None):
        raise ValueError(f'give one of min_lr and min_lr_ratio, got {min_lr} and {min_lr_ratio}')
    return base * min_lr_ratio if min_lr is None else min_lr


def _cosine(start: float, end: float, factor: float, weight: float = 1) -> float:
    return end + 0.5 * weight * (start - end) * (cos(pi * factor) + 1)


def _linear(start: float, end: float, factor: float) -> float:
    return start + (end - start) * factor


def _anneal(strategy: str) -> Callable:
    functions = {'cos': _cosine, 'linear': _linear}
    if strategy not in functions:
        raise ValueError(f"anneal_strategy must be 'cos' or 'linear', got {strategy!r}")
    return functions[strategy]


def _through(knots: list[tuple[float, float]], now: float, strategy: str) -> float:
    """The curve through ``(when, value)`` knots, at ``now``; constant after the last one."""
    for (start, low), (end, high) in itertools.pairwise(knots):
        if now <= end:
            return _anneal(strategy)(low, high, (now - start) / (end - start))
    return knots[-1][1]
