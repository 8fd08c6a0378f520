"""What this package has promised to cost at most, and whether it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from benchmarks.bulk import GUARD as GUARD_AT_ONCE
from benchmarks.bulk import GUARD_BATCH, LIMIT, MANY, MANY_AIOHTTP, MANY_AS_COMPLETED, MANY_AT_ONCE
from benchmarks.calls import CHUNK_ASYNC, CHUNK_SYNC, PLAIN_ASYNC, PLAIN_AT_ONCE, PLAIN_SYNC
from benchmarks.measuring import Experiment, Spread
from benchmarks.start_up import (
    CONSTRUCTION,
    CORE,
    FRAMEWORK,
    GUARD,
    HALF,
    HTTPX,
    IMPORTS,
    IMPORTS_LLAMA_INDEX,
    LLAMA_INDEX,
    LLAMA_INDEX_HALF,
    MODEL,
)
from benchmarks.subjects import BARE, GUARDED, OPENAI, OPENROUTER, SCOUT, SCOUT_AIOHTTP
from benchmarks.whole_command import COMMAND_UNDER_WAY

_MS = 1000


@dataclass(frozen=True, slots=True)
class Target:
    """One promise.

    Attributes:
        title: the experiment.
        subject: who.
        over: compared with whom, or None for the time itself.
        must: the limit.
        aim: what is hoped for.
        unit: `x` for a ratio, `ms` for processor time (beyond that of `over`).
        at_least: whether more is better.
    """

    title: str
    subject: str
    over: str | None
    must: float | None
    aim: float | None = None
    unit: Literal["x", "ms"] = "x"
    at_least: bool = False

    def measured(self, experiments: Mapping[str, Experiment]) -> Spread | None:
        """The figure of this run, if both who are compared were measured."""
        experiment = experiments.get(self.title)
        if experiment is None:
            return None
        if self.unit == "x" and self.over:
            return experiment.ratio(self.subject, self.over)
        seconds = experiment.cpu(self.subject, self.over)
        return seconds and Spread(*(figure * _MS for figure in seconds))

    def met(self, figure: float) -> str:
        """Whether a figure is within the limit, and within the aim."""
        if self._within(figure, self.aim):
            return "aim met"
        if self.must is None:
            return "aim missed"
        return "met" if self._within(figure, self.must) else "MISSED"

    def _within(self, figure: float, limit: float | None) -> bool:
        if limit is None:
            return False
        return figure >= limit if self.at_least else figure <= limit


TARGETS = (
    *(
        target
        for title in (PLAIN_SYNC, PLAIN_ASYNC)
        for target in (
            Target(title, SCOUT, BARE, must=1.5, aim=1.2),
            Target(title, SCOUT, OPENAI, must=0.50),
            Target(title, SCOUT, OPENROUTER, must=0.07),
        )
    ),
    Target(PLAIN_ASYNC, SCOUT_AIOHTTP, BARE, must=None, aim=0.7),
    Target(PLAIN_AT_ONCE, SCOUT, BARE, must=0.75, aim=0.35),
    *(
        target
        for title in (CHUNK_SYNC, CHUNK_ASYNC)
        for target in (
            Target(title, SCOUT, BARE, must=2.0, aim=1.2),
            Target(title, GUARDED, OPENAI, must=0.30, aim=0.20),
        )
    ),
    *(
        Target(MANY_AT_ONCE, who, LIMIT, must=0.85, aim=0.93, at_least=True)
        for who in (MANY, MANY_AS_COMPLETED, MANY_AIOHTTP, GUARD_AT_ONCE, GUARD_BATCH, COMMAND_UNDER_WAY)
    ),
    Target(IMPORTS, CORE, HTTPX, must=30, unit="ms"),
    Target(IMPORTS, CORE, MODEL, must=30, unit="ms"),
    Target(IMPORTS, HALF, FRAMEWORK, must=1.10, aim=1.04),
    Target(IMPORTS_LLAMA_INDEX, LLAMA_INDEX_HALF, LLAMA_INDEX, must=1.08, aim=1.03),
    Target(CONSTRUCTION, SCOUT, None, must=1, unit="ms"),
    Target(CONSTRUCTION, GUARD, None, must=1, unit="ms"),
)
