"""The flows of an agent: its calls are judged before a tool runs, what a tool gives before a model reads it.

A call is judged as the assistant's act in its conversation, together with the words and calls beside it: one question
for one message. A result is judged as somebody else's words, on its own behind the message that asked for it. Both are
the questions that `llama_guard_core.guardrail.history` asks about these messages later; the guard's cache answers then.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from llama_guard_core.errors import GuardUnavailable
from llama_guard_core.guardrail.decisions import Allow, Refuse
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.screening import (
    Check,
    Flow,
    RunTool,
    enforced,
    screen,
    screen_document,
    screen_reply,
)
from llama_guard_core.guardrail.verdict import Stage, Verdict
from llama_guard_core.messages import Conversation, Message, Text, ToolCall, assistant, user

R = TypeVar("R")

_MARK = "llama_guard"
WITHHELD = {_MARK: "withheld"}
"""What stands in a history in the place of the arguments of a call that was refused.

The call's id stays, so that the error that answers it answers something; a call with these arguments is never run.
"""
UNJUDGED = {_MARK: "unjudged"}
"""The same, where no verdict could be had."""


@dataclass(frozen=True, slots=True)
class PartDecisions:
    """What was decided about a reply's parts.

    Attributes:
        words: about its text, its thoughts and whatever else is no call.
        calls: about each of its calls, in order.
    """

    words: Allow | Refuse
    calls: tuple[Allow | Refuse, ...] = ()

    @property
    def refusals(self) -> list[Refuse]:
        """Those that refuse."""
        return [decision for decision in (self.words, *self.calls) if isinstance(decision, Refuse)]


@dataclass(frozen=True, slots=True)
class GuardedToolRun(Generic[R]):
    """What became of a tool's call.

    Attributes:
        call: what was decided about the call.
        result: what the tool gave; `None` if it did not run.
        decision: what was decided about the result; `None` if the tool did not run.
    """

    call: Allow | Refuse
    result: R | None = field(default=None, repr=False)
    decision: Allow | Refuse | None = None

    @property
    def refusal(self) -> Refuse | None:
        """Why the result may not be read, if it may not."""
        return next((it for it in (self.call, self.decision) if isinstance(it, Refuse)), None)


def withheld_arguments(refusal: Refuse) -> dict[str, str]:
    """What to put in the place of a refused call's arguments."""
    return dict(WITHHELD if refusal.error is None else UNJUDGED)


def are_withheld(arguments: Mapping[str, Any] | str) -> bool:
    """Whether these arguments stand in the place of others that were refused."""
    return _read(arguments) in (WITHHELD, UNJUDGED)


def screen_parts(policy: Policy, conversation: Conversation, reply: Message) -> Flow[PartDecisions]:
    """Judge a reply as a whole; where that is refused, its words and each of its calls alone.

    So a harmless call beside a harmful one may be carried out. If each part alone is let through, the parts are unsafe
    together, and all are refused. Where no verdict can be had on the whole, no part is asked about.

    Args:
        policy: what is judged and what follows.
        conversation: what the reply answers.
        reply: the reply, with its calls.
    """
    whole = yield from screen_reply(policy, conversation, reply)
    words = Message("assistant", reply.parts)
    everything = PartDecisions(Allow() if words.is_blank else whole, (whole,) * len(reply.tool_calls))
    parts = len(reply.tool_calls) + (0 if words.is_blank else 1)
    if isinstance(whole, Allow) or whole.error is not None or parts <= 1:
        return everything
    about_words = yield from screen_reply(policy, conversation, words)
    calls: list[Allow | Refuse] = []
    for call in reply.tool_calls:
        calls.append((yield from screen_reply(policy, conversation, assistant("", (call,)))))  # noqa: PERF401 - no comprehension can yield
    apart = PartDecisions(about_words, tuple(calls))
    return apart if apart.refusals else everything


def screen_tool_call(policy: Policy, conversation: Conversation, call: ToolCall) -> Flow[Allow | Refuse]:
    """Judge a call as the assistant's act in its conversation.

    Args:
        policy: what is judged and what follows.
        conversation: the chat up to the call, with or without the assistant's message that asks for it.
        call: the call as it would be carried out.
    """
    if are_withheld(call.arguments):
        return refused_before(policy, is_unjudged=_read(call.arguments) == UNJUDGED)
    *before, asking = up_to_call(conversation, call)
    decided = yield from screen_parts(policy, tuple(before), asking)
    return decided.calls[_plain(asking).index(plain_call(call))]


