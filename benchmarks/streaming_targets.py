"""What guarded streams have promised to cost at most, and whether they do."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from benchmarks.measuring import Spread
from benchmarks.streaming_cases import BAD, FAST, HARMFUL, HARMLESS, LATE
from benchmarks.streaming_runs import (
    Measured,
    first_visible,
    leaked,
    over,
    paid_after_halt,
    reply_checks,
    total,
    until_refusal,
)
from benchmarks.streaming_subjects import (
    UNGUARDED,
    WHOLE,
    WHOLE_BESIDE,
    WINDOW,
    WINDOW_BESIDE,
    WINDOW_LLAMA_INDEX,
    WINDOW_SYNC,
)

_BY_WINDOW = (WINDOW, WINDOW_BESIDE, WINDOW_LLAMA_INDEX)
_WITHHOLDING = (*_BY_WINDOW, WINDOW_SYNC, WHOLE, WHOLE_BESIDE)
_FEW_TOKENS = 2
"""What a host may make while the news that its client is gone is on the way."""

Figure = Callable[[Measured, str], Spread | None]


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise.

    Attributes:
        what: what is promised.
        case: the case it is measured in.
        subjects: who has promised it.
        base: what the figure is compared with.
        figure: the figure of a subject in this run.
        must: the limit, where needed from the case.
        aim: what is hoped for.
        unit: of the figure and its limits.
    """

    what: str
    case: str
    subjects: tuple[str, ...]
    base: str
    figure: Figure
    must: float | Callable[[Measured], float]
    aim: float | None = None
    unit: str = "x"

    def results(self, measured: Mapping[str, Measured]) -> Iterator[tuple[str, Spread | None, float, str]]:
        """For each subject: who it is, its figure, the limit, and whether that was met."""
        case = measured.get(self.case)
        if case is None:
            return
        limit = self.must(case) if callable(self.must) else self.must
        for subject in self.subjects:
            figure = self.figure(case, subject)
            yield subject, figure, limit, self._met(figure.median, limit) if figure else "not measured"

    def _met(self, figure: float, limit: float) -> str:
        if self.aim is not None and figure <= self.aim:
            return "aim met"
        return "met" if figure <= limit else "MISSED"


def _total_over_unguarded(case: Measured, subject: str) -> Spread | None:
    return case.ratio(subject, UNGUARDED, total)


def _total_over_unguarded_and_a_check(case: Measured, subject: str) -> Spread | None:
    return case.ratio(subject, UNGUARDED, total, plus=case.case.guard_ms)


def _first_visible(case: Measured, subject: str) -> Spread | None:
    return over(case.spread(subject, first_visible), case.case.first_token_ms + case.case.guard_ms)


def _leaked(case: Measured, subject: str) -> Spread | None:
    return case.most(subject, leaked)


def _cut(case: Measured, subject: str) -> Spread | None:
    return over(case.spread(subject, case.cut_after_marker), case.case.guard_ms)


def _paid_after_halt(case: Measured, subject: str) -> Spread | None:
    return case.most(subject, paid_after_halt)


def _reply_checks(case: Measured, subject: str) -> Spread | None:
    return case.most(subject, reply_checks)


def _most_reply_checks(case: Measured) -> float:
    return 4 + math.log2(case.case.tokens)


def _until_refusal(case: Measured, subject: str) -> Spread | None:
    return over(case.spread(subject, until_refusal), case.case.guard_ms)


PROMISES = (
    Promise("total", HARMLESS, _BY_WINDOW, "unguarded", _total_over_unguarded, 1.07, 1.05),
    Promise("total", FAST, _BY_WINDOW, "unguarded + guard", _total_over_unguarded_and_a_check, 1.08, 1.05),
    Promise("first visible", HARMLESS, _BY_WINDOW, "first token + guard", _first_visible, 1.35, 1.05),
    *(Promise("leaked, at most", case, _WITHHOLDING, "-", _leaked, 0, unit="characters") for case in (BAD, LATE)),
    Promise("cut after the marker", BAD, (*_BY_WINDOW, WINDOW_SYNC), "guard", _cut, 2.5, 1.5),
    Promise("paid after the halt, at most", BAD, _WITHHOLDING, "-", _paid_after_halt, _FEW_TOKENS, unit="tokens"),
    *(
        Promise("checks of the reply, at most", case, _BY_WINDOW, "-", _reply_checks, _most_reply_checks, unit="checks")
        for case in (HARMLESS, FAST)
    ),
    Promise("refusal", HARMFUL, _WITHHOLDING, "guard", _until_refusal, 1.1, 1.05),
)
