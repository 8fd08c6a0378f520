"""The order of things: what is judged when, what the model is called for, and what follows."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from strategies import conversations, policies

from llama_guard_core.drive import run
from llama_guard_core.errors import GuardUnavailable, LlamaGuardError, UnsafeContent
from llama_guard_core.guardrail.decisions import Allow, Refuse
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.screening import (
    Check,
    Flow,
    GuardedReply,
    guarded_call,
    prompt_stage,
    reply_check,
    screen,
    screen_prompt,
    screen_reply,
)
from llama_guard_core.guardrail.verdict import Stage, Verdict
from llama_guard_core.messages import Conversation, Message, Text, ToolCall, Unjudgeable, assistant, user

CALL = ToolCall("c1", "delete", "{}")
SYSTEM = Message("system", (Text("Be kind."),))
RESULT = Message("tool", (Text("42"),))
BLANK = user(" \n")


class Guard:
    """Says unsafe of a conversation that ends in a message with the word `bad`, and fails on `down`."""

    def __init__(self) -> None:
        self.asked: list[Check] = []

    def __call__(self, check: Check) -> Verdict:
        self.asked.append(check)
        last = check.conversation[-1]
        if "down" in last.text:
            msg = "the host is down"
            raise GuardUnavailable(msg, reason="server", stage=check.stage)
        return Verdict("bad" not in last.text, stage=check.stage)


def asked_of(flow: Flow[Allow | Refuse]) -> list[Check]:
    guard = Guard()
    run(flow, guard)
    return guard.asked


STAGES: list[tuple[Conversation, Stage]] = [
    ((user("a"),), Stage.PROMPT),
    ((SYSTEM, user("a")), Stage.PROMPT),
    ((SYSTEM,), Stage.PROMPT),
    ((), Stage.PROMPT),
    ((user("a"), assistant("", (CALL,)), RESULT), Stage.TOOL_RESULT),
    ((user("a"), assistant("", (CALL,)), RESULT, RESULT, SYSTEM), Stage.TOOL_RESULT),
    ((user("a"), assistant("", (CALL,)), RESULT, assistant("The ans")), Stage.TOOL_RESULT),
    ((user("a"), assistant("", (CALL,)), RESULT, user("b")), Stage.PROMPT),
    ((user("a"), assistant("", (CALL,)), user("b"), RESULT), Stage.PROMPT),
    ((user("a"), RESULT), Stage.PROMPT),
]


@pytest.mark.parametrize(("conversation", "stage"), STAGES)
def test_a_prompt_is_a_tool_result_only_if_nothing_but_tools_spoke_since_the_model(
    conversation: Conversation, stage: Stage
) -> None:
    assert stage == prompt_stage(conversation)


@pytest.mark.parametrize(
    "conversation",
    [
        (),
        (BLANK,),
        (SYSTEM, BLANK),
        (BLANK, SYSTEM),
        (user("a"), assistant("b"), BLANK),
        (user("a"), assistant("b"), BLANK, assistant("c")),
        (assistant("hi"),),
        (SYSTEM, Message("tool")),
    ],
)
def test_a_blank_prompt_is_not_asked_about(conversation: Conversation) -> None:
    assert [] == asked_of(screen_prompt(Policy(), conversation))


@pytest.mark.parametrize(
    "conversation",
    [
        (user("a"),),
        (SYSTEM,),
        (SYSTEM, assistant("b")),
        (user("a"), assistant("b")),
        (BLANK, user("a")),
        (Message("user", (Unjudgeable("input_audio"),)),),
    ],
)
def test_a_prompt_is_asked_about_with_its_whole_conversation(conversation: Conversation) -> None:
    assert [Check(Stage.PROMPT, conversation)] == asked_of(screen_prompt(Policy(), conversation))


@pytest.mark.parametrize(
    ("stages", "last", "expected"),
    [
        (["reply"], [user("a")], []),
        (["prompt"], [RESULT], []),
        (["tool_result"], [user("a")], []),
        (["tool_result"], [RESULT], ["tool_result"]),
        (["prompt"], [user("a"), RESULT], ["prompt"]),
        (["tool_result"], [RESULT, user("a")], ["tool_result"]),
        (["prompt", "tool_result"], [RESULT, user("a")], ["prompt"]),
    ],
)
def test_a_prompt_is_asked_about_if_the_policy_judges_any_part_of_it(
    stages: list[str], last: list[Message], expected: list[str]
) -> None:
    conversation = (user("q"), assistant("", (CALL,)), *last)
    checks = asked_of(screen_prompt(Policy.from_mapping({"stages": stages}), conversation))
    assert expected == [check.stage.value for check in checks]


TEXT, CALLS, BOTH, NEITHER = assistant("b"), assistant("", (CALL,)), assistant("b", (CALL,)), Message("assistant")


@pytest.mark.parametrize(
    ("stages", "reply", "expected"),
    [
        (["reply", "tool_call"], TEXT, Check(Stage.REPLY, (user("a"), TEXT))),
        (["reply", "tool_call"], CALLS, Check(Stage.TOOL_CALL, (user("a"), CALLS))),
        (["reply", "tool_call"], BOTH, Check(Stage.REPLY, (user("a"), BOTH), (Stage.TOOL_CALL,))),
        (["reply", "tool_call"], NEITHER, None),
        (["reply"], BOTH, Check(Stage.REPLY, (user("a"), TEXT))),
        (["reply"], CALLS, None),
        (["tool_call"], BOTH, Check(Stage.TOOL_CALL, (user("a"), CALLS))),
        (["tool_call"], TEXT, None),
        (["prompt"], BOTH, None),
    ],
)
def test_of_a_reply_what_the_policy_judges_is_judged_in_one_question(
    stages: list[str], reply: Message, expected: Check | None
) -> None:
    policy = Policy.from_mapping({"stages": stages})
    assert expected == reply_check(policy, (user("a"),), reply)
    assert [expected] * (expected is not None) == asked_of(screen_reply(policy, (user("a"),), reply))


@pytest.mark.parametrize("monitored", ["reply", "tool_call"])
def test_the_strictest_rules_hold_for_text_and_tool_calls_judged_together(monitored: str) -> None:
    """Words beside a tool call do not buy it the words' milder rules, nor the other way round."""
    policy = Policy.from_mapping({"per_stage": {monitored: {"mode": "monitor"}}})
    both = assistant("bad", (CALL,))
    strict = "tool_call" if monitored == "reply" else "reply"
    refused = run(screen_reply(policy, (user("a"),), both), Guard())
    assert (Refuse, strict) == (type(refused), refused.stage and refused.stage.value)
    undecided = run(screen_reply(policy, (user("a"),), assistant("down", (CALL,))), Guard())
    assert (Refuse, strict) == (type(undecided), undecided.stage and undecided.stage.value)


