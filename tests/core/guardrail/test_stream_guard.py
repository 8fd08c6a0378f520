"""The stream guard as a machine: what it asks for, in which order, and that it lets nothing out early."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from llama_guard_core.errors import GuardUnavailable, UnsafeContent
from llama_guard_core.guardrail.policy import DEFAULT_APOLOGY, DEFAULT_REFUSAL, Allow, Policy, Refuse
from llama_guard_core.guardrail.screening import Check
from llama_guard_core.guardrail.stream_events import Finished, Halted, NeedChunk, NeedVerdict, Release, StreamEvent
from llama_guard_core.guardrail.stream_guard import StreamGuard
from llama_guard_core.guardrail.verdict import Stage, Verdict
from llama_guard_core.messages import Message, ToolCall, assistant, user

ASKED = (user("a"),)
SAFE = Verdict(safe=True, stage=Stage.REPLY)
UNSAFE = Verdict(safe=False, stage=Stage.REPLY)
DOWN = GuardUnavailable("the host is down", reason="server", stage=Stage.REPLY)


def joined(chunks: Sequence[str]) -> Message:
    return assistant("".join(chunks))


def guard_of(policy: Policy | None = None, read: Callable[[Sequence[str]], Message] = joined) -> StreamGuard[str]:
    return StreamGuard(policy or Policy(), ASKED, read)


def ended(*chunks: str, policy: Policy | None = None) -> StreamGuard[str]:
    """A guard that was handed these chunks and then the end."""
    guard = guard_of(policy)
    for chunk in chunks:
        assert isinstance(guard.next_event(), NeedChunk)
        guard.receive(chunk)
    guard.end()
    return guard


def remaining(guard: StreamGuard[str]) -> list[StreamEvent[str]]:
    """The next events, up to one that comes again."""
    events = [guard.next_event()]
    while (event := guard.next_event()) != events[-1]:
        events.append(event)
    return events


def test_the_whole_reply_is_asked_about_once_at_its_end() -> None:
    assert [NeedVerdict(Check(Stage.REPLY, (*ASKED, assistant("bc"))))] == remaining(ended("b", "c"))


def test_a_safe_reply_is_released_chunk_for_chunk_and_then_finished() -> None:
    guard = ended("b", "", "c")
    guard.judge(SAFE)
    assert [Release(("b", "", "c"), Allow(Stage.REPLY, SAFE)), Finished()] == remaining(guard)


def test_an_unsafe_reply_halts_and_nothing_follows() -> None:
    guard = ended("b")
    guard.judge(UNSAFE)
    assert [Halted(Refuse(Stage.REPLY, DEFAULT_REFUSAL, UNSAFE))] == remaining(guard)


def test_an_unsafe_reply_raises_if_the_policy_says_so_and_nothing_follows() -> None:
    guard = ended("b", policy=Policy(on_unsafe="raise"))
    with pytest.raises(UnsafeContent):
        guard.judge(UNSAFE)
    assert [Finished()] == remaining(guard)


def test_a_reply_without_a_verdict_halts() -> None:
    guard = ended("b")
    guard.cannot_judge(DOWN)
    assert [Halted(Refuse(Stage.REPLY, DEFAULT_APOLOGY, error=DOWN))] == remaining(guard)


def test_a_reply_without_a_verdict_is_released_if_the_policy_allows_it() -> None:
    guard = ended("b", policy=Policy(on_no_verdict="allow"))
    guard.cannot_judge(DOWN)
    assert [Release(("b",), Allow(Stage.REPLY, error=DOWN)), Finished()] == remaining(guard)


def test_a_stream_without_chunks_is_finished_without_a_question() -> None:
    assert [Finished()] == remaining(ended())


def test_a_blank_reply_is_released_without_a_question() -> None:
    assert [Release((" ", "\n"), Allow()), Finished()] == remaining(ended(" ", "\n"))


def test_chunks_pass_as_they_come_where_the_policy_judges_nothing_of_a_reply() -> None:
    guard = guard_of(Policy.from_mapping({"stages": ["prompt"]}))
    for chunk in ("b", "c"):
        guard.receive(chunk)
        assert [Release((chunk,), Allow()), NeedChunk()] == remaining(guard)
    guard.end()
    assert [Finished()] == remaining(guard)


def test_a_streamed_tool_call_is_judged_and_refused_as_a_tool_call() -> None:
    call = ToolCall("c1", "delete", "{}")
    guard = guard_of(
        Policy.from_mapping({"per_stage": {"tool_call": {"apology": "No tool."}}}), lambda _: assistant("", (call,))
    )
    guard.receive("b")
    guard.end()
    assert [NeedVerdict(Check(Stage.TOOL_CALL, (*ASKED, assistant("", (call,)))))] == remaining(guard)
    guard.cannot_judge(DOWN)
    assert [Halted(Refuse(Stage.TOOL_CALL, "No tool.", error=DOWN))] == remaining(guard)


MISUSE: list[tuple[str, Callable[[StreamGuard[str]], None]]] = [
    ("a verdict too early", lambda guard: guard.judge(SAFE)),
    ("a failure too early", lambda guard: guard.cannot_judge(DOWN)),
]


@pytest.mark.parametrize("tell", [tell for _, tell in MISUSE], ids=[name for name, _ in MISUSE])
def test_a_verdict_that_was_not_asked_for_releases_nothing(tell: Callable[[StreamGuard[str]], None]) -> None:
    guard = guard_of(Policy(on_no_verdict="allow"))
    guard.receive("b")
    with pytest.raises(RuntimeError, match="its next event is NeedChunk"):
        tell(guard)
    assert [NeedChunk()] == remaining(guard)


@pytest.mark.parametrize(("verdict", "last"), [(SAFE, Finished), (UNSAFE, Halted)])
def test_nothing_can_be_told_to_a_guard_that_is_done(verdict: Verdict, last: type) -> None:
    guard = ended("b")
    guard.judge(verdict)
    before = remaining(guard)
    with pytest.raises(RuntimeError, match=last.__name__):
        guard.receive("c")
    with pytest.raises(RuntimeError, match=last.__name__):
        guard.judge(SAFE)
    assert before[-1] == guard.next_event()


def test_no_event_shows_the_chunks_in_its_repr() -> None:
    guard = ended("zebra")
    question = guard.next_event()
    guard.judge(SAFE)
    assert "zebra" not in f"{question!r} {remaining(guard)!r}"
