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
from llama_guard_core.guardrail.decisions import Allow, Decision, Raise, Refuse
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.prompt import without_instructions
from llama_guard_core.guardrail.verdict import Stage
from llama_guard_core.messages import Conversation, Message

R = TypeVar("R")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Check:
    """Put this question to the guard: is the end of this conversation safe?

    Attributes:
        stage: what is judged.
        conversation: the chat so far, the part under judgement last.
        also: what else stands in that part: tool calls beside a reply's words, tool results beside a prompt. What
            follows is the strictest of what the policy says for each.
    """

    stage: Stage
    conversation: Conversation
    also: tuple[Stage, ...] = ()


@dataclass(frozen=True, slots=True)
class StartModel:
    """Begin to call the model under guard, if that can be done without waiting for it; its answer is not needed yet.

    A flow that ends without asking for the answer wants the call cancelled.
    """


@dataclass(frozen=True, slots=True)
class CallModel:
    """Call the model under guard, or wait for the call that was started: its prompt may be answered."""


@dataclass(frozen=True, slots=True)
class RunTool:
    """Run the tool under guard: its call may be carried out."""


Effect = Check | StartModel | CallModel | RunTool
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


def screen(policy: Policy, check: Check | None) -> Flow[Allow | Refuse]:
    """Put a question, if there is one and the policy judges its stage, and follow the policy.

    Raises:
        UnsafeContent: it is unsafe, and the policy says raise.
        GuardUnavailable: no verdict could be had, and the policy says raise.
    """
    if check is None or not policy.judges(check.stage):
        return Allow()
    try:
        verdict = yield check
    except GuardUnavailable as error:
        return enforced(policy.without_verdict(check.stage, error, also=check.also))
    return enforced(policy.decide(verdict, also=check.also))


def screen_prompt(policy: Policy, conversation: Conversation) -> Flow[Allow | Refuse]:
    """Judge what was said to the model since it last spoke, tool results included."""
    return screen(policy, prompt_check(policy, conversation))


def screen_reply(policy: Policy, conversation: Conversation, reply: Message) -> Flow[Allow | Refuse]:
    """Judge a reply, its tool calls included, as the answer to its conversation."""
    return screen(policy, reply_check(policy, conversation, reply))


def screen_document(policy: Policy, document: Message) -> Flow[Allow | Refuse]:
    """Judge one passage, a user's turn of its own."""
    return screen(policy, document_check(policy, document))


def guarded_call(
    policy: Policy, conversation: Conversation, read: Callable[[R], Sequence[Message]]
) -> Flow[GuardedReply[R]]:
    """Judge the prompt, call the model if that is allowed, judge what it answered.

    Where the policy says `prompt_check="parallel"` the model's call begins beside the first check.

    Args:
        policy: what is judged and what follows.
        conversation: the prompt, with the turns before it.
        read: turns the model's answer, which may hold alternatives, into messages.
    """
    if policy.prompt_check == "parallel":
        yield StartModel()
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


def check_of(conversation: Conversation, stage: Stage | str | None = None) -> Check:
    """The question about the end of a conversation, whose stage its last role tells where it is not given."""
    if stage is not None:
        return Check(Stage(stage), conversation)
    is_reply = bool(conversation) and conversation[-1].role == "assistant"
    return Check(Stage.REPLY if is_reply else prompt_stage(conversation), conversation)


def prompt_check(policy: Policy, conversation: Conversation) -> Check | None:
    """The question about what was said to the model since it last spoke, if the policy judges that."""
    said = [message for message in _said_since_reply(conversation) if not message.is_blank]
    present = {Stage.TOOL_RESULT if message.role == "tool" else Stage.PROMPT for message in said}
    return _check(policy, present, (Stage.PROMPT, Stage.TOOL_RESULT), conversation)


def reply_check(policy: Policy, conversation: Conversation, reply: Message) -> Check | None:
    """The question about a reply, its text and its tool calls together, as far as the policy judges them."""
    parts = reply.parts if policy.judges(Stage.REPLY) else ()
    calls = reply.tool_calls if policy.judges(Stage.TOOL_CALL) else ()
    present = {Stage.TOOL_CALL} if calls else set()
    if not Message("assistant", parts).is_blank:
        present.add(Stage.REPLY)
    judged = Message("assistant", parts, calls)
    return _check(policy, present, (Stage.REPLY, Stage.TOOL_CALL), (*conversation, judged))


def judges_replies(policy: Policy) -> bool:
    """Whether anything of a reply is judged, and so all of it withheld until then."""
    return policy.judges(Stage.REPLY) or policy.judges(Stage.TOOL_CALL)


def withholds_replies(policy: Policy) -> bool:
    """Whether a reply is withheld at first: for its own verdict, or for that of a prompt which is judged beside it."""
    beside = policy.prompt_check == "parallel" and (policy.judges(Stage.PROMPT) or policy.judges(Stage.TOOL_RESULT))
    return judges_replies(policy) or beside


def document_check(policy: Policy, document: Message) -> Check | None:
    """The question about one passage, on its own, if the policy judges passages and there is anything in this one."""
    present = set() if document.is_blank else {Stage.DOCUMENT}
    return _check(policy, present, (Stage.DOCUMENT,), (document,))


def _check(policy: Policy, present: set[Stage], order: tuple[Stage, ...], conversation: Conversation) -> Check | None:
    judged = [stage for stage in order if stage in present and policy.judges(stage)]
    return Check(judged[0], conversation, tuple(judged[1:])) if judged else None


def _said_since_reply(conversation: Conversation) -> list[Message]:
    """What was said to the model since it last spoke; a reply begun for it, at the end, is not yet a reply."""
    upwards = dropwhile(_is_reply, reversed(without_instructions(conversation)))
    return list(takewhile(lambda message: not _is_reply(message), upwards))


def _is_reply(message: Message) -> bool:
    return message.role == "assistant"
