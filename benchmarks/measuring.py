"""Samples taken in turns, and what can be said of them: a median and how far the middle half is spread."""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple


class Sample(NamedTuple):
    """What one piece of work took.

    Attributes:
        cpu: seconds of the processor.
        wall: seconds by the clock on the wall.
        memory: the most bytes that its process had resident, where it had a process of its own.
    """

    cpu: float
    wall: float
    memory: float | None = None


class Spread(NamedTuple):
    """The median of some figures, between their lower and upper quartile."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        """The spread of at least one figure."""
        low, median, high = statistics.quantiles(
            [*figures] * 2 if len(figures) == 1 else figures, n=4, method="inclusive"
        )
        return cls(low, median, high)


Work = Callable[[], Awaitable[object]]
Measurement = Callable[[], Awaitable[Mapping[str, Sample]]]
"""Takes one sample of one or more subjects, by name."""


@dataclass(slots=True)
class Experiment:
    """One kind of work, and what it took each subject.

    Attributes:
        title: the kind of work.
        base: whom all are compared with first.
        compares: processor time (less is better) or the work done in a second (more is better).
        samples: by subject, one a round: those of a round were taken next to each other.
        missing: the package that a subject lacks, by subject.
    """

    title: str
    base: str
    compares: Literal["cpu", "rate"] = "cpu"
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    async def run(self, measurements: Sequence[Measurement], rounds: int) -> None:
        """Measure everybody once a round, beginning with another one each time; the first time does not count."""
        for measure in measurements:
            await measure()
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

    def wall(self, subject: str) -> Spread | None:
        """The seconds by the clock that a subject took."""
        samples = self.samples.get(subject)
        return Spread.of([sample.wall for sample in samples]) if samples else None

    def memory(self, subject: str) -> Spread | None:
        """The bytes that a subject's process had resident, where that was measured."""
        measured = [sample.memory for sample in self.samples.get(subject, []) if sample.memory is not None]
        return Spread.of(measured) if measured else None


def measurement(subject: str, work: Work, *, times: int = 1, at_once: int = 1, pieces: int = 1) -> Measurement:
    """A measurement of what one piece of some work takes.

    Args:
        subject: who works.
        work: what is done.
        times: how often it is done.
        at_once: how often at any moment.
        pieces: how many pieces each time counts for.
    """

    async def measure() -> Mapping[str, Sample]:
        gc.collect()  # what others left behind is not this subject's
        cpu, wall = time.process_time(), time.perf_counter()
        await repeated(work, times, at_once)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        return {subject: Sample(cpu / times / pieces, wall / times / pieces)}

    return measure


async def repeated(work: Work, times: int, at_once: int) -> None:
    """Do something so many times, `at_once` of them at any moment."""
    waiting = iter(range(times))

    async def worker() -> None:
        for _ in waiting:
            await work()

    await asyncio.gather(*(worker() for _ in range(at_once)))
