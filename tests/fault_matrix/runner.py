"""Runs one case where nothing can hold the others up, and counts what it left behind."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from fault_matrix.failures import Failure
from fault_matrix.marks import OF_A_MODEL, Script
from fault_matrix.points import Point
from fault_matrix.stand import PATIENT, Hosts, Stand
from fault_matrix.watch import Seen, Watch
from llama_guard_core.errors import GuardUnavailable, LlamaGuardError

HANG = 4.0
"""Seconds after which a case hangs; the timeouts in it are of 0.2 seconds."""
SETTLED = 0.05
"""Seconds that tasks may take to end once their caller has its answer."""
_FREED = 2.0
"""Seconds until connections and threads that were let go are gone on this machine at its busiest."""

_numbers = itertools.count(1)


@dataclass
class Case:
    """One failure at one attach point, asked in one way."""

    point: Point
    way: str
    stand: Stand
    failure: Failure | None
    seen: Seen = field(default_factory=Seen)
    must_raise: bool = False

    @property
    def limit(self) -> float:
        """The seconds after which it hangs; what takes many bytes takes its time."""
        return 4 * HANG if self.failure and self.failure.is_heavy else HANG

    def run(self, watch: Watch) -> Counter[str]:
        """Run it; gives the counts, each of which but `cases` has to be 0."""
        stand, seen = self.stand, self.seen
        watch.seen = seen
        stand.forget()
        stand.hosts.begin(Script(next(_numbers), self.point.stage), self.failure)
        threads = set(threading.enumerate())
        counts: Counter[str] = Counter(cases=1)
        body = self._async_body if self.way.startswith("async") else self._sync_body
        thread = threading.Thread(target=body, args=(counts,), daemon=True)
        begun = time.monotonic()
        thread.start()
        thread.join(self.limit + 1)
        if thread.is_alive() or time.monotonic() - begun > self.limit:
            counts["hangs"] = 1
            stand.hosts.hang_up()
            thread.join(HANG)
        counts["connections"] += not stand.hosts.are_let_go(within=_FREED)
        counts["threads"] += len(_left_after(threads))
        counts["untyped"] += not self._is_typed()
        counts["shown"] += bool(self._shown())
        return counts

    def problem(self, counts: Counter[str]) -> str:
        """What went wrong, in a line; nothing if nothing did."""
        wrong = {name: count for name, count in counts.items() if count and name != "cases"}
        if not wrong:
            return ""
        told = f" in {sorted(self._shown())}" if counts["shown"] else ""
        got = repr(self.seen.error) if self.seen.error else self.seen.said
        return f"{self.point} [{self.way}] {self.failure}: {wrong}{told}; got {got[:300]}"

    def _sync_body(self, counts: Counter[str]) -> None:
        try:
            self.point.ways[self.way](self.stand, self.seen)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is looked at
            self.seen.fail(error)
        self.stand.close()

    def _async_body(self, counts: Counter[str]) -> None:
        asyncio.run(self._in_loop(counts))

    async def _in_loop(self, counts: Counter[str]) -> None:
        try:
            await asyncio.wait_for(self.point.ways[self.way](self.stand, self.seen), self.limit)
        except BaseException as error:  # noqa: BLE001 - as above
            self.seen.fail(error)
        counts["tasks"] += len(await tasks_left())
        await self.stand.aclose()
        self.stand.close()

    def _shown(self) -> set[str]:
        hosts, seen = self.stand.hosts, self.seen
        # A prompt is shown if the model was called with it, the rest if anybody but the guard has it.
        if self.point.stage in {"prompt", "tool result", "document"}:
            seen.note("model", hosts.told_to_models)
        if self.point.stage in {"prompt", "tool call", "calling model"}:
            seen.note("tool", *self.stand.ran)
        if hosts.elsewhere.connections_made:
            seen.marked.add("another host")
        return seen.marked - self.point.unseen_by_right

    def _is_typed(self) -> bool:
        error, failure = self.seen.error, self.failure
        if error is not None:
            is_expected = isinstance(error, GuardUnavailable if self.must_raise else LlamaGuardError)
            return is_expected or (isinstance(error, LlamaGuardError) and bool(failure and failure.may_be_read))
        if failure is None or self.point.stage in OF_A_MODEL:
            return True
        if self.must_raise and not failure.may_be_read:
            return not self.point.raises
        return self.point.is_refused(self.seen)


def warm_up(point: Point, hosts: Hosts, watch: Watch) -> None:
    """Let frameworks load what they load at the first call."""
    for way in point.ways:
        Case(point, way, Stand(hosts, point.guard, stage=point.stage, timeout=PATIENT), None).run(watch)
    watch.collected()


async def tasks_left(within: float = SETTLED) -> set[asyncio.Task[Any]]:
    """The tasks that still run although their caller has its answer."""
    await asyncio.sleep(0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        _, left = await asyncio.wait(left, timeout=within)
    return left


def _left_after(before: set[threading.Thread]) -> set[threading.Thread]:
    deadline = time.monotonic() + _FREED
    while left := set(threading.enumerate()) - before:
        if time.monotonic() > deadline:
            return left
        time.sleep(0.001)
    return set()
