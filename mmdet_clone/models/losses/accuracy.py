"""How often the right class is among the best guesses."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


def accuracy(
    pred: Tensor, target: Tensor, topk: int | Sequence[int] = 1, thresh: float | None = None
) -> Tensor | list[Tensor]:
    """Accuracy in percent.

    Args:
        pred: (n, C) scores.
        target: (n,) classes.
        topk: how many guesses count; several give a list.
        thresh: a guess counts only with a score above this.

    Returns:
        (1,) for each ``topk``; 0 without rows.
    """
    single = isinstance(topk, int)
    tops = (topk,) if single else tuple(topk)
    if pred.dim() != 2 or target.dim() != 1 or len(pred) != len(target):
        raise ValueError(f'expected pred (n, C) and target (n,), got {tuple(pred.shape)} and {tuple(target.shape)}')
    if max(tops) > pred.shape[1]:
        raise ValueError(f'topk={max(tops)} guesses of {pred.shape[1]} classes')
    if len(pred) == 0:
        results = [pred.new_zeros(1) for _ in tops]
        return results[0] if single else results
    scores, guesses = pred.topk(max(tops), dim=1)
    correct = guesses == target[:, None]
    if thresh is not None:
        correct = correct & (scores > thresh)
    results = [correct[:, :k].float().sum().reshape(1) * (100.0 / len(pred)) for k in tops]
    return results[0] if single else results


class Accuracy(nn.Module):
    """:func:`accuracy` as a module."""

    def __init__(self, topk: int | Sequence[int] = (1,), thresh: float | None = None) -> None:
        super().__init__()
        self.topk = topk
        self.thresh = thresh

    def forward(self, pred: Tensor, target: Tensor) -> Tensor | list[Tensor]:
        return accuracy(pred, target, self.topk, self.thresh)