def screen_tool_result(
    policy: Policy, conversation: Conversation, result: Message, *, is_answer: bool = False
) -> Flow[Allow | Refuse]:
    """Judge what a tool gave, as untrusted input.

    Args:
        policy: what is judged and what follows.
        conversation: the chat up to and with the assistant's message that asks for it.
        result: the tool's message.
        is_answer: whether the user is shown it as the assistant's answer; then its words are judged as a reply, too.
    """
    check = None if result.is_blank else Check(Stage.TOOL_RESULT, (*conversation, result))
    decision = yield from screen(policy, check)
    if isinstance(decision, Refuse) or not is_answer:
        return decision
    answer = Message("assistant", tuple(part for part in result.parts if isinstance(part, Text)))
    about_answer = yield from screen_reply(policy, (*conversation, result), answer)
    return about_answer if isinstance(about_answer, Refuse) else decision


def screen_description(policy: Policy, description: str) -> Flow[Allow | Refuse]:
    """Judge how a tool is described to a model: by whoever serves it, so as a passage of its own."""
    return screen_document(policy, user(description))


def guarded_tool(
    policy: Policy,
    conversation: Conversation,
    call: ToolCall,
    read: Callable[[R], Message | None],
    *,
    is_answer: bool = False,
) -> Flow[GuardedToolRun[R]]:
    """Judge a call, run the tool if that is allowed, judge what it gave.

    Args:
        policy: what is judged and what follows.
        conversation: the chat up to the call, with or without the assistant's message that asks for it.
        call: the call as it will be carried out.
        read: turns what the tool gave into a message of role `tool`; `None` for what no model reads.
        is_answer: whether the user is shown what the tool gave as the assistant's answer.
    """
    about_call = yield from screen_tool_call(policy, conversation, call)
    if isinstance(about_call, Refuse):
        return GuardedToolRun(about_call)
    result: R = yield RunTool()
    message = read(result)
    if message is None:
        return GuardedToolRun(about_call, result, Allow())
    decision = yield from screen_tool_result(policy, up_to_call(conversation, call), message, is_answer=is_answer)
    return GuardedToolRun(about_call, result, decision)


def up_to_call(conversation: Conversation, call: ToolCall) -> Conversation:
    """The chat that ends with the assistant's message asking for the call, as it would be carried out.

    Args:
        conversation: the chat up to the call, with or without the message that asks for it.
        call: the call. If somebody has changed it since, a message that asks for just this stands in the place of the
            one that asked for another.
    """
    if conversation and conversation[-1].role == "assistant":
        if plain_call(call) in _plain(conversation[-1]):
            return conversation
        if any(asked.id == call.id for asked in conversation[-1].tool_calls):
            conversation = conversation[:-1]
    return (*conversation, assistant("", (call,)))


def refused_before(policy: Policy, *, is_unjudged: bool = False) -> Refuse:
    """The refusal of a call that was refused when it was made, in the words the policy has for it now.

    Raises:
        UnsafeContent: the policy says raise.
        GuardUnavailable: the same, where it was refused because no verdict could be had.
    """
    if is_unjudged:
        why = "the call was not judged when it was made"
        error = GuardUnavailable(why, reason="not_judgeable", stage=Stage.TOOL_CALL)
        decision = enforced(policy.without_verdict(Stage.TOOL_CALL, error))
        return decision if isinstance(decision, Refuse) else Refuse(Stage.TOOL_CALL, policy.apology, error=error)
    verdict = Verdict(safe=False, stage=Stage.TOOL_CALL, all_named=False, cached=True)
    decision = enforced(policy.decide(verdict))
    if isinstance(decision, Refuse):
        return decision
    text = policy.refusal if isinstance(policy.refusal, str) else policy.refusal(verdict)
    return Refuse(Stage.TOOL_CALL, text, verdict)


def _plain(asking: Message) -> list[tuple[str, str, str]]:
    return [plain_call(call) for call in asking.tool_calls]


def plain_call(call: ToolCall) -> tuple[str, str, str]:
    """What a call is, however its arguments are written."""
    try:
        # As text: two values that are nested deeply cannot be compared.
        return call.id, call.name, json.dumps(json.loads(call.arguments), sort_keys=True)
    except (ValueError, RecursionError):
        return call.id, call.name, call.arguments


def _read(arguments: Mapping[str, Any] | str) -> Any:
    """Arguments as values, so that two ways to write the same are the same; text that is no JSON as it is."""
    if not isinstance(arguments, str):
        return dict(arguments)
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
