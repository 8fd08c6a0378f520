"""An agent's calls and results: what is asked about them, and what follows."""

from __future__ import annotations

from typing import Any

import pytest

from llama_guard_core.drive import arun, run
from llama_guard_core.errors import GuardUnavailable, UnsafeContent
from llama_guard_core.guardrail.decisions import Allow, Refuse
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.screening import Check
from llama_guard_core.guardrail.tool_screening import (
    UNJUDGED,
    WITHHELD,
    GuardedToolRun,
    are_withheld,
    guarded_tool,
    screen_description,
    screen_parts,
    screen_tool_call,
    screen_tool_result,
    withheld_arguments,
)
from llama_guard_core.guardrail.verdict import Stage, Verdict
from llama_guard_core.messages import Conversation, Message, Text, ToolCall, assistant, user

ASKED = (user("Tidy up."),)
READ = ToolCall("c1", "read", '{"file": "notes"}')
DELETE = ToolCall("c2", "delete", '{"file": "bad"}')


class Guard:
    """Says unsafe of a message with `bad` in its words or its calls, and fails on `down`."""

    def __init__(self) -> None:
        self.asked: list[Check] = []

    def __call__(self, check: Check) -> Verdict:
        self.asked.append(check)
        last = check.conversation[-1]
        said = " ".join([last.text, *(f"{call.name} {call.arguments}" for call in last.tool_calls)])
        if "down" in said:
            msg = "the host is down"
            raise GuardUnavailable(msg, reason="server", stage=check.stage)
        return Verdict("bad" not in said, stage=check.stage)

    async def ask(self, check: Check) -> Verdict:
        return self(check)


def told(text: str) -> Message:
    return Message("tool", (Text(text),))


def kinds(decisions: Any) -> list[str]:
    return [type(decision).__name__ for decision in decisions]


# A reply in parts


def test_a_safe_reply_with_words_and_calls_is_one_question() -> None:
    guard = Guard()
    decided = run(screen_parts(Policy(), ASKED, assistant("I read.", (READ, READ))), guard)
    assert ["Allow", "Allow", "Allow"] == kinds((decided.words, *decided.calls))
    assert 1 == len(guard.asked)


def test_of_an_unsafe_reply_each_part_is_asked_about_alone() -> None:
    guard = Guard()
    decided = run(screen_parts(Policy(), ASKED, assistant("I do.", (READ, DELETE))), guard)
    assert "Allow" == kinds([decided.words])[0]
    assert ["Allow", "Refuse"] == kinds(decided.calls)
    parts = [(check.conversation[-1].text, check.conversation[-1].tool_calls) for check in guard.asked]
    assert [("I do.", (READ, DELETE)), ("I do.", ()), ("", (READ,)), ("", (DELETE,))] == parts


def test_a_reply_of_one_part_is_asked_about_once() -> None:
    for reply in (assistant("", (DELETE,)), assistant("bad")):
        guard = Guard()
        decided = run(screen_parts(Policy(), ASKED, reply), guard)
        assert 1 == len(guard.asked)
        assert 1 == len(decided.refusals)


def test_parts_that_are_unsafe_only_together_are_all_refused() -> None:
    class Together(Guard):
        def __call__(self, check: Check) -> Verdict:
            self.asked.append(check)
            return Verdict(len(check.conversation[-1].tool_calls) < 2, stage=check.stage)

    decided = run(screen_parts(Policy(), ASKED, assistant("So.", (READ, READ))), Together())
    assert ["Refuse", "Refuse", "Refuse"] == kinds((decided.words, *decided.calls))


def test_without_a_verdict_on_the_whole_no_part_is_asked_about() -> None:
    guard = Guard()
    decided = run(screen_parts(Policy(), ASKED, assistant("down", (READ,))), guard)
    assert 1 == len(guard.asked)
    assert ["Refuse", "Refuse"] == kinds((decided.words, *decided.calls))


# A call


def test_a_call_is_judged_as_the_assistants_act_in_its_conversation() -> None:
    guard = Guard()
    assert isinstance(run(screen_tool_call(Policy(), ASKED, DELETE), guard), Refuse)
    (check,) = guard.asked
    assert (Stage.TOOL_CALL, (*ASKED, assistant("", (DELETE,)))) == (check.stage, check.conversation)


def test_a_call_in_a_reply_is_the_question_that_was_asked_about_the_reply() -> None:
    reply = assistant("I read.", (READ,))
    guard = Guard()
    run(screen_parts(Policy(), ASKED, reply), guard)
    run(screen_tool_call(Policy(), (*ASKED, reply), READ), guard)
    first, second = guard.asked
    assert first == second


def test_the_same_arguments_written_in_another_way_are_the_same_call() -> None:
    reply = assistant("", (ToolCall("c1", "read", '{"file":"notes"}'),))
    guard = Guard()
    run(screen_tool_call(Policy(), (*ASKED, reply), READ), guard)
    assert [(*ASKED, reply)] == [check.conversation for check in guard.asked]


def test_a_call_that_was_changed_since_is_judged_as_it_would_be_carried_out() -> None:
    guard = Guard()
    changed = ToolCall("c1", "read", '{"file": "bad"}')
    decision = run(screen_tool_call(Policy(), (*ASKED, assistant("I read.", (READ,))), changed), guard)
    assert isinstance(decision, Refuse)
    assert [(*ASKED, assistant("", (changed,)))] == [check.conversation for check in guard.asked]


