"""The two shells for streams, on any reply, any cutting, any verdicts: what is shown, asked, closed and left running.

`STREAM_CASES` sets how many generated cases there are: 500 in an ordinary run, 10,000 in `make nightly`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Sequence
from typing import Any

import pytest
from core.judging import Guard, acaught, caught, words
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import policies, streamings

from llama_guard_core.drive_streams import aguard_stream, guard_stream
from llama_guard_core.errors import UnsafeContent
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.stream_events import Halted, Release
from llama_guard_core.guardrail.stream_guard import StreamGuard
from llama_guard_core.guardrail.verdict import Stage
from llama_guard_core.messages import Message, ToolCall, assistant, user

ASKED = (user("a"),)
CALL = "<call>"
generated = settings(max_examples=int(os.environ.get("STREAM_CASES", "500")), deadline=None)
replies = st.lists(st.text("ab. \n", max_size=5) | st.just(CALL), max_size=14)
verdicts = st.lists(st.sampled_from(["safe", "safe", "safe", "unsafe", "down"]), max_size=10)
turns = st.lists(st.integers(0, 5), min_size=1, max_size=4)


class Source:
    """A stream, sync and async, that knows whether it was closed, and may break or take its time."""

    def __init__(self, chunks: Sequence[str], *, breaks: bool = False, turns: Sequence[int] = (0,)) -> None:
        self.closed = False
        self.read = 0
        self._chunks = iter(chunks)
        self._breaks = breaks
        self._turns = turns

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        assert not self.closed, "it is read after it was closed"
        chunk = next(self._chunks, None)
        if chunk is not None:
            self.read += 1
            return chunk
        if self._breaks:
            raise ConnectionError
        raise StopIteration

    def close(self) -> None:
        self.closed = True


class AsyncSource(Source):
    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        for _ in range(self._turns[self.read % len(self._turns)]):
            await asyncio.sleep(0)
        try:
            return next(self)
        except StopIteration:
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        self.close()


def read(chunks: Sequence[str]) -> Message:
    calls = tuple(ToolCall(f"c{at}", "run", "{}") for at, chunk in enumerate(chunks) if chunk == CALL)
    return assistant("".join(chunk for chunk in chunks if chunk != CALL), calls)


def machine(policy: Policy, *, with_prompt: bool = False) -> StreamGuard[str]:
    def said(chunk: str) -> str | None:
        return None if chunk == CALL else chunk

    return StreamGuard(policy, ASKED, read, said, with_prompt=with_prompt)


def shown_of(events: Sequence[Release[str] | Halted]) -> list[str]:
    return [chunk for event in events if isinstance(event, Release) for chunk in event.chunks]


class Run:
    """One run of a shell: all events it gave, how it ended, and whom it asked."""

    def __init__(self, policy: Policy, chunks: list[str], guard: Guard, source: Source) -> None:
        self.policy, self.chunks, self.guard, self.source = policy, chunks, guard, source
        self.events: list[Any] = []
        self.answered_before: list[list[int]] = []
        self.outcome: Any = None

    def note(self, event: Any) -> None:
        self.events.append(event)
        self.answered_before.append(self.guard.answered.copy())

    def drive(self) -> Run:
        def through() -> None:
            for event in guard_stream(machine(self.policy, with_prompt=True), self.source, self.guard):
                self.note(event)

        self.outcome = caught(through)
        return self

    async def adrive(self) -> Run:
        async def through() -> None:
            stream = aguard_stream(machine(self.policy, with_prompt=True), self.source, self.guard.ask)
            async for event in stream:
                self.note(event)

        self.outcome = await acaught(through())
        return self

    @property
    def is_cut(self) -> bool:
        return self.outcome is not None or any(isinstance(event, Halted) for event in self.events)

    def lets_pass(self, number: int) -> bool:
        """Whether a question's answer lets its text pass, by the policy's own words."""
        said = self.guard.said_of(number)
        allowed = said == "down" and self.policy.on_no_verdict == "allow"
        return said == "safe" or allowed or self.policy.mode == "monitor"

    def covered_before(self, at: int) -> int:
        """How many chunks the questions that were answered well before an event cover."""
        passed = [self.guard.asked[n].conversation[-1] for n in self.answered_before[at] if self.lets_pass(n)]
        judged = {len(self.chunks[:count]): read(self.chunks[:count]) for count in range(len(self.chunks) + 1)}
        return max(
            (
                count
                for count, message in judged.items()
                if not self._is_judged(message) or any(self._covers(asked, message) for asked in passed)
            ),
            default=0,
        )

    def _is_judged(self, message: Message) -> bool:
        text = self.policy.judges(Stage.REPLY) and message.text.strip()
        return bool(text or (self.policy.judges(Stage.TOOL_CALL) and message.tool_calls))

    def _covers(self, asked: Message, message: Message) -> bool:
        text = message.text if self.policy.judges(Stage.REPLY) else ""
        calls = message.tool_calls if self.policy.judges(Stage.TOOL_CALL) else ()
        return asked.role == "assistant" and asked.text == text and asked.tool_calls == calls


def hold_to_the_rules(run: Run) -> None:
    """The properties of every stream, however it is driven."""
    shown = shown_of(run.events)
    assert shown == run.chunks[: len(shown)], "what is shown is a prefix of what came"
    assert run.source.closed
    assert [] == [event for event in run.events[:-1] if isinstance(event, Halted)], "nothing follows a halt"
    if not run.is_cut:
        assert shown == run.chunks
        assert run.events[-1].is_last
        assert [] == [event for event in run.events[:-1] if event.is_last]
    replies_asked = [check for check in run.guard.asked if check.conversation[-1].role == "assistant"]
    assert len(replies_asked) <= run.policy.streaming.most_checks
    count = 0
    for at, event in enumerate(run.events):
        if isinstance(event, Release) and event.chunks:
            count += len(event.chunks)
            covered = run.covered_before(at)
            ahead = sum(map(len, run.chunks[covered:count]))
            allowed = run.policy.streaming.ahead if run.policy.streaming.hold == "optimistic" else 0
            assert count <= covered or ahead <= allowed, "nothing is shown that no verdict covers"
            if run.policy.judges(Stage.PROMPT):
                assert 0 in run.answered_before[at], "nothing is shown before its prompt was judged"
                assert run.lets_pass(0), "nothing is shown before its prompt was let pass"


@given(replies, policies, verdicts)
@generated
def test_a_sync_stream_keeps_the_rules(chunks: list[str], policy: Policy, said: list[str]) -> None:
    hold_to_the_rules(Run(policy, chunks, Guard(said), Source(chunks)).drive())


@given(replies, policies, verdicts, turns, turns)
@generated
async def test_an_async_stream_keeps_the_rules_whoever_is_late(
    chunks: list[str], policy: Policy, said: list[str], guard_turns: list[int], source_turns: list[int]
) -> None:
    before = asyncio.all_tasks()
    run = Run(policy, chunks, Guard(said, guard_turns), AsyncSource(chunks, turns=source_turns))
    hold_to_the_rules(await run.adrive())
    assert before == asyncio.all_tasks(), "nothing is left running"


@given(replies, policies, verdicts, turns, turns)
@generated
async def test_sync_and_async_show_decide_and_ask_the_same(
    chunks: list[str], policy: Policy, said: list[str], guard_turns: list[int], source_turns: list[int]
) -> None:
    """Where an async stream is cut it may have asked the next questions already; it cancels them."""
    run = Run(policy, chunks, Guard(said), Source(chunks)).drive()
    arun = Run(policy, chunks, Guard(said, guard_turns), AsyncSource(chunks, turns=source_turns))
    await arun.adrive()
    assert run.outcome == arun.outcome
    assert run.guard.asked == arun.guard.asked[: len(run.guard.asked)]
    assert run.is_cut or len(run.guard.asked) == len(arun.guard.asked)
    if policy.streaming.hold != "optimistic":
        assert shown_of(run.events) == shown_of(arun.events)
    decided = [[words(event.decision) for event in each.events if event.decision.stage] for each in (run, arun)]
    assert decided[0] == decided[1]


@given(replies, streamings, st.integers(0, 8), turns, turns)
@generated
async def test_a_stream_that_its_reader_leaves_is_closed_with_all_its_checks(
    chunks: list[str], streaming: Any, leaves_after: int, guard_turns: list[int], source_turns: list[int]
) -> None:
    before = asyncio.all_tasks()
    source = AsyncSource(chunks, turns=source_turns)
    stream = aguard_stream(machine(Policy(streaming=streaming)), source, Guard(turns=guard_turns).ask)
    for _ in range(leaves_after):
        await anext(stream, None)
    await stream.aclose()
    assert (leaves_after == 0) or source.closed  # a generator that never began has nothing to clean up
    assert before == asyncio.all_tasks()


@given(replies, streamings, st.integers(0, 30), turns, turns)
@generated
async def test_a_reader_that_is_cancelled_leaves_nothing_running(
    chunks: list[str], streaming: Any, cancelled_after: int, guard_turns: list[int], source_turns: list[int]
) -> None:
    before = asyncio.all_tasks()
    source = AsyncSource(chunks, turns=[turn + 1 for turn in source_turns])
    run = Run(Policy(streaming=streaming), chunks, Guard(turns=guard_turns), source)
    reader = asyncio.ensure_future(run.adrive())
    for _ in range(cancelled_after + 1):
        await asyncio.sleep(0)
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)
    assert source.closed
    assert before == asyncio.all_tasks()


async def test_a_source_whose_reading_was_sent_for_and_never_began_is_closed() -> None:
    """As when an event loop shuts down: it cancels all tasks, those that have not run yet among them."""
    source = AsyncSource(["a"])
    reader = asyncio.ensure_future(acaught(anext(aguard_stream(machine(Policy()), source, Guard().ask))))
    await asyncio.sleep(0)  # as far as waiting for the first chunk
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.gather(reader, return_exceptions=True)
    assert (0, True) == (source.read, source.closed)


async def test_while_a_verdict_is_awaited_reading_goes_on() -> None:
    """The model is never slowed by the guard: all of it is read before the first verdict is there."""
    source, answers = AsyncSource(["ab"] * 20), asyncio.Event()
    guard = Guard()
    read_by_then: list[int] = []

    async def check(question: Any) -> Any:
        await answers.wait()
        read_by_then.append(source.read)
        return guard(question)

    async def consume() -> list[Any]:
        stream = aguard_stream(machine(Policy(streaming={"window": 4})), source, check)
        return [event async for event in stream]

    consuming = asyncio.ensure_future(consume())
    for _ in range(100):
        await asyncio.sleep(0)
    assert 20 == source.read
    answers.set()
    assert ["ab"] * 20 == shown_of(await consuming)
    assert {20} == set(read_by_then)


async def test_a_reader_who_does_not_read_stops_the_model_within_a_bound() -> None:
    source = AsyncSource(["ab"] * 2000, turns=[1])
    stream = aguard_stream(machine(Policy()), source, Guard().ask)
    await anext(stream)
    for _ in range(5000):
        await asyncio.sleep(0)
    assert source.read < 2000 / 2
    await stream.aclose()


async def test_checks_that_are_out_when_a_stream_is_cut_are_cancelled() -> None:
    cancelled: list[str] = []

    async def check(question: Any) -> Any:
        text = question.conversation[-1].text
        if text == "BB":
            return Guard(["unsafe"])(question)
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.append(text)
            raise

    policy = Policy(streaming={"window": 2, "steady": 9})
    source = AsyncSource(["BB", "cc", "dd"])
    events = [event async for event in aguard_stream(machine(policy), source, check)]
    assert [Halted] == [type(event) for event in events]
    assert [] == sorted(set(cancelled) - {"BBcc", "BBccdd"})
    assert source.closed


ENDINGS = ["exhausted", "halted", "no verdict", "raised", "stopped early", "source breaks", "check breaks"]


def setting_of(ending: str) -> tuple[Policy, Guard, bool]:
    said = {"halted": "unsafe", "raised": "unsafe", "no verdict": "down", "check breaks": "broken"}.get(ending, "safe")
    judged = {"stages": ["prompt"]} if ending == "stopped early" else {}
    policy = Policy.from_mapping({**judged, "on_unsafe": "raise" if ending == "raised" else "refuse"})
    return policy, Guard([said]), ending == "source breaks"


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("form", ["iterator", "generator"])
def test_the_source_is_closed_however_a_stream_ends(ending: str, form: str) -> None:
    policy, guard, breaks = setting_of(ending)
    source = Source(["b", "c"], breaks=breaks)

    def generator() -> Generator[str]:
        try:
            yield from source
        finally:
            source.closed = True

    stream = guard_stream(machine(policy), source if form == "iterator" else generator(), guard)
    first = caught(lambda: next(stream))
    if ending == "stopped early":
        assert not source.closed
        stream.close()
    elif ending == "exhausted":
        assert [] == list(stream)
    expected = {"raised": "UnsafeContent", "source breaks": "ConnectionError", "check breaks": "LookupError"}
    assert expected.get(ending, first) == first
    assert source.closed


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("form", ["iterator", "generator"])
async def test_the_async_source_is_closed_however_a_stream_ends(ending: str, form: str) -> None:
    policy, guard, breaks = setting_of(ending)
    source = AsyncSource(["b", "c"], breaks=breaks)

    async def generator() -> AsyncGenerator[str]:
        try:
            async for chunk in source:
                yield chunk
        finally:
            source.closed = True

    stream = aguard_stream(machine(policy), source if form == "iterator" else generator(), guard.ask)
    first = await acaught(anext(stream))
    if ending == "stopped early":
        assert not source.closed
        await stream.aclose()
    elif ending == "exhausted":
        assert [] == [event async for event in stream]
    expected = {"raised": "UnsafeContent", "source breaks": "ConnectionError", "check breaks": "LookupError"}
    assert expected.get(ending, first) == first
    assert source.closed


async def test_an_unsafe_stream_raises_after_showing_nothing() -> None:
    policy = Policy(on_unsafe="raise")
    with pytest.raises(UnsafeContent):
        next(guard_stream(machine(policy), Source(["b"]), Guard(["unsafe"])))
    with pytest.raises(UnsafeContent):
        await anext(aguard_stream(machine(policy), AsyncSource(["b"]), Guard(["unsafe"]).ask))
