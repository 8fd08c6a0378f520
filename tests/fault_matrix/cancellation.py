"""Callers that leave while a verdict is awaited: their tasks are ended, or they go in the middle of a stream."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fault_matrix import body_failures, wire_failures
from fault_matrix.leaving_tasks import ENDED_AGAIN, TASK_ENDS, Ends, Moment
from fault_matrix.marks import OF_A_MODEL, UNSAFE_MARK
from fault_matrix.points import Point
from fault_matrix.runner import HANG, Case, tasks_left, warm_up
from fault_matrix.stand import PATIENT, Hosts, Stand
from fault_matrix.tally import Tally
from fault_matrix.watch import Enough, Seen, Watch
from llama_guard_core.errors import LlamaGuardError

STALLS = tuple(each for each in wire_failures.FAILURES if each.name in {"stall before_headers", "stall in_body"})
_FAILS_AT_ONCE = next(each for each in body_failures.FAILURES if each.name == "status 503")
_BRIEF = 0.5
"""Seconds a check may take where nobody can interrupt it; where somebody can, it would take `PATIENT` ones."""
_FIRST_WORD = "Here"
_SHOWS_NOTHING_BEFORE = ("guard as a Runnable", "chain | guard.output()")


class Impatient(Seen):
    """Somebody who leaves a stream at its first words."""

    def note(self, channel: str, *things: Any) -> None:
        """Take a piece, and leave."""
        super().note(channel, *things)
        if channel in {"given", "stream"} and _FIRST_WORD in repr(things):
            raise Enough


class Closing(Impatient):
    """Somebody who holds the stream, and closes it when it was left."""

    def __init__(self) -> None:
        super().__init__()
        self._streams: list[Any] = []

    def reading(self, stream: Any) -> Any:
        """Hold it."""
        self._streams.append(stream)
        return stream

    def close(self) -> None:
        """Close sync ones."""
        for stream in self._streams:
            stream.close()

    async def aclose(self) -> None:
        """Close async ones."""
        for stream in self._streams:
            await stream.aclose()


LEAVES = {"left a stream": Impatient, "closed a stream": Closing}


@dataclass
class Leaving(Case):
    """A case whose caller leaves. What follows on the same guard has to get its own verdict.

    Attributes:
        ends: how, and when, the caller's task is ended; of a caller that leaves by itself, `None`.
    """

    ends: tuple[Ends, Moment] | None = None

    async def _in_loop(self, counts: Counter[str]) -> None:
        if self.ends is None:
            await self._leave()
        else:
            await self._be_ended(*self.ends, counts)
        counts["tasks"] += len(await tasks_left(within=4 * _BRIEF))
        if self.ends is not None:
            await self._ask_again(counts)
        try:
            verdict = await self.stand.guard.acheck(f"About {UNSAFE_MARK}{self.stand.script.number}.")
            counts["shown"] += verdict.safe
        except LlamaGuardError as error:
            self.seen.fail(error)
            counts["untyped"] += 1
        await self.stand.aclose()
        self.stand.close()

    def _sync_body(self, counts: Counter[str]) -> None:
        with suppress(Enough):
            self.point.ways[self.way](self.stand, self.seen)
        if isinstance(self.seen, Closing):
            self.seen.close()
        try:
            counts["shown"] += self.stand.guard.check(f"About {UNSAFE_MARK}{self.stand.script.number}.").safe
        except LlamaGuardError as error:
            self.seen.fail(error)
            counts["untyped"] += 1
        self.stand.close()

    async def _leave(self) -> None:
        with suppress(Enough):
            await asyncio.wait_for(self.point.ways[self.way](self.stand, self.seen), HANG)
        if isinstance(self.seen, Closing):
            await asyncio.wait_for(self.seen.aclose(), HANG)

    async def _be_ended(self, ends: Ends, moment: Moment, counts: Counter[str]) -> None:
        going = self.point.ways[self.way](self.stand, self.seen)
        task = await ends(going, asyncio.wait_for(moment(self.stand.hosts), HANG))
        done, _ = await asyncio.wait({task}, timeout=HANG)
        counts["hangs"] += not done
        if not done or task.cancelled():
            return
        if error := task.exception():
            self.seen.fail(error)
        counts["untyped"] += not isinstance(error, TimeoutError) and not self.point.finishes_alone

    async def _ask_again(self, counts: Counter[str]) -> None:
        """Ask the same again, of a graph on the same thread: nobody has judged it, and nobody can now."""
        again = Seen()
        self.stand.hosts.failure = _FAILS_AT_ONCE
        try:
            await asyncio.wait_for(self.point.ways[self.way](self.stand, again), HANG)
            counts["untyped"] += not self.point.is_refused(again)
        except LlamaGuardError as error:
            again.fail(error)
        self.seen.marked |= again.marked
        counts["tasks"] += len(await tasks_left())

    def _is_typed(self) -> bool:
        return True  # counted above: who is cancelled hears of that alone


def _cases(point: Point, hosts: Hosts) -> Iterator[tuple[str, Leaving]]:
    for failure in STALLS:
        for way in point.ways:
            # What runs in another thread is waited for: nobody can interrupt a sync call.
            timeout = PATIENT if way.startswith("async") and not point.finishes_alone else _BRIEF
            if way.startswith("async"):
                for name, ends in TASK_ENDS.items():
                    seconds = _BRIEF if name in ENDED_AGAIN and point.is_graph else timeout
                    yield name, Leaving(point, way, _stand(point, hosts, seconds), failure, ends=ends)
            if "interrupt" in point.name:
                yield "interrupted", Leaving(point, way, _stand(point, hosts, _BRIEF), failure)
            if way.endswith("streamed") and point.stage == "reply" and point.name not in _SHOWS_NOTHING_BEFORE:
                for name, impatient in LEAVES.items():
                    yield name, Leaving(point, way, _stand(point, hosts, timeout), failure, impatient())


def _stand(point: Point, hosts: Hosts, timeout: float) -> Stand:
    return Stand(hosts, point.guard, stage=point.stage, timeout=timeout)


def leaving_counts(points: Iterable[Point], hosts: Hosts, watch: Watch, tally: Tally) -> None:
    """Count what callers leave behind who leave."""
    for point in points:
        if point.stage in OF_A_MODEL:
            continue
        warm_up(point, hosts, watch)
        for name, case in _cases(point, hosts):
            counts = case.run(watch)
            tally.add(str(point), name, counts)
            tally.problems += [f"{name}: {problem}" for problem in [case.problem(counts)] if problem]
        complaints = watch.collected()
        tally.add(str(point), name, {"warnings": len(complaints)})
        tally.problems += [f"{point}, leaving: {each}" for each in complaints]
