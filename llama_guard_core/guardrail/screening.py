"""The order of things: what is judged when, and what follows.

Each function here is a *flow*: a generator that yields what must be done (put a question to the guard, call
the model), is sent the outcome, and returns the result. It does nothing itself, so the order is written
once; `llama_guard_core.drive` carries it out, with and without `await`. A failed check is thrown into the
flow, so what follows from it is decided here too.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from itertools import dropwhile, takewhile
from typing import Any, Generic, TypeVar

from llama_guard_core.errors import GuardUnavailable
from llama_guard_core.guardrail.policy import Allow, Decision, Policy, Raise, Refuse
from llama_guard_core.guardrail.prompt import without_instructions
from llama_guard_core.guardrail.verdict import Stage
from llama_guard_core.messages import Conversation, Message

R = TypeVar("R")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Check:
    """Put this question to the guard: is the end of this conversation safe?"""

    stage: Stage
    conversation: Conversation


@dataclass(frozen=True, slots=True)
class CallModel:
    """Call the model under guard: its prompt may be answered."""


Effect = Check | CallModel
Flow = Generator[Effect, Any, T]


@dataclass(frozen=True, slots=True)
class GuardedReply(Generic[R]):
    """A reply and what was decided about it.

    Attributes:
        prompt: what was decided about the prompt.
        reply: what the model answered; `None` if it was not called.
        decisions: one for each alternative the reply holds, in order.
    """

    prompt: Allow | Refuse
    reply: R | None = field(default=None, repr=False)
    decisions: tuple[Allow | Refuse, ...] = ()


def screen(policy: Policy, stage: Stage, conversation: Conversation) -> Flow[Allow | Refuse]:
    """Judge the end of a conversation, as far as the policy asks for it and there is something to judge.

    Raises:
        UnsafeContent: it is unsafe, and the policy says raise.
        GuardUnavailable: no verdict could be had, and the policy says raise.
    """
    if not policy.judges(stage) or not conversation:
        return Allow(stage)
    try:
        verdict = yield Check(stage, conversation)
    except GuardUnavailable as error:
        return enforced(policy.without_verdict(stage, error))
    return enforced(policy.decide(verdict))


def screen_prompt(policy: Policy, conversation: Conversation) -> Flow[Allow | Refuse]:
    """Judge what was said to the model since it last spoke, tool results included.

    A user's words and tool results together are judged in one question, as a prompt; under a policy that
    judges no prompts, as a tool result.
    """
    stage = prompt_stage(conversation)
    said = _said_since_reply(conversation)
    if not policy.judges(stage) and any(message.role == "tool" for message in said):
        stage = Stage.TOOL_RESULT
    return screen(policy, stage, conversation if any(not message.is_blank for message in said) else ())


def screen_reply(policy: Policy, conversation: Conversation, reply: Message) -> Flow[Allow | Refuse]:
    """Judge a reply, its tool calls included, as the answer to its conversation."""
    stage, judged = reply_under_judgement(policy, reply)
    return screen(policy, stage, (*conversation, judged) if judged else ())


def guarded_call(
    policy: Policy, conversation: Conversation, read: Callable[[R], Sequence[Message]]
) -> Flow[GuardedReply[R]]:
    """Judge the prompt, call the model if that is allowed, judge what it answered.

    Args:
        policy: what is judged and what follows.
        conversation: the prompt, with the turns before it.
        read: turns the model's answer, which may hold alternatives, into messages.
    """
    prompt = yield from screen_prompt(policy, conversation)
    if isinstance(prompt, Refuse):
        return GuardedReply(prompt)
    reply: R = yield CallModel()
    decisions: list[Allow | Refuse] = []
    for message in read(reply):
        decisions.append((yield from screen_reply(policy, conversation, message)))  # noqa: PERF401 - no comprehension can yield
    return GuardedReply(prompt, reply, tuple(decisions))


def enforced(decision: Decision) -> Allow | Refuse:
    """The decision, unless it is to raise."""
    if isinstance(decision, Raise):
        raise decision.error
    return decision


def prompt_stage(conversation: Conversation) -> Stage:
    """What the end of a conversation is: a user's prompt, or only the results of tools."""
    said = _said_since_reply(conversation)
    return Stage.TOOL_RESULT if said and all(message.role == "tool" for message in said) else Stage.PROMPT


def reply_under_judgement(policy: Policy, reply: Message) -> tuple[Stage, Message | None]:
    """What of a reply is judged, and as what: text and tool calls together, in one question."""
    parts = reply.parts if policy.judges(Stage.REPLY) else ()
    calls = reply.tool_calls if policy.judges(Stage.TOOL_CALL) else ()
    judged = Message("assistant", parts, calls)
    stage = Stage.TOOL_CALL if calls and Message("assistant", parts).is_blank else Stage.REPLY
    return stage, None if judged.is_blank else judged


def _said_since_reply(conversation: Conversation) -> list[Message]:
    """What was said to the model since it last spoke; a reply begun for it, at the end, is not yet a reply."""
    upwards = dropwhile(_is_reply, reversed(without_instructions(conversation)))
    return list(takewhile(lambda message: not _is_reply(message), upwards))


def _is_reply(message: Message) -> bool:
    return message.role == "assistant"
