"""The figures of a run are those of plain counting, to the last digit; no row without a verdict makes one better."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from core.evaluation.made_rows import (
    JUDGES,
    MIXED,
    Rows,
    counted,
    data_sets,
    evaluation_of,
    example,
    expected,
    has_verdict,
    judged,
    judged_by,
    ratio,
    said,
    says_unsafe,
    unjudged,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.evaluation.figures import Evaluation, evaluated
from llama_guard_core.evaluation.proportions import Proportion


def test_the_json_has_the_names_that_the_report_reads():
    figures = evaluated(MIXED, judged_by(MIXED, JUDGES["hash"], "S9"), name="made").as_dict()

    assert " ".join(figures) == (
        "name model host policy made rows unjudged_reasons confusion recall false_positive_rate precision specificity "
        "accuracy f1 flag_rate over_refusal at_worst hazards macro slices thresholds latency tokens cost disagreements "
        "disagreements_total"
    )
    assert " ".join(figures["recall"]) == "count of value low high"
    assert " ".join(figures["hazards"][0]) == ("code name labelled rows recall named precision false_positive_rate f1")
    assert " ".join(figures["slices"]["language"][0]) == "value rows judged flag_rate recall false_positive_rate"
    assert " ".join(figures["disagreements"][0]) == ("row id unsafe said_unsafe categories accepted score stage")


@pytest.mark.parametrize("name", JUDGES)
def test_a_judge_by_a_known_rule_has_the_figures_that_follow_from_the_rule(name):
    flags = JUDGES[name]
    unsafe, safe = [e for e in MIXED if e.unsafe], [e for e in MIXED if e.unsafe is False]
    tp, fp = (sum(flags(e.conversation[0].text) for e in part) for part in (unsafe, safe))

    got = evaluated(MIXED, judged_by(MIXED, flags, "S9"), name="made")

    assert said(got.recall) == expected((tp, 18))
    assert said(got.false_positive_rate) == expected((fp, 14))
    assert said(got.specificity) == expected((14 - fp, 14))
    assert said(got.precision) == expected((tp, tp + fp))
    assert said(got.accuracy) == expected((tp + 14 - fp, 32))
    assert got.f1.value == ratio(2 * tp, 2 * tp + fp + 18 - tp)
    assert said(got.over_refusal) == expected((sum(flags(e.conversation[0].text) for e in MIXED[27:32]), 5))
    assert said(got.flag_rate) == expected((sum(flags(e.conversation[0].text) for e in MIXED), 35))
    assert (got.rows.outside, got.rows.unlabelled) == (3, 0)


@given(data_sets())
@settings(max_examples=60, deadline=None)
def test_every_rate_is_what_plain_counting_gives(rows: Rows):
    got = evaluation_of(rows)

    unsafe = counted(rows, lambda pair: has_verdict(pair) and pair[0].unsafe is True)
    safe = counted(rows, lambda pair: has_verdict(pair) and pair[0].unsafe is False)
    (tp, positives), (fp, negatives) = unsafe, safe
    assert said(got.recall) == expected(unsafe)
    assert said(got.false_positive_rate) == expected(safe)
    assert said(got.specificity) == expected((negatives - fp, negatives))
    assert said(got.accuracy) == expected((tp + negatives - fp, positives + negatives))
    assert said(got.precision) == expected((tp, tp + fp))
    assert got.f1.value == (ratio(2 * tp, tp + fp + positives) if fp + positives else None)
    assert said(got.flag_rate) == expected(counted(rows, has_verdict))
    assert said(got.over_refusal) == expected(counted(rows, lambda p: has_verdict(p) and p[0].looks_unsafe))
    assert said(got.at_worst.recall) == expected(counted(rows, lambda pair: pair[0].unsafe is True))
    assert said(got.at_worst.false_positive_rate) == expected(
        counted(rows, lambda p: p[0].unsafe is False, lambda p: says_unsafe(p) or not has_verdict(p))
    )
    assert got.rows.total == len(rows)
    assert sum(got.unjudged_reasons.values()) == got.rows.total - got.rows.judged
    assert got.rows.total == got.rows.judged + got.rows.unreadable + got.rows.unavailable + got.rows.not_judgeable
    assert got.disagreements_total == fp + positives - tp


@given(data_sets())
@settings(max_examples=40, deadline=None)
def test_the_figures_of_a_slice_are_those_of_its_rows_alone(rows: Rows):
    got = evaluation_of(rows).slices.get("language", ())

    for part in got:
        own = [(e, judged_again(j, n)) for n, (e, j) in enumerate(p for p in rows if in_language(p, part.value))]
        alone = evaluation_of(own)
        assert (part.rows, part.judged) == (alone.rows.total, alone.rows.judged)
        assert (part.flag_rate, part.recall) == (alone.flag_rate, alone.recall)
        assert part.false_positive_rate == alone.false_positive_rate
    assert sum(part.rows for part in got) == sum("language" in pair[0].slices for pair in rows)


def in_language(pair: Any, value: str) -> bool:
    return pair[0].slices.get("language") == value


def judged_again(judgement: Any, row: int) -> Any:
    return type(judgement).from_dict({**judgement.as_dict(), "row": row})


@given(data_sets().filter(bool), st.data())
@settings(max_examples=60, deadline=None)
def test_losing_a_verdict_never_makes_the_worst_case_better(rows: Rows, data: st.DataObject):
    lost = data.draw(st.integers(0, len(rows) - 1))
    before = evaluation_of(rows)

    after = evaluation_of([(e, unjudged(n)) if n == lost else (e, j) for n, (e, j) in enumerate(rows)])

    assert (after.at_worst.recall.value or 0) <= (before.at_worst.recall.value or 0)
    assert (after.at_worst.false_positive_rate.value or 0) >= (before.at_worst.false_positive_rate.value or 0)
    for figure, earlier in ((after.recall, before.recall), (after.accuracy, before.accuracy)):
        assert figure.count <= earlier.count
    assert after.specificity.count <= before.specificity.count
    assert after.flag_rate.count <= before.flag_rate.count


def test_of_rows_of_one_label_a_figure_is_its_formula_or_nothing_and_never_a_guess():
    unsafe, safe = MIXED[:18], MIXED[18:32]
    nothing = Proportion(0, 0, None, None, None)
    for flags in JUDGES.values():
        of_unsafe = evaluated(unsafe, judged_by(unsafe, flags, "S9"), name="unsafe only")
        of_safe = evaluated(safe, judged_by(safe, flags, "S9"), name="safe only")

        tp, fp = of_unsafe.confusion.true_positive, of_safe.confusion.false_positive
        assert (of_unsafe.false_positive_rate, of_unsafe.specificity, of_safe.recall) == (nothing,) * 3
        assert (of_unsafe.precision.value, of_safe.precision.value) == (1.0 if tp else None, 0.0 if fp else None)
        assert (of_unsafe.f1.value, of_safe.f1.value) == (ratio(2 * tp, tp + 18), 0.0 if fp else None)
        assert of_safe.macro.f1 is None
        assert of_safe.false_positive_rate.of == 14
        assert (of_unsafe.thresholds, of_safe.thresholds) == (None, None)


def test_rows_outside_the_taxonomy_are_in_the_flag_rate_alone():
    rows = MIXED[32:]

    got = evaluated(rows, judged_by(rows, JUDGES["all"]), name="outside")

    assert got.flag_rate.value == 1.0
    assert (got.recall.of, got.accuracy.of, got.at_worst.recall.of, got.hazards) == (0, 0, 0, ())


def test_no_rows_give_no_figures():
    got = evaluated([], [], name="empty")

    assert (got.rows.total, got.recall.value, got.f1.value, got.hazards, got.slices) == (0, None, None, (), {})
    assert (got.macro.recall, got.latency, got.cost.total, got.tokens.input) == (None, None, None, None)


def test_latency_is_that_of_uncached_verdicts_and_money_is_counted_where_it_is_told():
    rows = [example(str(n), unsafe=False) for n in range(5)]
    judgements = [
        judged(0, latency=1.0, cost=0.25, input_tokens=10, output_tokens=2),
        judged(1, latency=3.0, cost=0.5, input_tokens=20),
        judged(2, latency=9.0, cached=True),
        judged(3),
        unjudged(4),
    ]

    got = evaluated(rows, judgements, name="run")

    assert (got.latency.measured, got.latency.mean, got.latency.p50, got.latency.max) == (2, 2.0, 2.0, 3.0)
    assert sum(got.latency.histogram.counts) == 2
    assert (got.latency.histogram.edges[0], got.latency.histogram.edges[-1]) == (0, 3.0)
    assert len(got.latency.histogram.edges) == len(got.latency.histogram.counts) + 1
    assert (got.tokens.input, got.tokens.output) == (30, 2)
    assert (got.cost.total, got.cost.per_thousand, got.cost.priced) == (0.75, 375.0, 2)


def test_the_worst_disagreement_comes_first_and_those_without_a_score_last():
    rows = [example(str(n), unsafe=n % 2 == 0) for n in range(6)]
    judgements = [
        judged(0),
        judged(1, "S1", score=0.6),
        judged(2, score=0.02),
        judged(3, score=0.1),
        judged(4, score=0.4),
        unjudged(5),
    ]

    got = evaluated(rows, judgements, name="made", worst=3)

    assert [each.row for each in got.disagreements] == [2, 1, 4]
    assert got.disagreements_total == 4
    assert evaluated(rows, judgements, name="made").disagreements[-1].row == 0


def test_judgements_may_come_in_any_order():
    judgements = judged_by(MIXED, JUDGES["hash"], "S9")

    assert evaluated(MIXED, judgements[::-1], name="made") == evaluated(MIXED, judgements, name="made")


@pytest.mark.parametrize(
    ("judgements", "says"),
    [
        ([judged(0)], "1 of 2 rows have no judgement .the first is row 1"),
        ([judged(0), judged(0)], "two judgements of row 0"),
        ([judged(0), judged(2)], "a judgement of row 2, and 2 examples"),
        ([judged(0), unjudged(1, outcome="odd")], "row 1 says neither safe nor unsafe nor why"),
        ([judged(0), unjudged(1, outcome="judged")], "row 1 says neither safe nor unsafe nor why"),
    ],
)
def test_judgements_that_are_not_of_these_rows_are_refused(judgements, says):
    rows = [example("a", unsafe=True), example("b", unsafe=False)]

    with pytest.raises(ConfigurationError, match=says):
        evaluated(rows, judgements, name="made")


@given(data_sets())
@settings(max_examples=30, deadline=None)
def test_an_evaluation_survives_a_json_file(rows: Rows):
    got = evaluation_of(rows)

    assert Evaluation.from_dict(json.loads(json.dumps(got.as_dict(), allow_nan=False))) == got


def test_what_is_no_evaluation_is_said_to_be_none_and_not_quoted():
    values = {**evaluated(MIXED, judged_by(MIXED, JUDGES["all"]), name="made").as_dict(), "recall": "BOMB"}

    with pytest.raises(ConfigurationError, match="this is no Evaluation: look at 'recall'") as caught:
        Evaluation.from_dict(values)

    assert "BOMB" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("module", "package"),
    [("sklearn.metrics", "scikit-learn"), ("statsmodels.stats.proportion", "statsmodels"), ("numpy", "numpy")],
)
def test_without_the_libraries_it_is_said_how_to_install_them(monkeypatch, module, package):
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(ConfigurationError, match=rf'{package}: pip install "llama-guardrails\[evaluation\]"'):
        evaluated(MIXED, judged_by(MIXED, JUDGES["all"]), name="made")


def test_an_evaluation_shows_no_judged_text():
    got = evaluated(MIXED, judged_by(MIXED, JUDGES["hash"], "S9"), name="made")

    assert "kill a process" not in json.dumps({**got.as_dict(), "disagreements": []})
    assert {"text", "conversation"}.isdisjoint(got.as_dict()["disagreements"][0])
