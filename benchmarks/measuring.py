"""Samples taken in turns, and what can be said of them: a median and how far the middle half is spread."""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, NamedTuple


class Sample(NamedTuple):
    """What one piece of work took, in seconds: of the processor, and by the clock on the wall."""

    cpu: float
    wall: float


class Spread(NamedTuple):
    """The median of some figures, between their lower and upper quartile."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        """The spread of at least one figure."""
        if len(figures) == 1:
            return cls(*figures * 3)
        return cls(*statistics.quantiles(figures, n=4, method="inclusive"))


Measurement = Callable[[], Awaitable[Mapping[str, Sample]]]
"""Takes one sample of one or more subjects, by name."""


@dataclass(slots=True)
class Experiment:
    """One kind of work, and what it took each subject.

    Attributes:
        title: the kind of work.
        base: whom all are compared with first.
        compares: processor time (less is better) or work done a second (more is better).
        samples: by subject, one a round: those of a round were taken next to each other.
        missing: the package that a subject lacks, by subject.
    """

    title: str
    base: str
    compares: Literal["cpu", "rate"] = "cpu"
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    async def run(self, measurements: Sequence[Measurement], rounds: int) -> None:
        """Measure everybody once a round, beginning with another one each time."""
        for number in range(rounds):
            first = number % len(measurements)
            for measure in (*measurements[first:], *measurements[:first]):
                for subject, sample in (await measure()).items():
                    self.samples.setdefault(subject, []).append(sample)

    def ratio(self, subject: str, over: str) -> Spread | None:
        """How a subject compares with another in the same round, if both were measured."""
        pairs = list(zip(self.samples.get(subject, []), self.samples.get(over, []), strict=False))
        if not pairs:
            return None
        if self.compares == "cpu":
            return Spread.of([one.cpu / other.cpu for one, other in pairs])
        return Spread.of([other.wall / one.wall for one, other in pairs])

    def cpu(self, subject: str, beyond: str | None = None) -> Spread | None:
        """The processor seconds of a subject, or those it took beyond another's of the same round."""
        samples = self.samples.get(subject)
        if not samples:
            return None
        others = self.samples[beyond] if beyond else [Sample(0, 0)] * len(samples)
        return Spread.of([one.cpu - other.cpu for one, other in zip(samples, others, strict=True)])


def timed(work: Callable[[], object], times: int) -> Sample:
    """What a piece of work takes, done so many times one after the other."""
    with _stopwatch(times) as samples:
        for _ in range(times):
            work()
    return samples[0]


async def atimed(work: Callable[[], Awaitable[object]], times: int, at_once: int = 1) -> Sample:
    """What a piece of work takes, done so many times, `at_once` of them at any moment."""
    waiting = iter(range(times))

    async def worker() -> None:
        for _ in waiting:
            await work()

    with _stopwatch(times) as samples:
        await asyncio.gather(*(worker() for _ in range(at_once)))
    return samples[0]


@contextmanager
def _stopwatch(pieces: int) -> Iterator[list[Sample]]:
    """Put the sample of one of so many pieces of work into the list; earlier garbage is not counted."""
    gc.collect()
    samples: list[Sample] = []
    cpu, wall = time.process_time(), time.perf_counter()
    yield samples
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    samples.append(Sample(cpu / pieces, wall / pieces))
