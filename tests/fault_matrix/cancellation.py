"""Callers that leave while a verdict is awaited: cancelled at several moments, or gone from the middle of a stream."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fault_matrix import wire_failures
from fault_matrix.marks import MARK, UNSAFE_MARK
from fault_matrix.points import Point
from fault_matrix.runner import HANG, Case, tasks_left, warm_up
from fault_matrix.stand import PATIENT, Hosts, Stand
from fault_matrix.tally import Tally
from fault_matrix.watch import Enough, Seen, Watch
from llama_guard_core.errors import LlamaGuardError

STALLS = tuple(each for each in wire_failures.FAILURES if each.name in {"stall before_headers", "stall in_body"})


async def _at_once(hosts: Hosts) -> None:
    await asyncio.sleep(0)


async def _when_asked(hosts: Hosts) -> None:
    # The host is another thread's, and sets no event of this loop.
    while not any(MARK in question.text for question in list(hosts.provider.guard_questions)):  # noqa: ASYNC110
        await asyncio.sleep(0.001)


async def _a_little_later(hosts: Hosts) -> None:
    await _when_asked(hosts)
    await asyncio.sleep(0.01)


_BRIEF = 0.5
"""Seconds a check may take where nobody can interrupt it; where somebody can, it would take `PATIENT` ones."""
_FIRST_WORD = "Here"
_SHOWS_NOTHING_BEFORE = ("guard as a Runnable", "chain | guard.output()")
MOMENTS: dict[str, Callable[[Hosts], Awaitable[None]]] = {
    "at once": _at_once,
    "when the guard is asked": _when_asked,
    "while it stalls": _a_little_later,
}


class Impatient(Seen):
    """Somebody who leaves a stream at its first words."""

    def note(self, channel: str, *things: Any) -> None:
        """Take a piece, and leave."""
        super().note(channel, *things)
        if channel in {"given", "stream"} and _FIRST_WORD in repr(things):
            raise Enough


@dataclass
class Leaving(Case):
    """A case whose caller leaves. What follows on the same guard has to get its own verdict.

    Attributes:
        moment: when the caller is cancelled; of a caller that leaves by itself, `None`.
    """

    moment: Callable[[Hosts], Awaitable[None]] | None = None

    async def _in_loop(self, counts: Counter[str]) -> None:
        await (self._leave() if self.moment is None else self._be_cancelled(self.moment, counts))
        counts["tasks"] += len(await tasks_left(within=4 * _BRIEF))
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
        try:
            counts["shown"] += self.stand.guard.check(f"About {UNSAFE_MARK}{self.stand.script.number}.").safe
        except LlamaGuardError as error:
            self.seen.fail(error)
            counts["untyped"] += 1
        self.stand.close()

    async def _leave(self) -> None:
        with suppress(Enough):
            await asyncio.wait_for(self.point.ways[self.way](self.stand, self.seen), HANG)

    async def _be_cancelled(self, moment: Callable[[Hosts], Awaitable[None]], counts: Counter[str]) -> None:
        task = asyncio.ensure_future(self.point.ways[self.way](self.stand, self.seen))
        await asyncio.wait_for(moment(self.stand.hosts), HANG)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=HANG)
        counts["hangs"] += not done
        counts["untyped"] += bool(done) and not task.cancelled() and not self.point.finishes_alone
        if done and not task.cancelled() and (error := task.exception()):
            self.seen.fail(error)

    def _is_typed(self) -> bool:
        return True  # counted above: who is cancelled hears of that alone


def _cases(point: Point, hosts: Hosts) -> Iterator[tuple[str, Leaving]]:
    for failure in STALLS:
        for way in point.ways:
            if way.startswith("async"):
                for name, moment in MOMENTS.items():
                    timeout = _BRIEF if point.finishes_alone else PATIENT
                    yield (
                        f"cancelled {name}",
                        Leaving(point, way, _stand(point, hosts, timeout), failure, moment=moment),
                    )
            if way.endswith("streamed") and point.stage == "reply" and point.name not in _SHOWS_NOTHING_BEFORE:
                # What runs in another thread is waited for: nobody can interrupt a sync call.
                timeout = PATIENT if way.startswith("async") and not point.finishes_alone else _BRIEF
                yield "left a stream", Leaving(point, way, _stand(point, hosts, timeout), failure, Impatient())


def _stand(point: Point, hosts: Hosts, timeout: float) -> Stand:
    return Stand(hosts, point.guard, stage=point.stage, timeout=timeout)


def leaving_counts(points: Iterable[Point], hosts: Hosts, watch: Watch, tally: Tally) -> None:
    """Count what callers leave behind who leave."""
    for point in points:
        if point.stage == "model":
            continue
        warm_up(point, hosts, watch)
        for name, case in _cases(point, hosts):
            counts = case.run(watch)
            tally.add(str(point), name, counts)
            tally.problems += [f"{name}: {problem}" for problem in [case.problem(counts)] if problem]
        complaints = watch.collected()
        tally.add(str(point), name, {"warnings": len(complaints)})
        tally.problems += [f"{point}, leaving: {each}" for each in complaints]
