"""The two shells: with and without `await` they ask, show and raise the same, and they close what they read."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import conversations, policies, streams

from llama_guard_core.drive import arun, run
from llama_guard_core.drive_streams import aguard_stream, guard_stream
from llama_guard_core.errors import GuardUnavailable, UnsafeContent
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.screening import Check, guarded_call, screen_prompt
from llama_guard_core.guardrail.stream_events import Halted, Release
from llama_guard_core.guardrail.stream_guard import StreamGuard
from llama_guard_core.guardrail.verdict import Stage, Verdict
from llama_guard_core.messages import Message, assistant, user

ASKED = (user("a"),)
verdicts = st.lists(st.sampled_from(["safe", "unsafe", "down"]), min_size=3, max_size=8)


class Guard:
    """Answers each question with the next of the given words, and `safe` after the last."""

    def __init__(self, said: Sequence[str] = ()) -> None:
        self.asked: list[Check] = []
        self._said = iter(said)

    def __call__(self, check: Check) -> Verdict:
        self.asked.append(check)
        said = next(self._said, "safe")
        if said == "down":
            msg = "the host is down"
            raise GuardUnavailable(msg, reason="server", stage=check.stage)
        if said == "broken":
            raise LookupError(said)
        return Verdict(safe=said == "safe", stage=check.stage)

    async def ask(self, check: Check) -> Verdict:
        return self(check)


class Source:
    """A stream, sync and async, that knows whether it was closed, and may break."""

    def __init__(self, chunks: Sequence[str], *, breaks: bool = False) -> None:
        self.closed = False
        self._chunks = iter(chunks)
        self._breaks = breaks

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        chunk = next(self._chunks, None)
        if chunk is not None:
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
        try:
            return next(self)
        except StopIteration:
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        self.close()


def joined(chunks: Sequence[str]) -> Message:
    return assistant("".join(chunks))


def machine(policy: Policy) -> StreamGuard[str]:
    return StreamGuard(policy, ASKED, joined)


def caught(do: Callable[[], Any]) -> Any:
    """What comes of it: a result or the name of an error."""
    try:
        return do()
    except Exception as error:  # noqa: BLE001 - whatever it is, the other shell must do the same
        return type(error).__name__


async def acaught(awaitable: Awaitable[Any]) -> Any:
    try:
        return await awaitable
    except Exception as error:  # noqa: BLE001 - whatever it is, the other shell must do the same
        return type(error).__name__


def words(decisions: Any) -> str:
    """A result in words: errors it holds are equal to no other error."""
    return repr(decisions)


@given(conversations, policies, verdicts, st.lists(st.text("ab ", max_size=3), max_size=3))
@settings(max_examples=60)
async def test_sync_and_async_flows_ask_and_decide_the_same(
    conversation: tuple[Message, ...], policy: Policy, said: list[str], replies: list[str]
) -> None:
    async def answer() -> list[str]:
        return replies

    def flow() -> Any:
        return guarded_call(policy, conversation, lambda reply: [assistant(text) for text in reply])

    guard, async_guard = Guard(said), Guard(said)
    expected = caught(lambda: run(flow(), guard, lambda: replies))
    actual = await acaught(arun(flow(), async_guard.ask, answer))
    assert (words(expected), guard.asked) == (words(actual), async_guard.asked)


async def test_a_failed_check_is_thrown_into_the_flow_which_decides_what_follows() -> None:
    def flow() -> Generator[Any, Any, str]:
        try:
            yield Check(Stage.PROMPT, ASKED)
        except GuardUnavailable as error:
            return error.reason
        return "judged"

    assert "server" == run(flow(), Guard(["down"]))
    assert "server" == await arun(flow(), Guard(["down"]).ask)


@pytest.mark.parametrize("ends", [StopIteration, LookupError])
async def test_what_else_a_check_raises_is_raised_and_is_not_the_flows_result(ends: type[Exception]) -> None:
    def check(_: Check) -> Any:
        raise ends

    with pytest.raises(ends):
        run(screen_prompt(Policy(mode="monitor"), ASKED), check)
    with pytest.raises((ends, RuntimeError)):
        await arun(screen_prompt(Policy(mode="monitor"), ASKED), check)


async def test_a_model_that_cannot_be_judged_raises_its_own_error() -> None:
    def call() -> Any:
        msg = "inner"
        raise GuardUnavailable(msg, reason="server")

    with pytest.raises(GuardUnavailable, match="inner"):
        run(guarded_call(Policy(), ASKED, list), Guard(), call)
    with pytest.raises(GuardUnavailable, match="inner"):
        await arun(guarded_call(Policy(), ASKED, list), Guard().ask, call)


async def test_a_flow_that_calls_a_model_says_so_if_none_was_given() -> None:
    with pytest.raises(TypeError, match="calls a model"):
        run(guarded_call(Policy(), ASKED, list), Guard())
    with pytest.raises(TypeError, match="calls a model"):
        await arun(guarded_call(Policy(), ASKED, list), Guard().ask)


def shown_of(events: Sequence[Release[str] | Halted]) -> list[str]:
    return [chunk for event in events if isinstance(event, Release) for chunk in event.chunks]


@given(streams, policies, verdicts)
@settings(max_examples=100)
async def test_sync_and_async_streams_show_and_ask_the_same_and_all_or_nothing(
    chunks: list[str], policy: Policy, said: list[str]
) -> None:
    guard, async_guard = Guard(said), Guard(said)
    events: list[Any] = []
    async_events: list[Any] = []

    def read() -> None:
        events.extend(guard_stream(machine(policy), Source(chunks), guard))

    async def aread() -> None:
        async for event in aguard_stream(machine(policy), AsyncSource(chunks), async_guard.ask):
            async_events.append(event)  # noqa: PERF401 - what came before an error counts

    assert caught(read) == await acaught(aread())
    assert (words(events), guard.asked) == (words(async_events), async_guard.asked)
    assert shown_of(events) == shown_of(async_events)
    assert shown_of(events) in ([], chunks)
    assert [] == [event for event in events[:-1] if isinstance(event, Halted)]


@given(streams, policies, st.sampled_from(["safe", "unsafe", "down"]))
@settings(max_examples=100)
def test_nothing_is_shown_that_no_safe_verdict_covers_unless_the_policy_lets_it(
    chunks: list[str], policy: Policy, said: str
) -> None:
    guard = Guard([said])
    events = caught(lambda: list(guard_stream(machine(policy), Source(chunks), guard)))
    shown = "" if isinstance(events, str) else "".join(shown_of(events))
    if shown.strip() and policy.judges(Stage.REPLY):
        assert [Check(Stage.REPLY, (*ASKED, assistant("".join(chunks))))] == guard.asked
        assert said == "safe" or policy.mode == "monitor" or (said == "down" and policy.on_no_verdict == "allow")


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
