"""A run over many rows: what is asked, what is asked again, what is written down, and when it stops.

A row is done once it is written down. What a host could not do is asked again when the rest is done, and only then
written down as unavailable; where nothing can be had from the hosts at all, the run stops, and its rows wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from llama_guard_core.bulk.checks import Checked
from llama_guard_core.bulk.journal import digest_of
from llama_guard_core.bulk.judgements import Judgement
from llama_guard_core.bulk.tally import Tally
from llama_guard_core.drive import cancelled
from llama_guard_core.errors import ConfigurationError, GuardUnavailable
from llama_guard_core.guardrail.screening import Check
from llama_guard_core.guardrail.verdict import Verdict

Ended = Literal["complete", "interrupted", "cost_limit", "host_failed"]
"""Why a run ended."""

# For the user to mend; every further row would fail alike.
STOPS_THE_RUN = ("authentication", "payment", "daily_limit")
# The host's, and perhaps not the row's.
_MAY_PASS = (
    "rate_limit",
    "server",
    "connection",
    "timeout",
    "cut",
    "empty",
    "malformed",
    "permission",
    "not_found",
)
_TRIES = 3  # each with the repetitions of a check
_FAILURES_IN_A_ROW = 20


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the input.

    Attributes:
        index: its place, from 0.
        question: what is to be judged, or why that cannot be told.
        kept: columns that are carried over.
    """

    index: int
    question: Check | GuardUnavailable = field(repr=False)
    kept: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def digest(self) -> int:
        """What tells its text from others."""
        return digest_of(self.question if isinstance(self.question, Check) else None)


class Written(Protocol):
    """Where rows are written down."""

    @property
    def tally(self) -> Tally:
        """What came of the rows that are done."""
        ...

    def has(self, row: int, digest: int) -> bool:
        """Whether a row is done."""
        ...

    def put(self, digest: int, judgement: Judgement) -> None:
        """Write a row down."""
        ...


Ask = Callable[[AsyncIterator[Check]], AsyncGenerator[Checked, None]]
"""Puts questions, and tells what came of each as it comes."""


