"""Two hundred checks at once through one guard, from threads and from two event loops: each caller has its own verdict.

`benchmarks/load.py` does the same with a thousand, in both frameworks, and counts memory and processor time.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from fake_provider import FakeProvider

from llama_guard_core import Host, LlamaGuard, Pace, Verdict

THREADS, TASKS = 80, 60
GROUPS = {"threads": THREADS, "loop1": TASKS, "loop2": TASKS}


def text_of(group: str, at: int) -> str:
    """What a caller asks about; every tenth asks what the one before asks."""
    return f"{group} {at - 1 if at % 10 == 9 else at}"


def right_answer(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return "safe" if digest[0] % 2 else f"unsafe\nS{digest[1] % 14 + 1}"


class Guard:
    """Judges by a digest of the text, answers nobody before so many are there, and counts who is there at once."""

    def __init__(self, hold: int) -> None:
        self._missing = hold
        self._all_there = threading.Event()
        self._lock = threading.Lock()
        self._inside: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.came: list[float] = []
        if not hold:
            self._all_there.set()

    def __call__(self, _: str, text: str) -> str:
        group = text.split(maxsplit=1)[0]
        self._count({group: 1, "all": 1})
        assert self._all_there.wait(30)
        self._count({group: -1, "all": -1})
        return right_answer(text)

    def _count(self, change: dict[str, int]) -> None:
        with self._lock:
            self._inside.update(change)
            self.most |= self._inside
            if change["all"] > 0:
                self.came.append(time.monotonic())
                self._missing -= 1
                if self._missing <= 0:
                    self._all_there.set()


class Callers:
    """Everybody who calls one guard, at once."""

    def __init__(self, guard: LlamaGuard) -> None:
        self._guard = guard
        self._begun = threading.Barrier(THREADS + 2, timeout=30)
        self.verdicts: dict[tuple[str, int], Verdict] = {}
        self.tasks_left = 0

    def call(self) -> None:
        with ThreadPoolExecutor(THREADS + 2) as threads, self._guard:
            running = [threads.submit(asyncio.run, self._tasks(group)) for group in ("loop1", "loop2")]
            running += [threads.submit(self._check, at) for at in range(THREADS)]
            for each in running:
                each.result(60)

    def wrong(self) -> list[tuple[str, int]]:
        """Who has not the verdict on its own text."""
        return [who for who, verdict in self.verdicts.items() if verdict.answer.strip() != right_answer(text_of(*who))]

    def _check(self, at: int) -> None:
        self._begun.wait()
        self.verdicts["threads", at] = self._guard.check(text_of("threads", at))

    async def _tasks(self, group: str) -> None:
        async def check(at: int) -> None:
            self.verdicts[group, at] = await self._guard.acheck(text_of(group, at))

        self._begun.wait()
        async with self._guard:
            await asyncio.gather(*(check(at) for at in range(TASKS)))
        self.tasks_left += len(asyncio.all_tasks()) - 1


class RecordedPace(Pace):
    """Writes down when each turn was."""

    def __init__(self, requests: float, burst: int) -> None:
        super().__init__(requests, burst=burst, clock=self._read)
        self.turns: list[float] = []

    def turn(self, within: float | None = None) -> float | None:
        wait = super().turn(within)
        assert wait is not None
        self.turns.append(self._asked.at + wait)
        return wait

    _asked = threading.local()

    def _read(self) -> float:
        self._asked.at = time.monotonic()
        return self._asked.at


@contextmanager
def everybody_called(judge: Guard, pace: Pace | None = None, limit: int | None = None) -> Iterator[FakeProvider]:
    """All of it, and then what is true in any case: no call lost, no verdict mixed up, nothing left."""
    threads = threading.active_count()
    provider = FakeProvider(guard=judge)
    with provider.serve() as base_url:
        host = Host(
            name="h",
            base_url=base_url,
            api_key="k",
            guard_model="meta-llama/llama-guard-4-12b",
            max_connections=limit,
            pace=pace,
            timeout=30.0,
        )
        callers = Callers(LlamaGuard(host=host))
        callers.call()
        assert sum(GROUPS.values()) == len(callers.verdicts)
        assert [] == callers.wrong()
        assert provider.wait_for_connections(0)
        yield provider
    assert 0 == callers.tasks_left
    assert threads == threading.active_count()
    assert [] == provider.violations


def _questions() -> dict[str, int]:
    return {group: len({text_of(group, at) for at in range(size)}) for group, size in GROUPS.items()}


def test_each_of_two_hundred_callers_has_the_verdict_on_its_own_text() -> None:
    """Those who ask the same beside each other share a question; all questions are at the host at once."""
    questions = _questions()
    judge = Guard(hold=sum(questions.values()))
    with everybody_called(judge) as provider:
        assert {**questions, "all": sum(questions.values())} == judge.most
        assert sum(questions.values()) == len(provider.guard_questions)
        assert provider.connections_made == len(provider.guard_questions)


@pytest.mark.parametrize("limit", [1, 4])
def test_each_loop_and_all_threads_together_fill_their_limit_and_no_more(limit: int) -> None:
    judge = Guard(hold=limit * len(GROUPS))
    with everybody_called(judge, limit=limit) as provider:
        assert {**dict.fromkeys(GROUPS, limit), "all": limit * len(GROUPS)} == judge.most
        assert limit * len(GROUPS) >= provider.connections_made


def test_each_request_has_a_turn_and_comes_after_it() -> None:
    pace, judge = RecordedPace(1000, burst=10), Guard(hold=0)
    with everybody_called(judge, pace):
        assert len(pace.turns) == len(judge.came) == sum(_questions().values())
        assert all(turn < came for turn, came in zip(sorted(pace.turns), sorted(judge.came), strict=True))
