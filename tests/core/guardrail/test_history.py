"""A conversation that was there before: each message is judged once, in the conversation up to it."""

from __future__ import annotations

from hypothesis import given
from strategies import conversations, policies

from llama_guard_core.drive import run
from llama_guard_core.guardrail.decisions import Allow, Refuse
from llama_guard_core.guardrail.history import HistoryCheck, decided, history_checks
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.screening import Check, prompt_check, reply_check, screen
from llama_guard_core.guardrail.tool_screening import guarded_tool
from llama_guard_core.guardrail.verdict import Stage, Verdict
from llama_guard_core.messages import Conversation, Message, Text, ToolCall, assistant, user

CALL = ToolCall("c1", "read", "{}")
SYSTEM = Message("system", (Text("Be kind."),))


def told(text: str) -> Message:
    return Message("tool", (Text(text),))


def asked_of(conversation: Conversation, policy: Policy | None = None) -> list[tuple[Stage, str, tuple[int, ...]]]:
    checks = history_checks(policy or Policy(), conversation)
    return [(it.check.stage, it.check.conversation[-1].text, it.places) for it in checks]


def test_each_message_is_judged_as_what_it_is() -> None:
    conversation = (SYSTEM, user("a"), assistant("b", (CALL,)), told("c"), assistant("d"))
    assert [
        (Stage.PROMPT, "a", (1,)),
        (Stage.REPLY, "b", (2,)),
        (Stage.TOOL_RESULT, "c", (3,)),
        (Stage.REPLY, "d", (4,)),
    ] == asked_of(conversation)


def test_the_users_messages_of_one_turn_are_judged_together() -> None:
    assert [(Stage.PROMPT, "b", (0, 1)), (Stage.REPLY, "c", (2,)), (Stage.PROMPT, "d", (3,))] == asked_of(
        (user("a"), user("b"), assistant("c"), user("d"))
    )


def test_a_prompt_is_judged_without_the_results_beside_it_and_a_result_without_its_siblings() -> None:
    before = (user("a"), assistant("", (CALL, CALL)))
    conversation = (*before, told("b"), told("c"), user("d"))
    checks = [it.check.conversation for it in history_checks(Policy(), conversation)]
    assert [(*before, told("b")), (*before, told("c")), (*before, user("d"))] == checks[2:]


def test_what_the_policy_does_not_judge_is_not_asked_about() -> None:
    conversation = (user("a"), assistant("b", (CALL,)), told("c"))
    assert [(Stage.TOOL_RESULT, "c", (2,))] == asked_of(conversation, Policy(stages=frozenset({Stage.TOOL_RESULT})))
    assert [] == asked_of((user(" "), assistant(""), told("\n")))


def test_the_last_prompt_and_the_last_reply_are_the_questions_that_a_model_under_guard_asks() -> None:
    conversation = (SYSTEM, user("a"), assistant("b"), user("c"))
    reply = assistant("d", (CALL,))
    *_, prompt, answer = history_checks(Policy(), (*conversation, reply))
    assert (prompt_check(Policy(), conversation), reply_check(Policy(), conversation, reply)) == (
        prompt.check,
        answer.check,
    )


def test_a_result_is_the_question_that_its_guarded_tool_asks() -> None:
    asked: list[Check] = []

    def judge(check: Check) -> Verdict:
        asked.append(check)
        return Verdict(safe=True, stage=check.stage)

    conversation = (user("a"), assistant("b", (CALL,)))
    run(guarded_tool(Policy(), conversation, CALL, told), judge, lambda: "c")
    assert asked == [it.check for it in history_checks(Policy(), (*conversation, told("c")))[1:]]


def test_what_is_decided_holds_for_each_message_that_was_judged() -> None:
    checks = [HistoryCheck(Check(Stage.PROMPT, ()), (0, 1)), HistoryCheck(Check(Stage.TOOL_RESULT, ()), (4,))]
    refuse, allow = Refuse(Stage.PROMPT, "No."), Allow(Stage.TOOL_RESULT)
    assert [refuse, refuse, Allow(), Allow(), allow] == decided(checks, [refuse, allow], 5)


@given(policies, conversations)
def test_every_message_with_something_to_judge_is_judged_exactly_once(
    policy: Policy, conversation: Conversation
) -> None:
    checks = history_checks(policy, conversation)
    places = [place for check in checks for place in check.places]
    assert sorted(set(places)) == sorted(places)
    roles = {"user": Stage.PROMPT, "tool": Stage.TOOL_RESULT}
    for place, message in enumerate(conversation):
        if message.role in roles and not message.is_blank:
            assert (place in places) == policy.judges(roles[message.role])  # type: ignore[index]
    decisions = [run(screen(policy, it.check), lambda check: Verdict(True, stage=check.stage)) for it in checks]
    assert len(conversation) == len(decided(checks, decisions, len(conversation)))
