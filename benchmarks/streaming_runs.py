"""What was measured of guarded streams: every run, and what can be said of those of one subject."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from benchmarks.measuring import Spread
from benchmarks.streaming_cases import Case, Seen
from benchmarks.streaming_host import Counts

_MS = 1000


class Run(NamedTuple):
    """One reply: what its consumer saw, and what the host did."""

    seen: Seen
    counts: Counts


Figure = Callable[[Run], float | None]
"""A number that a run has, or None where what it counts did not happen."""


def first_visible(run: Run) -> float | None:
    """Milliseconds until the first text of the reply was seen."""
    return None if run.seen.first is None else (run.seen.first - run.seen.begun) * _MS


def until_refusal(run: Run) -> float | None:
    """Milliseconds until the refusal was seen."""
    return None if run.seen.halted is None else (run.seen.halted - run.seen.begun) * _MS


def total(run: Run) -> float:
    """Milliseconds until the consumer was told that there is no more."""
    return (run.seen.ended - run.seen.begun) * _MS


def prompt_checks(run: Run) -> float:
    """Checks of a text without any of the reply."""
    return run.counts.prompt_checks


def reply_checks(run: Run) -> float:
    """Checks of a text with some of the reply."""
    return run.counts.reply_checks


def model_calls(run: Run) -> float:
    """Replies that the host was asked for, whether or not any of them was made."""
    return run.counts.model_calls


def shown(run: Run) -> float:
    """Tokens of the reply that were seen."""
    return run.seen.shown


def leaked(run: Run) -> float:
    """Characters seen that come at or after the marker."""
    return run.seen.leaked


def paid(run: Run) -> float:
    """Tokens that the host made."""
    return len(run.counts.token_times)


def paid_after_halt(run: Run) -> float | None:
    """Tokens that the host made once the refusal was seen."""
    halted = run.seen.halted
    return None if halted is None else sum(made > halted for made in run.counts.token_times)


@dataclass(slots=True)
class Measured:
    """One case, and every run of it by subject: those of a round were taken next to each other."""

    case: Case
    runs: dict[str, list[Run]] = field(default_factory=dict)

    def spread(self, subject: str, figure: Figure) -> Spread | None:
        """A figure of a subject over all runs, if each of them has it."""
        return _spread([figure(run) for run in self.runs.get(subject, [])])

    def most(self, subject: str, figure: Figure) -> Spread | None:
        """The greatest figure of a subject: for what must never happen, a median would hide it."""
        figures = [figure(run) for run in self.runs.get(subject, [])]
        return _spread([max((one for one in figures if one is not None), default=None)])

    def ratio(self, subject: str, over: str, figure: Figure, plus: float = 0) -> Spread | None:
        """How a subject compares with another, whose figure has something added, in the same round."""
        pairs = zip(self.runs.get(subject, []), self.runs.get(over, []), strict=False)
        return _spread([_ratio(figure(one), figure(other), plus) for one, other in pairs])

    def cut_after_marker(self, run: Run) -> float | None:
        """Milliseconds from the making of the marker to the refusal."""
        marker, made = self.case.marker, run.counts.token_times
        if marker is None or run.seen.halted is None or len(made) <= marker:
            return None
        return (run.seen.halted - made[marker]) * _MS


def over(spread: Spread | None, divisor: float) -> Spread | None:
    """A spread in another unit."""
    return spread and Spread(*(figure / divisor for figure in spread))


def _ratio(one: float | None, other: float | None, plus: float) -> float | None:
    return None if one is None or other is None else one / (other + plus)


def _spread(figures: list[float | None]) -> Spread | None:
    present = [figure for figure in figures if figure is not None]
    return Spread.of(present) if present and len(present) == len(figures) else None
