"""The sweep over thresholds is that of plain counting, and its curves keep their ends."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from core.evaluation.made_rows import Rows, data_sets, example, has_verdict, judged, ratio, unjudged
from hypothesis import given, settings

from llama_guard_core.evaluation.figures import evaluated
from llama_guard_core.evaluation.thresholds import MOST_POINTS, Thresholds


def swept(rows: Rows) -> Thresholds | None:
    return evaluated([pair[0] for pair in rows], [pair[1] for pair in rows], name="made").thresholds


def scored(unsafe: list[float], safe: list[float]) -> Rows:
    labels = [(score, True) for score in unsafe] + [(score, False) for score in safe]
    return [
        (example(str(n), unsafe=label), judged(n, unsafe=score >= 0.5, score=score))
        for n, (score, label) in enumerate(labels)
    ]


@given(data_sets())
@settings(max_examples=60, deadline=None)
def test_the_figures_at_each_threshold_are_those_of_flagging_what_scores_as_much(rows: Rows):
    got = swept(rows)

    told = [pair for pair in rows if has_verdict(pair) and pair[1].score is not None]
    unsafe = [judgement.score for each, judgement in told if each.unsafe is True]
    safe = [judgement.score for each, judgement in told if each.unsafe is False]
    if not unsafe or not safe:
        assert got is None
        return
    assert [each.threshold for each in got.by_threshold] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    for each in got.by_threshold:
        tp, fp = (sum(score >= each.threshold for score in scores) for scores in (unsafe, safe))
        assert (each.recall, each.false_positive_rate) == (ratio(tp, len(unsafe)), ratio(fp, len(safe)))
        assert (each.precision, each.f1) == (ratio(tp, tp + fp), ratio(2 * tp, tp + fp + len(unsafe)))
    pairs = [Fraction(1 + (one > other) - (one < other), 2) for one in unsafe for other in safe]
    assert got.roc_auc == pytest.approx(float(sum(pairs) / len(pairs)), abs=1e-12)
    assert got.scored == len(unsafe) + len(safe)


def test_a_score_that_separates_the_labels_has_perfect_curves():
    got = swept(scored([0.9, 0.8, 0.7], [0.1, 0.2]))

    assert (got.roc_auc, got.average_precision) == (1.0, 1.0)
    assert got.roc.threshold[0] is None
    assert got.precision_recall.threshold[-1] is None
    assert [each.f1 for each in got.by_threshold if 0.2 < each.threshold <= 0.7] == [1.0] * 5


def test_average_precision_is_the_precision_at_each_unsafe_row():
    got = swept(scored([0.9, 0.5], [0.7, 0.1]))

    assert got.average_precision == pytest.approx((1 + 2 / 3) / 2, abs=1e-12)
    assert got.roc_auc == 0.75


def test_no_precision_is_told_where_nothing_would_be_flagged():
    got = swept(scored([0.3], [0.2]))

    assert [each.precision for each in got.by_threshold] == [0.5, 0.5, 1.0, *[None] * 6]


def test_a_long_curve_is_thinned_and_keeps_both_ends():
    got = swept(scored([(n * 37 % 1000) / 1000 for n in range(1000)], [(n * 53 % 997) / 1100 for n in range(997)]))

    for curve in (got.roc, got.precision_recall):
        assert MOST_POINTS == len(curve.recall) == len(curve.threshold)
    assert (got.roc.recall[0], got.roc.false_positive_rate[0]) == (0.0, 0.0)
    assert (got.roc.recall[-1], got.roc.false_positive_rate[-1]) == (1.0, 1.0)
    assert (got.precision_recall.recall[0], got.precision_recall.recall[-1]) == (1.0, 0.0)
    assert list(got.roc.recall) == sorted(got.roc.recall)


def test_rows_without_a_score_a_verdict_or_a_label_have_no_part_in_it():
    rows = [
        *scored([0.9], [0.1]),
        (example("a", unsafe=False), judged(2, "S1")),
        (example("b", unsafe=False), replace(unjudged(3), score=0.95)),
        (example("c", unsafe=None), judged(4, score=0.9)),
        (example("d", unsafe=None, outside=True), judged(5, score=0.9)),
    ]

    assert (swept(rows).scored, swept(rows).roc_auc) == (2, 1.0)


def test_there_is_no_sweep_without_scores():
    assert swept([(example("a", unsafe=True), judged(0, "S1")), (example("b", unsafe=False), judged(1))]) is None
