"""Proportions and estimates, each with the interval that says how far to trust it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llama_guard_core.evaluation.libraries import library

_RESAMPLES = 9999
_SEED = 0
_ENDS = (0.025, 0.975)
_KINDS = ((True, False, True, False), (True, True, False, False))
"""The label and the verdict of a true positive, a false positive, a false negative and a true negative."""


@dataclass(frozen=True, slots=True)
class Proportion:
    """A share of counted rows, with its 95 % Wilson interval.

    The interval speaks of rows drawn by chance from many like them. It does not say that the rows are like yours, nor
    that their labels are right.

    Attributes:
        count: how many.
        of: of how many.
        value: `count / of`; `None` where `of` is 0, which is neither 0 nor 1.
        low: the interval's lower end.
        high: its upper end.
    """

    count: int
    of: int
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure that is no proportion, with a 95 % interval.

    Attributes:
        value: the figure; `None` where the rows cannot tell it.
        low: the interval's lower end.
        high: its upper end.
    """

    value: float | None
    low: float | None
    high: float | None


def proportion(count: int, of: int) -> Proportion:
    """`count` of `of`, with statsmodels' Wilson interval.

    Args:
        count: how many.
        of: of how many.
    """
    if not of:
        return Proportion(0, 0, None, None, None)
    value = count / of
    low, high = library("statsmodels.stats.proportion").proportion_confint(count, of, alpha=0.05, method="wilson")
    # The true interval lies within 0 and 1 and holds the value; rounding may put an end past them.
    return Proportion(count, of, value, max(0.0, min(float(low), value)), min(1.0, max(float(high), value)))


def f1_estimate(true_positive: int, false_positive: int, false_negative: int, true_negative: int) -> Estimate:
    """F1 of the four counts, with a percentile bootstrap interval.

    Rows are drawn again with their label and their verdict together. How many of each of the four kinds come of n draws
    is multinomial, so 9,999 resamples cost milliseconds at any n; the seed is fixed, so the interval is the same each
    time. F1 depends on the share of unsafe rows: two sets with different shares cannot be compared by it.

    Args:
        true_positive: unsafe rows that were flagged.
        false_positive: safe rows that were flagged.
        false_negative: unsafe rows that were not.
        true_negative: safe rows that were not.

    Returns:
        The estimate; without a value where no row is unsafe and none was flagged.
    """
    counts = (true_positive, false_positive, false_negative, true_negative)
    if not true_positive + false_positive + false_negative:
        return Estimate(None, None, None)
    value = library("sklearn.metrics").f1_score(*_KINDS, sample_weight=counts, zero_division=0.0)
    low, high = _f1_interval(counts)
    return Estimate(float(value), low, high)


def _f1_interval(counts: Sequence[int]) -> tuple[float, float]:
    np = library("numpy")
    total = sum(counts)
    draws = np.random.default_rng(_SEED).multinomial(total, [count / total for count in counts], size=_RESAMPLES)
    right, wrong = 2 * draws[:, 0], draws[:, 1] + draws[:, 2]
    has_f1 = right + wrong > 0
    low, high = np.quantile(right[has_f1] / (right + wrong)[has_f1], _ENDS)
    return float(low), float(high)