@pytest.mark.parametrize(
    ("text", "policy", "outcome"),
    [
        ("good", Policy(), Allow),
        ("bad", Policy(), Refuse),
        ("down", Policy(), Refuse),
        ("bad", Policy(on_unsafe="raise"), UnsafeContent),
        ("down", Policy(on_no_verdict="raise"), GuardUnavailable),
        ("down", Policy(on_no_verdict="allow"), Allow),
        ("bad", Policy(mode="monitor"), Allow),
        ("down", Policy(mode="monitor"), Allow),
        ("bad", Policy.from_mapping({"stages": ["prompt"]}), Allow),
    ],
)
def test_what_follows_from_a_check_is_what_the_policy_says(text: str, policy: Policy, outcome: type) -> None:
    try:
        followed: object = run(screen(policy, Check(Stage.DOCUMENT, (user(text),))), Guard())
    except LlamaGuardError as error:
        followed = error
    assert outcome is type(followed)


def read_all(replies: Sequence[str]) -> list[Message]:
    return [assistant(text) for text in replies]


def guarded(prompt: str, *replies: str, policy: Policy | None = None) -> tuple[GuardedReply[Sequence[str]], Guard, int]:
    """A guarded call of a model that answers with these alternatives, what was asked, and how often it was called."""
    guard, called = Guard(), list[str]()

    def call() -> Sequence[str]:
        called.append("called")
        return replies

    flow = guarded_call(policy or Policy(), (user(prompt),), read_all)
    return run(flow, guard, call), guard, len(called)


