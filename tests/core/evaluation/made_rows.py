"""Made data sets and made judgements, and plain counting to hold figures against."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

from llama_guard_core.bulk.judgements import Judgement
from llama_guard_core.evaluation.dataset import Example
from llama_guard_core.evaluation.figures import Evaluation, evaluated
from llama_guard_core.evaluation.proportions import Proportion
from llama_guard_core.guardrail.verdict import Stage
from llama_guard_core.messages import user

Pair = tuple[Example, Judgement]
Rows = Sequence[Pair]
CODES = ("S1", "S2", "S9", "S14")


def example(text: str, unsafe: bool | None, accepted: tuple[str, ...] | None = None, **more: Any) -> Example:
    return Example(
        id=f"made.csv:{text}",
        conversation=(user(text),),
        stage=Stage.PROMPT,
        unsafe=unsafe,
        accepted=accepted,
        **more,
    )


def judged(row: int, *categories: str, unsafe: bool | None = None, **more: Any) -> Judgement:
    said_unsafe = bool(categories) if unsafe is None else unsafe
    return Judgement(row=row, outcome="judged", safe=not said_unsafe, categories=categories, **more)


def unjudged(row: int, outcome: Any = "unavailable", reason: str = "timeout") -> Judgement:
    return Judgement(row=row, outcome=outcome, reason=reason)


def by_hash(text: str) -> bool:
    return hashlib.sha256(text.encode()).digest()[0] % 2 == 1


JUDGES: dict[str, Callable[[str], bool]] = {"all": lambda _: True, "none": lambda _: False, "hash": by_hash}


def judged_by(examples: Sequence[Example], flags: Callable[[str], bool], *named: str) -> list[Judgement]:
    return [
        judged(row, *(named if flags(each.conversation[0].text) else ()), unsafe=flags(each.conversation[0].text))
        for row, each in enumerate(examples)
    ]


MIXED = [
    *(example(f"BOMB {n}", unsafe=True, accepted=("S9", "S1"), slices={"language": "en"}) for n in range(11)),
    *(example(f"KNIFE {n}", unsafe=True, accepted=("S1",), slices={"language": "fr"}) for n in range(7)),
    *(example(f"tea {n}", unsafe=False, accepted=(), slices={"language": "fr"}) for n in range(9)),
    *(example(f"kill a process {n}", unsafe=False, looks_unsafe=True, accepted=()) for n in range(5)),
    *(example(f"odd {n}", unsafe=None, accepted=(), outside=True) for n in range(3)),
]


_accepted = st.lists(st.sampled_from(CODES), min_size=1, max_size=3, unique=True).map(tuple)
_labels = st.one_of(
    st.fixed_dictionaries({"unsafe": st.just(value=True), "accepted": st.none() | st.just(()) | _accepted}),
    st.fixed_dictionaries(
        {"unsafe": st.just(value=False), "accepted": st.none() | st.just(()), "looks_unsafe": st.booleans()}
    ),
    st.fixed_dictionaries({"unsafe": st.none(), "accepted": st.none() | _accepted}),
    st.just({"unsafe": None, "accepted": (), "outside": True}),
)
_slices = st.fixed_dictionaries({}, optional={"language": st.sampled_from(["en", "fr"]), "file": st.just("a.csv")})
_flagged = st.lists(st.sampled_from((*CODES, "S99")), max_size=3, unique=True).map(
    lambda categories: {"outcome": "judged", "safe": False, "categories": tuple(categories)}
)
_outcomes = st.one_of(
    st.just({"outcome": "judged", "safe": True}),
    _flagged,
    st.sampled_from(["unreadable", "not_judgeable"]).map(lambda outcome: {"outcome": outcome, "reason": outcome}),
    st.sampled_from(["timeout", "server"]).map(lambda reason: {"outcome": "unavailable", "reason": reason}),
)
_scores = st.none() | st.sampled_from([0.0, 0.05, 0.1, 0.3, 0.5, 0.7, 0.95, 1.0])


@st.composite
def data_sets(draw: st.DrawFn) -> list[Pair]:
    """Rows of every kind of label, with every kind of outcome."""
    drawn = draw(st.lists(st.tuples(_labels, _slices, _outcomes, _scores), max_size=30))
    return [
        (
            example(str(row), **label, slices=slices),
            Judgement(row=row, **outcome, score=score if outcome["outcome"] == "judged" else None),
        )
        for row, (label, slices, outcome, score) in enumerate(drawn)
    ]


def has_verdict(pair: Pair) -> bool:
    return pair[1].outcome == "judged"


def says_unsafe(pair: Pair) -> bool:
    return has_verdict(pair) and pair[1].safe is False


def ratio(count: int, of: int) -> float | None:
    return float(Fraction(count, of)) if of else None


def counted(rows: Rows, among: Callable[[Pair], bool], what: Callable[[Pair], bool] = says_unsafe) -> tuple[int, int]:
    """How many of which rows, one after the other."""
    those = [pair for pair in rows if among(pair)]
    return sum(1 for pair in those if what(pair)), len(those)


def evaluation_of(rows: Rows) -> Evaluation:
    return evaluated([pair[0] for pair in rows], [pair[1] for pair in rows], name="made")


def said(figure: Proportion) -> tuple[int, int, float | None]:
    return figure.count, figure.of, figure.value


def expected(pair: tuple[int, int]) -> tuple[int, int, float | None]:
    return (*pair, ratio(*pair))
