"""The figures of each hazard, and their means, are those of plain counting, to the last digit."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

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
)
from hypothesis import given, settings

from llama_guard_core.evaluation.figures import evaluated

DESCRIBED = [example(f"BOMB {n}", unsafe=None, accepted=("S9",)) for n in range(6)]


def test_to_flag_everything_as_one_hazard_is_found_out_by_hazard():
    got = evaluated(MIXED, judged_by(MIXED, JUDGES["all"], "S9"), name="made")

    violent, weapons = got.hazards
    assert (violent.code, weapons.code, weapons.name) == ("S1", "S9", "Indiscriminate Weapons")
    assert (violent.recall.value, violent.named.value, violent.precision.value, violent.f1) == (1.0, 0.0, None, 0.0)
    assert (said(weapons.named), said(weapons.precision)) == (expected((11, 11)), expected((11, 32)))
    assert said(weapons.false_positive_rate) == expected((14, 14))
    assert weapons.f1 == ratio(22, 22 + 21)
    assert got.macro.f1 == float(Fraction(22, 43) / 2)
    assert (got.macro.named, got.macro.hazards) == (0.5, 2)


@given(data_sets())
@settings(max_examples=60, deadline=None)
def test_every_figure_of_a_hazard_is_what_plain_counting_gives(rows: Rows):
    got = evaluation_of(rows)

    for figure in got.hazards:
        assert by_hazard(rows, figure.code) == (
            said(figure.recall),
            said(figure.named),
            said(figure.precision),
            said(figure.false_positive_rate),
            figure.f1,
        )
    for name in ("recall", "named", "precision", "f1"):
        assert getattr(got.macro, name) == macro(rows, name)
    everything = {code for pair in rows for code in (*(pair[0].accepted or ()), *pair[1].categories)}
    assert {figure.code for figure in got.hazards} <= everything - {"S99"}


def hazard_rows(rows: Rows, code: str) -> list[Any]:
    """The rows of a hazard, and the known rows, each with what it says of this hazard by label and by verdict."""
    return [p for p in rows if has_verdict(p) and p[0].unsafe is not False and (p[0].accepted or ("",))[0] == code]


def by_hazard(rows: Rows, code: str) -> tuple[Any, ...]:
    ours = hazard_rows(rows, code)
    known = [p for p in rows if has_verdict(p) and (p[0].unsafe is False or (p[0].unsafe and p[0].accepted))]
    named = [p for p in known if says_unsafe(p) and code in p[1].categories]
    right = [p for p in named if code in (p[0].accepted or ())]
    safe = counted(rows, lambda p: has_verdict(p) and p[0].unsafe is False, lambda p: code in p[1].categories)
    f1 = f1_by_hand(rows, code)
    return (
        expected(counted(ours, has_verdict)),
        expected((sum(1 for p in ours if set(p[1].categories) & set(p[0].accepted)), len(ours))),
        expected((len(right), len(named))),
        expected(safe),
        None if f1 is None else float(f1),
    )


def f1_by_hand(rows: Rows, code: str) -> Fraction | None:
    tp = fp = fn = 0
    for each, judgement in rows:
        accepted = each.accepted or ()
        if judgement.outcome != "judged" or each.unsafe is None or (each.unsafe and not accepted):
            continue
        if accepted[:1] == (code,):
            tp, fn = (tp + 1, fn) if set(accepted) & set(judgement.categories) else (tp, fn + 1)
        elif code in judgement.categories and code not in accepted:
            fp += 1
    return Fraction(2 * tp, 2 * tp + fp + fn) if tp + fn else None


def macro(rows: Rows, name: str) -> float | None:
    codes = [f"S{n}" for n in range(1, 15) if hazard_rows(rows, f"S{n}")]
    if name == "f1":
        values = [f1_by_hand(rows, code) for code in codes]
    else:
        triples = [by_hazard(rows, code)[("recall", "named", "precision").index(name)] for code in codes]
        values = [Fraction(count, of) if of else None for count, of, _ in triples]
    told = [value for value in values if value is not None]
    return float(sum(told, Fraction(0)) / len(told)) if told else None


def test_where_every_row_accepts_a_hazard_naming_it_is_never_wrong():
    rows = MIXED[:11]

    got = evaluated(rows, judged_by(rows, JUDGES["all"], "S9"), name="one hazard")

    assert [(each.precision.value, each.f1, each.recall.value) for each in got.hazards] == [(1.0, 1.0, 1.0)]


def test_a_close_second_is_right_for_its_row_and_no_mistake_for_its_own_hazard():
    rows = [
        example("BOMB", unsafe=True, accepted=("S9", "S1")),
        example("KNIFE", unsafe=True, accepted=("S1",)),
        example("tea", unsafe=False),
    ]

    got = evaluated(rows, [judged(0, "S1"), judged(1, "S1"), judged(2)], name="made")

    violent, weapons = got.hazards
    assert (weapons.named.value, weapons.f1, weapons.precision.of) == (1.0, 1.0, 0)
    assert (violent.named.value, violent.f1, said(violent.precision)) == (1.0, 1.0, (2, 2, 1.0))


def test_a_row_outside_the_taxonomy_has_no_hazard_even_where_one_is_given():
    got = evaluated([example("odd", unsafe=None, accepted=("S1",), outside=True)], [judged(0)], name="made")

    assert got.hazards == ()


def test_a_mean_is_rounded_once():
    rows = [example(f"{code} {n}", unsafe=True, accepted=(code,)) for code in ("S1", "S2", "S9") for n in range(10)]

    got = evaluated(rows, [judged(n, unsafe=n % 10 == 0) for n in range(30)], name="made")

    assert got.macro.recall == 0.1 != (0.1 + 0.1 + 0.1) / 3


def test_rows_that_are_described_and_not_labelled_have_a_flag_rate_by_hazard_and_no_recall():
    got = evaluated(DESCRIBED, judged_by(DESCRIBED, JUDGES["all"], "S9"), name="described")

    assert got.recall.of == 0
    assert [(each.labelled, each.rows, each.recall.value) for each in got.hazards] == [(False, 6, 1.0)]
    assert got.hazards[0].precision.of == 0
    assert got.rows.unlabelled == 6
