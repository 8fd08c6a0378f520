"""Two runs are compared on the rows that both judged, by the exact test."""

from __future__ import annotations

import json
from dataclasses import fields
from fractions import Fraction
from math import comb

import pytest
from core.evaluation.made_rows import (
    JUDGES,
    Rows,
    data_sets,
    example,
    has_verdict,
    judged,
    judged_by,
    says_unsafe,
    unjudged,
)
from hypothesis import given, settings

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.evaluation.comparison import Comparison, Run, compared

EXAMPLES = [example(f"BOMB {n}", unsafe=n % 3 > 0) for n in range(30)]


def mcnemar(one: int, other: int) -> float:
    """Twice the chance of so few of the rarer kind, if both were as likely."""
    tail = sum(comb(one + other, k) for k in range(min(one, other) + 1))
    return float(min(Fraction(1), Fraction(2 * tail, 2 ** (one + other))))


def kappa(pairs: list[tuple[bool, bool]]) -> float | None:
    n = len(pairs)
    observed = Fraction(sum(one == other for one, other in pairs), n) if n else Fraction(1)
    ones, others = (sum(pair[side] for pair in pairs) for side in (0, 1))
    by_chance = Fraction(ones * others + (n - ones) * (n - others), n * n) if n else Fraction(1)
    return None if by_chance == 1 else float((observed - by_chance) / (1 - by_chance))


@given(data_sets(), data_sets())
@settings(max_examples=60, deadline=None)
def test_a_comparison_is_what_plain_counting_gives(rows: Rows, others: Rows):
    pairs = [(e, j, other) for (e, j), (_, other) in zip(rows, others, strict=False)]

    got = compared([e for e, _, _ in pairs], [j for _, j, _ in pairs], [other for _, _, other in pairs])

    both = [
        (e, says_unsafe((e, j)), says_unsafe((e, o)))
        for e, j, o in pairs
        if has_verdict((e, j)) and has_verdict((e, o))
    ]
    right = [(one == e.unsafe, other == e.unsafe) for e, one, other in both if e.unsafe is not None]
    first_only, second_only = right.count((True, False)), right.count((False, True))
    assert (got.both_right, got.both_wrong) == (right.count((True, True)), right.count((False, False)))
    assert (got.first_only_right, got.second_only_right, got.rows) == (first_only, second_only, len(right))
    assert got.p_value == (pytest.approx(mcnemar(first_only, second_only), abs=1e-12) if right else None)
    assert (got.agreement.count, got.agreement.of) == (sum(one == other for _, one, other in both), len(both))
    expected = kappa([(one, other) for _, one, other in both])
    assert got.kappa == (None if expected is None else pytest.approx(expected, abs=1e-12))


@given(data_sets(), data_sets())
@settings(max_examples=30, deadline=None)
def test_the_other_way_round_the_same_is_said(rows: Rows, others: Rows):
    pairs = [(e, j, other) for (e, j), (_, other) in zip(rows, others, strict=False)]
    examples, first, second = [e for e, _, _ in pairs], [j for _, j, _ in pairs], [o for _, _, o in pairs]

    one, other = compared(examples, first, second), compared(examples, second, first)

    assert (one.p_value, one.agreement) == (other.p_value, other.agreement)
    assert (one.first_only_right, one.second_only_right) == (other.second_only_right, other.first_only_right)
    assert one.recall_difference == (None if other.recall_difference is None else -other.recall_difference)


def test_to_flag_all_instead_of_nothing_is_all_recall_and_all_false_positives():
    got = compared(EXAMPLES, judged_by(EXAMPLES, JUDGES["none"]), judged_by(EXAMPLES, JUDGES["all"]))

    assert (got.first_only_right, got.second_only_right, got.both_right, got.both_wrong) == (10, 20, 0, 0)
    assert (got.recall_difference, got.false_positive_rate_difference) == (1.0, 1.0)
    assert (got.agreement.value, got.kappa) == (0.0, 0.0)
    assert got.p_value == pytest.approx(mcnemar(10, 20), abs=1e-12)


def test_a_run_is_no_different_from_itself():
    run = judged_by(EXAMPLES, JUDGES["hash"])

    got = compared(EXAMPLES, run, run)

    assert (got.p_value, got.kappa, got.agreement.value, got.recall_difference) == (1.0, 1.0, 1.0, 0.0)


def test_two_runs_that_say_one_word_have_no_kappa():
    run = judged_by(EXAMPLES, JUDGES["all"])

    assert compared(EXAMPLES, run, run).kappa is None


def test_a_row_that_one_run_did_not_judge_is_in_nothing():
    second = [unjudged(0), *judged_by(EXAMPLES, JUDGES["all"])[1:]]

    got = compared(EXAMPLES, judged_by(EXAMPLES, JUDGES["none"]), second)

    assert (got.rows, got.agreement.of) == (29, 29)


def test_rows_without_a_label_count_for_the_agreement_alone():
    rows = [example("a", unsafe=None), example("b", unsafe=None, outside=True), example("c", unsafe=True)]

    got = compared(rows, [judged(0), judged(1, "S1"), judged(2)], [judged(0), judged(1), judged(2)])

    assert (got.rows, got.both_wrong, got.agreement.count, got.agreement.of) == (1, 1, 2, 3)
    assert got.false_positive_rate_difference is None


def test_a_comparison_survives_a_json_file_and_says_whose_runs_they_are():
    runs = {"first_run": Run("a", "m", "openrouter", "default"), "second_run": Run("b")}
    got = compared(EXAMPLES, judged_by(EXAMPLES, JUDGES["hash"]), judged_by(EXAMPLES, JUDGES["all"]), **runs)

    values = json.loads(json.dumps(got.as_dict(), allow_nan=False))

    assert Comparison.from_dict(values) == got
    assert values["first"] == {"name": "a", "model": "m", "host": "openrouter", "policy": "default"}
    assert set(values) == {field.name for field in fields(Comparison)}


def test_runs_over_different_rows_are_refused():
    with pytest.raises(ConfigurationError, match="1 of 30 rows have no judgement"):
        compared(EXAMPLES, judged_by(EXAMPLES, JUDGES["all"]), judged_by(EXAMPLES[:-1], JUDGES["all"]))