class Moderation:
    """One run over the rows of an input.

    Args:
        rows: the rows, in their order; read as they are needed.
        written: where they are written down. Rows that are done are not asked about.
        tries: how often a row is asked about, where hosts fail.
        concurrency: how many are under way at once.
        limit_cost: US dollars, of all runs over this input together, after which no more rows are begun. Needs a
            host that says what it costs. What is under way is finished, and counted on at the average so far.
        on_done: called for each row that is done.

    Attributes:
        ended: why it ended.
        failure: what the hosts failed with, where that ended it.
    """

    def __init__(
        self,
        rows: Iterable[Row] | AsyncIterable[Row],
        written: Written,
        *,
        tries: int = _TRIES,
        concurrency: int = 32,
        limit_cost: float | None = None,
        on_done: Callable[[Judgement], None] = lambda _: None,
    ) -> None:
        self.ended: Ended = "complete"
        self.failure: GuardUnavailable | None = None
        self._rows = rows
        self._written = written
        self._tries = tries
        self._failures_at_most = max(_FAILURES_IN_A_ROW, 2 * concurrency)
        self._limit_cost = limit_cost
        self._on_done = on_done
        self._asked: dict[int, tuple[Row, int]] = {}
        self._again: deque[tuple[Row, int]] = deque()
        self._fed = 0
        self._failures_in_a_row = 0
        self._changed, self._stopped = asyncio.Event(), asyncio.Event()

    async def run(self, ask: Ask) -> Ended:
        """Ask about every row that is not done, and write down what comes.

        Raises:
            ConfigurationError: if a setting or the input is wrong.
        """
        outcomes = ask(self._questions())
        try:
            async for checked in outcomes:
                row, tried = self._asked.pop(checked.index)
                self._take(row, tried, checked.outcome)
                self._changed.set()
        finally:
            await outcomes.aclose()
        return self.ended

    def stop(self, why: Ended = "interrupted") -> None:
        """Begin no more rows. Those under way are finished."""
        if self.ended == "complete":
            self.ended = why
        self._changed.set()
        self._stopped.set()

    async def _questions(self) -> AsyncGenerator[Check, None]:
        async for row in _each(self._rows, self._stopped):
            if self.ended != "complete":
                return
            if self._written.has(row.index, row.digest):
                continue
            if isinstance(row.question, GuardUnavailable):
                self._put(row, row.question)
                continue
            async for question in self._in_time(row, 1):
                yield question
        while self._again or self._asked:
            if self._again:
                async for question in self._in_time(*self._again.popleft()):
                    yield question
            else:
                await self._change()
            if self.ended != "complete":
                return

    async def _in_time(self, row: Row, tried: int) -> AsyncGenerator[Check, None]:
        """The question of a row, once it may be asked; none if the run is to end before."""
        while self.ended == "complete" and not self._is_affordable():
            if not self._asked:
                self.stop("cost_limit")
            else:
                await self._change()
        if self.ended == "complete" and isinstance(row.question, Check):
            self._asked[self._fed] = row, tried
            self._fed += 1
            yield row.question

    def _is_affordable(self) -> bool:
        """Whether one more may be begun, if each of those under way costs what those before did."""
        if self._limit_cost is None:
            return True
        tally = self._written.tally
        if not tally.priced:
            return not self._asked  # the first one tells what they cost
        return tally.cost + (len(self._asked) + 1) * tally.cost / tally.priced <= self._limit_cost

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _take(self, row: Row, tried: int, outcome: Verdict | GuardUnavailable) -> None:
        if isinstance(outcome, Verdict):
            self._failures_in_a_row = 0
            self._put(row, outcome)
            if self._limit_cost is not None and outcome.usage and outcome.usage.cost is None and not outcome.cached:
                msg = "limit_cost: this host does not say what a check costs; leave the limit out"
                raise ConfigurationError(msg)
        elif outcome.reason in STOPS_THE_RUN:
            self._give_up(outcome)
        elif outcome.reason in _MAY_PASS:
            self._failures_in_a_row += 1
            if self._failures_in_a_row >= self._failures_at_most:
                self._give_up(outcome)
            elif tried < self._tries or self.ended != "complete":
                self._again.append((row, tried + 1))
            else:
                self._put(row, outcome)
        else:
            self._put(row, outcome)

    def _give_up(self, outcome: GuardUnavailable) -> None:
        self.failure = self.failure or outcome
        self.stop("host_failed")

    def _put(self, row: Row, outcome: Verdict | GuardUnavailable) -> None:
        self._on_done(put_down(self._written, row, outcome))


def put_down(written: Written, row: Row, outcome: Verdict | GuardUnavailable) -> Judgement:
    """Write a row down with what came of it."""
    stage = row.question.stage if isinstance(row.question, Check) else None
    judgement = Judgement.of(row.index, outcome, stage=stage, kept=row.kept)
    written.put(row.digest, judgement)
    return judgement


async def _each(rows: Iterable[Row] | AsyncIterable[Row], stopped: asyncio.Event) -> AsyncGenerator[Row, None]:
    if isinstance(rows, AsyncIterable):
        async for row in _until(stopped, rows):
            yield row
    else:
        for row in rows:
            yield row


async def _until(stopped: asyncio.Event, rows: AsyncIterable[Row]) -> AsyncGenerator[Row, None]:
    """The rows that come before it is stopped, which does not wait for the next: it may never come."""
    following = aiter(rows)
    coming: asyncio.Task[Any]
    coming = stop = asyncio.ensure_future(stopped.wait())
    try:
        while True:
            coming = asyncio.ensure_future(anext(following, None))
            await asyncio.wait((coming, stop), return_when=asyncio.FIRST_COMPLETED)
            if stop.done() or (row := coming.result()) is None:
                return
            yield row
    finally:
        await cancelled((coming, stop))
