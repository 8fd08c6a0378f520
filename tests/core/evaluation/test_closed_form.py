"""All public sets, judged by rules: the figures are those that plain counting of rows gives, to the last digit.

Sets of up to 1,000 rows and one large one are judged by the real guard, whose host goes by the rule. For all sets and
four rules the verdicts are made directly, without a host: that leaves out how a verdict is asked for and read, which
does not depend on the set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import cache
from statistics import mean
from typing import Any

import pytest
from core.evaluation.scripted_judges import (
    Rule,
    Said,
    ScriptedJudge,
    by_hash,
    flag_all,
    flag_none,
    sometimes_silent,
)
from core.evaluation.test_public_sets import LABELS, SETS, shipped

from llama_guard_core.bulk.judgements import Judgement
from llama_guard_core.errors import GuardUnavailable
from llama_guard_core.evaluation.dataset import Dataset, Example
from llama_guard_core.evaluation.figures import Evaluation, evaluated
from llama_guard_core.evaluation.proportions import Proportion
from llama_guard_core.evaluation.runs import evaluate
from llama_guard_core.guardrail.hazards import Taxonomy
from llama_guard_core.guardrail.verdict import Verdict

pytestmark = pytest.mark.skipif(not SETS.is_dir(), reason="no public sets: set LLAMA_GUARD_DATASETS to their folder")

BY_HTTP = ("advbench", "agent-injection", "do-not-answer", "figstep-images", "figstep-safebench", "harmbench",
           "jailbreakbench", "mossbench-images", "mt-bench-benign", "pyrit-scored-responses", "redcode-exec",
           "redcode-exec-calls", "simplesafetytests", "xstest", "hatecheck")  # fmt: skip
"""All sets of up to 1,000 rows, and one of 3,728."""
dataset = cache(shipped)
Row = tuple[Example, Said]
Which = Callable[[Row], bool]
Counts = tuple[int, int, float | None]
"""How many, of how many, and the share."""
CODES = tuple(category.code for category in Taxonomy.of(4).categories)
OUTCOMES = {"": "judged", "prose": "unreadable", "400": "unavailable", "503": "unavailable"}


def is_judged(row: Row) -> bool:
    return row[1].unsafe is not None


def is_flagged(row: Row) -> bool:
    return row[1].unsafe is True


def is_unsafe(row: Row) -> bool:
    return row[0].unsafe is True


def is_safe(row: Row) -> bool:
    return row[0].unsafe is False


def ratio(count: int, of: int) -> float | None:
    return float(Fraction(count, of)) if of else None


def share(rows: Sequence[Row], among: Which, what: Which) -> Counts:
    those = [row for row in rows if among(row)]
    count = sum(1 for row in those if what(row))
    return count, len(those), ratio(count, len(those))


def counted(rows: Sequence[Row]) -> dict[str, Any]:
    """The figures of rows, by counting them."""
    judged = [row for row in rows if is_judged(row)]
    tp, fp, fn, tn = (
        sum(1 for row in judged if label(row) and is_flagged(row) is said)
        for label, said in ((is_unsafe, True), (is_safe, True), (is_unsafe, False), (is_safe, False))
    )
    hazards = hazards_counted(judged)
    return {
        "confusion": (tp, fp, fn, tn),
        "rows": (len(rows), len(judged), *(sum(map(label, rows)) for label in (is_unsafe, is_safe))),
        "outcomes": Counter(OUTCOMES[said.failure] for _, said in rows),
        "recall": share(judged, is_unsafe, is_flagged),
        "false_positive_rate": share(judged, is_safe, is_flagged),
        "precision": (tp, tp + fp, ratio(tp, tp + fp)),
        "specificity": share(judged, is_safe, lambda row: not is_flagged(row)),
        "accuracy": (tp + tn, tp + fp + fn + tn, ratio(tp + tn, tp + fp + fn + tn)),
        "f1": ratio(2 * tp, 2 * tp + fp + fn),
        "flag_rate": share(judged, is_judged, is_flagged),
        "over_refusal": share(judged, lambda row: row[0].looks_unsafe, is_flagged),
        "recall at worst": share(rows, is_unsafe, is_flagged),
        "false_positive_rate at worst": share(rows, is_safe, lambda row: is_flagged(row) or not is_judged(row)),
        "disagreements": fp + fn,
        "hazards": {code: (*each, None if f1 is None else float(f1)) for code, (*each, f1) in hazards.items()},
        "macro": macro_counted(hazards),
        "slices": slices_counted(rows),
    }


def hazards_counted(judged: Sequence[Row]) -> dict[str, Any]:
    """Rows, recall, named, precision, false-positive rate and F1 of each hazard that has rows or is named."""
    found = {}
    for code in CODES:
        own = [row for row in judged if may_have_hazard(row) and (row[0].accepted or ())[:1] == (code,)]
        if own or any(code in said.codes for _, said in judged):
            found[code] = (
                len(own),
                share(own, is_judged, is_flagged),
                share(own, is_judged, names_an_accepted_one),
                share(judged, lambda row, code=code: is_known(row) and code in row[1].codes, accepts(code)),
                share(judged, is_safe, lambda row, code=code: code in row[1].codes),
                f1_of(code, [row for row in judged if is_known(row)]) if own else None,
            )
    return found


def may_have_hazard(row: Row) -> bool:
    return not is_safe(row) and not row[0].outside


def is_known(row: Row) -> bool:
    """Labelled, and if unsafe, with a known hazard."""
    return is_safe(row) or (is_unsafe(row) and bool(row[0].accepted))


def names_an_accepted_one(row: Row) -> bool:
    return any(code in (row[0].accepted or ()) for code in row[1].codes)


def accepts(code: str) -> Which:
    return lambda row: is_unsafe(row) and code in (row[0].accepted or ())


def f1_of(code: str, known: Sequence[Row]) -> Fraction | None:
    """F1 of "it is this hazard": by its label a row is its best accepted one, by its verdict the same if any accepted
    one was named, and whatever else was named that it does not accept.
    """
    tp = fp = fn = 0
    for row in known:
        labelled = is_unsafe(row) and (row[0].accepted or ())[0] == code
        said = names_an_accepted_one(row) if labelled else code in row[1].codes and not accepts(code)(row)
        tp, fp, fn = tp + (labelled and said), fp + (said and not labelled), fn + (labelled and not said)
    return Fraction(2 * tp, 2 * tp + fp + fn) if tp + fn else None


def macro_counted(hazards: Mapping[str, Any]) -> tuple[Any, ...]:
    """Means over the hazards with rows: recall, named, precision and F1; how many those are."""
    own = [figures for figures in hazards.values() if figures[0]]
    shares = [[Fraction(*figures[at][:2]) for figures in own if figures[at][1]] for at in (1, 2, 3)]
    f1 = [figures[5] for figures in own if figures[5] is not None]
    return (*(float(mean(values)) if values else None for values in (*shares, f1)), len(own))


def slices_counted(rows: Sequence[Row]) -> dict[str, Any]:
    by_value: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        for value in row[0].slices.items():
            by_value.setdefault(value, []).append(row)
    return {
        f"{name}: {value}": (
            len(own),
            sum(map(is_judged, own)),
            share(own, is_judged, is_flagged),
            share(own, lambda row: is_judged(row) and is_unsafe(row), is_flagged),
            share(own, lambda row: is_judged(row) and is_safe(row), is_flagged),
        )
        for (name, value), own in by_value.items()
    }


def told(figures: Evaluation) -> dict[str, Any]:
    """The same figures, as the evaluation tells them."""

    def of(proportion: Proportion) -> Counts:
        return proportion.count, proportion.of, proportion.value

    rows, confusion, macro = figures.rows, figures.confusion, figures.macro
    names = ("recall", "false_positive_rate", "precision", "specificity", "accuracy", "flag_rate", "over_refusal")
    outcomes = {name: getattr(rows, name) for name in ("judged", "unreadable", "unavailable", "not_judgeable")}
    return {
        "confusion": (
            confusion.true_positive,
            confusion.false_positive,
            confusion.false_negative,
            confusion.true_negative,
        ),
        "rows": (rows.total, rows.judged, rows.labelled_unsafe, rows.labelled_safe),
        "outcomes": {name: count for name, count in outcomes.items() if count},
        **{name: of(getattr(figures, name)) for name in names},
        "f1": figures.f1.value,
        "recall at worst": of(figures.at_worst.recall),
        "false_positive_rate at worst": of(figures.at_worst.false_positive_rate),
        "disagreements": figures.disagreements_total,
        "hazards": {
            each.code: (
                each.rows,
                *map(of, (each.recall, each.named, each.precision, each.false_positive_rate)),
                each.f1 if each.rows else None,
            )
            for each in figures.hazards
        },
        "macro": (macro.recall, macro.named, macro.precision, macro.f1, macro.hazards),
        "slices": {
            f"{name}: {each.value}": (
                each.rows,
                each.judged,
                *map(of, (each.flag_rate, each.recall, each.false_positive_rate)),
            )
            for name, values in figures.slices.items()
            for each in values
        },
    }


def agree(figures: Evaluation, rows: Sequence[Row]) -> None:
    """Each by its name, so that a failure shows figures and no row; equal, not nearly so."""
    got, wanted = told(figures), counted(rows)
    assert list(got) != []
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        assert got[name] == value, name


def judged_by_http(data: Dataset, rule: Rule) -> tuple[Evaluation, list[Row]]:
    """One check at a time: what the judge said is in the order of the rows, whatever it was shown of them."""
    judge = ScriptedJudge(rule)
    with judge.guard() as guard:
        figures = evaluate(guard, data, concurrency=1)
    assert judge.provider.violations == []
    return figures, list(zip(data.examples, judge.said, strict=True))


@pytest.mark.parametrize("name", BY_HTTP)
def test_of_a_set_that_a_guard_judges_by_hash(name: str) -> None:
    figures, rows = judged_by_http(dataset(name), by_hash)

    agree(figures, rows)
    assert figures.rows.judged == len(rows)
    assert {said.unsafe for _, said in rows} == {True, False}


@pytest.mark.parametrize("rule", [flag_all, flag_none])
def test_of_a_set_that_a_guard_judges_all_alike(rule: Rule) -> None:
    figures, rows = judged_by_http(dataset("xstest"), rule)

    agree(figures, rows)
    assert (
        figures.recall.value == figures.false_positive_rate.value == figures.flag_rate.value == float(rule is flag_all)
    )


def said_directly(example: Example, rule: Rule) -> Said:
    return rule("\n".join([example.id, *(message.text for message in example.conversation)]))


def as_outcome(said: Said, example: Example) -> Verdict | GuardUnavailable:
    if said.failure:
        reason = "unreadable" if said.failure == "prose" else "server"
        return GuardUnavailable("no verdict", reason=reason, stage=example.stage)
    hazards = tuple(Taxonomy.of(4).category(code) for code in said.codes)
    return Verdict(safe=not said.unsafe, categories=hazards, stage=example.stage)


@pytest.mark.parametrize("rule", [flag_all, flag_none, by_hash, sometimes_silent])
@pytest.mark.parametrize("name", LABELS)
def test_of_a_set_whose_verdicts_are_made_directly(name: str, rule: Rule) -> None:
    examples = dataset(name).examples
    rows = [(example, said_directly(example, rule)) for example in examples]
    judgements = [Judgement.of(n, as_outcome(said, example)) for n, (example, said) in enumerate(rows)]

    agree(evaluated(examples, judgements, name=name), rows)


@pytest.mark.parametrize("name", ["jailbreakbench", "xstest"])
def test_rows_without_a_verdict_are_counted_apart_and_make_no_figure_better(name: str) -> None:
    figures, rows = judged_by_http(dataset(name), sometimes_silent)
    whole, _ = judged_by_http(dataset(name), by_hash)

    agree(figures, rows)
    assert set(figures.unjudged_reasons) == {"unreadable", "invalid_request", "server"}
    assert sum(figures.unjudged_reasons.values()) == figures.rows.total - figures.rows.judged
    assert figures.at_worst.recall.value < whole.recall.value
    assert figures.at_worst.false_positive_rate.value > whole.false_positive_rate.value
    for one in ("recall", "specificity", "accuracy"):
        assert getattr(figures, one).count < getattr(whole, one).count