@pytest.mark.parametrize("arguments", [WITHHELD, UNJUDGED])
@pytest.mark.parametrize("stages", [{"tool_call"}, {"prompt"}])
def test_a_call_whose_arguments_were_withheld_is_refused_without_asking(
    arguments: dict[str, str], stages: set[str]
) -> None:
    guard = Guard()
    call = ToolCall("c1", "read", str(arguments).replace("'", '"'))
    for mode in ("enforce", "monitor"):
        policy = Policy.from_mapping({"mode": mode, "stages": stages})
        assert isinstance(run(screen_tool_call(policy, ASKED, call), guard), Refuse)
    assert [] == guard.asked


def test_a_withheld_call_is_refused_in_the_words_for_what_was_the_matter() -> None:
    policy = Policy(refusal="No.", apology="Sorry.")
    unsafe, unjudged = (ToolCall("c", "read", f'{{"llama_guard": "{word}"}}') for word in ("withheld", "unjudged"))
    decisions = [run(screen_tool_call(policy, ASKED, call), Guard()) for call in (unsafe, unjudged)]
    assert ["No.", "Sorry."] == [decision.text for decision in decisions if isinstance(decision, Refuse)]


def test_a_withheld_call_raises_where_the_policy_says_so() -> None:
    call = ToolCall("c", "read", '{"llama_guard": "withheld"}')
    with pytest.raises(UnsafeContent):
        run(screen_tool_call(Policy(on_unsafe="raise"), ASKED, call), Guard())


def test_what_stands_for_withheld_arguments_is_known_again() -> None:
    unsafe = Refuse(Stage.TOOL_CALL, "No.", Verdict(safe=False))
    unjudged = Refuse(Stage.TOOL_CALL, "Sorry.", error=GuardUnavailable("down", reason="server"))
    assert (WITHHELD, UNJUDGED) == (withheld_arguments(unsafe), withheld_arguments(unjudged))
    assert are_withheld(withheld_arguments(unsafe))
    assert are_withheld('{"llama_guard":"unjudged"}')
    assert not any(map(are_withheld, ({}, {"llama_guard": "x"}, {**WITHHELD, "a": 1}, "{", "[]", '"withheld"')))


# A result


def test_a_result_is_judged_as_untrusted_input_behind_its_call() -> None:
    guard = Guard()
    conversation = (*ASKED, assistant("", (READ,)))
    assert isinstance(run(screen_tool_result(Policy(), conversation, told("bad")), guard), Refuse)
    (check,) = guard.asked
    assert (Stage.TOOL_RESULT, (*conversation, told("bad"))) == (check.stage, check.conversation)


@pytest.mark.parametrize("stages", [{"prompt"}, set(Stage)])
def test_a_result_that_says_nothing_or_is_not_judged_is_not_asked_about(stages: set[Any]) -> None:
    guard = Guard()
    text = "bad" if len(stages) == 1 else " "
    assert Allow() == run(screen_tool_result(Policy(stages=frozenset(stages)), ASKED, told(text)), guard)
    assert [] == guard.asked


def test_a_result_that_is_the_answer_is_judged_as_a_reply_too() -> None:
    guard, conversation = Guard(), (*ASKED, assistant("", (READ,)))
    assert isinstance(run(screen_tool_result(Policy(), conversation, told("fine"), is_answer=True), guard), Allow)
    assert [Stage.TOOL_RESULT, Stage.REPLY] == [check.stage for check in guard.asked]
    assert (*conversation, told("fine"), assistant("fine")) == guard.asked[1].conversation
    replies = Policy.from_mapping({"stages": ["reply"]})
    assert isinstance(run(screen_tool_result(replies, conversation, told("bad"), is_answer=True), guard), Refuse)


def test_a_description_is_judged_as_a_passage() -> None:
    guard = Guard()
    assert isinstance(run(screen_description(Policy(), "Does something bad."), guard), Refuse)
    assert [Stage.DOCUMENT] == [check.stage for check in guard.asked]


# A whole run of a tool


class Tool:
    def __init__(self, gives: str = "fine") -> None:
        self.runs = 0
        self._gives = gives

    def __call__(self) -> str:
        self.runs += 1
        return self._gives

    async def acall(self) -> str:
        return self()


@pytest.mark.parametrize(
    ("call", "gives", "runs", "outcome"),
    [
        (READ, "fine", 1, None),
        (DELETE, "fine", 0, Stage.TOOL_CALL),
        (READ, "bad", 1, Stage.TOOL_RESULT),
        (ToolCall("c", "down", "{}"), "fine", 0, Stage.TOOL_CALL),
        (READ, "down", 1, Stage.TOOL_RESULT),
    ],
)
async def test_a_refused_tool_never_runs_and_an_allowed_one_runs_once(
    call: ToolCall, gives: str, runs: int, outcome: Stage | None
) -> None:
    for asynchronous in (False, True):
        tool, guard = Tool(gives), Guard()
        flow = guarded_tool(Policy(), ASKED, call, told)
        done: GuardedToolRun[str] = await arun(flow, guard.ask, tool.acall) if asynchronous else run(flow, guard, tool)
        assert runs == tool.runs
        assert outcome == (done.refusal.stage if done.refusal else None)


def test_what_no_model_reads_of_a_result_is_not_judged() -> None:
    guard = Guard()
    done = run(guarded_tool(Policy(), ASKED, READ, lambda _: None), guard, Tool("bad"))
    assert ("bad", None, 1) == (done.result, done.refusal, len(guard.asked))


def test_the_result_of_one_of_several_calls_is_judged_without_the_others() -> None:
    reply = assistant("I do.", (READ, ToolCall("c3", "list", "{}")))
    conversation: Conversation = (*ASKED, reply)
    guard = Guard()
    run(guarded_tool(Policy(), conversation, READ, told), guard, Tool("fine"))
    assert (*conversation, told("fine")) == guard.asked[-1].conversation
