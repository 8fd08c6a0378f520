"""What is tried under load: some rounds under the same settings, and what they leave behind."""

from __future__ import annotations

import gc
import resource
import sys
import threading
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.load_callers import Callers, Tally
from benchmarks.load_host import GUARD, MODEL, Counts, LoadHost
from llama_guard_core import Host, Pace, Timeouts

_PATIENCE = 60.0  # seconds: what a loaded machine takes is not what is looked at
_SETTLES_SECONDS = 5.0


class RecordedPace(Pace):
    """A pace that writes down which turns it gave.

    Attributes:
        rate: requests a second.
        burst: how many at once after a pause.
        turns: when each turn was, in seconds of a clock that all processes of a machine share.
    """

    def __init__(self, rate: float, burst: int) -> None:
        super().__init__(rate, burst=burst, clock=self._read)
        self.rate = rate
        self.burst = burst
        self.turns: array[float] = array("d")
        self._asked = threading.local()

    def turn(self, within: float | None = None) -> float | None:
        """Take a turn."""
        if (wait := super().turn(within)) is not None:
            self.turns.append(self._asked.at + wait)
        return wait

    def _read(self) -> float:
        self._asked.at = time.monotonic()
        return float(self._asked.at)


@dataclass(slots=True)
class Round:
    """One round of calls.

    Attributes:
        tally: what came of them.
        counts: what the host saw.
        cpu: seconds of this process.
        wall: seconds by the clock.
        memory: bytes that this process has resident afterwards.
        blocks: pieces of memory that Python holds afterwards.
    """

    tally: Tally
    counts: Counts
    cpu: float
    wall: float
    memory: int
    blocks: int


@dataclass(slots=True)
class Case:
    """Some rounds under the same settings, and what they left.

    Attributes:
        name: what it is about.
        most: requests at once that each client may send; None for no limit.
        pace: what hands out the turns; None for no limit.
        held: questions to the guard of which the host answers none before all are there.
        cancels: whether tasks are cancelled.
        rounds: those that count.
        warm_up: how many went before them.
        connections_left: at the host, once all is closed.
        threads_left: in this process.
        tasks_left: in its event loops.
    """

    name: str
    most: int | None = None
    pace: RecordedPace | None = None
    held: int = 0
    cancels: bool = False
    rounds: list[Round] = field(default_factory=list)
    warm_up: int = 0
    connections_left: int = 0
    threads_left: int = 0
    tasks_left: int = 0

    def run(self, host: LoadHost, *, rounds: int = 1, warm_up: int = 0) -> None:
        """Call, close, and look at what is left."""
        self.warm_up, threads = warm_up, threading.active_count()
        callers = Callers(
            Host(
                name="local",
                base_url=host.base_url,
                guard_model=GUARD,
                chat_model=MODEL,
                timeout=Timeouts(_PATIENCE, _PATIENCE, _PATIENCE),
                max_connections=self.most,
                pace=self.pace,
            )
        )
        if warm_up:
            host.begin()
            callers.fill_caches()
        for number in range(warm_up + rounds):
            done = self._round(callers, host, number)
            if number >= warm_up:
                self.rounds.append(done)
        callers.close()
        self.tasks_left = callers.tasks_left
        self.threads_left = _settled(lambda: threading.active_count() - threads)
        self.connections_left = _settled(lambda: host.counts().connections.now)

    def _round(self, callers: Callers, host: LoadHost, number: int) -> Round:
        host.begin(hold=self.held)
        cpu, wall = time.process_time(), time.perf_counter()
        tally = callers.round(number, cancels=self.cancels)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        counts = host.counts()
        gc.collect()
        return Round(tally, counts, cpu, wall, _resident(), sys.getallocatedblocks())


def beyond_rate(times: Sequence[float], rate: float) -> float:
    """How many more there were in any stretch of time than `rate` times its seconds: at most the burst."""
    before, most = float("inf"), 0.0
    for number, at in enumerate(sorted(times)):
        before = min(before, number - rate * at)
        most = max(most, number + 1 - rate * at - before)
    return most


def most_within(times: Sequence[float], seconds: float) -> int:
    """How many there were at most in any stretch of so many seconds."""
    ordered, first, most = sorted(times), 0, 0
    for number, at in enumerate(ordered):
        while ordered[first] < at - seconds:
            first += 1
        most = max(most, number + 1 - first)
    return most


def _settled(count: Callable[[], int]) -> int:
    """What is left after some seconds at most."""
    until = time.monotonic() + _SETTLES_SECONDS
    while (left := count()) and time.monotonic() < until:
        time.sleep(0.05)
    return left


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