@pytest.mark.parametrize("prompt", ["bad", "down"])
def test_a_prompt_that_is_refused_is_not_put_to_the_model(prompt: str) -> None:
    reply, guard, calls = guarded(prompt, "good")
    assert (Refuse, None, (), 0, 1) == (type(reply.prompt), reply.reply, reply.decisions, calls, len(guard.asked))


def test_a_reply_is_judged_as_the_answer_to_its_conversation() -> None:
    reply, guard, calls = guarded("a", "b")
    asked = [Check(Stage.PROMPT, (user("a"),)), Check(Stage.REPLY, (user("a"), assistant("b")))]
    assert (asked, 1, ("b",)) == (guard.asked, calls, reply.reply)


def test_each_alternative_is_decided_on_its_own_and_in_order() -> None:
    reply, _, _ = guarded("a", "good", "bad", "", "down", "good")
    assert [Allow, Refuse, Allow, Refuse, Allow] == [type(decision) for decision in reply.decisions]


def test_a_model_that_answers_nothing_is_not_asked_about() -> None:
    reply, guard, _ = guarded("a")
    assert ((), 1) == (reply.decisions, len(guard.asked))


def test_an_unsafe_reply_raises_if_the_policy_says_so() -> None:
    with pytest.raises(UnsafeContent) as raised:
        guarded("a", "bad", policy=Policy(on_unsafe="raise"))
    assert Stage.REPLY == raised.value.stage


def test_a_policy_for_replies_alone_calls_the_model_without_asking_about_the_prompt() -> None:
    reply, guard, calls = guarded("bad", "b", policy=Policy.from_mapping({"stages": ["reply"]}))
    assert (Allow, None, [Stage.REPLY], 1) == (
        type(reply.prompt),
        reply.prompt.verdict,
        [check.stage for check in guard.asked],
        calls,
    )


@given(conversations, policies)
@settings(max_examples=100)
def test_nothing_is_allowed_unasked_but_what_the_policy_leaves_out_or_is_blank(
    conversation: Conversation, policy: Policy
) -> None:
    flow = screen_prompt(policy, conversation)
    try:
        effect = next(flow)
    except StopIteration as returned:
        decision = returned.value
        assert (Allow, None, None) == (type(decision), decision.verdict, decision.error)
        assert not policy.judges(decision.stage) or not _words_at_the_end(conversation)
    else:
        assert isinstance(effect, Check)
        assert policy.judges(effect.stage)
        assert conversation == effect.conversation


def _words_at_the_end(conversation: Conversation) -> list[str]:
    """The user's and the tools' words behind the last reply that something was said to."""
    spoken = [message for message in conversation if message.role != "system"]
    while spoken and spoken[-1].role == "assistant":
        spoken.pop()
    replies = [index for index, message in enumerate(spoken) if message.role == "assistant"]
    return [word for message in spoken[max(replies, default=-1) + 1 :] for word in message.text.split()]


def test_checks_and_guarded_replies_show_no_text_in_their_repr() -> None:
    check = Check(Stage.PROMPT, (user("zebra"), assistant("", (ToolCall("c1", "look_up", "zebra"),))))
    reply, _, _ = guarded("zebra", "zebra")
    assert "zebra" not in f"{check!r} {reply!r}"
