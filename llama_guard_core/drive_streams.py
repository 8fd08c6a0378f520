"""The two shells that carry out what a stream guard decides, with and without `await`."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import Any, Final, Generic, TypeVar, cast

from llama_guard_core.drive import Asks, AsksAsync, cancelled, in_background
from llama_guard_core.errors import GuardUnavailable
from llama_guard_core.guardrail.stream_events import AwaitVerdict, Finished, Halted, NeedChunk, NeedVerdict, Release
from llama_guard_core.guardrail.stream_guard import StreamGuard
from llama_guard_core.guardrail.verdict import Verdict

C = TypeVar("C")
_END: Final = object()
_DONE: Final = (Finished, Halted)
_MOST_AHEAD: Final = 256


def guard_stream(guard: StreamGuard[C], source: Iterator[C], check: Asks) -> Generator[Release[C] | Halted]:
    """Carry out a stream guard over a source, which is closed however this ends.

    One thing is done after the other: while a check is answered, nothing is read.

    Yields:
        `Release` for chunks that may be shown; at most one `Halted`, last, with a refusal.

    Raises:
        UnsafeContent: the reply is unsafe, and the policy says raise.
        GuardUnavailable: no verdict could be had, and the policy says raise.
    """
    try:
        while not isinstance(event := guard.next_event(), _DONE):
            match event:
                case NeedChunk():
                    chunk = next(source, _END)
                    guard.end() if chunk is _END else guard.receive(cast("C", chunk))
                case NeedVerdict(question):
                    try:
                        guard.judge(check(question))
                    except GuardUnavailable as error:
                        guard.cannot_judge(error)
                case Release():
                    yield event
                case AwaitVerdict():
                    msg = "a stream guard waits for a verdict that was told already"
                    raise RuntimeError(msg)
    finally:
        if close := getattr(source, "close", None):
            close()
    if isinstance(event, Halted):
        yield event


async def aguard_stream(
    guard: StreamGuard[C], source: AsyncIterator[C], check: AsksAsync
) -> AsyncGenerator[Release[C] | Halted]:
    """Carry out a stream guard over an async source; see `guard_stream`.

    The source is read by one task and each check is a task of its own: while verdicts are awaited, reading goes on, up
    to 256 chunks ahead of who is shown them. Where nothing of a reply is judged, it is read as it is asked for.
    """
    arrivals = _Arrivals(source, most_ahead=_MOST_AHEAD if guard.withholds else 1)
    asked: deque[asyncio.Task[Verdict]] = deque()
    try:
        while not isinstance(event := guard.next_event(), _DONE):
            match event:
                case NeedVerdict(question):
                    asked.append(in_background(check(question), then=arrivals.wake))
                case Release():
                    yield event
                case _ if asked and asked[0].done():
                    _tell_verdict(guard, asked.popleft())
                case NeedChunk() if arrivals.are_here() and not (asked and arrivals.have_failed()):
                    chunk = arrivals.take()
                    guard.end() if chunk is _END else guard.receive(cast("C", chunk))
                case _:
                    await arrivals.or_woken()
    finally:
        await cancelled([*asked, *arrivals.reading])
        await arrivals.close()
    if isinstance(event, Halted):
        yield event


class _Arrivals(Generic[C]):
    """What one task reads of a source, up to so many chunks ahead. It begins with the first question for a chunk.

    One task reads all of it and closes it: many sources hold timeouts and locks that belong to a task.
    """

    def __init__(self, source: AsyncIterator[C], *, most_ahead: int) -> None:
        self._source = source
        self._most_ahead = most_ahead
        self._chunks: deque[C | object] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._has_begun = False
        self.reading: list[asyncio.Task[None]] = []

    def wake(self, _: object = None) -> None:
        """Something has happened that whoever waits should look at."""
        self._news.set()

    def are_here(self) -> bool:
        """Whether there is a chunk to take, or the end. Where there is none, one is sent for."""
        if not self.reading:
            self.reading.append(in_background(self._read(), then=self.wake))
        if not self._chunks:
            self._room.set()
        return bool(self._chunks) or self.reading[0].done()

    def have_failed(self) -> bool:
        """Whether all there is left is what the source raised: that comes after the verdicts on what it gave."""
        return not self._chunks and self.reading[0].done() and self.reading[0].exception() is not None

    def take(self) -> C | object:
        """The next chunk, or `_END`.

        Raises:
            Exception: what the source raised.
        """
        if self._chunks:
            return self._chunks.popleft()
        self.reading[0].result()
        return _END

    async def or_woken(self) -> None:
        """Wait for a chunk, the end, or to be woken."""
        await self._news.wait()
        self._news.clear()

    async def close(self) -> None:
        """Close the source, if no task has begun to read it and so to close it.

        One that is cancelled before its first step never begins.
        """
        if not self._has_begun:
            await self._close()
        self.reading.clear()  # a cycle, by way of its exception, that would keep the source until it is collected

    async def _read(self) -> None:
        self._has_begun = True
        try:
            async for chunk in self._source:
                self._chunks.append(chunk)
                self._news.set()
                while len(self._chunks) >= self._most_ahead:
                    self._room.clear()
                    await self._room.wait()
        finally:
            await self._close()

    async def _close(self) -> None:
        if close := getattr(self._source, "aclose", None):
            await close()


def _tell_verdict(guard: StreamGuard[Any], answered: asyncio.Task[Verdict]) -> None:
    try:
        verdict = answered.result()
    except GuardUnavailable as error:
        guard.cannot_judge(error)
    else:
        guard.judge(verdict)
