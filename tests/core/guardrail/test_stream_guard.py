"""The stream guard as a machine: what it asks for, in which order, and that it lets nothing out early."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from llama_guard_core.errors import GuardUnavailable, UnsafeContent
from llama_guard_core.guardrail.decisions import Allow, Refuse
from llama_guard_core.guardrail.policy import DEFAULT_APOLOGY, DEFAULT_REFUSAL, Policy
from llama_guard_core.guardrail.screening import Check
from llama_guard_core.guardrail.stream_events import (
    AwaitVerdict,
    Finished,
    Halted,
    NeedChunk,
    NeedVerdict,
    Release,
    StreamEvent,
    stream_records,
)
from llama_guard_core.guardrail.stream_guard import StreamGuard
from llama_guard_core.guardrail.verdict import Stage, Verdict
from llama_guard_core.messages import Message, ToolCall, assistant, user

ASKED = (user("a"),)
SAFE = Verdict(safe=True, stage=Stage.REPLY)
UNSAFE = Verdict(safe=False, stage=Stage.REPLY)
SAFE_PROMPT = Verdict(safe=True, stage=Stage.PROMPT)
DOWN = GuardUnavailable("the host is down", reason="server", stage=Stage.REPLY)
BY_TWO = {"streaming": {"window": 2, "steady": 100}}


def joined(chunks: Sequence[str]) -> Message:
    return assistant("".join(chunks))


def said(chunk: str) -> str | None:
    """Every chunk says what it is, but those in angle brackets, which stand for tool calls."""
    return None if chunk.startswith("<") else chunk


def guard_of(policy: Policy | None = None, **settings: Any) -> StreamGuard[str]:
    return StreamGuard(policy or Policy(streaming="whole"), ASKED, joined, said, **settings)


def policy_of(**settings: Any) -> Policy:
    return Policy.from_mapping(settings)


def remaining(guard: StreamGuard[str]) -> list[StreamEvent[str]]:
    """The next events, up to one that comes again."""
    events = [guard.next_event()]
    while (event := guard.next_event()) != events[-1]:
        events.append(event)
    return events


def received(*chunks: str, policy: Policy | None = None) -> StreamGuard[str]:
    """A guard that was handed these chunks."""
    guard = guard_of(policy)
    for chunk in chunks:
        guard.receive(chunk)
    return guard


def ended(*chunks: str, policy: Policy | None = None) -> StreamGuard[str]:
    """A guard that was handed these chunks and then the end."""
    guard = received(*chunks, policy=policy)
    guard.end()
    return guard


def question(text: str) -> NeedVerdict:
    return NeedVerdict(Check(Stage.REPLY, (*ASKED, assistant(text))))


# Held whole


def test_the_whole_reply_is_asked_about_once_at_its_end() -> None:
    assert [NeedChunk()] == remaining(received("b", "c"))
    assert [question("bc"), AwaitVerdict()] == remaining(ended("b", "c"))


def test_a_safe_reply_is_released_chunk_for_chunk_and_then_finished() -> None:
    guard = ended("b", "", "c")
    guard.next_event()
    guard.judge(SAFE)
    assert [Release(("b", "", "c"), Allow(Stage.REPLY, SAFE), is_last=True), Finished()] == remaining(guard)


def test_an_unsafe_reply_halts_and_nothing_follows() -> None:
    guard = ended("b")
    guard.next_event()
    guard.judge(UNSAFE)
    assert [Halted(Refuse(Stage.REPLY, DEFAULT_REFUSAL, UNSAFE), 1, 0, model_cut=False)] == remaining(guard)


def test_an_unsafe_reply_raises_if_the_policy_says_so_and_nothing_follows() -> None:
    guard = ended("b", policy=policy_of(on_unsafe="raise"))
    guard.next_event()
    with pytest.raises(UnsafeContent):
        guard.judge(UNSAFE)
    assert [Finished()] == remaining(guard)


def test_a_reply_without_a_verdict_halts() -> None:
    guard = ended("b")
    guard.next_event()
    guard.cannot_judge(DOWN)
    assert [Halted(Refuse(Stage.REPLY, DEFAULT_APOLOGY, error=DOWN), 1)] == remaining(guard)


def test_a_reply_without_a_verdict_is_released_if_the_policy_allows_it() -> None:
    guard = ended("b", policy=policy_of(on_no_verdict="allow"))
    guard.next_event()
    guard.cannot_judge(DOWN)
    assert [Release(("b",), Allow(Stage.REPLY, error=DOWN), is_last=True), Finished()] == remaining(guard)


def test_a_stream_without_chunks_is_finished_without_a_question() -> None:
    assert [Release((), Allow(), is_last=True), Finished()] == remaining(ended())


def test_a_blank_reply_is_released_without_a_question() -> None:
    assert [Release((" ", "\n"), Allow(), is_last=True), Finished()] == remaining(ended(" ", "\n"))


def test_chunks_pass_as_they_come_where_the_policy_judges_nothing_of_a_reply() -> None:
    guard = guard_of(policy_of(stages=["prompt"]))
    for chunk in ("b", "c"):
        guard.receive(chunk)
        assert [Release((chunk,), Allow()), NeedChunk()] == remaining(guard)
    guard.end()
    assert [Release((), Allow(), is_last=True), Finished()] == remaining(guard)


def test_a_streamed_tool_call_is_judged_and_refused_as_a_tool_call() -> None:
    call = ToolCall("c1", "delete", "{}")
    policy = policy_of(per_stage={"tool_call": {"apology": "No tool."}})
    guard = StreamGuard(policy, ASKED, lambda _: assistant("", (call,)), said)
    guard.receive("<delete>")
    guard.end()
    asked = NeedVerdict(Check(Stage.TOOL_CALL, (*ASKED, assistant("", (call,)))))
    assert [asked, AwaitVerdict()] == remaining(guard)
    guard.cannot_judge(DOWN)
    assert [Halted(Refuse(Stage.TOOL_CALL, "No tool.", error=DOWN), 1)] == remaining(guard)


# By windows


def test_each_full_window_is_a_question_about_all_so_far() -> None:
    guard = received("bb", "c", "c", policy=policy_of(**BY_TWO))
    assert [question("bb"), question("bbcc"), NeedChunk()] == remaining(guard)


def test_a_safe_verdict_releases_what_it_covers_and_no_more() -> None:
    guard = received("bb", "c", policy=policy_of(**BY_TWO))
    guard.next_event()
    guard.judge(SAFE)
    assert [Release(("bb",), Allow(Stage.REPLY, SAFE)), NeedChunk()] == remaining(guard)


def test_verdicts_are_taken_in_the_order_of_the_questions() -> None:
    guard = received("bb", "cc", policy=policy_of(**BY_TWO))
    assert 2 == len([event for event in remaining(guard) if isinstance(event, NeedVerdict)])
    guard.judge(SAFE)
    guard.judge(UNSAFE)
    halted = Halted(Refuse(Stage.REPLY, DEFAULT_REFUSAL, UNSAFE), 2, 1, model_cut=True)
    assert [Release(("bb",), Allow(Stage.REPLY, SAFE)), halted] == remaining(guard)


def test_no_more_than_four_questions_are_open_at_once() -> None:
    guard = received(*["bb"] * 6, policy=policy_of(**BY_TWO))
    assert 4 == len([event for event in remaining(guard) if isinstance(event, NeedVerdict)])
    guard.judge(SAFE)
    assert [question("bb" * 5), NeedChunk()] == remaining(guard)[1:]


def test_the_last_question_covers_the_whole_reply() -> None:
    guard = ended("bb", "c", policy=policy_of(**BY_TWO))
    assert [question("bb"), question("bbc"), AwaitVerdict()] == remaining(guard)
    guard.judge(SAFE)
    guard.judge(SAFE)
    assert [("bb",), ("c",)] == [event.chunks for event in remaining(guard) if isinstance(event, Release)]


@pytest.mark.parametrize("answered", [True, False])
def test_an_end_that_adds_nothing_is_not_asked_about_again(answered: bool) -> None:
    guard = received("bb", "", policy=policy_of(**BY_TWO))
    assert question("bb") == guard.next_event()
    if answered:
        guard.judge(SAFE)
        assert ("bb",) == guard.next_event().chunks
    guard.end()
    if not answered:
        assert [AwaitVerdict()] == remaining(guard)
        guard.judge(SAFE)
        assert [Release(("bb", ""), Allow(Stage.REPLY, SAFE), is_last=True), Finished()] == remaining(guard)
    else:
        assert [Release(("",), Allow(), is_last=True), Finished()] == remaining(guard)


def test_a_tool_call_and_all_behind_it_wait_for_the_end() -> None:
    guard = received("bb", "<call>", "cc", "dd", policy=policy_of(**BY_TWO))
    assert [question("bb"), NeedChunk()] == remaining(guard)
    guard.judge(SAFE)
    assert [Release(("bb",), Allow(Stage.REPLY, SAFE)), NeedChunk()] == remaining(guard)
    guard.end()
    assert [question("bb<call>ccdd"), AwaitVerdict()] == remaining(guard)


def test_a_raise_comes_after_what_was_shown_and_nothing_follows() -> None:
    guard = received("bb", "cc", policy=policy_of(on_unsafe="raise", **BY_TWO))
    remaining(guard)
    guard.judge(SAFE)
    with pytest.raises(UnsafeContent):
        guard.judge(UNSAFE)
    assert [Release(("bb",), Allow(Stage.REPLY, SAFE)), Finished()] == remaining(guard)


def test_a_halt_says_how_much_came_and_was_shown_and_that_the_model_was_cut() -> None:
    guard = received("bb", "cc", "d", policy=policy_of(**BY_TWO))
    remaining(guard)
    guard.judge(SAFE)
    guard.judge(UNSAFE)
    (record,) = stream_records(remaining(guard)[-1])
    assert {"chunks_read": 3, "chunks_shown": 1, "model_cut": True} == record["stream"]


# Optimistic

HOPING = {"streaming": {"hold": "optimistic", "window": 2, "steady": 100, "ahead": 3}}


def test_an_optimistic_stream_shows_at_once_what_is_not_too_far_ahead() -> None:
    guard = received("bb", "c", "d", policy=policy_of(**HOPING))
    assert [Release(("bb",), Allow()), Release(("c",), Allow()), question("bb"), question("bbcd"), NeedChunk()] == (
        remaining(guard)
    )
    guard.judge(SAFE)
    assert [Release((), Allow(Stage.REPLY, SAFE)), Release(("d",), Allow()), NeedChunk()] == remaining(guard)


def test_a_verdict_lets_an_optimistic_stream_run_ahead_of_what_it_covers_not_of_what_has_come() -> None:
    guard = received("bb", "c", "d", "ee", "f", policy=policy_of(**HOPING))
    remaining(guard)
    guard.judge(SAFE)
    assert ["d"] == [chunk for event in remaining(guard) if isinstance(event, Release) for chunk in event.chunks]


def test_an_optimistic_stream_never_shows_a_tool_call_or_its_end_before_the_last_verdict() -> None:
    guard = ended("b", "<call>", policy=policy_of(**HOPING))
    assert [Release(("b",), Allow()), question("b<call>"), AwaitVerdict()] == remaining(guard)
    guard.judge(UNSAFE)
    assert [Halted(Refuse(Stage.REPLY, DEFAULT_REFUSAL, UNSAFE), 2, 1)] == remaining(guard)


# The prompt, before the model or beside it


def test_nothing_is_read_before_the_prompt_is_judged() -> None:
    guard = guard_of(with_prompt=True)
    assert [NeedVerdict(Check(Stage.PROMPT, ASKED)), AwaitVerdict()] == remaining(guard)
    guard.judge(SAFE_PROMPT)
    assert [Release((), Allow(Stage.PROMPT, SAFE_PROMPT)), NeedChunk()] == remaining(guard)


@pytest.mark.parametrize("stages", [["prompt", "reply"], ["prompt"]])
def test_beside_the_prompts_check_the_reply_is_read_and_none_of_it_shown(stages: list[str]) -> None:
    policy = policy_of(prompt_check="parallel", stages=stages, **BY_TWO)
    guard = guard_of(policy, with_prompt=True)
    assert [NeedVerdict(Check(Stage.PROMPT, ASKED)), NeedChunk()] == remaining(guard)
    guard.receive("bb")
    guard.receive("c")
    assert [] == [event for event in remaining(guard) if isinstance(event, Release)]
    guard.judge(SAFE_PROMPT)
    shown = () if "reply" in stages else ("bb", "c")
    assert Release(shown, Allow(Stage.PROMPT, SAFE_PROMPT)) == guard.next_event()


def test_an_unsafe_prompt_halts_whatever_was_read_beside_its_check() -> None:
    guard = guard_of(policy_of(prompt_check="parallel", **BY_TWO), with_prompt=True)
    guard.receive("bb")
    remaining(guard)
    unsafe = Verdict(safe=False, stage=Stage.PROMPT)
    guard.judge(unsafe)
    assert [Halted(Refuse(Stage.PROMPT, DEFAULT_REFUSAL, unsafe), 1, 0, model_cut=True)] == remaining(guard)


# Misuse

MISUSE: list[tuple[str, Callable[[StreamGuard[str]], None]]] = [
    ("a verdict too early", lambda guard: guard.judge(SAFE)),
    ("a failure too early", lambda guard: guard.cannot_judge(DOWN)),
]


@pytest.mark.parametrize("tell", [tell for _, tell in MISUSE], ids=[name for name, _ in MISUSE])
@pytest.mark.parametrize("chunks", [["b"], ["bb"]], ids=["nothing to ask", "not asked yet"])
def test_a_verdict_that_was_not_asked_for_releases_nothing(
    tell: Callable[[StreamGuard[str]], None], chunks: list[str]
) -> None:
    guard = received(*chunks, policy=policy_of(on_no_verdict="allow", **BY_TWO))
    with pytest.raises(RuntimeError, match="a verdict, which it had not asked for"):
        tell(guard)
    assert [] == [event for event in remaining(guard) if isinstance(event, Release)]


@pytest.mark.parametrize("verdict", [SAFE, UNSAFE])
def test_nothing_can_be_told_to_a_guard_that_is_done(verdict: Verdict) -> None:
    guard = ended("b")
    guard.next_event()
    guard.judge(verdict)
    before = remaining(guard)
    for tell in (lambda: guard.receive("c"), guard.end, lambda: guard.judge(SAFE)):
        with pytest.raises(RuntimeError, match="halted or finished"):
            tell()
    assert before[-1] == guard.next_event()


def test_a_chunk_before_the_prompts_verdict_is_refused() -> None:
    with pytest.raises(RuntimeError, match="waiting for a verdict"):
        guard_of(with_prompt=True).receive("b")


def test_no_event_shows_the_chunks_in_its_repr() -> None:
    guard = ended("zebra")
    asked = guard.next_event()
    guard.judge(SAFE)
    assert "zebra" not in f"{asked!r} {remaining(guard)!r}"
